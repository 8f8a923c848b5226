r"""How long a mode takes: the exact time from one value to another, and the slow times near it.

With :math:`\dot p = 2\alpha\, p (x p - c p^2 - \eta)` the time is an integral of a rational
function, of another form on each side of the threshold :math:`\eta^\star = x^2 / 4c`.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._types import FloatArray
from . import arrays
from .modes import broadcast, discriminant_root, mode_critical_weight_decay, mode_fixed_points


def mode_time(
    p: ArrayLike,
    p0: ArrayLike,
    x: ArrayLike,
    c: ArrayLike,
    weight_decay: ArrayLike,
    alpha: ArrayLike,
) -> FloatArray:
    r"""Return the time in which the predictor's eigenvalue moves from `p0` to `p`.

    .. math:: t = -\frac1{2\alpha c} \Bigl[ \frac{\ln (p/p_0)}{p_- p_+}
        + \frac{\ln \lvert (p - p_-)/(p_0 - p_-) \rvert}{p_- (p_- - p_+)}
        + \frac{\ln \lvert (p - p_+)/(p_0 - p_+) \rvert}{p_+ (p_+ - p_-)} \Bigr]

    for :math:`0 < \eta < \eta^\star`, and its counterparts for :math:`\eta = 0`,
    :math:`\eta = \eta^\star` and :math:`\eta > \eta^\star`.

    Parameters
    ----------
    p, p0 : array_like
        End and start, positive.
    x, c : array_like
        Signal and view variance of the mode, 0 < x <= c.
    weight_decay : array_like
        The decay :math:`\eta`, not negative.
    alpha : array_like
        Power of the correlation, positive.

    Returns
    -------
    ndarray
        Negative if `p` lies in the past of `p0`.

    Raises
    ------
    ValueError
        If an argument is out of range, or a fixed point lies between `p0` and `p` or at either.

    Notes
    -----
    Claim C3.c. The sum is arranged so that no two large terms cancel as :math:`\eta \to 0` or, for
    ends on one side of both fixed points, :math:`\eta \to \eta^\star`. The time itself is
    sensitive to `p` close to a fixed point.

    Examples
    --------
    >>> float(mode_time(0.25, 0.5, 1.0, 1.0, 0.25, 1.0).round(6))
    Traceback (most recent call last):
    ...
    ValueError: p0 and p must have no fixed point between them or at either, got 0.5 and 0.25 ...
    >>> float(mode_time(0.5, 0.25, 1.0, 1.0, 0.0, 0.5).round(12))  # 2 + log 3
    3.098612288668
    """
    p, p0 = (arrays.numbers(n, v, above=0) for n, v in (("p", p), ("p0", p0)))
    p, p0, x, c, eta, alpha = np.broadcast_arrays(p, p0, *broadcast(x, c, weight_decay, alpha))
    _refuse_fixed_points(p, p0, x, c, eta)
    time = np.empty(p.shape)
    for regime, primitive in PRIMITIVES.items():
        here = regimes(x, c, eta) == regime
        if here.any():
            x_, c_, eta_ = x[here], c[here], eta[here]
            time[here] = primitive(p[here], x_, c_, eta_) - primitive(p0[here], x_, c_, eta_)
    found: FloatArray = (time / (2 * alpha))[()]
    return found


def critical_gap(t: ArrayLike, x: ArrayLike, alpha: ArrayLike) -> FloatArray:
    r"""Return how far a mode at the threshold still is from its fixed point, for large times.

    .. math:: p - \frac{x}{2c} \sim \frac{1}{\alpha x t} \qquad (\eta = \eta^\star,\ p_0 > x/2c)

    Parameters
    ----------
    t : array_like
        Time, positive.
    x, alpha : array_like
        Signal variance and power of the correlation, positive.

    Returns
    -------
    ndarray

    Raises
    ------
    ValueError
        If an argument is not positive.

    Notes
    -----
    Claim C3.e, leading order; a start below x/2c dies.

    Examples
    --------
    >>> float(critical_gap(100.0, 1.0, 0.5))
    0.02
    """
    t, x, alpha = (
        arrays.numbers(name, value, above=0)
        for name, value in (("t", t), ("x", x), ("alpha", alpha))
    )
    return (1 / (alpha * x * t))[()]


def ghost_time(x: ArrayLike, c: ArrayLike, weight_decay: ArrayLike, alpha: ArrayLike) -> FloatArray:
    r"""Return for how long a mode just above the threshold lingers before it dies.

    .. math:: T \sim \frac{\pi \sqrt c}{\alpha x \sqrt{\eta - \eta^\star}}
        \qquad (\eta \downarrow \eta^\star)

    Parameters
    ----------
    x, c, weight_decay, alpha : array_like
        As in `mode_time`; the weight decay above the threshold.

    Returns
    -------
    ndarray

    Raises
    ------
    ValueError
        If the weight decay is not above the threshold.

    Notes
    -----
    Claim C3.e, leading order. A run that is not long against it sees a dying mode alive.

    Examples
    --------
    >>> float((ghost_time(1.0, 1.0, 0.26, 1.0) / np.pi).round(12))
    10.0
    """
    x, c, eta, alpha = broadcast(x, c, weight_decay, alpha)
    excess = eta - mode_critical_weight_decay(x, c)
    if (excess <= 0).any():
        raise ValueError(
            "weight_decay must be above the threshold x^2 / 4c, got one at a distance of "
            f"{excess.min():.3g}"
        )
    return (np.pi * np.sqrt(c) / (alpha * x * np.sqrt(excess)))[()]


def regimes(x: FloatArray, c: FloatArray, eta: FloatArray) -> NDArray[np.str_]:
    """Return where each mode stands: "none", "below", "critical" or "above" in weight decay."""
    root = discriminant_root(x, c, eta)
    names = np.where(root == 0, "critical", np.where(np.isnan(root), "above", "below"))
    return np.where(eta == 0, "none", names)


def _refuse_fixed_points(
    p: FloatArray, p0: FloatArray, x: FloatArray, c: FloatArray, eta: FloatArray
) -> None:
    """Raise if a positive fixed point lies between two values or at either."""
    low, high = np.minimum(p, p0), np.maximum(p, p0)
    for point in mode_fixed_points(x, c, eta):
        bad = (low <= point) & (point <= high)  # False where the fixed point is not real
        if bad.any():
            raise ValueError(
                "p0 and p must have no fixed point between them or at either, got "
                f"{p0[bad].flat[0]:g} and {p[bad].flat[0]:g} with one at "
                f"{np.broadcast_to(point, p.shape)[bad].flat[0]:g}"
            )


def _none(p: FloatArray, x: FloatArray, c: FloatArray, eta: FloatArray) -> FloatArray:
    """Integrate dp / [p (x p - c p^2)]: no weight decay."""
    return -1 / (x * p) - (c / x**2) * _log_gap(x / (c * p))


def _below(p: FloatArray, x: FloatArray, c: FloatArray, eta: FloatArray) -> FloatArray:
    """Integrate dp / [p (x p - c p^2 - eta)] with two real fixed points."""
    lower, upper = mode_fixed_points(x, c, eta)
    root = discriminant_root(x, c, eta)
    return _log_gap(lower / p) / eta - _log_gap(root / (c * (p - lower))) / (upper * root)


def _critical(p: FloatArray, x: FloatArray, c: FloatArray, eta: FloatArray) -> FloatArray:
    """Integrate dp / [p (x p - c p^2 - eta)] with a double fixed point q = x / 2c."""
    q = x / (2 * c)
    return (_log_gap(q / p) / q**2 + 1 / ((p - q) * q)) / c


def _above(p: FloatArray, x: FloatArray, c: FloatArray, eta: FloatArray) -> FloatArray:
    """Integrate dp / [p (x p - c p^2 - eta)] without a real fixed point."""
    root = np.sqrt(4 * c * eta - x**2)
    logs = np.log(p) - np.log(c * p**2 - x * p + eta) / 2
    return -(logs + (x / root) * np.arctan((2 * c * p - x) / root)) / eta


def _log_gap(z: FloatArray) -> FloatArray:
    """Return ``log |1 - z|``, exact to rounding for small z."""
    with np.errstate(divide="ignore", invalid="ignore"):  # both branches see every entry
        return np.where(z < 1, np.log1p(-z), np.log(np.abs(1 - z)))


PRIMITIVES = {"none": _none, "below": _below, "critical": _critical, "above": _above}
