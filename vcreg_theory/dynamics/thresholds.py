"""The threshold of the weight decay where the moments have no common eigenbasis."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import optimize

from .. import validation
from .._types import FloatArray
from . import arrays
from .modes import CORRELATIONS

_CELLS = 64  # first intervals of p, before the search divides those that may hold the maximum


class CollapseThreshold(NamedTuple):
    """The threshold, and the predictor's eigenvalue `p` and unit direction `v` that attain it."""

    weight_decay: float
    p: float
    v: FloatArray


def collapse_threshold(X: ArrayLike, Sigma: ArrayLike, *, rtol: float = 1e-12) -> CollapseThreshold:
    r"""Return the weight decay above which every symmetric predictor lets all of W collapse.

    .. math:: \eta_c = \max_v \frac{(v^\top X v)^2}{4\, v^\top v\; v^\top \Sigma v}
        = \max_{p \ge 0} \lambda_{\max}(p X - p^2 \Sigma)

    Parameters
    ----------
    X, Sigma : array_like, shape (d, d)
        Cross-view and second moment of the views. They need not commute. An estimate of X may have
        negative eigenvalues; the maximum is over p >= 0 then.
    rtol : float
        Relative distance to the maximum, not below 1e-14.

    Returns
    -------
    CollapseThreshold
        0 at p = 0 where X has no positive eigenvalue.

    Raises
    ------
    ValueError
        If the moments are none.

    Notes
    -----
    Claim C4.f. With :math:`h(p) = \lambda_{\max}(X - p \Sigma)`, which is convex and falls to at
    most 0 at p = 1, the objective is :math:`p\,h(p)`. On an interval h lies below its chord, and
    p times a chord has an explicit maximum: intervals that cannot hold the maximum are dropped,
    the others halved. So the maximum found is the global one, of several local ones.

    Examples
    --------
    >>> found = collapse_threshold(np.eye(2), np.diag([1.0, 3.0]))
    >>> round(found.weight_decay, 12), round(found.p, 6)
    (0.25, 0.5)
    """
    X, Sigma = arrays.moments(X, Sigma, indefinite=True)
    rtol = max(validation.positive("rtol", rtol), 1e-14)
    p = _maximiser(X, Sigma, rtol)
    values, vectors = np.linalg.eigh(p * X - p**2 * Sigma)
    return CollapseThreshold(max(0.0, float(values[-1])), p, vectors[:, -1])


def _maximiser(X: FloatArray, Sigma: FloatArray, rtol: float) -> float:
    """Return the maximiser of ``p h(p)`` on [0, 1]; 0 if it is nowhere positive."""
    edges = np.linspace(0.0, 1.0, _CELLS + 1)
    cells = np.stack([edges[:-1], edges[1:]], axis=1)
    levels = np.stack([_levels(X, Sigma, cells[:, side]) for side in (0, 1)], axis=1)
    best, maximum = 0.0, 0.0
    while len(cells):
        products = cells * levels
        place = np.unravel_index(products.argmax(), products.shape)
        if products[place] > maximum:
            best, maximum = float(cells[place]), float(products[place])
        ceiling = _ceilings(cells, levels)
        wide = cells[:, 1] - cells[:, 0] > np.finfo(np.float64).eps
        hopeful = (ceiling > maximum * (1 + rtol)) & (ceiling > 0) & wide
        cells, levels = cells[hopeful], levels[hopeful]
        middles = cells.mean(1)
        inner = _levels(X, Sigma, middles)
        cells = _halves(cells, middles)
        levels = _halves(levels, inner)
    return best


def _halves(pairs: FloatArray, middles: FloatArray) -> FloatArray:
    """Return the left and right halves of pairs that share a middle."""
    left = np.stack([pairs[:, 0], middles], axis=1)
    return np.concatenate([left, np.stack([middles, pairs[:, 1]], axis=1)])


def _levels(X: FloatArray, Sigma: FloatArray, p: FloatArray) -> FloatArray:
    """Return ``lambda_max(X - p Sigma)`` for each p."""
    return np.array([np.linalg.eigvalsh(X - value * Sigma)[-1] for value in p])


def _ceilings(cells: FloatArray, levels: FloatArray) -> FloatArray:
    """Return the maximum over each interval of p times the chord of the levels at its ends."""
    (low, high), (at_low, at_high) = cells.T, levels.T
    slope = (at_high - at_low) / (high - low)
    start = at_low - slope * low
    with np.errstate(divide="ignore", invalid="ignore"):
        peak = np.where(slope < 0, -start / (2 * slope), high)
    peak = peak.clip(low, high)
    found: FloatArray = peak * (start + slope * peak)
    return found


def rank_one_fixed_point(
    X: ArrayLike,
    Sigma: ArrayLike,
    weight_decay: float,
    alpha: float,
    *,
    correlation: str = "clean",
) -> FloatArray:
    r"""Return weights of one row at which DirectSet stands still, for moments of any kind.

    .. math:: W = s v^\top, \qquad (p X - p^2 \Sigma - \eta I)\, v = 0, \qquad
        p = (s^2\, v^\top K v)^\alpha

    with the largest such p, and K = X, Sigma or I as the correlation is.

    Parameters
    ----------
    X, Sigma : array_like, shape (d, d)
        Cross-view and second moment of the views.
    weight_decay : float
        The decay :math:`\eta`, above 0 and below `collapse_threshold`.
    alpha : float
        Power of the correlation, positive.
    correlation : {"clean", "augmented", "gram"}
        What the predictor is set from.

    Returns
    -------
    ndarray, shape (1, d)
        The sign is that with a positive sum of entries.

    Raises
    ------
    ValueError
        If an argument is out of range.

    Notes
    -----
    Claim C4.f, which does not say that the fixed point is stable.

    Examples
    --------
    >>> rank_one_fixed_point(np.eye(2), np.diag([1.0, 3.0]), 0.1875, 0.5).round(12) + 0.0
    array([[0.75, 0.  ]])
    """
    threshold = collapse_threshold(X, Sigma)
    X, Sigma = arrays.moments(X, Sigma, indefinite=True)
    eta, alpha = (
        validation.positive("weight_decay", weight_decay),
        validation.positive("alpha", alpha),
    )
    arrays.option("correlation", correlation, CORRELATIONS)
    if eta >= threshold.weight_decay:
        raise ValueError(
            f"weight_decay must be below the threshold {threshold.weight_decay:g}, got {eta:g}"
        )

    def excess(p: float) -> float:
        return float(np.linalg.eigvalsh(p * X - p**2 * Sigma)[-1]) - eta

    p = optimize.brentq(excess, threshold.p, 1.0, xtol=1e-15, rtol=1e-15)
    v = np.linalg.eigh(p * X - p**2 * Sigma)[1][:, -1]
    seen = {"clean": v @ X @ v, "augmented": v @ Sigma @ v, "gram": 1.0}[correlation]
    found: FloatArray = np.copysign(np.sqrt(p ** (1 / alpha) / seen), v.sum()) * v[None]
    return found
