r"""IsoLoss, the gradient flow of contrastive learning: closed form, and what it keeps.

The flow is :math:`\dot W = W X - F^\alpha W \Sigma - \eta W`, the one of DirectSet without the
predictor in front. For alpha = 1 it descends the spectral contrastive loss with weight decay.
"""

import numpy as np
from numpy.typing import ArrayLike
from scipy import linalg

from .. import validation
from .._types import FloatArray
from . import arrays
from .modes import broadcast


def isoloss_fixed_point(x: ArrayLike, c: ArrayLike, weight_decay: ArrayLike) -> FloatArray:
    r"""Return the predictor's eigenvalue that IsoLoss ends at, from every positive start.

    .. math:: p = \frac{(x - \eta)_+}{c}

    Parameters
    ----------
    x, c : array_like
        Signal and view variance of the modes, 0 < x <= c.
    weight_decay : array_like
        The decay :math:`\eta`, not negative.

    Returns
    -------
    ndarray
        Zero where the mode is not kept; the correlation has the eigenvalue
        :math:`p^{1/\alpha}`.

    Raises
    ------
    ValueError
        If an argument is out of range.

    Notes
    -----
    Claim C10.c: whether a mode is kept depends on x alone.

    Examples
    --------
    >>> isoloss_fixed_point([1.0, 1.0, 0.1], [1.0, 4.0, 0.2], 0.2)
    array([0.8, 0.2, 0. ])
    """
    x, c, eta = broadcast(x, c, weight_decay)
    return (np.clip(x - eta, 0, None) / c)[()]


def isoloss_trajectory(
    t: ArrayLike,
    p0: ArrayLike,
    x: ArrayLike,
    c: ArrayLike,
    weight_decay: ArrayLike,
    alpha: ArrayLike,
) -> FloatArray:
    r"""Return the predictor's eigenvalue at time t under IsoLoss, exactly.

    .. math:: \dot p = 2\alpha\, p\,(x - \eta - c p), \qquad
        p(t) = \frac{p_0\, e^{r t}}{1 + c\, p_0\, (e^{r t} - 1)/(x - \eta)}, \quad
        r = 2\alpha (x - \eta)

    Parameters
    ----------
    t, p0 : array_like
        Time and value at time 0, not negative.
    x, c : array_like
        Signal and view variance of the mode, 0 < x <= c.
    weight_decay : array_like
        The decay :math:`\eta`, not negative.
    alpha : array_like
        Power of the correlation, positive.

    Returns
    -------
    ndarray
        All arguments broadcast together. At :math:`\eta = x` it is
        :math:`p_0/(1 + 2\alpha c p_0 t)`.

    Raises
    ------
    ValueError
        If an argument is out of range.

    Notes
    -----
    Claim C10.c, the logistic curve.

    Examples
    --------
    >>> isoloss_trajectory([0.0, 1e3], 1e-6, 1.0, 2.0, 0.5, 1.0)
    array([1.0e-06, 2.5e-01])
    """
    t, p0 = arrays.numbers("t", t, least=0), arrays.numbers("p0", p0, least=0)
    t, p0, x, c, eta, alpha = np.broadcast_arrays(t, p0, *broadcast(x, c, weight_decay, alpha))
    clock = 2 * alpha * t
    growth = (x - eta) * clock
    # Divided by the larger exponential, so that none overflows.
    size = np.abs(growth)
    mean = np.where(size == 0, 1.0, -np.expm1(-size) / np.where(size == 0, 1.0, size))
    top = np.where(growth > 0, 1.0, np.exp(-size))
    bottom = np.where(growth > 0, np.exp(-size), 1.0) + c * p0 * clock * mean
    found: FloatArray = np.divide(p0 * top, bottom, out=np.zeros(p0.shape), where=p0 > 0)[()]
    return found


def contrastive_spectrum(
    X: ArrayLike,
    Sigma: ArrayLike,
    k: int,
    *,
    weight_decay: float = 0.0,
    alpha: float = 1.0,
) -> FloatArray:
    r"""Return the eigenvalues of the correlation at the least value of the contrastive potential.

    .. math:: F_j = (r_j)_+^{1/\alpha}, \qquad
        r = \lambda\bigl(\Sigma^{-1/2} (X - \eta I) \Sigma^{-1/2}\bigr)

    over all weights of k rows, of :math:`\Phi_\alpha + \frac\eta2 \lVert W \rVert^2`.

    Parameters
    ----------
    X, Sigma : array_like, shape (d, d)
        Cross-view and second moment of the views; `Sigma` positive definite. They need not
        commute.
    k : int
        Number of rows, at least 1.
    weight_decay : float
        The decay :math:`\eta`, not negative.
    alpha : float
        Power of the correlation, positive.

    Returns
    -------
    ndarray, shape (k,)
        Descending. As many are positive as X has eigenvalues above :math:`\eta`, if there are k
        rows for them, whatever Sigma (Sylvester's law of inertia).

    Raises
    ------
    ValueError
        If an argument is out of range.

    Notes
    -----
    Claims C10.a and C10.c. Without weight decay they are powers of the k largest canonical
    correlations of the views.

    Examples
    --------
    >>> contrastive_spectrum(np.eye(2), np.diag([1.0, 4.0]), 1)
    array([1.])
    >>> contrastive_spectrum(np.eye(2), np.diag([1.0, 4.0]), 3, weight_decay=0.2)
    array([0.8, 0.2, 0. ])
    """
    X, Sigma = arrays.moments(X, Sigma, indefinite=True)
    k = validation.integer("k", k, at_least=1)
    eta = validation.nonnegative("weight_decay", weight_decay)
    alpha = validation.positive("alpha", alpha)
    arrays.definite("Sigma", Sigma)
    kept = linalg.eigvalsh(X - eta * np.eye(len(X)), Sigma)[::-1][:k].clip(min=0)
    spectrum = np.zeros(k)
    spectrum[: len(kept)] = kept ** (1 / alpha)
    return spectrum
