"""Files of a folder or of a tar archive, read in memory: nothing is ever unpacked to disk."""

import lzma
import tarfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath

LARGEST = 1 << 26
"""Most bytes of one file: 64 MiB, twice the largest file of the data sets read here."""

_DAMAGED = (tarfile.TarError, EOFError, lzma.LZMAError, zlib.error, OSError)


def members(
    source: Path, wanted: Callable[[PurePosixPath], bool]
) -> Iterator[tuple[PurePosixPath, bytes]]:
    """Return the wanted files below a folder or inside a tar archive, one by one.

    Parameters
    ----------
    source : Path
        A folder, or a tar archive, plain or compressed with gzip, bzip2 or xz.
    wanted : callable
        Whether the file of this name, relative to the folder, is read.

    Yields
    ------
    tuple of PurePosixPath and bytes
        Name and content; those of a folder in order of their names.

    Raises
    ------
    ValueError
        If the archive is damaged, a name in it leads out of it, or a wanted entry is a link, a
        device, or larger than `LARGEST`.
    """
    if source.is_dir():
        for path in sorted(source.rglob("*")):
            name = PurePosixPath(path.relative_to(source).as_posix())
            if wanted(name) and path.is_file():
                _check_size(source, name, path.stat().st_size)
                yield name, path.read_bytes()
    else:
        yield from _packed(source, wanted)


def _packed(
    source: Path, wanted: Callable[[PurePosixPath], bool]
) -> Iterator[tuple[PurePosixPath, bytes]]:
    """Return the wanted files of an archive in the order in which they are stored."""
    try:
        with tarfile.open(source) as archive:
            for entry in archive:
                name = PurePosixPath(entry.name)
                if name.is_absolute() or ".." in name.parts:
                    raise ValueError(f"{source} is refused: {entry.name!r} leads out of it")
                if not wanted(name) or entry.isdir():
                    continue
                if not entry.isreg():
                    raise ValueError(f"{source} is refused: {entry.name!r} is not a file")
                _check_size(source, name, entry.size)
                content = archive.extractfile(entry)
                if content is not None:  # as for every regular file
                    yield name, content.read()
    except _DAMAGED as error:
        raise ValueError(f"{source} is not a readable tar archive: {error}") from error


def _check_size(source: Path, name: PurePosixPath, size: int) -> None:
    """Refuse a file that is larger than any file of these data sets."""
    if size > LARGEST:
        raise ValueError(f"{source} is refused: {name} has {size} bytes, more than {LARGEST}")
