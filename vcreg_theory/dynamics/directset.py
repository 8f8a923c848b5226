"""DirectSet as a rule of the dynamics: the predictor is set to a power of the correlation."""

from dataclasses import dataclass

import numpy as np

from .. import validation
from .._types import FloatArray
from . import arrays
from .modes import CORRELATIONS

NOTHING = np.zeros((0, 0))  # the memory of a rule that has none


@dataclass(frozen=True)
class DirectSet:
    r"""The predictor set to a power of the correlation, plus an offset.

    .. math:: W_p = (F / \lVert F \rVert)^\alpha + \epsilon I, \qquad
        F = W X W^\top,\; W \Sigma W^\top \text{ or } W W^\top,

    with the division by the largest eigenvalue only if `normalize`.

    Parameters
    ----------
    alpha : float
        The power, positive.
    eps : float
        The offset, not negative.
    correlation : {"clean", "augmented", "gram"}
        Which of the three F is.
    normalize : bool
        Whether F is divided by its spectral norm.
    averaging : float, optional
        Time constant :math:`\tau` of an exponential average that takes the place of F and starts
        at it: its derivative is the difference, over :math:`\tau`. In steps of size
        :math:`\gamma` the old value has the weight :math:`1 - \gamma/\tau`.
    clip : bool
        Whether negative eigenvalues of F count as 0. They occur where X is estimated from few
        pairs, and are refused without this.

    Raises
    ------
    ValueError
        If a parameter is out of range.

    Notes
    -----
    Claims C3.a, C7.a, C7.b and C7.d.

    Examples
    --------
    >>> DirectSet(0.5).predictor(0.0, np.eye(1), NOTHING, 4 * np.eye(1), 9 * np.eye(1))
    array([[2.]])
    """

    alpha: float = 1.0
    eps: float = 0.0
    correlation: str = "clean"
    normalize: bool = False
    averaging: float | None = None
    clip: bool = False

    def __post_init__(self) -> None:
        validation.positive("alpha", self.alpha)
        validation.nonnegative("eps", self.eps)
        arrays.option("correlation", self.correlation, CORRELATIONS)
        if self.averaging is not None:
            validation.positive("averaging", self.averaging)

    def start(self, W: FloatArray, X: FloatArray, Sigma: FloatArray) -> FloatArray:
        """Return the first average, or nothing; raise if X has negative eigenvalues."""
        if self.correlation == "clean" and not self.clip:
            arrays.semidefinite("X (with clip=False)", X)
        return NOTHING if self.averaging is None else self.measure(W, X, Sigma)

    def measure(self, W: FloatArray, X: FloatArray, Sigma: FloatArray) -> FloatArray:
        """Return the correlation F of the outputs."""
        second = {"clean": X, "augmented": Sigma, "gram": None}[self.correlation]
        return W @ W.T if second is None else W @ second @ W.T

    def predictor(
        self, t: float, W: FloatArray, memory: FloatArray, X: FloatArray, Sigma: FloatArray
    ) -> FloatArray:
        """Return the power of the correlation or of its average, plus the offset."""
        F = self.measure(W, X, Sigma) if self.averaging is None else memory
        power = self._power(F)
        power[np.diag_indices_from(power)] += self.eps
        return power

    def velocity(
        self,
        W: FloatArray,
        memory: FloatArray,
        G: FloatArray,
        X: FloatArray,
        Sigma: FloatArray,
        weight_decay: float,
    ) -> FloatArray:
        """Return the speed of the average."""
        if self.averaging is None:
            return NOTHING
        return (self.measure(W, X, Sigma) - memory) / self.averaging

    def _power(self, F: FloatArray) -> FloatArray:
        """Return the power; whole small powers need no eigenvalues."""
        if self.alpha in (1.0, 2.0) and not (self.normalize or self.clip):
            return F.copy() if self.alpha == 1.0 else F @ F
        if not np.isfinite(F).all():
            return np.full_like(F, np.nan)  # weights that diverge are reported where they move
        values, vectors = np.linalg.eigh((F + F.T) / 2)
        values = values.clip(min=0)
        if self.normalize:
            if values[-1] == 0:
                raise ValueError("W must not be zero where the norm of its correlation divides it")
            values /= values[-1]
        power: FloatArray = (vectors * values**self.alpha) @ vectors.T
        return power
