r"""What DirectSet and IsoLoss descend: potentials of linear non-contrastive learning.

With :math:`F = W \Sigma W^\top`, the correlation of the outputs of single views. IsoLoss is the
gradient flow of :math:`\Phi_\alpha`, DirectSet the same flow behind the factor :math:`F^\alpha`.
"""

import numpy as np
from numpy.typing import ArrayLike

from .. import validation
from .._types import FloatArray
from . import arrays
from .modes import broadcast, mode_critical_weight_decay


def contrastive_potential(
    W: ArrayLike, X: ArrayLike, Sigma: ArrayLike, *, alpha: float = 1.0
) -> float:
    r"""Return the potential of IsoLoss; for alpha = 1, a quarter of the spectral contrastive loss.

    .. math:: \Phi_\alpha(W) = -\tfrac12 \operatorname{tr} W X W^\top
        + \tfrac1{2(\alpha + 1)} \operatorname{tr} (W \Sigma W^\top)^{\alpha + 1}

    Parameters
    ----------
    W : array_like, shape (k, d)
        Weights.
    X, Sigma : array_like, shape (d, d)
        Cross-view and second moment of the views; they need not commute.
    alpha : float
        Power of the correlation, positive.

    Returns
    -------
    float

    Raises
    ------
    ValueError
        If a shape does not fit, the moments are none or `alpha` is not positive.

    Notes
    -----
    Claim C10.a: :math:`4 \Phi_1 = -2\, \mathbb E\, z_1^\top z_2 + \mathbb E (z^\top z^-)^2` with
    :math:`z^-` a view of an independent input.

    Examples
    --------
    >>> contrastive_potential([[1.0]], [[0.5]], [[1.0]])  # -1/4 + 1/4
    0.0
    """
    W, X, Sigma = _network(W, X, Sigma)
    alpha = validation.positive("alpha", alpha)
    values = _spectrum(W, Sigma)
    signal = float(np.sum((W @ X) * W))
    return float(-signal / 2 + np.sum(values ** (alpha + 1)) / (2 * (alpha + 1)))


def contrastive_gradient(
    W: ArrayLike, X: ArrayLike, Sigma: ArrayLike, *, alpha: float = 1.0
) -> FloatArray:
    r"""Return the gradient of `contrastive_potential`.

    .. math:: \nabla \Phi_\alpha = -(W X - F^\alpha W \Sigma), \qquad F = W \Sigma W^\top

    Parameters
    ----------
    W, X, Sigma, alpha
        As in `contrastive_potential`.

    Returns
    -------
    ndarray, shape (k, d)

    Raises
    ------
    ValueError
        As in `contrastive_potential`.

    Notes
    -----
    Claim C10.a.

    Examples
    --------
    >>> contrastive_gradient([[1.0]], [[0.5]], [[1.0]])
    array([[0.5]])
    """
    W, X, Sigma = _network(W, X, Sigma)
    alpha = validation.positive("alpha", alpha)
    values, vectors = np.linalg.eigh(_correlation(W, Sigma))
    power = (vectors * values.clip(min=0) ** alpha) @ vectors.T
    gradient: FloatArray = power @ W @ Sigma - W @ X
    return gradient


def decay_potential(
    W: ArrayLike, X: ArrayLike, c: float, weight_decay: float, *, alpha: float = 1.0
) -> float:
    r"""Return what DirectSet with weight decay descends where all views have equal variances.

    .. math:: \Psi_\alpha = \Phi_\alpha
        + \frac{\eta}{2c(1 - \alpha)} \operatorname{tr} F^{1-\alpha}, \quad
        \Psi_1 = \Phi_1 + \frac\eta{2c} \log\det F, \qquad \Sigma = c I

    Parameters
    ----------
    W : array_like, shape (k, d)
        Weights, of full row rank unless alpha < 1.
    X : array_like, shape (d, d)
        Cross-view moment, positive semi-definite, at most c.
    c : float
        The variance of the views, positive.
    weight_decay : float
        The decay :math:`\eta`, not negative.
    alpha : float
        Power of the correlation, positive.

    Returns
    -------
    float
        Minus infinity at a singular F for alpha >= 1 and positive weight decay.

    Raises
    ------
    ValueError
        If an argument is out of range.

    Notes
    -----
    Claim C10.b: DirectSet is :math:`\dot W = -F^\alpha \nabla \Psi_\alpha`, so that the potential
    falls along it and weight decay *lowers* the log-determinant.

    Examples
    --------
    >>> decay_potential([[1.0]], [[0.5]], 1.0, 0.1), decay_potential([[0.0]], [[0.5]], 1.0, 0.1)
    (0.0, -inf)
    """
    X = arrays.semidefinite("X", X)
    c = validation.positive("c", c)
    W, X, Sigma = _network(W, X, c * np.eye(len(X)))
    eta = validation.nonnegative("weight_decay", weight_decay)
    alpha = validation.positive("alpha", alpha)
    penalty = _penalty(_spectrum(W, Sigma), eta / (2 * c), alpha).sum()
    return contrastive_potential(W, X, Sigma, alpha=alpha) + float(penalty)


def mode_potential(
    F: ArrayLike, x: ArrayLike, c: ArrayLike, weight_decay: ArrayLike, alpha: ArrayLike
) -> FloatArray:
    r"""Return the potential of one mode, a function of its eigenvalue of the correlation.

    .. math:: \psi(F) = -\frac{x}{2c} F + \frac{F^{\alpha+1}}{2(\alpha+1)}
        + \frac{\eta}{2c} \frac{F^{1-\alpha}}{1-\alpha}
        \qquad \Bigl(\alpha = 1:\ \frac\eta{2c} \log F\Bigr)

    Parameters
    ----------
    F : array_like
        Eigenvalue, not negative.
    x, c : array_like
        Signal and view variance of the mode, 0 < x <= c.
    weight_decay : array_like
        The decay :math:`\eta`, not negative.
    alpha : array_like
        Power of the correlation, positive.

    Returns
    -------
    ndarray

    Raises
    ------
    ValueError
        If an argument is out of range.

    Notes
    -----
    Claim C10.b; `decay_potential` is its sum over modes. The zeros of its derivative are the fixed
    points :math:`F = p_\pm^{1/\alpha}` of DirectSet.

    Examples
    --------
    >>> mode_potential([0.0, 1.0], 1.0, 1.0, 0.25, 0.5).round(6)  # -1/2 + 1/3 + 1/4
    array([0.      , 0.083333])
    """
    F = arrays.numbers("F", F, least=0)
    F, x, c, eta, alpha = np.broadcast_arrays(F, *broadcast(x, c, weight_decay, alpha))
    kept = -x / (2 * c) * F + F ** (alpha + 1) / (2 * (alpha + 1))
    found: FloatArray = (kept + _penalty(F, eta / (2 * c), alpha))[()]
    return found


def metastable_weight_decay(x: ArrayLike, c: ArrayLike, alpha: ArrayLike) -> FloatArray:
    r"""Return the weight decay above which collapse has the lower potential.

    .. math:: (1 - \alpha^2)_+\, \eta^\star, \qquad \eta^\star = \frac{x^2}{4c}

    Parameters
    ----------
    x, c : array_like
        Signal and view variance of the mode, 0 < x <= c.
    alpha : array_like
        Power of the correlation, positive.

    Returns
    -------
    ndarray
        Between this value and :math:`\eta^\star` a kept mode is a local minimum only; zero for
        alpha >= 1, where it always is.

    Raises
    ------
    ValueError
        If an argument is out of range.

    Notes
    -----
    Claim C10.b.

    Examples
    --------
    >>> metastable_weight_decay(1.0, 1.0, [0.5, 1.0, 2.0])  # 3/4 of 1/4
    array([0.1875, 0.    , 0.    ])
    """
    alpha = arrays.numbers("alpha", alpha, above=0)
    return (np.clip(1 - alpha**2, 0, None) * mode_critical_weight_decay(x, c))[()]


def _penalty(F: FloatArray, weight: FloatArray | float, alpha: FloatArray | float) -> FloatArray:
    """Return the share of weight decay: ``weight * F^(1 - alpha) / (1 - alpha)`` or its log."""
    F, weight, alpha = np.broadcast_arrays(F, weight, alpha)
    power = np.where(alpha == 1, 0.5, 1 - alpha)  # any power but 0 where the logarithm is taken
    with np.errstate(divide="ignore", invalid="ignore"):  # F = 0 is minus infinity for alpha >= 1
        value = weight * np.where(alpha == 1, np.log(F), F**power / power)
    return np.where(weight == 0, 0.0, value)


def _network(
    W: ArrayLike, X: ArrayLike, Sigma: ArrayLike
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return weights and moments that fit."""
    X, Sigma = arrays.moments(X, Sigma, indefinite=True)
    return arrays.matrix("W", W, shape=(None, len(X))), X, Sigma


def _correlation(W: FloatArray, Sigma: FloatArray) -> FloatArray:
    """Return F, symmetric to the last digit."""
    F = W @ Sigma @ W.T
    return (F + F.T) / 2


def _spectrum(W: FloatArray, Sigma: FloatArray) -> FloatArray:
    """Return the eigenvalues of F without the rounding below 0."""
    return np.linalg.eigvalsh(_correlation(W, Sigma)).clip(min=0)
