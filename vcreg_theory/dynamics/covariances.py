r"""Covariances of linear VICReg: equal variances by rotation, the tilted and the diagonal one."""

import numpy as np
from numpy.typing import ArrayLike

from .._types import FloatArray
from . import arrays
from .basis import canonical_modes
from .vicreg_population import as_terms
from .waterfilling import vicreg_spectrum


def equal_variances(spectrum: ArrayLike) -> FloatArray:
    r"""Return a rotation after which a diagonal covariance has equal variances.

    .. math:: (Q \operatorname{diag}(c)\, Q^\top)_{ii} = \frac1k \sum_j c_j

    Parameters
    ----------
    spectrum : array_like, shape (k,)
        The variances c, not negative.

    Returns
    -------
    ndarray, shape (k, k)
        Orthogonal: at most k - 1 plane rotations, each of which puts one variance at the mean.

    Raises
    ------
    ValueError
        If there are no variances or one is negative.

    Notes
    -----
    Claim C10.e.

    Examples
    --------
    >>> Q = equal_variances([3.0, 1.0])
    >>> np.abs(Q @ np.diag([3.0, 1.0]) @ Q.T).round(12)
    array([[2., 1.],
           [1., 2.]])
    """
    c = arrays.numbers("spectrum", spectrum, least=0).ravel()
    if not c.size:
        raise ValueError("spectrum must hold at least one variance, got none")
    k, mean, Q, C = len(c), c.mean(), np.eye(len(c)), np.diag(c)
    for _ in range(k - 1):
        gap = C.diagonal() - mean
        i, j = int(gap.argmax()), int(gap.argmin())
        if gap[i] <= 0 or gap[j] >= 0:
            break
        # Row i becomes cos i + sin j; its variance is the mean at a root in t = tan, which exists
        # as the variances of i and j lie on either side.
        root = np.sqrt(C[i, j] ** 2 - gap[i] * gap[j])
        t = gap[i] / (root - C[i, j]) if C[i, j] < 0 else -(C[i, j] + root) / gap[j]
        turn, cos = np.eye(k), 1 / np.hypot(1, t)
        turn[[i, i, j, j], [i, j, i, j]] = np.array([1, t, -t, 1]) * cos
        Q, C = turn @ Q, turn @ C @ turn.T
        C[i, i] = mean
    return Q


def vicreg_optimum(
    X: ArrayLike,
    Sigma: ArrayLike,
    k: int,
    *,
    invariance: float = 25.0,
    variance: float = 25.0,
    covariance: float = 1.0,
    gamma: float = 1.0,
    eps: float = 1e-4,
) -> FloatArray:
    r"""Return weights that attain the optimum of `vicreg_spectrum`.

    .. math:: W = Q \operatorname{diag}(\sqrt{c_j})\, V^\top, \qquad
        V^\top \Sigma V = I, \quad V^\top X V = \operatorname{diag}(\rho)

    with a rotation Q that makes the variances equal, which exists by the theorem of Schur and Horn.

    Parameters
    ----------
    X, Sigma : array_like, shape (d, d)
        Cross-view and second moment of centred views; `Sigma` positive definite.
    k : int
        Number of outputs, at least 1.
    invariance, variance, covariance, gamma, eps : float
        As in `linear_vicreg_loss`.

    Returns
    -------
    ndarray, shape (k, d)

    Raises
    ------
    ValueError
        If an argument is out of range.

    Notes
    -----
    Claim C10.e.

    Examples
    --------
    >>> W = vicreg_optimum(np.diag([1.0, 0.9]), np.eye(2), 2)
    >>> np.abs(W @ W.T).round(4)
    array([[0.9999, 0.625 ],
           [0.625 , 0.9999]])
    """
    modes = canonical_modes(X, Sigma)
    weights = {"invariance": invariance, "variance": variance, "covariance": covariance}
    found = vicreg_spectrum(np.clip(1 - modes.rho, 0, 1), k, gamma=gamma, eps=eps, **weights)
    rows = min(k, len(modes.rho))
    root = np.zeros((k, len(modes.rho)))
    root[:rows] = np.sqrt(found.spectrum[:rows, None]) * modes.V.T[:rows]
    return equal_variances(found.spectrum) @ root


def tilted_covariance(
    m: ArrayLike,
    *,
    invariance: float = 25.0,
    covariance: float = 1.0,
    gamma: float = 1.0,
    eps: float = 1e-4,
) -> FloatArray:
    r"""Return the best covariance of two outputs whose variances are at their cap.

    .. math:: C = \begin{pmatrix} g & c_{12} \\ c_{12} & g \end{pmatrix}, \qquad
        c_{12} = \min\Bigl(\frac{\lambda (m_2 - m_1)}{4\nu},\, g\Bigr), \quad
        g = \gamma^2 - \varepsilon

    Parameters
    ----------
    m : array_like, shape (2,)
        The values :math:`1 - \rho_j` of the two modes, in [0, 1].
    invariance, covariance, gamma, eps : float
        As in `linear_vicreg_loss`.

    Returns
    -------
    ndarray, shape (2, 2)
        The sign of its entry off the diagonal is free; this one is not negative.

    Raises
    ------
    ValueError
        If an argument is out of range.

    Notes
    -----
    Claim C10.f. It is singular, and one mode lost, from a difference of :math:`4\nu g/\lambda` on.

    Examples
    --------
    >>> tilted_covariance([0.05, 0.15], eps=0.0)  # 25 times 0.1, over 4
    array([[1.   , 0.625],
           [0.625, 1.   ]])
    """
    terms = as_terms(invariance, 1.0, covariance, gamma, eps)
    low, high = np.sort(_modes(m, 2))
    tilt = min(terms.invariance * (high - low) / (4 * terms.covariance), terms.cap)
    return np.array([[terms.cap, tilt], [tilt, terms.cap]])


def diagonal_variances(
    m: ArrayLike,
    *,
    invariance: float = 25.0,
    variance: float = 25.0,
    gamma: float = 1.0,
    eps: float = 1e-4,
) -> FloatArray:
    r"""Return the best variances of outputs that hold one mode each.

    .. math:: C_{jj} = \bigl(\min(\gamma, \mu/4\lambda m_j)^2 - \varepsilon\bigr)_+

    Parameters
    ----------
    m : array_like, shape (k,)
        The values :math:`1 - \rho_j` of the modes, in [0, 1].
    invariance, variance, gamma, eps : float
        As in `linear_vicreg_loss`.

    Returns
    -------
    ndarray, shape (k,)
        Zero, the mode is lost, from :math:`m = \mu / 4 \lambda \sqrt\varepsilon` on.

    Raises
    ------
    ValueError
        If an argument is out of range.

    Notes
    -----
    Claim C10.f.

    Examples
    --------
    >>> diagonal_variances([0.1, 0.5], eps=0.0)
    array([1.  , 0.25])
    """
    terms = as_terms(invariance, variance, 1.0, gamma, eps)
    price = 4 * terms.invariance * _modes(m)
    with np.errstate(divide="ignore"):  # no price: the cap
        deviation = np.minimum(terms.gamma, terms.variance / price)
    return np.clip(deviation**2 - terms.eps, 0, None)


def diagonal_margin(
    m: ArrayLike, variances: ArrayLike, *, invariance: float = 25.0, covariance: float = 1.0
) -> float:
    r"""Return how far a stationary diagonal covariance is from losing to a tilt of two outputs.

    .. math:: \min_{m_i < m_j} \; 2\nu (C_{ii} - C_{jj}) - \lambda (m_j - m_i)

    Parameters
    ----------
    m, variances : array_like, shape (k,)
        Modes held by the outputs, and their variances, positive, see `diagonal_variances`.
    invariance, covariance : float
        As in `linear_vicreg_loss`.

    Returns
    -------
    float
        Negative where some tilt lowers the loss, so that the covariance is no local minimum;
        infinite where all modes are equal.

    Raises
    ------
    ValueError
        If an argument is out of range.

    Notes
    -----
    Claim C10.f. The determinant of the loss's second derivatives in the two entries that tilt a
    pair is proportional to its bracket. A mode with m = 0 may stand above the cap at no cost, where
    the diagonal can be a local minimum; it is not the global one.

    Examples
    --------
    >>> diagonal_margin([0.1, 0.2], [1.0, 1.0])
    -2.5
    """
    m = _modes(m)
    v = arrays.numbers("variances", variances, above=0)
    if v.shape != m.shape:
        raise ValueError(f"variances must have the shape of m, {m.shape}, got {v.shape}")
    terms = as_terms(invariance, 1.0, covariance, 1.0, 0.0)
    gaps = 2 * terms.covariance * (v[:, None] - v) - terms.invariance * (m - m[:, None])
    return float(np.min(gaps, where=m[:, None] < m, initial=np.inf))


def _modes(m: ArrayLike, count: int | None = None) -> FloatArray:
    """Return a vector of values 1 - rho."""
    m = arrays.numbers("m", m, least=0)
    if m.ndim != 1 or not m.size or m.max() > 1 or count not in (None, m.size):
        size = "" if count is None else f"{count} "
        raise ValueError(f"m must be a vector of {size}numbers in [0, 1], got {m}")
    return m
