"""Rules for the predictor: set from the correlation, learned, optimal, constant, any path, none.

A rule may carry a matrix that moves with the weights, its `memory`: the learned predictor itself,
or a running average of the correlation. A rule without one has a memory of size 0.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike

from .. import validation
from .._types import FloatArray
from . import arrays
from .directset import NOTHING, DirectSet
from .gradients import solve_predictor


class Rule(Protocol):
    """What the dynamics ask of a rule; `W`, `X` and `Sigma` have been checked."""

    def start(self, W: FloatArray, X: FloatArray, Sigma: FloatArray) -> FloatArray:
        """Return the memory at time 0, once the rule has seen that it fits."""

    def predictor(
        self, t: float, W: FloatArray, memory: FloatArray, X: FloatArray, Sigma: FloatArray
    ) -> FloatArray:
        """Return the predictor, shape (k, k)."""

    def velocity(
        self,
        W: FloatArray,
        memory: FloatArray,
        G: FloatArray,
        X: FloatArray,
        Sigma: FloatArray,
        weight_decay: float,
    ) -> FloatArray:
        """Return the derivative of the memory, where ``G W^T`` descends the loss in W_p."""


@dataclass(frozen=True, eq=False)
class Learned:
    r"""A linear predictor that descends the loss at its own rate and with its own weight decay.

    .. math:: \dot W_p = \alpha_p G W^\top - \eta_p W_p

    Parameters
    ----------
    start_at : array_like, shape (k, k)
        The predictor at time 0.
    rate : float
        The rate :math:`\alpha_p`, positive.
    weight_decay : float, optional
        The decay :math:`\eta_p`; that of the network by default.
    symmetric : bool
        Whether only the symmetric part of the gradient is followed; `start_at` must be symmetric.

    Raises
    ------
    ValueError
        If a parameter is out of range or, once used, `start_at` does not fit the network.

    Notes
    -----
    Claims C1.a, C2.a and C8.a.

    Examples
    --------
    >>> Learned([[1.0]], rate=2.0).velocity(np.ones((1, 1)), np.ones((1, 1)), np.eye(1), *[0] * 3)
    array([[2.]])
    """

    start_at: ArrayLike
    rate: float = 1.0
    weight_decay: float | None = None
    symmetric: bool = False

    def __post_init__(self) -> None:
        validation.positive("rate", self.rate)
        if self.weight_decay is not None:
            validation.nonnegative("weight_decay", self.weight_decay)
        check = arrays.symmetric if self.symmetric else arrays.matrix
        check("start_at", self.start_at)

    def start(self, W: FloatArray, X: FloatArray, Sigma: FloatArray) -> FloatArray:
        """Return the first predictor."""
        return arrays.matrix("start_at", self.start_at, shape=(len(W), len(W))).copy()

    def predictor(
        self, t: float, W: FloatArray, memory: FloatArray, X: FloatArray, Sigma: FloatArray
    ) -> FloatArray:
        """Return the predictor as it has been learned."""
        return memory

    def velocity(
        self,
        W: FloatArray,
        memory: FloatArray,
        G: FloatArray,
        X: FloatArray,
        Sigma: FloatArray,
        weight_decay: float,
    ) -> FloatArray:
        """Return the direction of descent, less the weight decay."""
        descent = self.rate * (G @ W.T)
        if self.symmetric:
            descent = (descent + descent.T) / 2
        decay = weight_decay if self.weight_decay is None else self.weight_decay
        return descent - decay * memory


@dataclass(frozen=True, eq=False)
class Given:
    r"""A predictor that follows a given path, whatever it is: a function of time and weights.

    Parameters
    ----------
    path : callable
        ``path(t, W)`` returns the predictor, shape (k, k), finite.

    Notes
    -----
    Claims C2.c and C4.a, which hold for every path. A constant is ``Given(lambda t, W: P)``.

    Examples
    --------
    >>> Given(lambda t, W: t * np.eye(2)).predictor(3.0, np.eye(2), NOTHING, None, None)
    array([[3., 0.],
           [0., 3.]])
    """

    path: Callable[[float, FloatArray], ArrayLike]

    def start(self, W: FloatArray, X: FloatArray, Sigma: FloatArray) -> FloatArray:
        """Return nothing, once the path gives a matrix that fits."""
        self.predictor(0.0, W, NOTHING, X, Sigma)
        return NOTHING

    def predictor(self, t: float, W: FloatArray, *_: Any) -> FloatArray:
        """Return the predictor of this time."""
        return arrays.matrix("path(t, W)", self.path(t, W), shape=(len(W), len(W)))

    def velocity(self, *_: Any) -> FloatArray:
        """Return nothing: there is no memory."""
        return NOTHING


@dataclass(frozen=True)
class Optimal:
    r"""The predictor of least loss for the weights as they are.

    .. math:: W_p = W X W^\top (W \Sigma W^\top)^{-1}

    Notes
    -----
    Claims C2.d and C2.e; see `optimal_predictor`.

    Examples
    --------
    >>> Optimal().predictor(0.0, np.eye(1), NOTHING, np.eye(1), 2 * np.eye(1))
    array([[0.5]])
    """

    def start(self, W: FloatArray, X: FloatArray, Sigma: FloatArray) -> FloatArray:
        """Return nothing, once the predictor is seen to exist."""
        solve_predictor(W, X, Sigma)
        return NOTHING

    def predictor(
        self, t: float, W: FloatArray, memory: FloatArray, X: FloatArray, Sigma: FloatArray
    ) -> FloatArray:
        """Return the optimal predictor."""
        return solve_predictor(W, X, Sigma)

    def velocity(self, *_: Any) -> FloatArray:
        """Return nothing: there is no memory."""
        return NOTHING


def as_rule(predictor: Any) -> Rule:
    """Return a rule: None is no predictor, a function is a path, a matrix is constant."""
    if predictor is None:
        return Given(lambda t, W: np.eye(len(W)))
    if isinstance(predictor, DirectSet | Learned | Given | Optimal):
        return predictor
    if callable(predictor):
        return Given(predictor)
    matrix = arrays.matrix("predictor", predictor)
    return Given(lambda t, W: matrix)
