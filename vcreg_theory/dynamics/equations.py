"""The equations of motion of network, predictor and target, as one function of their state."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from .. import validation
from .._types import FloatArray
from . import arrays
from .directset import NOTHING
from .rules import Rule, as_rule

LOSSES = ("l2", "iso")
LIMIT = 1e30  # an entry above it counts as divergence, before its ninth power overflows


class Diverged(ArithmeticError):
    """The weights left every bound; `time` is when, and there is no number to report."""

    def __init__(self, time: float, steps: int | None = None):
        at = f"time {time:g}" if steps is None else f"step {steps}, time {time:g}"
        super().__init__(f"the weights had diverged by {at}")
        self.time, self.steps = time, steps


class State(NamedTuple):
    """Weights `W` (k, d), the predictor's memory, and the target `W_a`, empty where it is tied."""

    W: FloatArray
    memory: FloatArray
    W_a: FloatArray

    def flat(self) -> FloatArray:
        """Return all entries as one vector."""
        return np.concatenate([part.ravel() for part in self])

    def unflatten(self, vector: FloatArray) -> "State":
        """Return the state of this one's shapes with the entries of a vector."""
        ends = np.cumsum([part.size for part in self])[:-1]
        parts = zip(np.split(vector, ends), self, strict=True)
        return State(*(values.reshape(part.shape) for values, part in parts))


class Trajectory(NamedTuple):
    """Times (T,), weights `W` (T, k, d), predictors `W_p` (T, k, k) and targets `W_a` (T, k, d)."""

    times: FloatArray
    W: FloatArray
    W_p: FloatArray
    W_a: FloatArray

    @property
    def gram(self) -> FloatArray:
        """The products W^T W, shape (T, d, d)."""
        return self.W.swapaxes(1, 2) @ self.W


@dataclass(frozen=True, eq=False)
class Equations:
    r"""The right-hand side of linear non-contrastive learning.

    .. math:: \dot W = W_p^\top G - \eta W, \qquad \dot W_a = \beta (W - W_a), \qquad
        G = W_a X - W_p W \Sigma

    Parameters
    ----------
    weight_decay : float
        The decay :math:`\eta`, not negative.
    predictor : DirectSet, Learned, Optimal, Given, callable, array_like or None
        The rule of the predictor; a callable is a path ``(t, W) -> W_p``, a matrix a constant, and
        None no predictor, :math:`W_p = I`.
    target_rate : float, optional
        The rate :math:`\beta` of a target that follows W, positive; without it the target is tied.
    target_scale : float
        A tied target is this multiple of W.
    stop_gradient : bool
        Whether the target is held fixed in the gradient; False needs a tied target of scale 1.
    loss : {"l2", "iso"}
        "iso" leaves out the first factor: :math:`\dot W = G - \eta W`.

    Raises
    ------
    TypeError, ValueError
        If a parameter is out of range or does not go with another.

    Notes
    -----
    Claims C1.a, C1.b and C10.c.

    Examples
    --------
    >>> one, system = np.eye(1), Equations(weight_decay=0.1, predictor=[[0.5]])
    >>> system.velocity(0.0, system.start(one, one, one), one, one).W  # 0.5 (1 - 0.5) - 0.1
    array([[0.15]])
    """

    weight_decay: float = 0.0
    predictor: Any = None
    target_rate: float | None = None
    target_scale: float = 1.0
    stop_gradient: bool = True
    loss: str = "l2"

    def __post_init__(self) -> None:
        validation.nonnegative("weight_decay", self.weight_decay)
        arrays.option("loss", self.loss, LOSSES)
        if self.target_rate is not None:
            validation.positive("target_rate", self.target_rate)
        scaled = validation.real("target_scale", self.target_scale) != 1.0
        if scaled and self.target_rate is not None:
            raise ValueError("target_scale must be 1 where target_rate lets the target follow W")
        if not self.stop_gradient and (scaled or self.target_rate or self.loss != "l2"):
            raise ValueError("stop_gradient=False needs the l2 loss and a tied target of scale 1")
        object.__setattr__(self, "predictor", as_rule(self.predictor))

    @property
    def rule(self) -> Rule:
        """The rule of the predictor."""
        rule: Rule = self.predictor
        return rule

    def start(
        self, W: ArrayLike, X: FloatArray, Sigma: FloatArray, target: ArrayLike | None = None
    ) -> State:
        """Return the state at time 0; a target that follows W starts at W if not given."""
        W = arrays.matrix("W", W, shape=(None, len(X)))
        if target is not None and self.target_rate is None:
            raise ValueError("target must be None where it is tied, got a matrix")
        W_a = W if target is None else arrays.matrix("target", target, shape=W.shape)
        follows = self.target_rate is not None
        return State(W, self.rule.start(W, X, Sigma), W_a.copy() if follows else NOTHING)

    def target(self, state: State) -> FloatArray:
        """Return the target of a state."""
        return self.target_scale * state.W if self.target_rate is None else state.W_a

    def velocity(self, t: float, state: State, X: FloatArray, Sigma: FloatArray) -> State:
        """Return the time derivative of every part of the state."""
        W_p = self.rule.predictor(t, state.W, state.memory, X, Sigma)
        return self.velocity_with(W_p, state, X, Sigma)

    def velocity_with(
        self, W_p: FloatArray, state: State, X: FloatArray, Sigma: FloatArray
    ) -> State:
        """Return the time derivative with a predictor that has been found elsewhere."""
        W, memory = state.W, state.memory
        W_a = self.target(state)
        G = W_a @ X - W_p @ (W @ Sigma)
        descent = G if self.loss == "iso" else W_p.T @ G
        if not self.stop_gradient:
            descent = descent + W_p @ (W @ X) - W @ Sigma  # the target's half of the gradient
        follow = NOTHING if self.target_rate is None else self.target_rate * (W - W_a)
        decay = self.weight_decay
        return State(descent - decay * W, self.rule.velocity(W, memory, G, X, Sigma, decay), follow)

    def record(
        self, times: FloatArray, states: list[State], X: FloatArray, Sigma: FloatArray
    ) -> Trajectory:
        """Return the states of given times as a trajectory."""
        predictors = [
            self.rule.predictor(t, s.W, s.memory, X, Sigma)
            for t, s in zip(times, states, strict=True)
        ]
        targets = [self.target(s) for s in states]
        return Trajectory(
            times, np.stack([s.W for s in states]), np.stack(predictors), np.stack(targets)
        )


def lost(*parts: FloatArray) -> bool:
    """Return whether an entry is not a number of reasonable size."""
    return any(part.size and not np.abs(part).max() < LIMIT for part in parts)
