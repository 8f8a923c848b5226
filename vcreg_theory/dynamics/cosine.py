r"""Predictors under the cosine loss: the mean-field limit, and the exact one for Gaussian views.

The flow of :math:`L = 1 - \mathbb E \cos(W_p W x_1, W x_2)`, target and predictor held fixed in
the gradient, with the predictor :math:`W_p = (F/\lVert F \rVert)^\alpha + \epsilon I`, spectral
norm, :math:`F = W \Sigma W^\top`. An aligned W keeps its modes, and its direction depends on F and
the invariance ratios alone.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import optimize

from .. import validation
from .._types import BoolArray, FloatArray
from . import arrays

_LOW, _HIGH, _STEP = 4.0, 3.3, 0.06  # ends and step of the double-exponential rule: 1e-14
_DEAD = 1e-9  # share of the largest eigenvalue below which a mode is on its way to zero


class CosineDrive(NamedTuple):
    """Mean cosine of Gaussian views, and the push on each mode, shape of F."""

    cosine: float
    drive: FloatArray


def cosine_threshold(eps: ArrayLike) -> FloatArray:
    r"""Return the share of the largest invariance ratio below which modes are discarded.

    .. math:: \frac{\rho_j}{\rho_{\max}} \le \frac{\epsilon}{1 + \epsilon}

    Parameters
    ----------
    eps : array_like
        The constant :math:`\epsilon` that is added to the normalised predictor, not negative.

    Returns
    -------
    ndarray

    Raises
    ------
    ValueError
        If `eps` is negative.

    Notes
    -----
    Claim C10.d.

    Examples
    --------
    >>> cosine_threshold([0.0, 0.25, 1.0])
    array([0. , 0.2, 0.5])
    """
    eps = arrays.numbers("eps", eps, least=0)
    return (eps / (1 + eps))[()]


def cosine_limit(rho: ArrayLike, alpha: float, eps: float = 0.0) -> FloatArray:
    r"""Return the correlation's eigenvalues in the mean-field limit, relative to the largest.

    .. math:: \frac{F_j}{F_{\max}} = \Bigl((1 + \epsilon) \frac{\rho_j}{\rho_{\max}}
        - \epsilon\Bigr)_+^{1/\alpha}

    Parameters
    ----------
    rho : array_like, shape (d,)
        Invariance ratios of the modes, in [0, 1], not all zero.
    alpha : float
        Power of the correlation, positive.
    eps : float
        The added constant, not negative.

    Returns
    -------
    ndarray, shape (d,)

    Raises
    ------
    ValueError
        If an argument is out of range.

    Notes
    -----
    Claim C10.d: for embeddings whose norms concentrate, whatever the weight decay.

    Examples
    --------
    >>> cosine_limit([1.0, 0.6, 0.2], 1.0, 0.25)
    array([1. , 0.5, 0. ])
    """
    rho, alpha, eps = _rule(rho, alpha, eps)
    found: FloatArray = np.clip((1 + eps) * rho / rho.max() - eps, 0, None) ** (1 / alpha)
    return found


def cosine_drive(
    F: ArrayLike, p: ArrayLike, rho: ArrayLike, counts: ArrayLike = 1.0
) -> CosineDrive:
    r"""Return the exact mean cosine of Gaussian views and its derivative in each online weight.

    .. math:: \mathbb E \cos(u, v), \quad
        \frac1{p_j F_j} \frac{\partial\, \mathbb E \cos(u, v)}{\partial \log s_j}, \qquad
        u_j = p_j s_j x_{1j}, \quad v_j = s_j x_{2j}, \quad F_j = c_j s_j^2

    Parameters
    ----------
    F, p : array_like, shape (m,)
        Eigenvalues of the correlation, not negative and not all zero, and of the predictor,
        positive.
    rho : array_like, shape (m,)
        Invariance ratios, in [0, 1].
    counts : array_like, shape (m,)
        How many modes have these values, at least 1 each; the derivative is that of one of them.

    Returns
    -------
    CosineDrive
        The flow is :math:`\dot s_j = c_j s_j p_j\,\mathrm{drive}_j - \eta s_j`. In mean field the
        drive is :math:`(\rho_j - q p_j)/N`.

    Raises
    ------
    ValueError
        If an argument is out of range.

    Notes
    -----
    Claim C10.d. With :math:`1/\lVert u \rVert = \pi^{-1/2} \int_{-\infty}^\infty
    e^{-w^2 \lVert u \rVert^2} dw` for both norms the mean is a Gaussian one, a product over modes,
    and the two integrals are done by the double-exponential rule.

    Examples
    --------
    >>> found = cosine_drive([1.0], [1.0], [0.5], [2])  # one kind of mode: nothing moves
    >>> round(found.cosine, 6), abs(float(found.drive.round(12)[0]))
    (0.406299, 0.0)
    """
    F, p, rho, n = np.broadcast_arrays(
        arrays.numbers("F", F, least=0),
        arrays.numbers("p", p, above=0),
        arrays.numbers("rho", rho, least=0),
        arrays.counts("counts", counts, least=1),
    )
    if F.ndim != 1 or not (F > 0).any() or rho.max() > 1:
        raise ValueError(f"F needs a positive entry and rho must be at most 1, got {F} and {rho}")
    nodes, weights = _rule_nodes()
    first = nodes / np.sqrt(n @ (p**2 * F))  # w of |u|, in units of its size
    second = nodes / np.sqrt(n @ F)
    t, s = (first**2)[:, None, None], (second**2)[None, :, None]
    rest = 1 - rho**2
    delta = 1 + 2 * (t * p**2 * F + s * F) + 4 * t * s * p**2 * F**2 * rest
    density = np.exp(-(np.log(delta) @ n) / 2) * np.outer(weights * first, weights * second)
    inner = (rho / delta) @ (n * p * F)  # sum over modes of what the mean cosine holds
    slope = 4 * t * p * (1 + 2 * s * F * rest) / delta  # (d log delta / d log s) / (p F)
    drive = rho / delta * (1 - slope * p * F) - slope * inner[..., None] / 2
    both = 4 / np.pi * density
    return CosineDrive(float(np.sum(both * inner)), np.einsum("ab,abj->j", both, drive))


def cosine_fixed_point(
    rho: ArrayLike, counts: ArrayLike, alpha: float, eps: float = 0.0
) -> FloatArray:
    r"""Return the limit of `cosine_limit` for Gaussian views in finitely many dimensions.

    Parameters
    ----------
    rho : array_like, shape (m,)
        Invariance ratios, in [0, 1], not all zero.
    counts : array_like, shape (m,)
        How many modes have each ratio, at least 1.
    alpha : float
        Power of the correlation, positive.
    eps : float
        The added constant, not negative.

    Returns
    -------
    ndarray, shape (m,)
        Eigenvalues of the correlation over the largest; 0 for modes that do not grow.

    Raises
    ------
    ValueError
        If an argument is out of range.
    ArithmeticError
        If Newton's method fails.

    Notes
    -----
    Claim C10.d. The gap to the mean field falls as one over the number of dimensions.

    Examples
    --------
    >>> exact = cosine_fixed_point([1.0, 1 / 3], [20, 20], 1.0)
    >>> bool(0.31 < exact[1] < cosine_limit([1.0, 1 / 3], 1.0)[1])
    True
    """
    rho, alpha, eps = _rule(rho, alpha, eps)
    n = np.broadcast_to(arrays.counts("counts", counts, least=1), rho.shape)
    top, guess = rho == rho.max(), cosine_limit(rho, alpha, eps)
    kept = guess > 0
    for _ in range(2 * rho.size):
        F = _settle(kept & ~top, np.where(kept, np.maximum(guess, 1e-3), 0.0), rho, n, alpha, eps)
        growth = np.where(kept | (eps == 0), -np.inf, _push(F, rho, n, alpha, eps))
        dying = kept & (F < _DEAD)
        if not dying.any() and growth.max() <= 0:
            return F
        kept = (kept & ~dying) | (growth > 0)
    raise ArithmeticError("the modes that are kept could not be found")


def _push(F: FloatArray, rho: FloatArray, n: FloatArray, alpha: float, eps: float) -> FloatArray:
    """Return the drive of every mode under the set predictor."""
    p = np.maximum(F**alpha + eps, np.finfo(np.float64).tiny)
    return cosine_drive(F, p, rho, n).drive


def _settle(
    free: BoolArray, start: FloatArray, rho: FloatArray, n: FloatArray, alpha: float, eps: float
) -> FloatArray:
    """Return F with the drive of the free modes at zero, found by Newton's method in log F."""
    F = start.copy()
    if not free.any():
        return F

    def residual(logs: FloatArray) -> FloatArray:
        F[free] = np.exp(np.clip(logs, -60, 5))
        return _push(F, rho, n, alpha, eps)[free]

    scale = np.abs(cosine_drive(F, F**alpha + eps + _DEAD, rho, n).cosine) / (n @ F)

    def relative(logs: FloatArray) -> FloatArray:
        drive: FloatArray = residual(logs) / scale
        return drive

    found = optimize.root(relative, np.log(start[free]), tol=1e-14)
    if np.abs(residual(found.x)).max() > 1e-10 * scale and (F[free] > _DEAD).all():
        raise ArithmeticError(f"Newton's method failed: {found.message}")
    return F


def _rule_nodes() -> tuple[FloatArray, FloatArray]:
    """Return nodes w on the half line and dw / w: the double-exponential rule."""
    y = np.arange(-_LOW, _HIGH, _STEP)
    return np.exp(np.pi / 2 * np.sinh(y)), _STEP * np.pi / 2 * np.cosh(y)


def _rule(rho: ArrayLike, alpha: float, eps: float) -> tuple[FloatArray, float, float]:
    """Return invariance ratios, power and constant that are allowed."""
    rho = arrays.numbers("rho", rho, least=0)
    if rho.ndim != 1 or not rho.size or not 0 < rho.max() <= 1:
        raise ValueError(f"rho must be a vector in [0, 1], not all zero, got {rho}")
    return rho, validation.positive("alpha", alpha), validation.nonnegative("eps", eps)
