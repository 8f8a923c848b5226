"""Download one file: only when asked, verified, resumable, and in place only when complete."""

import hashlib
import http.client
import os
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from .. import validation

_BLOCK = 1 << 20
_UNREACHABLE = (
    urllib.error.URLError,
    http.client.HTTPException,
    TimeoutError,
    ConnectionError,
    ssl.SSLError,
)


def checksum(path: str | os.PathLike[str], algorithm: str = "sha256") -> str:
    """Return the checksum of a file.

    Parameters
    ----------
    path : str or PathLike
        The file.
    algorithm : str
        Name of the algorithm, as ``hashlib`` knows it.

    Returns
    -------
    str
        Hexadecimal digits in lower case.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.NamedTemporaryFile() as empty:
    ...     checksum(empty.name, "md5")
    'd41d8cd98f00b204e9800998ecf8427e'
    """
    with open(path, "rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()


def fetch(
    url: str,
    path: str | os.PathLike[str],
    *,
    sha256: str | None = None,
    md5: str | None = None,
    resume: bool = True,
    progress: bool = True,
    timeout: float = 30.0,
) -> Path:
    """Return the path of a verified copy of a file on the web, downloaded if it is not there.

    The bytes go to ``<path>.part``; only a complete file with the right checksum takes the place
    of `path`, in one step. A download that breaks off leaves its part, and the next call asks the
    server for the rest.

    Parameters
    ----------
    url : str
        Address, http or https.
    path : str or PathLike
        Where the file belongs; missing folders are made.
    sha256, md5 : str, optional
        Expected checksums in hexadecimal digits, at least one of them.
    resume : bool
        Whether to go on from a part left by an earlier call; otherwise it is discarded.
    progress : bool
        Whether to show a progress bar, if tqdm is installed.
    timeout : float
        Seconds without an answer after which the server counts as out of reach.

    Returns
    -------
    Path
        `path`, now a file with the expected checksum.

    Raises
    ------
    ValueError
        If no checksum is given, the address is not of the web, or the checksum of the download or
        of a file found at `path` is wrong. A wrong download is removed, a file found there is not.
    ConnectionError
        If the server is out of reach, refuses, or breaks off. The message says where to put a copy
        of the file obtained in another way.
    """
    path = Path(path)
    validation.positive("timeout", timeout)
    expected = {name: digits for name, digits in (("sha256", sha256), ("md5", md5)) if digits}
    if not expected:
        raise ValueError(f"a checksum is needed to download {url}: give sha256 or md5")
    if not url.startswith(("http://", "https://")):
        raise ValueError(f"url must begin with http:// or https://, got {url!r}")
    if path.exists():
        _verify(path, expected, f"remove {path} to download it again")
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    if not resume:
        part.unlink(missing_ok=True)
    try:
        _download(url, part, progress, timeout)
    except _UNREACHABLE as error:
        raise ConnectionError(
            f"{url} could not be downloaded ({error}). Call again to go on, or put a copy of the "
            f"file at {path}"
        ) from error
    try:
        _verify(part, expected, "the download has been removed; call again")
    except ValueError:
        part.unlink()
        raise
    os.replace(part, path)
    return path


def _verify(path: Path, expected: dict[str, str], advice: str) -> None:
    """Raise ``ValueError`` unless a file has the expected checksums."""
    for algorithm, digits in expected.items():
        found = checksum(path, algorithm)
        if found != digits.lower():
            raise ValueError(f"{path} has {algorithm} {found}, expected {digits}: {advice}")


def _download(url: str, part: Path, progress: bool, timeout: float) -> None:
    """Append what is missing to a part, or write all of it if the server sends all of it."""
    start = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"User-Agent": "vcreg_theory"})
    if start:
        request.add_header("Range", f"bytes={start}-")
    try:
        response = urllib.request.urlopen(request, timeout=timeout)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code != http.client.REQUESTED_RANGE_NOT_SATISFIABLE or not start:
            raise
        # Nothing beyond the part: it is complete, or too long, which its checksum will tell.
        return
    with response:
        start = _first_byte(response, start)
        length = response.headers.get("Content-Length")
        total = start + int(length) if length else None
        with open(part, "ab" if start else "wb") as file:
            _copy(response, file, total, start, progress)
            file.flush()
            os.fsync(file.fileno())
    if total is not None and part.stat().st_size != total:
        raise ConnectionError(f"broke off after {part.stat().st_size} of {total} bytes")


def _first_byte(response: Any, asked: int) -> int:
    """Return where the body of a response starts: where we asked, or at 0 if all of it is sent."""
    if response.status != http.client.PARTIAL_CONTENT:
        return 0
    sent = response.headers.get("Content-Range", "")
    if not sent.startswith(f"bytes {asked}-"):
        raise ConnectionError(f"the server sent {sent!r}, asked for the bytes from {asked}")
    return asked


def _copy(response: Any, file: BinaryIO, total: int | None, start: int, progress: bool) -> None:
    """Copy the body to a file as it comes in, so that what came before a break is kept."""
    with _bar(Path(file.name).stem, total, start, progress) as advance:
        while block := response.read1(_BLOCK):
            file.write(block)
            advance(len(block))


@contextmanager
def _bar(name: str, total: int | None, start: int, progress: bool) -> Iterator[Any]:
    """Return a function that advances a progress bar, or does nothing where there is no bar."""
    try:
        from tqdm import tqdm
    except ImportError:
        progress = False
    if not progress:
        yield lambda count: None
        return
    with tqdm(desc=name, total=total, initial=start, unit="B", unit_scale=True) as bar:
        yield bar.update
