"""DirectSet in the common eigenbasis of commuting moments: one number a mode, batched.

Where X and Sigma commute and the weights start aligned with them, the matrix dynamics are those of
its singular values. A step then costs a few operations a mode in place of eight d^3 in all.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from .. import validation
from .._types import FloatArray
from . import arrays
from .basis import common_modes
from .descent import METHODS
from .equations import Diverged, lost
from .modes import CORRELATIONS, mode_variance
from .trajectories import weight_trajectory

_CHUNK = 8192  # modes advanced together: their six arrays fit in a second-level cache


class Aligned(NamedTuple):
    """Weights ``U diag(s) V^T`` with the eigenvalues `x` of X and `c` of Sigma in the basis V.

    `U` has shape (k, d) and zero columns where `s`, shape (d,), is zero; `V` is (d, d).
    """

    U: FloatArray
    s: FloatArray
    V: FloatArray
    x: FloatArray
    c: FloatArray

    def weights(self, s: FloatArray) -> FloatArray:
        """Return the matrices with these singular values, shape (..., d) to (..., k, d)."""
        return (self.U * s[..., None, :]) @ self.V.T


def align(W: ArrayLike, X: ArrayLike, Sigma: ArrayLike) -> Aligned:
    r"""Write weights in the common eigenbasis of the moments.

    .. math:: W = U \operatorname{diag}(s) V^\top, \quad X = V \operatorname{diag}(x) V^\top,
        \quad \Sigma = V \operatorname{diag}(c) V^\top

    Parameters
    ----------
    W : array_like, shape (k, d)
        Weights.
    X, Sigma : array_like, shape (d, d)
        Cross-view and second moment of the views.

    Returns
    -------
    Aligned

    Raises
    ------
    ValueError
        If X, Sigma and W^T W do not commute: the weights are not aligned with the moments.

    Notes
    -----
    The hypothesis of claim C3.a.

    Examples
    --------
    >>> align([[0.0, 2.0]], np.eye(2), np.diag([1.0, 3.0])).s.tolist()
    [0.0, 2.0]
    """
    x, c, V = common_modes(X, Sigma, W)
    projected = arrays.matrix("W", W) @ V
    s = np.linalg.norm(projected, axis=0)
    rounding = 100 * len(V) * np.finfo(np.float64).eps
    s[s <= rounding * s.max()] = 0.0  # else an offset of the predictor would raise it
    return Aligned(projected / np.where(s > 0, s, np.inf), s, V, x, c)


def solve_commuting(
    W: ArrayLike,
    X: ArrayLike,
    Sigma: ArrayLike,
    *,
    times: ArrayLike,
    weight_decay: float,
    alpha: float = 1.0,
    correlation: str = "clean",
) -> FloatArray:
    r"""Return the exact flow of DirectSet from an aligned start.

    .. math:: W(t) = U \operatorname{diag}(s(t)) V^\top, \qquad
        \dot s_j = s_j (x_j p_j - c_j p_j^2 - \eta), \quad p_j = (\kappa_j s_j^2)^\alpha

    Parameters
    ----------
    W : array_like, shape (k, d)
        Weights at time 0.
    X, Sigma : array_like, shape (d, d)
        Cross-view moment, positive definite, and second moment of the views.
    times : array_like, shape (T,)
        Times, not negative.
    weight_decay : float
        The decay :math:`\eta`, not negative.
    alpha : float
        Power of the correlation, positive.
    correlation : {"clean", "augmented", "gram"}
        What the predictor is set from.

    Returns
    -------
    ndarray, shape (T, k, d)

    Raises
    ------
    ValueError
        If an argument is out of range, X is singular or the start is not aligned.

    Notes
    -----
    Claims C3.a, C3.c and C3.d.

    Examples
    --------
    >>> W = solve_commuting(0.9 * np.eye(2), np.eye(2), np.diag([1.0, 3.0]), times=[200.0],
    ...                     weight_decay=0.1875, alpha=0.5)
    >>> W[0].round(6).tolist()
    [[0.75, 0.0], [0.0, 0.0]]
    """
    start = align(W, X, Sigma)
    if not start.x.min() > 0:
        raise ValueError(f"X must be positive definite, got the eigenvalue {start.x.min():.3g}")
    times = arrays.vector("times", times, least=0)
    c = np.maximum(start.c, start.x)  # equal up to rounding where the augmentation does nothing
    s = weight_trajectory(
        times[:, None], start.s, start.x, c, weight_decay, alpha, correlation=correlation
    )
    return start.weights(s)


def simulate_modes(
    s: ArrayLike,
    x: ArrayLike,
    c: ArrayLike,
    *,
    weight_decay: ArrayLike,
    step: float,
    steps: int,
    alpha: float = 1.0,
    eps: float = 0.0,
    correlation: str = "clean",
    method: str = "euler",
) -> FloatArray:
    r"""Take the steps that `descend` takes, on any number of modes at once.

    .. math:: s \leftarrow s\, [1 + \gamma (x p - c p^2 - \eta)], \qquad
        p = (\kappa s^2)^\alpha + \epsilon

    Parameters
    ----------
    s : array_like
        Weights of the modes at the start.
    x, c : array_like
        Signal and view variance of the modes, 0 <= x <= c.
    weight_decay : array_like
        The decay :math:`\eta`, not negative; it broadcasts with `s`, `x` and `c`.
    step : float
        The step :math:`\gamma`, positive.
    steps : int
        Number of steps.
    alpha, eps : float
        Power of the correlation, positive, and offset, not negative.
    correlation : {"clean", "augmented", "gram"}
        What the predictor is set from.
    method : {"euler", "rk4"}
        Gradient descent, or the classical Runge-Kutta steps of the flow.

    Returns
    -------
    ndarray
        The weights after the last step, in the shape that the arguments broadcast to.

    Raises
    ------
    ValueError
        If an argument is out of range.
    Diverged
        If a mode has diverged by the last step.

    Notes
    -----
    Claim C3.a; equal to `descend` up to rounding. `mode_trajectory` is the exact flow.

    Examples
    --------
    >>> simulate_modes(0.9, [1.0, 1.0], [1.0, 3.0], weight_decay=0.1875, alpha=0.5,
    ...                step=0.5, steps=400).round(6)
    array([0.75, 0.  ])
    """
    values = _arguments(s, x, c, weight_decay)
    step, steps = validation.positive("step", step), validation.integer("steps", steps, at_least=1)
    alpha, eps = validation.positive("alpha", alpha), validation.nonnegative("eps", eps)
    arrays.option("method", method, METHODS)
    arrays.option("correlation", correlation, CORRELATIONS)
    s, x, c, eta = (v.ravel().copy() for v in values)
    scale = mode_variance(x, c, correlation) ** alpha
    growth = (x * eps - c * eps**2 - eta, (x - 2 * c * eps) * scale, c * scale**2)
    with np.errstate(over="ignore", invalid="ignore"):
        for first in range(0, s.size, _CHUNK):
            here = slice(first, first + _CHUNK)
            a, b, d = (step * g[here] for g in growth)
            _RUN[method](s[here], a, b, d, alpha, steps)
    if lost(s):
        raise Diverged(step * steps, steps)
    return s.reshape(values[0].shape)[()]


def _arguments(*values: ArrayLike) -> list[FloatArray]:
    """Return weights, variances and weight decay of modes, of one shape."""
    s, x, c, eta = np.broadcast_arrays(
        *(
            arrays.numbers(name, value, least=None if name == "s" else 0)
            for name, value in zip(("s", "x", "c", "weight_decay"), values, strict=True)
        )
    )
    if (c < x * (1 - arrays.SLACK)).any():
        raise ValueError(f"c must be at least x, got a difference of {(c - x).min():g}")
    return [s, x, c, eta]


def _euler(s: FloatArray, a: Any, b: Any, c: Any, alpha: float, steps: int) -> None:
    """Multiply s by ``1 + a + b v - c v^2``, v = |s|^(2 alpha), `steps` times, in place."""
    a = 1 + a
    v, factor = np.empty_like(s), np.empty_like(s)
    for _ in range(steps):
        _power(s, alpha, v)
        np.multiply(c, v, out=factor)
        np.subtract(b, factor, out=factor)
        factor *= v
        factor += a
        s *= factor


def _runge_kutta(s: FloatArray, a: Any, b: Any, c: Any, alpha: float, steps: int) -> None:
    """Advance s by classical Runge-Kutta steps of ``s (a + b v - c v^2)``, in place."""
    v = np.empty_like(s)

    def slope(at: FloatArray) -> FloatArray:
        _power(at, alpha, v)
        speed: FloatArray = at * (a + v * (b - c * v))
        return speed

    for _ in range(steps):
        k1 = slope(s)
        k2 = slope(s + k1 / 2)
        k3 = slope(s + k2 / 2)
        k4 = slope(s + k3)
        s += (k1 + 2 * k2 + 2 * k3 + k4) / 6


def _power(s: FloatArray, alpha: float, out: FloatArray) -> None:
    """Write ``|s|^(2 alpha)`` to `out`; the usual powers need no logarithm."""
    if alpha == 0.5:
        np.abs(s, out=out)
        return
    np.multiply(s, s, out=out)
    if alpha == 2.0:
        out *= out
    elif alpha != 1.0:
        np.power(out, alpha, out=out)


_RUN = {"euler": _euler, "rk4": _runge_kutta}
