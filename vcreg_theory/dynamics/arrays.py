"""Checks of the NumPy arguments of the theory: matrices, second moments, arrays of modes.

Each function returns the value it accepts in float64 and raises otherwise; tensors are copied from
torch. Equalities are asked for up to `SLACK` times the largest entry or eigenvalue: two sums of
the same n products differ by at most about n u of it, u the spacing of float64 at 1, which stays
below `SLACK` for up to 6e7 products, and a mistake is seldom that small.
"""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from torch import Tensor

from .._types import FloatArray

SLACK = float(np.sqrt(np.finfo(np.float64).eps))


def numbers(
    name: str, value: ArrayLike, *, above: float | None = None, least: float | None = None
) -> FloatArray:
    """Return real, finite numbers of any shape, larger than `above` or at least `least`."""
    if isinstance(value, Tensor):
        value = value.detach().cpu().numpy()
    array = np.asarray(value)
    if array.dtype.kind not in "iuf":
        raise TypeError(f"{name} must hold real numbers, got dtype {array.dtype}")
    array = array.astype(np.float64)
    bad = int((~np.isfinite(array)).sum())
    if bad:
        raise ValueError(f"{name} must be finite, got {bad} NaN or infinite of {array.size}")
    if above is not None and (array <= above).any():
        raise ValueError(f"{name} must be above {above:g}, got {array.min():g}")
    if least is not None and (array < least).any():
        raise ValueError(f"{name} must be at least {least:g}, got {array.min():g}")
    return array


def counts(name: str, value: ArrayLike, *, least: int) -> FloatArray:
    """Return whole numbers that are at least `least`, as floats for the formulas they enter."""
    array = numbers(name, value, least=least)
    if (array != np.round(array)).any():
        raise ValueError(f"{name} must be whole, got {array[array != np.round(array)].flat[0]:g}")
    return array


def matrix(
    name: str, value: Any, *, shape: tuple[int | None, int | None] = (None, None)
) -> FloatArray:
    """Return a finite matrix with at least one entry; `shape` fixes the sizes that are not None."""
    array = numbers(name, value)
    if array.ndim != 2 or array.size == 0:
        raise ValueError(f"{name} must be a matrix with at least one entry, got {array.shape}")
    wanted = tuple(a if a is not None else b for a, b in zip(shape, array.shape, strict=True))
    if array.shape != wanted:
        raise ValueError(f"{name} must have shape {wanted}, got {array.shape}")
    return array


def vector(name: str, value: ArrayLike, *, least: float | None = None) -> FloatArray:
    """Return finite numbers in a row, at least `least`."""
    array = numbers(name, value, least=least)
    if array.ndim != 1:
        raise ValueError(f"{name} must be a vector, got shape {array.shape}")
    return array


def symmetric(name: str, value: Any, *, size: int | None = None) -> FloatArray:
    """Return a symmetric matrix, with rounding errors of its symmetry averaged away."""
    array = matrix(name, value)
    k = array.shape[0] if size is None else size
    if array.shape != (k, k):
        raise ValueError(f"{name} must be square of size {k}, got shape {array.shape}")
    gap, largest = np.abs(array - array.T).max(), np.abs(array).max()
    if gap > SLACK * largest:
        raise ValueError(
            f"{name} must be symmetric, got entries that differ from their mirror image by "
            f"{gap:.3g} where the largest is {largest:.3g}"
        )
    return (array + array.T) / 2


def semidefinite(
    name: str, value: Any, *, size: int | None = None, scale: float = 0.0
) -> FloatArray:
    """Return a symmetric matrix without negative eigenvalues; `scale` adds to the slack's scale."""
    array = symmetric(name, value, size=size)
    values = np.linalg.eigvalsh(array)
    if values[0] < -SLACK * max(np.abs(values).max(), scale):
        raise ValueError(
            f"{name} must be positive semi-definite, got eigenvalues from {values[0]:.3g} "
            f"to {values[-1]:.3g}"
        )
    return array


def definite(name: str, matrix: FloatArray) -> FloatArray:
    """Return a symmetric matrix whose eigenvalues are all positive beyond rounding."""
    values = np.linalg.eigvalsh(matrix)
    if values[0] <= len(matrix) * np.finfo(np.float64).eps * values[-1]:
        raise ValueError(f"{name} must be positive definite, got the eigenvalue {values[0]:.3g}")
    return matrix


def moments(X: Any, Sigma: Any, *, indefinite: bool = False) -> tuple[FloatArray, FloatArray]:
    """Return cross-view and second moments of views: both, and Sigma - X, are semi-definite.

    With `indefinite`, the cross-view moment may have negative eigenvalues, as an estimate from few
    pairs has; then Sigma + X is checked in its place.
    """
    Sigma = semidefinite("Sigma", Sigma)
    X = symmetric("X", X, size=Sigma.shape[0])
    largest = float(np.abs(Sigma).max())
    if indefinite:
        semidefinite("Sigma + X", Sigma + X, scale=largest)
    else:
        semidefinite("X", X)
    semidefinite("Sigma - X, the covariance of the augmentation,", Sigma - X, scale=largest)
    return X, Sigma


def modes(x: ArrayLike, c: ArrayLike) -> tuple[FloatArray, FloatArray]:
    """Return eigenvalues of X and Sigma in common modes, broadcast together: 0 < x <= c."""
    x, c = np.broadcast_arrays(numbers("x", x, above=0), numbers("c", c, above=0))
    if (c < x * (1 - SLACK)).any():
        raise ValueError(
            "c must be at least x, as c - x is the variance of the augmentation, "
            f"got a difference of {(c - x).min():g}"
        )
    return x, c


def option(name: str, value: Any, allowed: tuple[str, ...]) -> str:
    """Return a string if it is one of those allowed, a value of another type raises TypeError."""
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a string, got {value!r}")
    if value not in allowed:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, allowed))}, got {value!r}")
    return value
