"""Gradient flow of linear non-contrastive learning, integrated to a tolerance."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.integrate import solve_ivp

from .. import validation
from .._types import FloatArray
from . import arrays
from .directset import DirectSet
from .equations import LIMIT, Diverged, Equations, Trajectory, lost

_FINEST = 100 * np.finfo(np.float64).eps  # solve_ivp raises smaller tolerances with a warning


def simulate(
    W: ArrayLike,
    X: ArrayLike,
    Sigma: ArrayLike,
    *,
    times: ArrayLike,
    weight_decay: float = 0.0,
    predictor: Any = DirectSet(),  # noqa: B008 - immutable
    target_rate: float | None = None,
    target: ArrayLike | None = None,
    target_scale: float = 1.0,
    stop_gradient: bool = True,
    loss: str = "l2",
    rtol: float = 1e-10,
    atol: float = 1e-12,
) -> Trajectory:
    r"""Integrate the flow of network, predictor and target.

    .. math:: \dot W = W_p^\top G - \eta W, \qquad G = W_a X - W_p W \Sigma

    Parameters
    ----------
    W : array_like, shape (k, d)
        Weights at time 0.
    X, Sigma : array_like, shape (d, d)
        Cross-view and second moment of the views; they need not commute.
    times : array_like, shape (T,)
        When the trajectory is recorded: not negative, strictly ascending.
    weight_decay, predictor, target_rate, target_scale, stop_gradient, loss
        As in `Equations`; by default DirectCopy with a tied target.
    target : array_like, shape (k, d), optional
        Start of a target that follows W, which is W by default.
    rtol, atol : float
        Relative and absolute tolerance of each step of the integrator, DOP853.

    Returns
    -------
    Trajectory

    Raises
    ------
    ValueError
        If a shape does not fit, the moments are none, a parameter is out of range, the predictor
        is set from a moment with negative eigenvalues, or no optimal predictor exists.
    Diverged
        If the weights leave every bound.

    Notes
    -----
    Claims C1.a and C2 to C4. Near a threshold a run must be long against `ghost_time`. Where X and
    Sigma commute and the start is aligned, `solve_commuting` is exact and far quicker.

    Examples
    --------
    >>> run = simulate(0.9 * np.eye(2), np.eye(2), np.diag([1.0, 3.0]), times=[0.0, 200.0],
    ...                weight_decay=0.2)
    >>> run.gram[-1].round(6).tolist()  # (1 + sqrt(0.2)) / 2 and 0
    [[0.723607, 0.0], [0.0, 0.0]]
    """
    X, Sigma = arrays.moments(X, Sigma, indefinite=True)
    times = _times(times)
    equations = Equations(weight_decay, predictor, target_rate, target_scale, stop_gradient, loss)
    first = equations.start(W, X, Sigma, target)

    def velocity(t: float, vector: FloatArray) -> FloatArray:
        if lost(vector):
            return np.full_like(vector, np.nan)  # the integrator shortens its step, or gives up
        with np.errstate(over="ignore", invalid="ignore"):
            return equations.velocity(t, first.unflatten(vector), X, Sigma).flat()

    states = _integrate(
        velocity,
        first.flat(),
        times,
        validation.positive("rtol", rtol),
        validation.positive("atol", atol),
    )
    return equations.record(times, [first.unflatten(v) for v in states], X, Sigma)


def _times(times: ArrayLike) -> FloatArray:
    """Return the times of a record."""
    times = arrays.numbers("times", times, least=0)
    if times.ndim != 1 or times.size == 0 or (np.diff(times) <= 0).any():
        raise ValueError(f"times must be a strictly ascending vector, got {times!r}")
    return times


def _integrate(
    velocity: Callable[[float, FloatArray], FloatArray],
    start: FloatArray,
    times: FloatArray,
    rtol: float,
    atol: float,
) -> FloatArray:
    """Return the states at the times, one a row; raise if the solution leaves every bound."""
    if times[-1] == 0:
        return np.broadcast_to(start, (len(times), len(start)))

    def size(t: float, vector: FloatArray) -> float:
        return LIMIT / 10 - float(np.abs(vector).max())

    size.terminal = True  # type: ignore[attr-defined]  # solve_ivp reads it
    with np.errstate(over="ignore", invalid="ignore"):  # reported as divergence below
        found = solve_ivp(
            velocity,
            (0.0, times[-1]),
            start,
            method="DOP853",
            t_eval=times,
            rtol=max(rtol, _FINEST),
            atol=atol,
            events=size,
        )
    if found.status != 0:
        last = found.t[-1] if len(found.t) else 0.0  # nothing recorded before the step failed
        if found.t_events and found.status == 1:
            last = found.t_events[0][0]
        raise Diverged(float(last))
    return found.y.T
