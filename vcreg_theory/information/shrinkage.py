"""Where VICReg shrinks variances because correlations stay: its penalty is on covariances."""

import torch
from torch import Tensor

from .. import validation
from ..entropy.codes import widened
from ..losses import CONVENTIONS
from ._matrices import rounding, symmetric

# In the official convention the variance terms of the two views are averaged, the covariance terms
# added; in the paper's, and for one view, both are treated alike.
_PENALTIES = dict(zip(CONVENTIONS, (2.0, 1.0), strict=True))


def shrinkage_threshold(
    correlations: Tensor,
    *,
    variance: float = 25.0,
    gamma: float = 1.0,
    eps: float = 0.0,
    convention: str = "official",
) -> Tensor:
    r"""Return the weight of the covariance term above which VICReg shrinks a variance.

    .. math:: \nu_* = \frac{\mu}{4 \gamma (\gamma^2 - \varepsilon) \max_k \sum_{l \ne k} r_{kl}^2}

    With correlations that stay as they are and both views alike, every standard deviation at its
    target is the global minimum of the variance and covariance terms exactly for
    :math:`\nu \le \nu_*`. Two coordinates of correlation r have :math:`\nu_* = \mu/(4 r^2)`. This
    is for one view, and for the paper's convention; the released code averages the variance terms
    of the two views but adds their covariance terms, so that there the threshold is half of it.

    Parameters
    ----------
    correlations : Tensor, shape (d, d)
        Unit diagonal and entries between -1 and 1.
    variance : float
        Weight :math:`\mu` of the variance term, positive.
    gamma, eps : float
        Target of the hinge and the number added to the variance in its root, below the square of
        the target.
    convention : {"official", "paper"}
        As in `losses.vicreg_loss`; "paper" also serves `losses.vcreg_loss`.

    Returns
    -------
    Tensor, scalar
        Infinite if the matrix is the identity; differentiable elsewhere.

    Raises
    ------
    ValueError
        If the matrix is not one of correlations or a parameter is out of range.

    Notes
    -----
    Claim B5.e. With :math:`s_k = \sqrt{v_k + \varepsilon}` the terms are :math:`\frac\mu d \sum_k
    (\gamma - s_k)_+ + \frac\nu d \sum_{k \ne l} r_{kl}^2 v_k v_l`. Up to the target they fall in
    every :math:`s_k` if and only if they do at the target, and beyond it they do not fall.

    Examples
    --------
    >>> pair = torch.tensor([[1.0, 0.99], [0.99, 1.0]])
    >>> [round(float(shrinkage_threshold(pair, convention=c)), 2) for c in ("paper", "official")]
    [6.38, 3.19]
    """
    squares = _squared_correlations(correlations).sum(1)
    mu, nu = _weights(variance, convention)
    gamma, reach = _target(gamma, eps)
    return (mu / (4 * nu * gamma * reach * squares.max())).to(widened(correlations).dtype)


def equal_variance(
    correlations: Tensor,
    covariance: float,
    *,
    variance: float = 25.0,
    gamma: float = 1.0,
    convention: str = "official",
) -> Tensor:
    r"""Return the best common variance of all coordinates under VICReg, their correlations fixed.

    .. math:: v = \min\Bigl\{\gamma,
        \Bigl(\frac{\mu d}{4 \nu \|E\|_F^2}\Bigr)^{1/3}\Bigr\}^2

    Parameters
    ----------
    correlations : Tensor, shape (d, d)
        Unit diagonal and entries between -1 and 1; E is what lies off the diagonal.
    covariance : float
        Weight :math:`\nu` of the covariance term, positive.
    variance, gamma, convention
        As in `shrinkage_threshold`; nothing is added in the root.

    Returns
    -------
    Tensor, scalar

    Raises
    ------
    ValueError
        If an argument is out of range.

    Notes
    -----
    Claim B5.e. Best among equal variances only: for two coordinates beyond the threshold it is a
    saddle, and keeping one variance while the other shrinks is better (`pair_variance`).

    Examples
    --------
    >>> pair = torch.tensor([[1.0, 0.99], [0.99, 1.0]])
    >>> nus = (5.0, 10.0, 25.0, 100.0)
    >>> [round(float(equal_variance(pair, nu, convention="paper")), 2) for nu in nus]
    [1.0, 0.74, 0.4, 0.16]
    """
    energy = _squared_correlations(correlations).sum()
    mu, nu = _weights(variance, convention)
    gamma, _ = _target(gamma, 0.0)
    nu *= validation.positive("covariance", covariance)
    cube = mu * len(correlations) / (4 * nu * energy)
    return cube.pow(1 / 3).clamp(max=gamma).square().to(widened(correlations).dtype)


def pair_variance(
    correlation: float,
    covariance: float,
    *,
    variance: float = 25.0,
    gamma: float = 1.0,
    convention: str = "official",
) -> float:
    r"""Return the smaller variance of two correlated coordinates where VICReg's terms are least.

    .. math:: v_1 = \gamma^2, \qquad
        v_2 = \min\Bigl\{\gamma, \frac{\mu}{4 \nu r^2 \gamma^2}\Bigr\}^2

    Parameters
    ----------
    correlation : float
        The correlation r, which stays as it is; from -1 to 1.
    covariance : float
        Weight :math:`\nu` of the covariance term, positive.
    variance, gamma, convention
        As in `shrinkage_threshold`; nothing is added in the root.

    Returns
    -------
    float
        The variance :math:`v_2`. The other coordinate keeps :math:`\gamma^2`.

    Raises
    ------
    ValueError
        If an argument is out of range.

    Notes
    -----
    Claim B5.e. Both variances may change freely here. The only interior critical point is the one
    of equal variances, and its curvature along their difference is negative.

    Examples
    --------
    >>> round(pair_variance(0.99, 10.0, convention="paper"), 2)
    0.41
    """
    r = validation.real("correlation", correlation)
    if abs(r) > 1:
        raise ValueError(f"correlation must lie between -1 and 1, got {correlation!r}")
    mu, nu = _weights(variance, convention)
    gamma, reach = _target(gamma, 0.0)
    nu *= validation.positive("covariance", covariance)
    scale = 4 * nu * r**2 * reach
    return min(gamma, mu / scale if scale > 0 else gamma) ** 2


def _squared_correlations(correlations: Tensor) -> Tensor:
    """Return the squares off the diagonal of a matrix of correlations, which may be singular."""
    matrix = symmetric("correlations", correlations)
    slack = 8 * rounding(correlations)
    off = float((matrix.detach().diagonal() - 1).abs().max())
    largest = float(matrix.detach().abs().max())
    if off > slack or largest > 1 + slack:
        raise ValueError(
            "correlations must have a unit diagonal and entries between -1 and 1, got a diagonal "
            f"{off:g} away and a largest entry of {largest:g}"
        )
    return (matrix - torch.diag(matrix.diagonal())).square()


def _weights(variance: float, convention: str) -> tuple[float, float]:
    """Return the weight of the variance term and the factor of the covariance term."""
    validation.member("convention", convention, CONVENTIONS)
    return validation.positive("variance", variance), _PENALTIES[convention]


def _target(gamma: float, eps: float) -> tuple[float, float]:
    """Return the target and the variance at which the hinge ends."""
    gamma, eps = validation.positive("gamma", gamma), validation.nonnegative("eps", eps)
    if eps >= gamma**2:
        raise ValueError(f"eps must be below gamma squared, {gamma**2:g}, got {eps:g}")
    return gamma, gamma**2 - eps
