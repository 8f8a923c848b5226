"""A notebook kernel that depends on nothing the user has installed or configured.

The kernel is always the running interpreter's ipykernel, whatever kernel specifications exist. Its
sockets are files (``ipc``), so parallel kernels cannot race for a port; their path must stay below
about 100 characters, hence the short folder. No start-up file, matplotlib style or backend of the
user's is read, and every source of run-to-run difference that the environment controls is fixed.
"""

import json
import os
import sys
from pathlib import Path

from jupyter_client import AsyncKernelManager
from jupyter_client.kernelspec import KernelSpecManager

SVG = "--InlineBackend.figure_formats={'svg'}"
FIXED = {
    "MPLBACKEND": "module://matplotlib_inline.backend_inline",  # an inherited Agg drops figures
    "OMP_NUM_THREADS": "1",
    "PYTHONHASHSEED": "0",
    "SOURCE_DATE_EPOCH": "0",  # the date matplotlib writes into an SVG file
    "NO_COLOR": "1",
}


def fix_environment(build):
    """Set the environment that kernels inherit; ``build`` holds their configuration folders."""
    os.environ.update(FIXED)
    os.environ.pop("PYTHONSTARTUP", None)
    for name in ("IPYTHONDIR", "MPLCONFIGDIR"):
        folder = build / name.lower()
        folder.mkdir(parents=True, exist_ok=True)
        os.environ[name] = str(folder)
    style = build / "mplconfigdir" / "matplotlibrc"
    if not style.exists():
        style.write_text("svg.hashsalt: book\n")  # the ids matplotlib writes into an SVG file


def short_folder():
    """Return a folder for temporary files whose path is short enough for a socket."""
    folder = os.environ.get("TMPDIR", "/tmp")
    return folder if len(folder) < 50 else "/tmp"


def kernel_manager(folder):
    """Make the manager of this interpreter's own kernel, with its files in ``folder``."""
    folder = Path(folder)
    argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}", SVG]
    (folder / "python3").mkdir()
    (folder / "python3" / "kernel.json").write_text(
        json.dumps({"argv": argv, "display_name": "Python 3", "language": "python"})
    )
    specs = KernelSpecManager(kernel_dirs=[str(folder)], ensure_native_kernel=False)
    return AsyncKernelManager(
        kernel_name="python3",
        kernel_spec_manager=specs,
        transport="ipc",
        ip=str(folder / "socket"),
        connection_file=str(folder / "connection.json"),
    )
