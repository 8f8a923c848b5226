r"""The VICReg loss of a linear embedding on the population.

A linear embedding :math:`z = W x` of views enters it by :math:`A = W \Sigma^{1/2}` alone: its
covariance is :math:`C = A A^\top` and the views differ by :math:`\mathbb E\lVert z - z' \rVert^2 =
2 \operatorname{tr} A M A^\top`, where M has the eigenvalues :math:`m_j = 1 - \rho_j`. Moments are
those of centred views.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from .. import validation
from . import arrays


class Terms(NamedTuple):
    """Weights of the three terms, target standard deviation and the number inside its root."""

    invariance: float
    variance: float
    covariance: float
    gamma: float
    eps: float

    @property
    def cap(self) -> float:
        """The variance at which the hinge ends."""
        return self.gamma**2 - self.eps


def linear_vicreg_loss(
    W: ArrayLike,
    X: ArrayLike,
    Sigma: ArrayLike,
    *,
    invariance: float = 25.0,
    variance: float = 25.0,
    covariance: float = 1.0,
    gamma: float = 1.0,
    eps: float = 1e-4,
) -> float:
    r"""Return the VICReg loss of a linear embedding on the population.

    .. math:: k L = 2\lambda \operatorname{tr} W X' W^\top
        + \mu \sum_i \bigl(\gamma - \sqrt{C_{ii} + \varepsilon}\bigr)_+
        + 2\nu \sum_{i \ne j} C_{ij}^2, \qquad C = W \Sigma W^\top

    Parameters
    ----------
    W : array_like, shape (k, d)
        Weights.
    X, Sigma : array_like, shape (d, d)
        Cross-view and second moment of centred views; :math:`X' = \Sigma - X`.
    invariance, variance, covariance, gamma, eps : float
        As in `losses.vicreg_loss` with its official convention; the weights are positive, and
        `eps` is below the square of `gamma`.

    Returns
    -------
    float

    Raises
    ------
    ValueError
        If a shape does not fit or a parameter is out of range.

    Notes
    -----
    Claim C10.e: the limit of `losses.vicreg_loss` for many samples.

    Examples
    --------
    >>> linear_vicreg_loss(np.eye(2), np.eye(2), np.eye(2), eps=0.0)
    0.0
    """
    terms = as_terms(invariance, variance, covariance, gamma, eps)
    X, Sigma = arrays.moments(X, Sigma, indefinite=True)
    W = arrays.matrix("W", W, shape=(None, len(X)))
    C = W @ Sigma @ W.T
    hinge = np.clip(terms.gamma - np.sqrt(C.diagonal() + terms.eps), 0, None).sum()
    off = np.square(C).sum() - np.square(C.diagonal()).sum()
    distance = 2 * np.sum((W @ (Sigma - X)) * W)
    total = terms.invariance * distance + terms.variance * hinge + 2 * terms.covariance * off
    return float(total / len(W))


def as_terms(
    invariance: float, variance: float, covariance: float, gamma: float, eps: float
) -> Terms:
    """Return parameters that are allowed."""
    found = Terms(
        validation.positive("invariance", invariance),
        validation.positive("variance", variance),
        validation.positive("covariance", covariance),
        validation.positive("gamma", gamma),
        validation.nonnegative("eps", eps),
    )
    if found.cap <= 0:
        raise ValueError(f"eps must be below gamma^2 = {found.gamma**2:g}, got {found.eps:g}")
    return found
