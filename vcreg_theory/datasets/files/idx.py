"""Arrays in the IDX format of MNIST, plain or compressed with gzip."""

import gzip
import hashlib
import math
import os
import zlib
from pathlib import Path

import numpy as np

_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_GZIP = b"\x1f\x8b"


def read_idx(path: str | os.PathLike[str], *, md5: str | None = None) -> np.ndarray:
    """Return the array of an IDX file.

    Parameters
    ----------
    path : str or PathLike
        The file; one that starts as gzip files do is unpacked in memory.
    md5 : str, optional
        Expected MD5 of the unpacked file.

    Returns
    -------
    ndarray
        Writable, in the byte order of this machine.

    Raises
    ------
    ValueError
        If the file is damaged, is not an IDX file, or its checksum is wrong.

    Notes
    -----
    The format: two zero bytes, one byte for the type, one for the number of dimensions, their sizes
    as big-endian 32-bit integers, then the entries in row-major order.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.NamedTemporaryFile() as file:
    ...     _ = file.write(bytes([0, 0, 8, 1, 0, 0, 0, 3, 7, 8, 9])), file.flush()
    ...     read_idx(file.name)
    array([7, 8, 9], dtype=uint8)
    """
    raw = Path(path).read_bytes()
    if raw.startswith(_GZIP):
        try:
            raw = gzip.decompress(raw)
        except (OSError, EOFError, zlib.error) as error:
            raise ValueError(f"{path} is a damaged gzip file: {error}") from error
    if md5 is not None and (found := hashlib.md5(raw).hexdigest()) != md5:
        raise ValueError(f"{path} unpacked has md5 {found}, expected {md5}")
    if len(raw) < 4 or raw[:2] != b"\0\0" or raw[2] not in _TYPES or len(raw) < 4 + 4 * raw[3]:
        raise ValueError(f"{path} is not an IDX file: it starts with {raw[:4].hex(' ')}")
    dtype = np.dtype(_TYPES[raw[2]])
    start = 4 + 4 * raw[3]
    shape = tuple(np.frombuffer(raw[4:start], ">u4").tolist())
    expected = start + dtype.itemsize * math.prod(shape)
    if len(raw) != expected:
        raise ValueError(
            f"{path} has {len(raw)} bytes, but an array of shape {shape} takes {expected}"
        )
    return np.frombuffer(raw, dtype, offset=start).reshape(shape).astype(dtype.newbyteorder("="))
