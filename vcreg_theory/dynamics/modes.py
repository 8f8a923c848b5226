r"""One mode of DirectSet: its threshold, its fixed points and its basin.

A mode has signal variance :math:`x`, view variance :math:`c = x + x'` with :math:`x' \ge 0` added
by the augmentation, and weight :math:`s`. With the predictor's eigenvalue
:math:`p = (\kappa s^2)^\alpha`,

.. math:: \dot s = s (x p - c p^2 - \eta), \qquad \dot p = 2\alpha\, p (x p - c p^2 - \eta),

where :math:`\kappa = x` if the predictor is set from the clean correlation :math:`W X W^\top`,
:math:`c` if from the augmented :math:`W \Sigma W^\top`, and 1 if from :math:`W W^\top`.
All functions broadcast over arrays of modes.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from .._types import FloatArray
from . import arrays

CORRELATIONS = ("clean", "augmented", "gram")


class FixedPoints(NamedTuple):
    """The two fixed points of p other than 0; NaN, both, where they are not real."""

    lower: FloatArray
    upper: FloatArray


class BlockFixedPoints(NamedTuple):
    """Fixed points of the block model, as eigenvalues of the predictor and as weights s."""

    lower: FloatArray
    upper: FloatArray
    lower_weight: FloatArray
    upper_weight: FloatArray


def critical_weight_decay(sigma2: ArrayLike) -> FloatArray:
    r"""Return the weight decay above which the block model discards augmented directions.

    .. math:: \eta^\star = \frac{1}{4 (1 + \sigma^2)}

    Parameters
    ----------
    sigma2 : array_like
        Variance of the augmentation where the input has variance 1, not negative.

    Returns
    -------
    ndarray
        A NumPy scalar for a scalar.

    Raises
    ------
    ValueError
        If `sigma2` is negative or not finite.

    Notes
    -----
    Claim C4.b; 1/4 is the threshold of the invariant directions.

    Examples
    --------
    >>> float(critical_weight_decay(1.0))
    0.125
    """
    return mode_critical_weight_decay(1.0, 1.0 + arrays.numbers("sigma2", sigma2, least=0))


def mode_critical_weight_decay(x: ArrayLike, c: ArrayLike) -> FloatArray:
    r"""Return the weight decay above which no predictor keeps a mode.

    .. math:: \eta^\star = \max_p (x p - c p^2) = \frac{x^2}{4 c} = \frac{x \rho}{4}

    Parameters
    ----------
    x, c : array_like
        Signal and view variance of the modes, 0 < x <= c.

    Returns
    -------
    ndarray

    Raises
    ------
    ValueError
        If a variance is out of range.

    Notes
    -----
    Claims C3.b, C4.a and C4.c: variance times invariance, not invariance alone.

    Examples
    --------
    >>> mode_critical_weight_decay([1.0, 2.0], 2.0)
    array([0.125, 0.5  ])
    """
    x, c = arrays.modes(x, c)
    return (x * (x / c) / 4)[()]


def mode_fixed_points(x: ArrayLike, c: ArrayLike, weight_decay: ArrayLike) -> FixedPoints:
    r"""Return the fixed points of the predictor's eigenvalue in each mode.

    .. math:: p_\pm = \frac{x \pm \sqrt{x^2 - 4 \eta c}}{2 c}

    Parameters
    ----------
    x, c : array_like
        Signal and view variance of the modes, 0 < x <= c.
    weight_decay : array_like
        The decay :math:`\eta`, not negative.

    Returns
    -------
    FixedPoints
        NaN where the weight decay is above `mode_critical_weight_decay`, where only 0 is fixed;
        equal to each other within 4 units of rounding of it.

    Raises
    ------
    ValueError
        If a variance or the weight decay is out of range.

    Notes
    -----
    Claim C3.b. The lower one is computed as :math:`2\eta / (x + \sqrt D)`, which does not cancel.

    Examples
    --------
    >>> mode_fixed_points(1.0, 2.0, [0.0, 0.125, 0.2])
    FixedPoints(lower=array([0.  , 0.25,  nan]), upper=array([0.5 , 0.25,  nan]))
    """
    x, c, eta = broadcast(x, c, weight_decay)
    root = discriminant_root(x, c, eta)
    return FixedPoints((2 * eta / (x + root))[()], ((x + root) / (2 * c))[()])


def fixed_points(alpha: ArrayLike, sigma2: ArrayLike, weight_decay: ArrayLike) -> BlockFixedPoints:
    r"""Return the fixed points of DirectSet(alpha) in a mode of the block model.

    .. math:: p_\pm = \frac{1 \pm \sqrt{1 - 4 \eta (1 + \sigma^2)}}{2 (1 + \sigma^2)}, \qquad
        s_\pm = p_\pm^{1 / (2\alpha)}

    Parameters
    ----------
    alpha : array_like
        Power of the correlation, positive.
    sigma2 : array_like
        Variance of the augmentation in the mode: 0 for the invariant directions.
    weight_decay : array_like
        The decay :math:`\eta`, not negative.

    Returns
    -------
    BlockFixedPoints
        `upper` is stable and `lower` is the end of the basin of 0; NaN where they are not real,
        as in `mode_fixed_points`. The weights are those of the clean correlation.

    Raises
    ------
    ValueError
        If an argument is out of range.

    Notes
    -----
    Claims C3.b and C4.b: started at :math:`W_0 = \delta I`, the invariant directions end at
    `upper_weight` if :math:`\delta` is above `lower_weight`, else at 0.

    Examples
    --------
    >>> found = fixed_points(0.5, 0.0, 0.1875)
    >>> float(found.lower), float(found.upper), float(found.upper_weight)
    (0.25, 0.75, 0.75)
    """
    sigma2 = arrays.numbers("sigma2", sigma2, least=0)
    lower, upper = mode_fixed_points(1.0, 1.0 + sigma2, weight_decay)
    power = 1 / (2 * arrays.numbers("alpha", alpha, above=0))
    return BlockFixedPoints(*np.broadcast_arrays(lower, upper, lower**power, upper**power))


def basin_boundary(
    x: ArrayLike,
    c: ArrayLike,
    weight_decay: ArrayLike,
    alpha: ArrayLike,
    *,
    correlation: str = "clean",
) -> FloatArray:
    r"""Return the initial weight above which a mode is kept and below which it dies.

    .. math:: s_- = \bigl(p_-^{1/\alpha} / \kappa\bigr)^{1/2}

    Parameters
    ----------
    x, c, weight_decay : array_like
        As in `mode_fixed_points`.
    alpha : array_like
        Power of the correlation, positive.
    correlation : {"clean", "augmented", "gram"}
        What the predictor is set from; it decides :math:`\kappa`.

    Returns
    -------
    ndarray
        Infinite above the critical weight decay, where no start is large enough.

    Raises
    ------
    ValueError
        If an argument is out of range.

    Notes
    -----
    Claims C3.b and C4.c.

    Examples
    --------
    >>> basin_boundary(1.0, 1.0, [0.0, 0.1875, 0.3], 0.5)
    array([0.  , 0.25,  inf])
    """
    x, c, eta, alpha = broadcast(x, c, weight_decay, alpha)
    lower = mode_fixed_points(x, c, eta).lower
    weight = mode_weight(lower, x, c, alpha, correlation)
    return np.where(np.isnan(lower), np.inf, weight)[()]


def mode_weight(
    p: FloatArray, x: FloatArray, c: FloatArray, alpha: FloatArray, correlation: str
) -> FloatArray:
    """Return the weight s >= 0 at which the predictor has eigenvalue p."""
    return np.sqrt(p ** (1 / alpha) / mode_variance(x, c, correlation))


def mode_variance(x: FloatArray, c: FloatArray, correlation: str) -> FloatArray:
    """Return the variance that the correlation sees in each mode."""
    arrays.option("correlation", correlation, CORRELATIONS)
    return {"clean": x, "augmented": c, "gram": np.ones_like(x)}[correlation]


def broadcast(
    x: ArrayLike, c: ArrayLike, weight_decay: ArrayLike, alpha: ArrayLike | None = None
) -> list[FloatArray]:
    """Return the parameters of modes, checked and of one shape; alpha only if it is given."""
    values = [*arrays.modes(x, c), arrays.numbers("weight_decay", weight_decay, least=0)]
    if alpha is not None:
        values.append(arrays.numbers("alpha", alpha, above=0))
    return list(np.broadcast_arrays(*values))


def discriminant_root(x: FloatArray, c: FloatArray, eta: FloatArray) -> FloatArray:
    """Return the root of the discriminant, NaN where it is negative by more than rounding."""
    scaled = 1 - 4 * (eta / x) * (c / x)
    scaled = np.where(np.abs(scaled) <= 4 * np.finfo(np.float64).eps, 0.0, scaled)
    return x * np.sqrt(np.where(scaled < 0, np.nan, scaled))
