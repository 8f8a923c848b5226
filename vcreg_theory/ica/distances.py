"""How far an unmixing is from the true one, up to order, sign and scale."""

from typing import Any, NamedTuple

import numpy as np
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from .._types import FloatArray, IndexArray


def amari_distance(W: Any, A: Any) -> float:
    r"""Return the Amari distance between an unmixing matrix and a mixing matrix.

    .. math::
        \frac1{2d} \Bigl[ \sum_i \Bigl( \sum_j \frac{P_{ij}^2}{\max_k P_{ik}^2} - 1 \Bigr)
        + \sum_j \Bigl( \sum_i \frac{P_{ij}^2}{\max_k P_{kj}^2} - 1 \Bigr) \Bigr],
        \qquad P = W A

    It is 0 for a scaled signed permutation and at most d - 1, in the normalisation of picard.

    Parameters
    ----------
    W : array_like or Tensor, shape (d, p)
        Unmixing matrix, such as ``components_``.
    A : array_like or Tensor, shape (p, d)
        Mixing matrix.

    Returns
    -------
    float

    Raises
    ------
    ValueError
        If the shapes do not fit, an entry is not finite, or a row or column of W A is zero.

    Notes
    -----
    Squares make this distance about the mean squared error of the gains; see `amari_index` for the
    first powers.

    Examples
    --------
    >>> amari_distance([[0.0, 2.0], [-1.0, 0.0]], np.eye(2))
    0.0
    >>> amari_distance([[1.0, 1.0], [1.0, -1.0]], np.eye(2))
    1.0
    """
    gains = np.abs(_product(W, A))
    return _spread(gains, 2) / (2 * len(gains))


def amari_index(W: Any, A: Any) -> float:
    r"""Return the Amari index, the same with first powers and within [0, 1].

    .. math::
        \frac1{2d(d - 1)} \Bigl[ \sum_i \Bigl( \sum_j \frac{|P_{ij}|}{\max_k |P_{ik}|} - 1 \Bigr)
        + \sum_j \Bigl( \sum_i \frac{|P_{ij}|}{\max_k |P_{kj}|} - 1 \Bigr) \Bigr],
        \qquad P = W A

    Parameters
    ----------
    W : array_like or Tensor, shape (d, p)
        Unmixing matrix.
    A : array_like or Tensor, shape (p, d)
        Mixing matrix.

    Returns
    -------
    float
        About 0.8 times the typical size of a wrong gain, if those are small.

    Raises
    ------
    ValueError
        As for `amari_distance`.

    Examples
    --------
    >>> amari_index([[1.0, 1.0], [1.0, -1.0]], np.eye(2))
    1.0
    """
    gains = np.abs(_product(W, A))
    d = len(gains)
    return _spread(gains, 1) / (2 * d * (d - 1)) if d > 1 else 0.0


class Match(NamedTuple):
    """Which estimate belongs to which source.

    Column ``order[j]`` of the estimates, times ``signs[j]``, matches source j with the absolute
    correlation ``correlations[j]``.
    """

    order: IndexArray
    signs: FloatArray
    correlations: FloatArray


def match_sources(estimates: Any, sources: Any) -> Match:
    """Match estimates to sources, one to one, by the largest sum of absolute correlations.

    Parameters
    ----------
    estimates : array_like or Tensor, shape (n, k)
        Estimated sources, k at least d.
    sources : array_like or Tensor, shape (n, d)
        True sources.

    Returns
    -------
    Match

    Raises
    ------
    ValueError
        If the shapes do not fit, an entry is not finite or a column is constant.

    Examples
    --------
    >>> s = np.array([[1.0, 2.0], [2.0, -1.0], [-3.0, 0.5]])
    >>> match_sources(-2 * s[:, ::-1], s).order
    array([1, 0])
    """
    y, s = _standardised("estimates", estimates), _standardised("sources", sources)
    if len(y) != len(s) or y.shape[1] < s.shape[1]:
        raise ValueError(
            "estimates must have as many rows as sources and at least as many columns, "
            f"got shapes {y.shape} and {s.shape}"
        )
    correlation = s.T @ y / len(s)
    rows, order = linear_sum_assignment(-np.abs(correlation))
    found = correlation[rows, order]
    return Match(order, np.where(found < 0, -1.0, 1.0), np.minimum(np.abs(found), 1.0))


def mean_correlation_coefficient(estimates: Any, sources: Any) -> float:
    """Return the mean absolute correlation of matched estimates and sources, at most 1.

    Parameters
    ----------
    estimates, sources : array_like or Tensor, shapes (n, k) and (n, d)
        As for `match_sources`.

    Returns
    -------
    float

    Notes
    -----
    Claim A6.e.

    Examples
    --------
    >>> s = np.array([[1.0, 2.0], [2.0, -1.0], [-3.0, 0.5]])
    >>> round(mean_correlation_coefficient(-2 * s[:, ::-1], s), 12)
    1.0
    """
    return float(match_sources(estimates, sources).correlations.mean())


def _array(name: str, value: Any) -> FloatArray:
    """Return a finite float64 matrix."""
    array = value.detach().cpu().numpy() if isinstance(value, Tensor) else np.asarray(value)
    if array.dtype.kind not in "iuf" or array.ndim != 2 or not array.size:
        raise ValueError(
            f"{name} must be a matrix of real numbers, got {array.dtype} of shape {array.shape}"
        )
    if not np.isfinite(array).all():
        bad = int((~np.isfinite(array)).sum())
        raise ValueError(f"{name} must be finite, got {bad} NaN or infinite of {array.size}")
    return array.astype(np.float64)


def _product(W: Any, A: Any) -> FloatArray:
    """Return W A if it is square and has a largest entry in every row and column."""
    w, a = _array("W", W), _array("A", A)
    if w.shape != a.T.shape:
        raise ValueError(f"W and A must have shapes (d, p) and (p, d), got {w.shape} and {a.shape}")
    product = w @ a
    if not np.isfinite(product).all():
        raise ValueError("W @ A must be finite, got an overflow")
    if not (product.any(0).all() and product.any(1).all()):
        raise ValueError("W @ A must not have a row or column of zeros")
    return product


def _spread(p: FloatArray, power: int) -> float:
    """Return the sums of powers over the largest one of each row and column, less one each."""
    rows = ((p / p.max(1, keepdims=True)) ** power).sum() - len(p)
    columns = ((p / p.max(0, keepdims=True)) ** power).sum() - len(p)
    return float(rows + columns)


def _standardised(name: str, value: Any) -> FloatArray:
    """Return columns of mean zero and variance one."""
    array = _array(name, value)
    largest = np.abs(array).max(0)
    array = array / np.where(largest > 0, largest, 1.0)
    centred = array - array.mean(0)
    scale = centred.std(0)
    if (scale <= 1e-14).any():
        raise ValueError(f"{name} must have no constant column")
    standard: FloatArray = centred / scale
    return standard
