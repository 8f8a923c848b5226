"""The state of a training run: everything that a resumed run needs to continue exactly."""

import hashlib
import io
from collections import OrderedDict
from typing import Any

import torch
from torch import Tensor, nn

from ..files import PathLike, read, write

_MAGIC = b"vcreg-theory training state 1\n"
_HEADER = len(_MAGIC) + 65  # the sha256 of the rest in hexadecimal, and a line end
# What torch.load reads back with weights_only; subclasses such as numpy.float64 are not among it.
_LEAVES = (bool, int, float, str, type(None), Tensor, nn.Parameter, torch.dtype, torch.Size)


def save_state(path: PathLike, state: dict[Any, Any]) -> None:
    """Write a training state: the old file or the new one is there, whole, whatever happens.

    Parameters
    ----------
    path : path
        File to write; missing folders are made.
    state : dict
        Tensors, numbers, strings and None, nested in dicts, lists and tuples: state dictionaries of
        models and optimisers, states of generators, counters.

    Raises
    ------
    TypeError
        If a part is of another type, which could be written and not read; the message says where.
    OSError
        If the file cannot be written; the message names `path`.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_state(f"{folder}/state", {"step": 3, "w": torch.ones(2)})
    ...     load_state(f"{folder}/state")
    {'step': 3, 'w': tensor([1., 1.])}
    """
    if not isinstance(state, dict):
        raise TypeError(f"state must be a dict, got {type(state).__name__}")
    _refuse_unreadable("state", state)
    buffer = io.BytesIO()
    torch.save(state, buffer)
    payload = buffer.getbuffer()
    digest = hashlib.sha256(payload).hexdigest()
    write(path, b"".join((_MAGIC, digest.encode(), b"\n", payload)))


def load_state(path: PathLike) -> dict[Any, Any]:
    """Return the training state that `save_state` wrote, with all tensors on the CPU.

    Parameters
    ----------
    path : path
        File to read. It runs no code, whatever it holds.

    Returns
    -------
    dict
        Equal to what was saved, types and dtypes included.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is not a training state, or was cut off or altered; the message names `path`.
    """
    data = memoryview(read(path, "training state"))
    if data[: len(_MAGIC)] != _MAGIC:
        raise ValueError(f"{path} is not a training state written by save_state, or was altered")
    if len(data) < _HEADER:
        raise ValueError(f"{path} is cut off: {len(data)} bytes, less than its header")
    payload = data[_HEADER:]
    digest = hashlib.sha256(payload).hexdigest().encode()
    if data[len(_MAGIC) : _HEADER] != digest + b"\n":
        raise ValueError(
            f"{path} was cut off or altered: the sha256 of its content is {digest.decode()}, "
            f"its header says {bytes(data[len(_MAGIC) : _HEADER - 1])!r}"
        )
    state: dict[Any, Any] = torch.load(io.BytesIO(payload), map_location="cpu", weights_only=True)
    return state


def _refuse_unreadable(where: str, value: Any) -> None:
    """Raise for the first part of `value` that `load_state` would not read."""
    if type(value) in (dict, OrderedDict):
        for key, part in value.items():
            if type(key) not in (str, int):
                raise TypeError(f"{where} must have strings or integers as keys, got {key!r}")
            _refuse_unreadable(f"{where}[{key!r}]", part)
    elif type(value) in (list, tuple):
        for index, part in enumerate(value):
            _refuse_unreadable(f"{where}[{index}]", part)
    elif type(value) not in _LEAVES:
        raise TypeError(
            f"{where} must be a tensor, number, string or container of such, "
            f"got {type(value).__name__}"
        )
