"""Batches of codes: their checks, and how they are centred without loss."""

from typing import Any

import torch
from torch import Tensor

from .. import validation

# Beyond it squares overflow, and a NaN would follow without a word.
_LARGEST = 1e150


def widened(value: Any) -> Any:
    """Return a half-precision tensor in float32 and anything else as it is.

    Parameters
    ----------
    value : object

    Examples
    --------
    >>> widened(torch.zeros(1, dtype=torch.bfloat16)).dtype
    torch.float32
    """
    half = isinstance(value, Tensor) and value.dtype in (torch.float16, torch.bfloat16)
    return value.float() if half else value


def codes(name: str, z: Tensor, *, min_rows: int = 2) -> Tensor:
    """Return a batch of codes in float32 at least, checked.

    Parameters
    ----------
    name : str
        Argument name used in messages.
    z : Tensor, shape (n, d)
        Codes, row by row; half precision is cast to float32.
    min_rows : int
        Smallest allowed n.

    Raises
    ------
    TypeError
        If `z` is not a floating tensor.
    ValueError
        If it is not a matrix of finite entries with enough rows and at least one column.

    Examples
    --------
    >>> codes("z", torch.zeros(2, 3, dtype=torch.float16)).dtype
    torch.float32
    """
    z = widened(z)
    validation.tensor(name, z, ndim=2, min_rows=min_rows)
    if z.shape[1] == 0:
        raise ValueError(f"{name} must have at least 1 column, got shape {tuple(z.shape)}")
    largest = float(z.detach().abs().max())
    if largest > _LARGEST:
        raise ValueError(f"{name} must have entries below {_LARGEST:g}, got {largest:g}")
    return z


def centred(z: Tensor) -> Tensor:
    """Return the codes in float64, minus their mean; exactly zero where they all coincide.

    The first code is subtracted before the mean is formed: differences of neighbouring numbers are
    exact, so a common offset costs no digits.

    Parameters
    ----------
    z : Tensor, shape (n, d)

    Returns
    -------
    Tensor, shape (n, d)

    Examples
    --------
    >>> centred(torch.full((3, 1), 0.1)).abs().max()
    tensor(0., dtype=torch.float64)
    """
    x = z.double()
    x = x - x[0].detach()
    return x - x.mean(0)
