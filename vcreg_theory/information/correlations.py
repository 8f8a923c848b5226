"""The log-determinant of a correlation matrix beside the squares of its off-diagonal entries."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from .. import validation
from ..entropy.codes import widened
from ._matrices import correlation, definite, normalised

# The logarithm loses digits near zero: below this size its power series takes over.
_SERIES_UP_TO = 0.25
_SERIES_TERMS = 29  # 0.25^26 / 29 against 1 / 3: below a rounding


class LogDetRemainder(NamedTuple):
    r"""The log-determinant of :math:`R = I + E` and its second-order expansion, scalar tensors.

    `off_diagonal` is :math:`\|E\|_F^2`, `remainder` is :math:`\log|R| + \frac12\|E\|_F^2`, `bound`
    bounds its size where :math:`\varepsilon = \|E\|_{\mathrm{op}} < 1` and is infinite elsewhere,
    and `lower` and `upper` enclose :math:`-\log|R|` always.
    """

    log_det: Tensor
    off_diagonal: Tensor
    remainder: Tensor
    bound: Tensor
    epsilon: Tensor
    lower: Tensor
    upper: Tensor


class Equicorrelation(NamedTuple):
    """Closed forms for a matrix whose correlations are all equal."""

    log_det: float
    off_diagonal: float
    smallest: float
    largest: float


def hadamard_gap(covariance: Tensor) -> Tensor:
    r"""Return by how much the variances overstate the log-determinant.

    .. math:: \sum_i \log \Sigma_{ii} - \log|\Sigma|
        = 2\,\mathrm{KL}\bigl(\mathcal N(0, \Sigma) \,\|\, \mathcal N(0, \operatorname{diag}\Sigma)
        \bigr) \ge 0

    Parameters
    ----------
    covariance : Tensor, shape (d, d)
        Positive definite.

    Returns
    -------
    Tensor, scalar
        In nats, differentiable; zero exactly for a diagonal matrix.

    Raises
    ------
    ValueError
        If the matrix is not symmetric and positive definite at the resolution of its dtype.

    Notes
    -----
    Claim B5.a. It is :math:`-\sum_i \log(1 - \rho_i^2)`, with :math:`\rho_i^2` the share of
    coordinate i that those before it explain, and so cannot be negative, nor lose the digits of a
    small one.

    Examples
    --------
    >>> round(float(hadamard_gap(torch.tensor([[4.0, 1.0], [1.0, 1.0]]))), 4)  # -log(1 - 1/4)
    0.2877
    """
    matrix = normalised(definite("covariance", covariance))
    factor = torch.linalg.cholesky(matrix)
    explained = factor.tril(-1).square().sum(1)
    # Close to 1 the pivot itself is the better difference.
    small = -torch.log1p(-explained.clamp(max=0.5))
    terms = torch.where(explained < 0.5, small, -2 * factor.diagonal().log())
    return terms.sum().to(widened(covariance).dtype)


def remainder_constant(epsilon: float) -> float:
    r"""Return the constant of the bound on the remainder of the log-determinant.

    .. math:: c(\varepsilon) = \frac{-\log(1 - \varepsilon) - \varepsilon - \varepsilon^2/2}
        {\varepsilon^2} = \frac\varepsilon3 + \frac{\varepsilon^2}4 + \cdots

    Parameters
    ----------
    epsilon : float
        The operator norm of the off-diagonal part, at least 0 and below 1.

    Returns
    -------
    float

    Raises
    ------
    ValueError
        If `epsilon` is not in [0, 1).

    Notes
    -----
    Claim B5.d.

    Examples
    --------
    >>> round(remainder_constant(0.5), 6)  # 4 log 2 - 2.5
    0.272589
    """
    epsilon = validation.nonnegative("epsilon", epsilon)
    if epsilon >= 1:
        raise ValueError(f"epsilon must be below 1, got {epsilon!r}")
    return float(_constant(torch.tensor(epsilon, dtype=torch.float64)))


def logdet_remainder(correlations: Tensor) -> LogDetRemainder:
    r"""Compare the log-determinant of a correlation matrix with its second-order expansion.

    .. math:: \Bigl| \log|R| + \tfrac12 \|E\|_F^2 \Bigr| \le c(\varepsilon) \|E\|_F^2, \qquad
        \frac{\|E\|_F^2}{2(1 + \lambda_{\max}(E))} \le -\log|R|
        \le \frac{\|E\|_F^2}{2(1 + \lambda_{\min}(E))}

    Parameters
    ----------
    correlations : Tensor, shape (d, d)
        The matrix R, positive definite with unit diagonal.

    Returns
    -------
    LogDetRemainder
        Scalars in the dtype of the matrix, differentiable.

    Raises
    ------
    ValueError
        If the matrix is not a correlation matrix, or singular at the resolution of its dtype.

    Notes
    -----
    Claims B5.d and B5.e. The remainder is a sum over the eigenvalues of E of
    :math:`\log(1+\lambda) - \lambda + \lambda^2/2`, formed without cancellation, so that its third
    order shows down to correlations of 1e-6.

    Examples
    --------
    >>> found = logdet_remainder(torch.tensor([[1.0, 0.5], [0.5, 1.0]]))
    >>> [round(float(value), 4) for value in found[:4]]
    [-0.2877, 0.5, -0.0377, 0.1363]
    """
    matrix = normalised(correlation("correlations", correlations))
    excess = matrix - torch.diag(matrix.diagonal())
    values = torch.linalg.eigvalsh(excess)
    remainder = (values**3 * _third_order(values)).sum()
    energy = excess.square().sum()
    epsilon = torch.maximum(values[-1], -values[0])
    bounded = float(epsilon.detach()) < 1
    bound = _constant(epsilon) * energy if bounded else torch.full_like(energy, math.inf)
    found = LogDetRemainder(
        log_det=remainder - energy / 2,
        off_diagonal=energy,
        remainder=remainder,
        bound=bound,
        epsilon=epsilon,
        lower=energy / (2 * (1 + values[-1])),
        upper=energy / (2 * (1 + values[0])),
    )
    return LogDetRemainder(*(value.to(widened(correlations).dtype) for value in found))


def equicorrelation(d: int, rho: float) -> Tensor:
    r"""Return the matrix with ones on the diagonal and one correlation everywhere else.

    Parameters
    ----------
    d : int
        Size.
    rho : float
        The correlation, above :math:`-1/(d - 1)` and below 1.

    Returns
    -------
    Tensor, shape (d, d)
        In float64.

    Raises
    ------
    ValueError
        If no such correlation matrix is positive definite.

    Notes
    -----
    Claims B5.d and B5.e.

    Examples
    --------
    >>> equicorrelation(2, 0.5)
    tensor([[1.0000, 0.5000],
            [0.5000, 1.0000]], dtype=torch.float64)
    """
    d, rho = _equal(d, rho)
    return torch.full((d, d), rho, dtype=torch.float64).fill_diagonal_(1.0)


def equicorrelation_terms(d: int, rho: float) -> Equicorrelation:
    r"""Return what the log-determinant and the penalty are where all correlations are equal.

    .. math:: \log|R| = (d - 1) \log(1 - \rho) + \log(1 + (d - 1)\rho), \qquad
        \|E\|_F^2 = d (d - 1) \rho^2

    Parameters
    ----------
    d : int
        Size.
    rho : float
        The correlation, above :math:`-1/(d - 1)` and below 1.

    Returns
    -------
    Equicorrelation
        ``log_det``, ``off_diagonal``, and the ``smallest`` and ``largest`` eigenvalue of E.

    Raises
    ------
    ValueError
        If no such correlation matrix is positive definite.

    Notes
    -----
    Claims B5.d and B5.e.

    Examples
    --------
    >>> terms = equicorrelation_terms(4, 0.5)
    >>> round(terms.log_det, 3), terms.off_diagonal
    (-1.163, 3.0)
    """
    d, rho = _equal(d, rho)
    log_det = (d - 1) * math.log1p(-rho) + math.log1p((d - 1) * rho)
    smallest, largest = sorted(((d - 1) * rho, -rho)) if d > 1 else (0.0, 0.0)
    return Equicorrelation(log_det, d * (d - 1) * rho**2, smallest, largest)


def _equal(d: int, rho: float) -> tuple[int, float]:
    """Return size and correlation if their matrix is positive definite."""
    d, rho = validation.integer("d", d, at_least=1), validation.real("rho", rho)
    least = -1 / (d - 1) if d > 1 else -1.0
    if not least < rho < 1:
        raise ValueError(f"rho must lie strictly between {least:g} and 1 for d = {d}, got {rho:g}")
    return d, rho


def _constant(epsilon: Tensor) -> Tensor:
    """Return the constant of the bound on the remainder."""
    return epsilon * _third_order(-epsilon)


def _third_order(x: Tensor) -> Tensor:
    """Return ``(log(1 + x) - x + x^2 / 2) / x^3``, by its power series near zero."""
    near = x.abs() < _SERIES_UP_TO
    inner = torch.where(near, x, 0.0)
    series = torch.zeros_like(x)
    for k in range(_SERIES_TERMS, 2, -1):
        series = inner * series - (-1) ** k / k
    outer = torch.where(near, 1.0, x)
    direct = (torch.log1p(outer) - outer + outer.square() / 2) / outer**3
    return torch.where(near, series, direct)
