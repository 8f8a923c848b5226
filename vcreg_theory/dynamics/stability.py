r"""Linear stability of DirectSet at its aligned fixed points, and the competition of modes.

Near a fixed point :math:`W = U \operatorname{diag}(s) V^\top` whose rows each hold one mode, the
flow splits into blocks of one or two entries of :math:`U^\top W V`.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from .._types import FloatArray
from .modes import (
    broadcast,
    discriminant_root,
    mode_fixed_points,
    mode_variance,
    mode_weight,
)


class RelaxationRates(NamedTuple):
    """Derivatives of dp/dt at the fixed points of p; negative where stable."""

    zero: FloatArray
    lower: FloatArray
    upper: FloatArray


def relaxation_rates(
    x: ArrayLike, c: ArrayLike, weight_decay: ArrayLike, alpha: ArrayLike
) -> RelaxationRates:
    r"""Return the linear rates of the predictor's eigenvalue at its fixed points.

    .. math:: -2\alpha\eta, \qquad +2\alpha p_- \sqrt D, \qquad -2\alpha p_+ \sqrt D, \qquad
        D = x^2 - 4 \eta c

    Parameters
    ----------
    x, c, weight_decay : array_like
        As in `mode_fixed_points`.
    alpha : array_like
        Power of the correlation, positive.

    Returns
    -------
    RelaxationRates
        NaN at fixed points that are not real. A rate of 0 stands for algebraic motion.

    Raises
    ------
    ValueError
        If an argument is out of range.

    Notes
    -----
    Claim C3.b. The weight s has the same rates at the upper and lower fixed points, and
    :math:`-\eta` at 0.

    Examples
    --------
    >>> relaxation_rates([1.0], [1.0], 0.1875, 1.0)
    RelaxationRates(zero=array([-0.375]), lower=array([0.25]), upper=array([-0.75]))
    """
    x, c, eta, alpha = broadcast(x, c, weight_decay, alpha)
    lower, upper = mode_fixed_points(x, c, eta)
    root = discriminant_root(x, c, eta)
    values = (-2 * alpha * eta, 2 * alpha * lower * root, -2 * alpha * upper * root)
    return RelaxationRates(*(np.asarray(v)[()] for v in values))


def swap_rates(x: ArrayLike, c: ArrayLike, weight_decay: ArrayLike) -> FloatArray:
    r"""Return the rate at which each absent mode grows in a row that holds another.

    .. math:: r_{jk} = p_{j+} x_k - p_{j+}^2 c_k - \eta
        = -c_k (p_{j+} - p_{k-})(p_{j+} - p_{k+})

    Parameters
    ----------
    x, c : array_like, shape (d,)
        Signal and view variance of the modes, 0 < x <= c.
    weight_decay : float
        The decay :math:`\eta`, not negative.

    Returns
    -------
    ndarray, shape (d, d)
        Row j is the mode that is held, column k the absent one. Mode k displaces mode j where
        positive; NaN in the rows of modes that cannot be held, and on the diagonal 0.

    Raises
    ------
    ValueError
        If an argument is out of range.

    Notes
    -----
    Claim C4.e: neither of two modes displaces the other where the smaller :math:`p_+` is below the
    other's :math:`p_-`, so that the start decides, and not the order of the :math:`p_+`.

    Examples
    --------
    >>> swap_rates([1.0, 10.0], [1.0, 10 / 0.3], 0.24).round(3)  # both choices are stable
    array([[ 0.   , -6.24 ],
           [-0.041,  0.   ]])
    """
    x, c, eta = _vectors(x, c, weight_decay)
    upper = mode_fixed_points(x, c, eta).upper[:, None]
    rates = upper * x - upper**2 * c - eta
    np.fill_diagonal(rates, np.where(np.isnan(upper[:, 0]), np.nan, 0.0))
    return rates


def pair_jacobians(
    x: ArrayLike,
    c: ArrayLike,
    weight_decay: ArrayLike,
    alpha: ArrayLike,
    *,
    correlation: str = "clean",
) -> FloatArray:
    r"""Return the Jacobian on the entries (i, j) and (j, i) of each pair of modes that are held.

    .. math:: J_{ij} = \begin{pmatrix}
        D \kappa_j s_j^2 y_j + p_i x_j - p_i^2 c_j - \eta & D \kappa_i s_i s_j y_j \\
        D \kappa_j s_i s_j y_i & D \kappa_i s_i^2 y_i + p_j x_i - p_j^2 c_i - \eta
        \end{pmatrix}

    with :math:`p = p_+`, :math:`y_j = x_j - (p_i + p_j) c_j` and the divided difference
    :math:`D = (p_i - p_j) / (\kappa_i s_i^2 - \kappa_j s_j^2)`.

    Parameters
    ----------
    x, c, weight_decay
        As in `swap_rates`.
    alpha : float
        Power of the correlation, positive.
    correlation : {"clean", "augmented", "gram"}
        What the predictor is set from; it decides :math:`\kappa`.

    Returns
    -------
    ndarray, shape (d, d, 2, 2)
        NaN where a mode of the pair cannot be held. The blocks on the diagonal, i = j, are the
        limit of two modes that become equal and have no meaning of their own.

    Raises
    ------
    ValueError
        If an argument is out of range.

    Notes
    -----
    Claims C4.e and C4.g. One eigenvalue is 0, for the rotations that exchange the two rows; the
    other is the trace.

    Examples
    --------
    >>> J = pair_jacobians([1.0, 2.0], [1.0, 3.0], 0.1, 1.0)[0, 1]
    >>> bool(abs(np.linalg.det(J)) < 1e-15), bool(np.trace(J) < 0)
    (True, True)
    """
    x, c, eta = _vectors(x, c, weight_decay)
    power = np.broadcast_to(broadcast(x, c, eta, alpha)[3], x.shape)
    p = mode_fixed_points(x, c, eta).upper
    kappa = mode_variance(x, c, correlation)
    s = mode_weight(p, x, c, power, correlation)
    quotient = _divided_difference(kappa * s**2, power)
    gap = x - (p[:, None] + p) * c  # y_j at [i, j]
    own = p[:, None] * x - p[:, None] ** 2 * c - eta
    blocks = np.empty((*gap.shape, 2, 2))
    blocks[..., 0, 0] = quotient * kappa * s**2 * gap + own
    blocks[..., 0, 1] = quotient * (kappa * s)[:, None] * s * gap
    blocks[..., 1, 0] = quotient * (kappa * s) * s[:, None] * gap.T
    blocks[..., 1, 1] = quotient * (kappa * s**2)[:, None] * gap.T + own.T
    return blocks


def _vectors(x: ArrayLike, c: ArrayLike, weight_decay: ArrayLike) -> list[FloatArray]:
    """Return modes as vectors."""
    values = broadcast(x, c, weight_decay)
    if values[0].ndim != 1:
        raise ValueError(f"x and c must be vectors, got shape {values[0].shape}")
    return values


def _divided_difference(f: FloatArray, alpha: FloatArray) -> FloatArray:
    """Return the slopes of ``f**alpha`` between all pairs, without cancellation."""
    ratio = np.log(f)[:, None] - np.log(f)
    with np.errstate(invalid="ignore"):
        slope = np.where(ratio == 0, alpha, np.expm1(alpha * ratio) / np.expm1(ratio))
    return slope * f ** (alpha - 1)
