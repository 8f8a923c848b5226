"""Cases that are solved exactly: no predictor, no stop-gradient, an optimal predictor."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from .. import validation
from .._types import FloatArray
from . import arrays
from .gradients import optimal_predictor
from .modes import broadcast


class TargetRates(NamedTuple):
    """Rates of decay of a mode without predictor and with a target that follows, `slow <= fast`."""

    slow: FloatArray
    fast: FloatArray


class TraceObjective(NamedTuple):
    """The trace objective and its time derivative."""

    value: float
    speed: float


def no_predictor_flow(
    W: ArrayLike, X: ArrayLike, Sigma: ArrayLike, *, times: ArrayLike, weight_decay: float = 0.0
) -> FloatArray:
    r"""Return the exact flow without predictor, with stop-gradient and a tied target.

    .. math:: W(t) = W_0\, e^{-(X' + \eta I) t}, \qquad X' = \Sigma - X

    Parameters
    ----------
    W : array_like, shape (k, d)
        Weights at time 0.
    X, Sigma : array_like, shape (d, d)
        Cross-view and second moment of the views.
    times : array_like, shape (T,)
        Times, not negative.
    weight_decay : float
        The decay :math:`\eta`, not negative.

    Returns
    -------
    ndarray, shape (T, k, d)

    Raises
    ------
    ValueError
        If an argument is out of range or does not fit.

    Notes
    -----
    Claim C2.b: directions that the augmentation leaves alone stay where they are if there is no
    weight decay.

    Examples
    --------
    >>> no_predictor_flow(np.eye(2), np.eye(2), np.diag([1.0, 2.0]), times=[50.0]).round(6)[0]
    array([[1., 0.],
           [0., 0.]])
    """
    X, Sigma = arrays.moments(X, Sigma, indefinite=True)
    return _exponential_flow(W, Sigma - X, times, weight_decay)


def no_stop_gradient_flow(
    W: ArrayLike,
    X: ArrayLike,
    Sigma: ArrayLike,
    p: float,
    *,
    times: ArrayLike,
    weight_decay: float = 0.0,
) -> FloatArray:
    r"""Return the exact flow without stop-gradient under the constant predictor p I.

    .. math:: W(t) = W_0\, e^{-[(p^2 + 1) X' + (p - 1)^2 X + \eta I] t}

    Parameters
    ----------
    W, X, Sigma, times, weight_decay
        As in `no_predictor_flow`.
    p : float
        The predictor's only eigenvalue.

    Returns
    -------
    ndarray, shape (T, k, d)

    Raises
    ------
    ValueError
        If an argument is out of range or does not fit.

    Notes
    -----
    Claim C2.c; the target is tied.

    Examples
    --------
    >>> W = no_stop_gradient_flow([[1.0]], [[1.0]], [[1.0]], 0.0, times=[1.0])
    >>> float(W[0, 0, 0].round(6))  # exp(-1)
    0.367879
    """
    X, Sigma = arrays.moments(X, Sigma, indefinite=True)
    p = validation.real("p", p)
    decay = (p**2 + 1) * (Sigma - X) + (p - 1) ** 2 * X
    return _exponential_flow(W, decay, times, weight_decay)


def no_stop_gradient_bound(
    t: ArrayLike, X: ArrayLike, Sigma: ArrayLike, *, weight_decay: float = 0.0
) -> FloatArray:
    r"""Return a bound on the relative norm of W without stop-gradient, for every predictor.

    .. math:: \frac{\lVert W(t) \rVert_F}{\lVert W_0 \rVert_F}
        \le e^{-(\lambda_{\min}(X') + \eta) t}

    Parameters
    ----------
    t : array_like
        Times, not negative.
    X, Sigma, weight_decay
        As in `no_predictor_flow`.

    Returns
    -------
    ndarray

    Raises
    ------
    ValueError
        If an argument is out of range.

    Notes
    -----
    Claim C2.c: tied target, and a predictor that is not differentiated as a function of W. It
    forces collapse only if the smallest eigenvalue or the weight decay is positive.

    Examples
    --------
    >>> float(no_stop_gradient_bound(2.0, np.eye(2), np.diag([1.5, 3.0])).round(6))  # exp(-1)
    0.367879
    """
    X, Sigma = arrays.moments(X, Sigma, indefinite=True)
    t = arrays.numbers("t", t, least=0)
    least = max(0.0, float(np.linalg.eigvalsh(Sigma - X)[0]))
    return np.exp(-(least + validation.nonnegative("weight_decay", weight_decay)) * t)[()]


def no_predictor_rates(
    x: ArrayLike, c: ArrayLike, weight_decay: ArrayLike, target_rate: ArrayLike
) -> TargetRates:
    r"""Return the two rates of decay of a mode without predictor whose target follows.

    .. math:: \lambda^2 - (c + \eta + \beta) \lambda + \beta (c - x + \eta) = 0

    Parameters
    ----------
    x, c : array_like
        Signal and view variance of the modes, 0 < x <= c.
    weight_decay : array_like
        The decay :math:`\eta`, not negative.
    target_rate : array_like
        The rate :math:`\beta` of the target, positive.

    Returns
    -------
    TargetRates
        Both positive unless the mode has neither augmentation nor weight decay; then one is 0.

    Raises
    ------
    ValueError
        If an argument is out of range.

    Notes
    -----
    Claim C2.b, with the sign of the rates turned round.

    Examples
    --------
    >>> no_predictor_rates([1.0], [1.0], 0.0, 0.5)
    TargetRates(slow=array([0.]), fast=array([1.5]))
    """
    x, c, eta = broadcast(x, c, weight_decay)
    beta = arrays.numbers("target_rate", target_rate, above=0)
    mean = (c + eta + beta) / 2
    # The discriminant as a sum of squares: the roots are real.
    fast = mean + np.sqrt(((c + eta - beta) / 2) ** 2 + beta * x)
    return TargetRates((beta * np.maximum(c - x + eta, 0) / fast)[()], fast[()])


def trace_objective(W: ArrayLike, X: ArrayLike, Sigma: ArrayLike) -> TraceObjective:
    r"""Return the trace objective and its speed under the optimal predictor.

    .. math:: f = \tfrac12 \lVert W X W^\top \rVert_F^2, \qquad
        \dot f = 2 c\, \lVert (W W^\top)^{1/2}\, W_p^\top W X Q \rVert_F^2

    with Q the orthogonal projection on the complement of the rows of W.

    Parameters
    ----------
    W : array_like, shape (k, d)
        Weights of full row rank.
    X : array_like, shape (d, d)
        Cross-view moment.
    Sigma : array_like, shape (d, d)
        Second moment, a multiple c of the identity.

    Returns
    -------
    TraceObjective

    Raises
    ------
    ValueError
        If W does not have full row rank or `Sigma` is not a multiple of the identity.

    Notes
    -----
    Claim C2.e: no weight decay, tied target. The speed is never negative; for orthonormal rows it
    is :math:`2 c\, \lVert W_p W X (I - W^\top W) \rVert_F^2`.

    Examples
    --------
    >>> trace_objective([[1.0, 0.0]], np.diag([2.0, 1.0]), 4 * np.eye(2))
    TraceObjective(value=2.0, speed=0.0)
    """
    X, Sigma = arrays.moments(X, Sigma, indefinite=True)
    W = arrays.matrix("W", W, shape=(None, len(X)))
    c = float(Sigma.trace()) / len(Sigma)
    if np.abs(Sigma - c * np.eye(len(Sigma))).max() > arrays.SLACK * c:
        raise ValueError("Sigma must be a multiple of the identity, got another matrix")
    W_p = optimal_predictor(W, X, Sigma)
    rows, factor = np.linalg.qr(W.T)  # W W^T = factor^T factor
    left = factor @ W_p.T @ W @ X
    speed = 2 * c * np.square(left - left @ rows @ rows.T).sum()
    return TraceObjective(float(np.square(W @ X @ W.T).sum() / 2), float(speed))


def _exponential_flow(
    W: ArrayLike, decay: FloatArray, times: ArrayLike, weight_decay: float
) -> FloatArray:
    """Return ``W exp(-(decay + weight_decay I) t)`` for each time."""
    W = arrays.matrix("W", W, shape=(None, len(decay)))
    times = arrays.vector("times", times, least=0)
    eta = validation.nonnegative("weight_decay", weight_decay)
    values, vectors = np.linalg.eigh(decay)
    factors = np.exp(-times[:, None] * (values.clip(min=0) + eta))
    found: FloatArray = (W @ vectors * factors[:, None, :]) @ vectors.T
    return found
