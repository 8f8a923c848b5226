"""Which modes DirectSet keeps: the phase diagram, from an aligned start."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from .. import validation
from .._types import BoolArray, FloatArray
from . import arrays
from .modes import (
    basin_boundary,
    broadcast,
    mode_critical_weight_decay,
    mode_fixed_points,
    mode_weight,
)


class Limit(NamedTuple):
    """Where modes end: whether each is `kept`, its final `weight`, and a `margin`.

    The margin is the smaller of two distances of the logarithm, that of the weight decay to its
    threshold and that of the start to its basin boundary: it says how far the verdict is from the
    other one. A mode above its threshold has the first distance alone.
    """

    kept: BoolArray
    weight: FloatArray
    margin: FloatArray


def mode_limit(
    s0: ArrayLike,
    x: ArrayLike,
    c: ArrayLike,
    weight_decay: ArrayLike,
    alpha: ArrayLike,
    *,
    correlation: str = "clean",
) -> Limit:
    r"""Return the limit of modes for large times.

    .. math:: s_j(\infty) = \bigl(p_{j+}^{1/\alpha} / \kappa_j\bigr)^{1/2}
        \text{ if } \eta < \frac{x_j \rho_j}{4} \text{ and } (\kappa_j s_j(0)^2)^\alpha > p_{j-},
        \quad\text{else } 0

    Parameters
    ----------
    s0 : array_like
        Weights at time 0; the sign is kept.
    x, c : array_like
        Signal and view variance of the modes, 0 < x <= c.
    weight_decay : array_like
        The decay :math:`\eta`, not negative. Without it every mode with a start is kept.
    alpha : array_like
        Power of the correlation, positive.
    correlation : {"clean", "augmented", "gram"}
        What the predictor is set from.

    Returns
    -------
    Limit
        At equality, where the margin is 0, the mode stands at its basin boundary and counts as
        not kept.

    Raises
    ------
    ValueError
        If an argument is out of range.

    Notes
    -----
    Claims C4.b to C4.d.

    Examples
    --------
    >>> limit = mode_limit([0.3, 0.2, 0.9], 1.0, [1.0, 1.0, 2.0], 0.1875, 0.5)
    >>> limit.kept.tolist(), limit.weight.tolist()
    ([True, False, False], [0.75, 0.0, 0.0])
    """
    s0 = arrays.numbers("s0", s0)
    s0, x, c, eta, alpha = np.broadcast_arrays(s0, *broadcast(x, c, weight_decay, alpha))
    boundary = basin_boundary(x, c, eta, alpha, correlation=correlation)
    threshold = mode_critical_weight_decay(x, c)
    kept = (eta < threshold) & (np.abs(s0) > boundary)
    upper = np.where(kept, mode_fixed_points(x, c, eta).upper, 0.0)
    weight = np.sign(s0) * mode_weight(upper, x, c, alpha, correlation)
    with np.errstate(divide="ignore", invalid="ignore"):  # log 0 is -inf: as far as can be
        decay = np.abs(np.log(eta / threshold))
        start = np.abs(np.log(np.abs(s0)) - np.log(boundary))
    start = np.where(np.isnan(start), 0.0, start)  # no start and no basin boundary: s0 = 0, eta = 0
    margin = np.where(eta > threshold, decay, np.minimum(decay, start))
    return Limit(*(np.asarray(value)[()] for value in (kept, weight, margin)))


def phase_diagram(
    weight_decay: ArrayLike,
    sigma2: ArrayLike,
    alpha: ArrayLike,
    scale: ArrayLike,
    *,
    x: float = 1.0,
    correlation: str = "clean",
) -> Limit:
    r"""Return the phase diagram over weight decay, augmentation variance, power and initial scale.

    Parameters
    ----------
    weight_decay : array_like, shape (a,)
        Decays :math:`\eta`, not negative.
    sigma2 : array_like, shape (b,)
        Augmentation variances of a mode, not negative: its view variance is :math:`x + \sigma^2`.
    alpha : array_like, shape (m,)
        Powers of the correlation, positive.
    scale : array_like, shape (n,)
        Weights at time 0.
    x : float
        Signal variance of every mode.
    correlation : {"clean", "augmented", "gram"}
        What the predictor is set from.

    Returns
    -------
    Limit
        Of arrays of shape (a, b, m, n); see `mode_limit`.

    Raises
    ------
    ValueError
        If an argument is out of range.

    Notes
    -----
    Claim C4.c.

    Examples
    --------
    >>> phase_diagram([0.05, 0.15], [0.0, 2.0], [1.0], [0.9]).kept[:, :, 0, 0]
    array([[ True,  True],
           [ True, False]])
    """
    eta, added, alpha, scale = np.ix_(
        *(
            np.atleast_1d(arrays.numbers(name, value, **limits))
            for name, value, limits in (
                ("weight_decay", weight_decay, {"least": 0}),
                ("sigma2", sigma2, {"least": 0}),
                ("alpha", alpha, {"above": 0}),
                ("scale", scale, {}),
            )
        )
    )
    x = validation.positive("x", x)
    return mode_limit(scale, x, x + added, eta, alpha, correlation=correlation)
