"""Whole files: written all at once or not at all, read with errors that name the path."""

import contextlib
import os
import secrets
from pathlib import Path

PathLike = str | os.PathLike[str]


def _atomic_write(path: PathLike, data: bytes) -> None:
    """Write a file so that, whatever happens, `path` holds the old content or the new, whole.

    The bytes go to a temporary file in the same folder, to the disk, and only then under the name.
    Folders that are missing are made. An error of the system names `path` and leaves no temporary
    file behind.
    """
    target = Path(os.path.realpath(path))  # through a link: the link stays a link
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(8)}.tmp")
    try:
        if not target.parent.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, "xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
        _sync_folder(target.parent)
    except BaseException as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        if isinstance(error, OSError):
            reason = f"could not write, {error.strerror or error}"
            raise OSError(error.errno, reason, os.fspath(path)) from error
        raise


def _sync_folder(folder: Path) -> None:
    """Make a renaming in `folder` survive a loss of power, where the system lets folders sync."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        # Some network file systems refuse to sync a folder; the file itself is on the disk.
        with contextlib.suppress(OSError):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read(path: PathLike, what: str, size: int = -1) -> bytes:
    """Return the bytes of a file that should hold `what`, or the first `size` of them."""
    try:
        with open(path, "rb") as file:
            return file.read(size)
    except OSError as error:
        reason = f"could not read the {what}, {error.strerror or error}"
        raise OSError(error.errno, reason, os.fspath(path)) from error
