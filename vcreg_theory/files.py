"""Whole files: written all at once or not at all, read with errors that name the path."""

import contextlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

PathLike = str | os.PathLike[str]


@contextlib.contextmanager
def writing(path: PathLike) -> Iterator[BinaryIO]:
    """Open a file to write so that, whatever happens, `path` holds the old content or the new.

    The bytes go to a temporary file in the same folder, to the disk, and only then under the name.
    Folders that are missing are made. An error of the system names `path` and leaves no temporary
    file behind.

    Parameters
    ----------
    path : str or PathLike
        The file; a link stays a link, and what it points to is written.

    Yields
    ------
    BinaryIO
        Where to write.

    Raises
    ------
    OSError
        If the file or its folder cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with writing(f"{folder}/new/name") as file:
    ...         _ = file.write(b"whole")
    ...     Path(folder, "new/name").read_bytes()
    b'whole'
    """
    target = Path(os.path.realpath(path))
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(8)}.tmp")
    try:
        if not target.parent.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, "xb") as file:
            yield file
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


def write(path: PathLike, data: bytes) -> None:
    """Write a file so that, whatever happens, `path` holds the old content or the new, whole."""
    with writing(path) as file:
        file.write(data)


def read(path: PathLike, what: str, size: int = -1) -> bytes:
    """Return the bytes of a file that should hold `what`, or the first `size` of them."""
    try:
        with open(path, "rb") as file:
            return file.read(size)
    except OSError as error:
        reason = f"could not read the {what}, {error.strerror or error}"
        raise OSError(error.errno, reason, os.fspath(path)) from error


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
