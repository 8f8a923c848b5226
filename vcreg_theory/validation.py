"""Checks of arguments: one wording for every error of the package.

Each function returns the value it accepts and raises otherwise, so that it reads as part of an
assignment: ``sigma = nonnegative("sigma", sigma)``.
"""

import math
from collections.abc import Iterable
from numbers import Integral, Real
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ._types import FloatArray


def tensor(
    name: str,
    value: Any,
    *,
    ndim: int | tuple[int, ...] | None = None,
    finite: bool = True,
    min_rows: int = 0,
) -> Tensor:
    """Return `value` if it is a floating tensor of an allowed shape without NaN or infinity.

    Parameters
    ----------
    name : str
        Argument name used in the message.
    value : Tensor
        The value to check.
    ndim : int or tuple of int, optional
        Allowed numbers of dimensions.
    finite : bool
        Whether NaN and infinity are rejected.
    min_rows : int
        Smallest allowed size of the first dimension.

    Raises
    ------
    TypeError
        If `value` is not a float32 or float64 tensor.
    ValueError
        If its shape or its entries are not allowed.

    Examples
    --------
    >>> tensor("z", torch.zeros(3), ndim=2)
    Traceback (most recent call last):
    ...
    ValueError: z must have 2 dimensions, got shape (3,)
    """
    if not isinstance(value, Tensor):
        raise TypeError(f"{name} must be a torch.Tensor, got {type(value).__name__}")
    if value.dtype not in (torch.float32, torch.float64):
        raise TypeError(f"{name} must be float32 or float64, got {value.dtype}")
    allowed = (ndim,) if isinstance(ndim, int) else ndim
    if allowed is not None and value.ndim not in allowed:
        wanted = " or ".join(map(str, allowed))
        raise ValueError(f"{name} must have {wanted} dimensions, got shape {tuple(value.shape)}")
    if min_rows and (value.ndim == 0 or value.shape[0] < min_rows):
        raise ValueError(
            f"{name} must have at least {min_rows} {'row' if min_rows == 1 else 'rows'}, "
            f"got shape {tuple(value.shape)}"
        )
    if finite and not bool(torch.isfinite(value).all()):
        bad = int((~torch.isfinite(value)).sum())
        raise ValueError(f"{name} must be finite, got {bad} NaN or infinite of {value.numel()}")
    return value


def same_shape(name_a: str, a: Tensor, name_b: str, b: Tensor) -> None:
    """Raise ``ValueError`` unless two tensors have one shape, dtype and device."""
    if a.shape != b.shape:
        raise ValueError(
            f"{name_a} and {name_b} must have the same shape, "
            f"got {tuple(a.shape)} and {tuple(b.shape)}"
        )
    if a.dtype != b.dtype or a.device != b.device:
        raise ValueError(
            f"{name_a} and {name_b} must share dtype and device, "
            f"got {a.dtype} on {a.device} and {b.dtype} on {b.device}"
        )


def real(name: str, value: Any) -> float:
    """Return `value` as a float if it is a finite real number."""
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{name} must be a real number, got {value!r}")
    if not math.isfinite(value):
        raise ValueError(f"{name} must be finite, got {value!r}")
    return float(value)


def positive(name: str, value: Any) -> float:
    """Return `value` as a float if it is finite and above zero."""
    if real(name, value) <= 0:
        raise ValueError(f"{name} must be positive, got {value!r}")
    return float(value)


def nonnegative(name: str, value: Any) -> float:
    """Return `value` as a float if it is finite and not below zero."""
    if real(name, value) < 0:
        raise ValueError(f"{name} must not be negative, got {value!r}")
    return float(value)


def probability(name: str, value: Any) -> float:
    """Return `value` as a float if it lies strictly between 0 and 1."""
    if not 0 < real(name, value) < 1:
        raise ValueError(f"{name} must lie strictly between 0 and 1, got {value!r}")
    return float(value)


def integer(name: str, value: Any, *, at_least: int) -> int:
    """Return `value` as an int if it is an integer of at least `at_least`."""
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise TypeError(f"{name} must be an integer, got {value!r}")
    if value < at_least:
        raise ValueError(f"{name} must be at least {at_least}, got {value!r}")
    return int(value)


def member(name: str, value: Any, allowed: Iterable[Any]) -> Any:
    """Return `value` if it is one of `allowed`."""
    options = tuple(allowed)
    if value not in options:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, options))}, got {value!r}")
    return value


def sample(name: str, value: Any, *, min_size: int = 1) -> FloatArray:
    """Return `value` as a float64 vector if it is one-dimensional, finite and large enough.

    Parameters
    ----------
    name : str
        Argument name used in the message.
    value : Tensor, ndarray or sequence of numbers
        The value to check; a tensor is detached and copied to the CPU.
    min_size : int
        Smallest allowed number of entries.

    Raises
    ------
    TypeError
        If the entries are not real numbers.
    ValueError
        If the shape or the entries are not allowed.

    Examples
    --------
    >>> sample("x", [1, 2, 3], min_size=4)
    Traceback (most recent call last):
    ...
    ValueError: x must have at least 4 entries, got 3
    """
    array = value.detach().cpu().numpy() if isinstance(value, Tensor) else np.asarray(value)
    if array.dtype.kind not in "iuf":
        raise TypeError(f"{name} must hold real numbers, got dtype {array.dtype}")
    if array.ndim != 1:
        raise ValueError(f"{name} must have 1 dimension, got shape {array.shape}")
    if array.size < min_size:
        raise ValueError(f"{name} must have at least {min_size} entries, got {array.size}")
    bad = int((~np.isfinite(array)).sum())
    if bad:
        raise ValueError(f"{name} must be finite, got {bad} NaN or infinite of {array.size}")
    return array.astype(np.float64)


def successes(successes: Any, n: Any) -> tuple[int, int]:
    """Return a number of successes and of trials if they are integers, ``0 <= successes <= n``."""
    n = integer("n", n, at_least=1)
    successes = integer("successes", successes, at_least=0)
    if successes > n:
        raise ValueError(f"successes must be at most n = {n}, got {successes}")
    return successes, n
