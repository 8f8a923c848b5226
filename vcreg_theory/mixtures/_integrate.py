"""Integration of inputs and centroids that pull at each other, in float64 on the CPU."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy.integrate import solve_ivp
from scipy.spatial.distance import cdist

from .._types import FloatArray, IndexArray

Velocity = Callable[[float, FloatArray], FloatArray]
Event = Callable[[float, FloatArray], float]

_EPS = float(np.finfo(np.float64).eps)
_FINEST = 100 * _EPS  # solve_ivp raises smaller tolerances with a warning
# Margins below it, in squares of the size of the state, count as a tie: far above their rounding,
# and crossed in a time that is far below what the result can show.
_TIE = 1e-12


class IntegrationFailed(ArithmeticError):
    """The flow could not be followed to the end; `time` is how far it got."""

    def __init__(self, time: float, reason: str):
        super().__init__(f"the flow was followed to time {time:g} only: {reason}")
        self.time = time


@dataclass
class Motion:
    """Inputs `x` (N, d), fixed or trainable, centroids (K, d), and how finely to integrate."""

    x: FloatArray
    centroids: FloatArray
    variance: float
    trainable: bool
    rtol: float
    atol: float
    budget: int
    evaluations: int = field(default=0, init=False)

    @property
    def start(self) -> FloatArray:
        """The state at time 0: what moves, as one vector."""
        parts = (self.x, self.centroids) if self.trainable else (self.centroids,)
        return np.concatenate([part.ravel() for part in parts])

    def split(self, vector: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return inputs and centroids of a state."""
        moved = vector.reshape(-1, self.x.shape[1])
        return (moved[: len(self.x)], moved[len(self.x) :]) if self.trainable else (self.x, moved)

    def pull(self, x: FloatArray, mu: FloatArray, shares: FloatArray) -> FloatArray:
        """Return the velocity of a state from the shares (N, K) of centroids in inputs."""
        down = shares.T @ x - shares.sum(0)[:, None] * mu
        moves = (shares @ mu - shares.sum(1)[:, None] * x, down) if self.trainable else (down,)
        return np.concatenate([move.ravel() for move in moves]) / self.variance

    def soft(self, t: float, vector: FloatArray) -> FloatArray:
        """Return the velocity with soft responsibilities."""
        self.spend(t)
        x, mu = self.split(vector)
        logits = cdist(x, mu, "sqeuclidean") / (-2 * self.variance)
        shares = np.exp(logits - logits.max(1, keepdims=True))
        return self.pull(x, mu, shares / shares.sum(1, keepdims=True))

    def hard(self, labels: IndexArray) -> Velocity:
        """Return the velocity with the centroid of every input given."""
        shares = np.eye(len(self.centroids))[labels]

        def velocity(t: float, vector: FloatArray) -> FloatArray:
            self.spend(t)
            return self.pull(*self.split(vector), shares)

        return velocity

    def spend(self, t: float) -> None:
        """Count an evaluation, and stop where there have been too many."""
        self.evaluations += 1
        if self.evaluations > self.budget:
            reason = f"more than max_evaluations = {self.budget} evaluations of the velocity"
            raise IntegrationFailed(t, reason)

    def solve(
        self,
        velocity: Velocity,
        begin: float,
        state: FloatArray,
        times: FloatArray,
        events: Event | None = None,
    ) -> Any:
        """Return SciPy's solution from `begin` to the last of the times."""
        found = solve_ivp(
            velocity,
            (begin, float(times[-1])),
            state,
            method="DOP853",
            t_eval=times,
            rtol=max(self.rtol, _FINEST),
            atol=self.atol,
            events=events,
        )
        if found.status < 0:
            raise IntegrationFailed(float(found.t[-1]) if found.t.size else begin, found.message)
        return found


def follow(motion: Motion, velocity: Velocity, times: FloatArray) -> FloatArray:
    """Return the states at the times under one smooth velocity, one a row."""
    if times[-1] == 0:
        return motion.start[None]
    states: FloatArray = motion.solve(velocity, 0.0, motion.start, times).y.T
    return states


def follow_nearest(motion: Motion, times: FloatArray) -> FloatArray:
    """Return the states at the times if every input belongs to the centroid nearest at the time.

    Between ties the flow is smooth. An input at a tie that is about to change sides pulls its new
    centroid nearer and no longer its old one, so it crosses at once: nothing slides along a tie.
    """
    state, begin, rows = motion.start, 0.0, []
    labels = cdist(*motion.split(state), "sqeuclidean").argmin(1)
    if times[-1] == 0:
        return state[None]
    while times.size:
        event = _tie(motion, state, labels)
        found = motion.solve(motion.hard(labels), begin, state, times, event)
        # Without a recorded time before the tie SciPy returns an empty list.
        rows.append(np.asarray(found.y).T.reshape(-1, len(state)))
        times = times[len(rows[-1]) :]
        if found.status == 1:
            begin, state = float(found.t_events[0][0]), found.y_events[0][0]
            labels = _switched(motion, state, labels)
    return np.concatenate(rows)


def _margins(motion: Motion, state: FloatArray, labels: IndexArray) -> FloatArray:
    """Return by how much every other centroid is further from an input than its own, squared."""
    distances = cdist(*motion.split(state), "sqeuclidean")
    own = distances[np.arange(len(labels)), labels]
    distances[np.arange(len(labels)), labels] = np.inf
    return distances - own[:, None]


def _tie(motion: Motion, state: FloatArray, labels: IndexArray) -> Event | None:
    """Return the event that a centroid comes as near to an input as its own.

    Where a run begins at a tie, from which the input moves away, rounding must not make it an
    event: such margins are raised above zero.
    """
    if len(motion.centroids) == 1:
        return None
    threshold = _threshold(motion, state)
    raised = 2 * threshold * (_margins(motion, state, labels) <= threshold)

    def smallest(t: float, moved: FloatArray) -> float:
        return float((_margins(motion, moved, labels) + raised).min())

    smallest.terminal = True  # type: ignore[attr-defined]  # solve_ivp reads both
    smallest.direction = -1  # type: ignore[attr-defined]
    return smallest


def _threshold(motion: Motion, state: FloatArray) -> float:
    """Return the margin below which an input is at a tie."""
    size: float = max(np.abs(part).max() for part in motion.split(state))
    return max(_TIE * size**2, float(np.finfo(np.float64).tiny))  # positive if all points are one


def _switched(motion: Motion, state: FloatArray, labels: IndexArray) -> IndexArray:
    """Return the assignment after an event: inputs at a tie change sides if they are crossing."""
    margins = _margins(motion, state, labels)
    x, mu = motion.split(state)
    dx, dmu = motion.split(motion.pull(x, mu, np.eye(len(mu))[labels]))
    dx = dx if motion.trainable else np.zeros_like(x)
    rates = 2 * ((x[:, None] - mu) * (dx[:, None] - dmu)).sum(2)
    rates = rates - rates[np.arange(len(labels)), labels][:, None]
    crossing = (margins <= _threshold(motion, state)) & (rates < 0)
    nearest = np.where(crossing, margins, np.inf).argmin(1)
    return np.where(crossing.any(1), nearest, labels)
