"""The pickled batches of the official CIFAR-10 archive, read without running what they contain."""

import io
import pickle
from pathlib import PurePosixPath
from typing import Any

import numpy as np


def _dtype(name: str | bytes, align: int, copy: int) -> np.dtype[Any]:
    """Return a dtype; NumPy 2.4.0 to 2.4.4 warn of the 0 and 1 that old pickles give as truth."""
    text = name.decode("ascii") if isinstance(name, bytes) else name
    return np.dtype(text, align=bool(align), copy=bool(copy))


_ALLOWED: dict[tuple[str, str], Any] = {
    ("numpy", "dtype"): _dtype,
    ("numpy", "ndarray"): np.ndarray,
    # where NumPy 1 and NumPy 2 keep the function that starts an array
    ("numpy.core.multiarray", "_reconstruct"): np.zeros(0).__reduce__()[0],
    ("numpy._core.multiarray", "_reconstruct"): np.zeros(0).__reduce__()[0],
}
_PIXELS = 3 * 32 * 32


class _ArraysOnly(pickle.Unpickler):
    """Build numbers, strings, lists, dictionaries and arrays; refuse every other class."""

    def find_class(self, module: str, name: str) -> Any:
        """Return one of the allowed globals."""
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"{module}.{name} is not allowed here")
        return _ALLOWED[module, name]

    def persistent_load(self, pid: Any) -> Any:
        """Refuse references to objects outside the file."""
        raise pickle.UnpicklingError("references to outside objects are not allowed here")


def unpickle_batch(name: str | PurePosixPath, content: bytes) -> tuple[np.ndarray, np.ndarray]:
    """Return the images and labels of one pickled batch.

    A pickle can name any function of Python and have it called. Here only the constructors of
    NumPy's arrays can be named; strings of Python 2 come back as bytes.

    Parameters
    ----------
    name : str or PurePosixPath
        Name of the file, for messages.
    content : bytes
        The pickle: a dictionary with ``data``, uint8 of shape (n, 3072), and ``labels``, a list.

    Returns
    -------
    images : ndarray of uint8, shape (n, 3, 32, 32)
    labels : ndarray of int64, shape (n,)

    Raises
    ------
    ValueError
        If the pickle is damaged, names anything else, or holds no batch.

    Examples
    --------
    >>> content = pickle.dumps({"data": np.zeros((2, 3072), np.uint8), "labels": [3, 9]})
    >>> images, labels = unpickle_batch("batch", content)
    >>> images.shape, labels
    ((2, 3, 32, 32), array([3, 9]))
    """
    try:
        batch = _ArraysOnly(io.BytesIO(content), encoding="bytes").load()
    except Exception as error:  # a damaged pickle can raise almost anything
        raise ValueError(f"{name} is refused: {type(error).__name__}: {error}") from error
    if not isinstance(batch, dict):
        raise ValueError(f"{name} must hold a dictionary, got {type(batch).__name__}")
    data, labels = (batch.get(key.encode(), batch.get(key)) for key in ("data", "labels"))
    if not isinstance(data, np.ndarray) or data.dtype != np.uint8 or data.shape[1:] != (_PIXELS,):
        shown = f"{data.dtype} {data.shape}" if isinstance(data, np.ndarray) else type(data)
        raise ValueError(f"{name} must hold uint8 data of shape (n, {_PIXELS}), got {shown}")
    if not isinstance(labels, list) or not all(type(label) is int for label in labels):
        raise ValueError(f"{name} must hold a list of integers as labels")
    if len(labels) != len(data) or not all(0 <= label < 10 for label in labels):
        raise ValueError(f"{name} must hold one label of 0 to 9 for each of {len(data)} images")
    return data.reshape(-1, 3, 32, 32), np.array(labels, dtype=np.int64)
