"""VICReg's invariance term: where it comes from, and which decoder its weight stands for."""

import math

import torch
from torch import Tensor

from .. import validation
from ..entropy.codes import widened
from ..losses import CONVENTIONS
from ._matrices import definite, scalars, semidefinite


def jensen_bound(log_det: Tensor | float, quadratic: Tensor | float, d: int) -> Tensor:
    r"""Return the lower bound of :math:`\mathbb E\log q` for a decoder that averages Gaussians.

    .. math:: \mathbb E \log \mathbb E_{z' \mid x'} \mathcal N(z; z', \Sigma_r) \ge
        -\tfrac d2 \log 2\pi - \tfrac12 \log|\Sigma_r|
        - \tfrac12 \mathbb E \|Z - Z'\|^2_{\Sigma_r^{-1}}

    Parameters
    ----------
    log_det : float or scalar Tensor
        :math:`\log|\Sigma_r|`.
    quadratic : float or scalar Tensor
        The mean of :math:`\|Z - Z'\|^2_{\Sigma_r^{-1}}`, from samples or
        `expected_squared_distance`.
    d : int
        Dimension of the codes.

    Returns
    -------
    Tensor, scalar
        In nats, differentiable.

    Notes
    -----
    Claim B4.d. The logarithm is concave.

    Examples
    --------
    >>> round(float(jensen_bound(0.0, 2.0, 1)), 4)  # -1 - log(2 pi) / 2
    -1.9189
    """
    d = validation.integer("d", d, at_least=1)
    log_det, quadratic = scalars(log_det=log_det, quadratic=quadratic)
    return -(d * math.log(2 * math.pi) + log_det + quadratic) / 2


def expected_squared_distance(
    difference: Tensor, covariance: Tensor, other: Tensor, metric: Tensor | None = None
) -> Tensor:
    r"""Return the mean squared distance of two codes with independent local noise.

    .. math:: \mathbb E\|Z - Z'\|^2_{\Sigma_r^{-1}} = \|\mu - \mu'\|^2_{\Sigma_r^{-1}}
        + \operatorname{tr} \Sigma_r^{-1} (\Sigma + \Sigma')

    Parameters
    ----------
    difference : Tensor, shape (d,)
        Difference of the means, :math:`\mu - \mu'`.
    covariance, other : Tensor, shape (d, d)
        Covariances :math:`\Sigma, \Sigma'` of the two codes given the views: symmetric and without
        negative eigenvalues, zero included.
    metric : Tensor, shape (d, d), optional
        The decoder's covariance :math:`\Sigma_r`, positive definite; the identity by default.

    Returns
    -------
    Tensor, scalar
        Differentiable.

    Raises
    ------
    ValueError
        If shapes do not fit, `metric` is not positive definite, or a covariance has a negative
        eigenvalue.

    Notes
    -----
    Claim B4.d. With noise that the views share the formula is wrong: subtract
    :math:`2 \operatorname{tr} \Sigma_r^{-1} \operatorname{Cov}(Z, Z')`.

    Examples
    --------
    >>> eye = torch.eye(2)
    >>> expected_squared_distance(torch.tensor([1.0, 2.0]), eye, 0 * eye)  # 5 + tr I
    tensor(7.)
    """
    difference = validation.tensor("difference", widened(difference), ndim=1, min_rows=1)
    d = len(difference)
    total = semidefinite("covariance", covariance, d) + semidefinite("other", other, d)
    moment = total + torch.outer(difference.double(), difference.double())
    if metric is not None:
        factor = torch.linalg.cholesky(definite("metric", metric, size=d))
        moment = torch.cholesky_solve(moment, factor)
    return moment.trace().to(difference.dtype)


def decoder_variance(
    invariance: float, d: int, *, entropy: float = 1.0, convention: str = "official"
) -> float:
    r"""Return the variance of the decoder that a weight of the invariance term stands for.

    .. math:: \frac\lambda d \|z - z'\|^2 - \beta H(Z) = -\beta \Bigl[H(Z)
        - \frac{\|z - z'\|^2}{2\sigma^2}\Bigr], \qquad \sigma^2 = \frac{\beta d}{2\lambda}

    Parameters
    ----------
    invariance : float
        The weight :math:`\lambda`, positive.
    d : int
        Dimension of the codes.
    entropy : float
        The weight :math:`\beta` of the entropy in nats, positive.
    convention : {"official", "paper"}
        Whether the term is the mean over coordinates, as in the released code, or the squared
        distance, for which :math:`\sigma^2 = \beta / 2\lambda`: as in `losses.vicreg_loss`.

    Returns
    -------
    float
        The variance :math:`\sigma^2` in one coordinate.

    Raises
    ------
    ValueError
        If a weight is not positive.

    Notes
    -----
    Claims B4.b and B4.d.

    Examples
    --------
    >>> decoder_variance(25.0, 16)
    0.32
    """
    validation.positive("invariance", invariance)
    validation.positive("entropy", entropy)
    d = validation.integer("d", d, at_least=1)
    validation.member("convention", convention, CONVENTIONS)
    return entropy * (d if convention == "official" else 1) / (2 * invariance)
