"""Time of ``import vcreg_theory`` in a fresh process, beside that of torch, which it needs."""

import subprocess
import sys

import measuring

LIMIT = 2.0  # seconds; goal of `import vcreg_theory`


def _import(name: str) -> None:
    subprocess.run([sys.executable, "-c", f"import {name}"], check=True)


def test_import(found, cpu_rounds):
    """The CPU time counts, since a clock on the wall would count other processes as well."""
    functions = {
        "own": lambda: _import("vcreg_theory"),
        "torch": lambda: _import("torch"),
        "losses": lambda: _import("vcreg_theory.losses"),
    }
    times = cpu_rounds(5, functions, clock=measuring.seconds_of_children)
    for name, title in (("own", "vcreg_theory"), ("losses", "vcreg_theory.losses")):
        found.ratio(
            "import" if name == "own" else f"import_{name}",
            f"import {title}, a fresh process",
            peer="import torch",
            own=times[name],
            theirs=times["torch"],
        )
        assert measuring.median(times[name]) < LIMIT
