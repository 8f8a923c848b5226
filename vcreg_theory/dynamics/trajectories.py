r"""The exact course of a mode: Lambert's function without weight decay, an inverted time with it.

Each way in which p can move has a coordinate y of which the time is an explicit function: the logit
of p between the fixed points, the logarithm of the distance to a fixed point approached from above,
its inverse at the threshold, the logarithm of p where the mode dies. Newton's method inside a
bracket inverts it, and p keeps full accuracy near the fixed points.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from .._types import FloatArray
from . import arrays
from .modes import (
    broadcast,
    discriminant_root,
    mode_fixed_points,
    mode_variance,
    mode_weight,
)
from .times import PRIMITIVES, regimes

_FLOOR = -690.0  # logarithm below which a dying p is returned as 0; e^-690 is still a normal number
_STEPS = 300  # at most; each halves the bracket, the remaining time, or precedes one that does

Function = Callable[[FloatArray], FloatArray]


class _Course(NamedTuple):
    """A way to move: coordinate of the start, largest speed, and functions of the coordinate."""

    start: FloatArray
    fastest: FloatArray
    value: Function
    time: Function
    speed: Function


def mode_trajectory(
    t: ArrayLike,
    p0: ArrayLike,
    x: ArrayLike,
    c: ArrayLike,
    weight_decay: ArrayLike,
    alpha: ArrayLike,
) -> FloatArray:
    r"""Return the predictor's eigenvalue at time t, exactly.

    .. math:: \dot p = 2\alpha\, p (x p - c p^2 - \eta), \qquad
        p(t) = \frac{x}{c\,[1 + w(t)]}, \quad
        w = W_0\bigl(u_0 e^{u_0 - 2\alpha x^2 t / c}\bigr), \quad u_0 = \frac{x}{c p_0} - 1
        \qquad (\eta = 0)

    Parameters
    ----------
    t : array_like
        Time, not negative.
    p0 : array_like
        Value at time 0, not negative.
    x, c : array_like
        Signal and view variance of the mode, 0 < x <= c.
    weight_decay : array_like
        The decay :math:`\eta`, not negative.
    alpha : array_like
        Power of the correlation, positive.

    Returns
    -------
    ndarray
        All arguments broadcast together. A value below 1e-299 is returned as 0.

    Raises
    ------
    ValueError
        If an argument is out of range.

    Notes
    -----
    Claims C3.c and C3.d; :math:`W_0` is Lambert's function. For :math:`p_0 > x/c`, where its branch
    point costs digits, and with weight decay, the time of `mode_time` is inverted.

    Examples
    --------
    >>> mode_trajectory([0.0, 3.098612288668, 1e3], 0.25, 1.0, 1.0, 0.0, 0.5).round(9)
    array([0.25, 0.5 , 1.  ])
    """
    t, p0 = arrays.numbers("t", t, least=0), arrays.numbers("p0", p0, least=0)
    t, p0, x, c, eta, alpha = np.broadcast_arrays(t, p0, *broadcast(x, c, weight_decay, alpha))
    clock = 2 * alpha * t
    found = p0.copy()
    kinds = _kinds(p0, x, c, eta)
    for kind, course in _COURSES.items():
        here = kinds == kind
        if here.any():
            found[here] = _follow(clock[here], course(p0[here], x[here], c[here], eta[here]))
    here = kinds == "lambert"
    found[here] = _lambert(clock[here], p0[here], x[here], c[here])
    return found[()]


def weight_trajectory(
    t: ArrayLike,
    s0: ArrayLike,
    x: ArrayLike,
    c: ArrayLike,
    weight_decay: ArrayLike,
    alpha: ArrayLike,
    *,
    correlation: str = "clean",
) -> FloatArray:
    r"""Return the weight of a mode at time t, exactly.

    .. math:: \dot s = s (x p - c p^2 - \eta), \qquad p = (\kappa s^2)^\alpha

    Parameters
    ----------
    t, x, c, weight_decay, alpha : array_like
        As in `mode_trajectory`.
    s0 : array_like
        Weight at time 0; its sign is kept.
    correlation : {"clean", "augmented", "gram"}
        What the predictor is set from; it decides :math:`\kappa`.

    Returns
    -------
    ndarray

    Raises
    ------
    ValueError
        If an argument is out of range.

    Notes
    -----
    Claim C3.a.

    Examples
    --------
    >>> weight_trajectory(1e3, [-0.9, 0.1], 1.0, 1.0, 0.1875, 0.5).round(9) + 0.0
    array([-0.75,  0.  ])
    """
    s0 = arrays.numbers("s0", s0)
    x, c, eta, alpha = broadcast(x, c, weight_decay, alpha)
    p0 = (mode_variance(x, c, correlation) * s0**2) ** alpha
    p = mode_trajectory(t, p0, x, c, eta, alpha)
    return (np.sign(s0) * mode_weight(p, x, c, alpha, correlation))[()]


def _kinds(p0: FloatArray, x: FloatArray, c: FloatArray, eta: FloatArray) -> NDArray[np.str_]:
    """Return the name of the way each mode moves; "still" at a fixed point."""
    lower, upper = mode_fixed_points(x, c, eta)
    regime = regimes(x, c, eta)
    kinds = np.where((p0 > lower) & (p0 < upper), "inside", "dying")
    kinds = np.where(p0 > upper, "over", kinds)
    kinds = np.where((regime == "critical") & (p0 > upper), "tail", kinds)
    kinds = np.where((regime == "none") & (p0 < upper), "lambert", kinds)
    still = (p0 == lower) | (p0 == upper) | (p0 == 0)
    return np.where(still, "still", kinds)


def _follow(clock: FloatArray, course: _Course) -> FloatArray:
    """Return the value that each mode has when its clock, 2 alpha t, has run."""
    low, high = np.sort([course.start, course.start + clock * course.fastest], axis=0)
    forward = course.fastest > 0
    goal = course.time(course.start) + clock
    y = np.clip(course.start + clock * course.speed(course.start), low, high)
    done, before = np.zeros(y.shape, dtype=bool), np.full(y.shape, np.inf)
    for _ in range(_STEPS):
        late = course.time(y) - goal
        beyond = (late > 0) == forward
        high, low = np.where(beyond, y, high), np.where(beyond, low, y)
        newton = y - late * course.speed(y)
        settled = np.abs(newton - y) <= 2 * np.finfo(np.float64).eps * (1 + np.abs(y))
        works = (newton > low) & (newton < high) & (np.abs(late) < before / 2)
        before = np.where(works, np.abs(late), np.inf)
        y = np.where(done, y, np.where(settled | works, newton, (low + high) / 2))
        done |= settled
        if done.all():
            break
    return course.value(y)


def _lambert(clock: FloatArray, p0: FloatArray, x: FloatArray, c: FloatArray) -> FloatArray:
    """Return p without weight decay for p0 < x / c; omega(z) is W_0(exp z), free of overflow."""
    u = x / (c * p0) - 1
    return x / (c * (1 + special.wrightomega(np.log(u) + u - clock * x * (x / c))))


def _inside(p0: FloatArray, x: FloatArray, c: FloatArray, eta: FloatArray) -> _Course:
    """Move up between the fixed points: y is the logit of the place between them."""
    lower, upper = mode_fixed_points(x, c, eta)
    root = discriminant_root(x, c, eta)

    def value(y: FloatArray) -> FloatArray:
        return lower + (root / c) * special.expit(y)

    def time(y: FloatArray) -> FloatArray:
        p = value(y)
        near = np.log(root / c) + special.log_expit(y) - np.log(p)
        share = np.where(p > 2 * lower, np.log1p(-lower / np.maximum(p, 2 * lower)), near)
        return share / eta + y / (upper * root)

    start = np.log(p0 - lower) - np.log(upper - p0)
    return _Course(start, upper * root, value, time, lambda y: value(y) * root)


def _over(p0: FloatArray, x: FloatArray, c: FloatArray, eta: FloatArray) -> _Course:
    """Move down to the upper fixed point: y is the logarithm of the distance to it."""
    lower, upper = mode_fixed_points(x, c, eta)
    root = discriminant_root(x, c, eta)

    def value(y: FloatArray) -> FloatArray:
        return upper + np.exp(y)

    def time(y: FloatArray) -> FloatArray:
        p = value(y)
        with np.errstate(invalid="ignore"):  # 0 / 0 without weight decay, replaced by its limit
            share = np.where(eta > 0, np.log1p(-lower / p) / eta, -1 / (x * p))
        return share - (y - np.log(root / c + np.exp(y))) / (upper * root)

    def speed(y: FloatArray) -> FloatArray:
        return -c * value(y) * (root / c + np.exp(y))

    start = np.log(p0 - upper)
    return _Course(start, speed(start), value, time, speed)


def _tail(p0: FloatArray, x: FloatArray, c: FloatArray, eta: FloatArray) -> _Course:
    """Move down to the double fixed point q: y is the inverse of the distance to it."""
    q = x / (2 * c)

    def value(y: FloatArray) -> FloatArray:
        return q + 1 / y

    def time(y: FloatArray) -> FloatArray:
        return (y - np.log1p(q * y) / q) / (q * c)

    start = 1 / (p0 - q)
    return _Course(start, c * p0, value, time, lambda y: c * value(y))


def _dying(p0: FloatArray, x: FloatArray, c: FloatArray, eta: FloatArray) -> _Course:
    """Move down to 0: y is the logarithm of p, stopped where p would leave the normal numbers."""
    regime = regimes(x, c, eta)

    def value(y: FloatArray) -> FloatArray:
        return np.where(y > _FLOOR, np.exp(y), 0.0)

    def time(y: FloatArray) -> FloatArray:
        p = np.exp(np.maximum(y, _FLOOR))
        found = np.empty(p.shape)
        for name in ("below", "critical", "above"):
            here = regime == name
            found[here] = PRIMITIVES[name](p[here], x[here], c[here], eta[here])
        below: FloatArray = np.maximum(_FLOOR - y, 0)
        return found + below / eta  # below the floor the rate is eta

    def speed(y: FloatArray) -> FloatArray:
        p: FloatArray = np.exp(np.maximum(y, _FLOOR))
        return x * p - c * p**2 - eta

    start = np.log(p0)
    return _Course(start, np.minimum(speed(start), -eta), value, time, speed)


_COURSES = {"inside": _inside, "over": _over, "tail": _tail, "dying": _dying}
