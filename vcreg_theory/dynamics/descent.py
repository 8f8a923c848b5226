"""Gradient descent of linear non-contrastive learning, on moments or on sampled views."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from .. import validation
from .._types import FloatArray
from . import arrays
from .directset import DirectSet
from .equations import Diverged, Equations, State, Trajectory, lost
from .moments import Moments, view_moments

METHODS = ("euler", "rk4")
Views = Callable[[np.random.Generator], tuple[ArrayLike, ArrayLike]]


def descend(
    W: ArrayLike,
    X: ArrayLike,
    Sigma: ArrayLike,
    *,
    step: float,
    steps: int,
    every: int | None = None,
    method: str = "euler",
    target: ArrayLike | None = None,
    predictor: Any = DirectSet(),  # noqa: B008 - immutable
    **equations: Any,
) -> Trajectory:
    r"""Take steps of gradient descent on the population moments.

    .. math:: W \leftarrow W + \gamma\, (W_p^\top G - \eta W), \qquad G = W_a X - W_p W \Sigma

    Parameters
    ----------
    W : array_like, shape (k, d)
        Weights at the start.
    X, Sigma : array_like, shape (d, d)
        Cross-view and second moment of the views.
    step : float
        The step :math:`\gamma`, positive. Predictor and target take the same steps of their own
        equations.
    steps : int
        Number of steps.
    every : int, optional
        The trajectory holds the start and the state after each such number of steps; by default
        the start and the end alone.
    method : {"euler", "rk4"}
        "rk4" takes the classical Runge-Kutta steps of the flow in place of descent.
    target : array_like, shape (k, d), optional
        Start of a target that follows W.
    predictor, **equations
        The parameters of `Equations`: `weight_decay`, `predictor`, `target_rate`, `target_scale`,
        `stop_gradient`, `loss`.

    Returns
    -------
    Trajectory
        Its times are numbers of steps times `step`.

    Raises
    ------
    ValueError
        As in `simulate`, or if a number of steps is out of range.
    Diverged
        If the step was too large; with the number of steps it took.

    Notes
    -----
    Claim C4.g; `step_bounds` has the largest stable steps.

    Examples
    --------
    >>> run = descend([[0.9]], [[1.0]], [[1.0]], step=0.5, steps=200, weight_decay=0.2)
    >>> float(run.gram[-1, 0, 0].round(6))
    0.723607
    """
    X, Sigma = arrays.moments(X, Sigma, indefinite=True)
    system = Equations(predictor=predictor, **equations)
    step = validation.positive("step", step)
    arrays.option("method", method, METHODS)
    advance = _euler if method == "euler" else _runge_kutta

    def move(index: int, state: State) -> State:
        return advance(system, index * step, state, step, X, Sigma)

    first = system.start(W, X, Sigma, target)
    times, states = _run(move, first, step, steps, every)
    return system.record(times, states, X, Sigma)


def descend_sampled(
    W: ArrayLike,
    X: ArrayLike,
    Sigma: ArrayLike,
    views: Views,
    *,
    generator: np.random.Generator,
    step: float,
    steps: int,
    every: int | None = None,
    predictor_views: Views | None = None,
    target: ArrayLike | None = None,
    predictor: Any = DirectSet(correlation="augmented"),  # noqa: B008 - immutable
    **equations: Any,
) -> Trajectory:
    r"""Take steps of stochastic gradient descent on batches of sampled views.

    .. math:: W \leftarrow W + \gamma\, (W_p^\top \hat G - \eta W), \qquad
        \hat G = W_a \hat X - W_p W \hat\Sigma

    with the moments of a fresh batch at every step, see `view_moments`.

    Parameters
    ----------
    W, step, steps, every, target, predictor, **equations
        As in `descend`, but the predictor is set from the augmented correlation by default.
    X, Sigma : array_like, shape (d, d)
        Population moments; they set the first average of the predictor and the predictors that are
        recorded, nothing else.
    views : callable
        ``views(generator)`` draws a batch: two arrays of shape (n, d).
    generator : numpy.random.Generator
        The only source of randomness.
    predictor_views : callable, optional
        Draws another batch for the predictor, independent of that of the gradient; without it one
        batch serves both.

    Returns
    -------
    Trajectory

    Raises
    ------
    ValueError, Diverged
        As in `descend`. A "clean" correlation needs ``DirectSet(..., clip=True)`` here, as the
        cross-view moment of a batch has negative eigenvalues.

    Notes
    -----
    Claims C1.a and C7.c. Both orders of each pair of views are used. A predictor with `averaging`
    acts with the average of the batches before the present one.

    Examples
    --------
    >>> from vcreg_theory.dynamics import block_moments, view_sampler
    >>> model = block_moments(3, 1, 1.0)[:2]
    >>> run = descend_sampled(np.eye(3), *model, view_sampler(*model, 8), step=0.01, steps=3,
    ...                       generator=np.random.default_rng(0), weight_decay=0.1)
    >>> run.W.shape
    (2, 3, 3)
    """
    X, Sigma = arrays.moments(X, Sigma, indefinite=True)
    system = Equations(predictor=predictor, **equations)
    _refuse_indefinite(system)
    step = validation.positive("step", step)
    first = system.start(W, X, Sigma, target)

    def move(index: int, state: State) -> State:
        batch = _batch(views, generator, X.shape[0])
        other = batch if predictor_views is None else _batch(predictor_views, generator, len(X))
        W_p = system.rule.predictor(index * step, state.W, state.memory, *other)
        velocity = system.velocity_with(W_p, state, *batch)
        if isinstance(system.rule, DirectSet):  # its average belongs to the predictor's batch
            memory = system.rule.velocity(state.W, state.memory, W_p, *other, 0.0)
            velocity = velocity._replace(memory=memory)
        return _moved(state, step, velocity)

    times, states = _run(move, first, step, steps, every)
    return system.record(times, states, X, Sigma)


def _refuse_indefinite(system: Equations) -> None:
    """Raise if a predictor would be set from the cross-view moment of a batch as it is."""
    rule = system.rule
    if isinstance(rule, DirectSet) and rule.correlation == "clean" and not rule.clip:
        raise ValueError(
            "predictor must have clip=True or another correlation than 'clean' on sampled views, "
            "as the cross-view moment of a batch has negative eigenvalues"
        )


def _batch(views: Views, generator: np.random.Generator, d: int) -> Moments:
    """Return the moments of a fresh batch."""
    found = view_moments(*views(generator))
    if len(found.X) != d:
        raise ValueError(f"views must draw arrays with {d} columns, got {len(found.X)}")
    return found


def _run(
    move: Callable[[int, State], State], state: State, step: float, steps: int, every: int | None
) -> tuple[FloatArray, list[State]]:
    """Return the times and states that are recorded along a run."""
    steps = validation.integer("steps", steps, at_least=1)
    every = steps if every is None else validation.integer("every", every, at_least=1)
    kept, states = [0], [state]
    with np.errstate(over="ignore", invalid="ignore"):
        for index in range(1, steps + 1):
            state = move(index - 1, state)
            if lost(*state):
                raise Diverged(index * step, index)
            if index % every == 0:
                kept.append(index)
                states.append(state)
    return step * np.array(kept), states


def _moved(state: State, step: float, velocity: State) -> State:
    """Return a state moved along a straight line."""
    return State(*(part + step * speed for part, speed in zip(state, velocity, strict=True)))


def _euler(
    system: Equations, t: float, state: State, step: float, X: FloatArray, Sigma: FloatArray
) -> State:
    """Return the state after one step of descent."""
    return _moved(state, step, system.velocity(t, state, X, Sigma))


def _runge_kutta(
    system: Equations, t: float, state: State, step: float, X: FloatArray, Sigma: FloatArray
) -> State:
    """Return the state after one classical Runge-Kutta step of the flow."""
    k1 = system.velocity(t, state, X, Sigma)
    k2 = system.velocity(t + step / 2, _moved(state, step / 2, k1), X, Sigma)
    k3 = system.velocity(t + step / 2, _moved(state, step / 2, k2), X, Sigma)
    k4 = system.velocity(t + step, _moved(state, step, k3), X, Sigma)
    slopes = zip(k1, k2, k3, k4, strict=True)
    return _moved(state, step, State(*((a + 2 * b + 2 * c + d) / 6 for a, b, c, d in slopes)))
