"""The variational bound on the information between views, and its isotropic decoder."""

import math

import torch
from torch import Tensor

from .. import validation
from ..entropy.codes import codes, widened
from ._matrices import definite, require_positive, scalars


def barber_agakov_bound(
    entropy: Tensor | float, log_q: Tensor, weights: Tensor | None = None
) -> Tensor:
    r"""Return the lower bound on the information that a decoder gives.

    .. math:: H(Z) + \mathbb E \log q(Z \mid X') = I(Z; X')
        - \mathbb E\,\mathrm{KL}\bigl(p(\cdot \mid X') \,\|\, q(\cdot \mid X')\bigr)

    Parameters
    ----------
    entropy : float or scalar Tensor
        The entropy H(Z) in nats: the exact one. With an upper bound in its place, such as a
        log-determinant, the result bounds nothing (claim B4.c).
    log_q : Tensor, shape (n,)
        Values of :math:`\log q(z \mid x')` at n pairs from the joint law.
    weights : Tensor, shape (n,), optional
        Weights of the pairs, not negative with sum 1, as for the nodes of a quadrature; equal by
        default.

    Returns
    -------
    Tensor, scalar
        In nats, differentiable.

    Raises
    ------
    ValueError
        If an argument is not finite, where the bound is minus infinity or undefined, or shapes do
        not fit.

    Notes
    -----
    Claim B4.a. Barber and Agakov (2003), The IM algorithm.

    Examples
    --------
    >>> float(barber_agakov_bound(1.5, torch.tensor([-1.0, -2.0])))
    0.0
    """
    log_q = validation.tensor("log_q", widened(log_q), ndim=1, min_rows=1)
    mean = log_q.mean() if weights is None else _weighted_mean(log_q, weights)
    entropy, mean = scalars(entropy=entropy, log_q=mean)
    return entropy + mean


def _weighted_mean(log_q: Tensor, weights: Tensor) -> Tensor:
    """Return the mean of values with checked weights."""
    weights = validation.tensor("weights", widened(weights), ndim=1)
    validation.same_shape("weights", weights, "log_q", log_q)
    total, smallest = float(weights.detach().double().sum()), float(weights.detach().min())
    if smallest < 0 or abs(total - 1) > 1e-6:
        raise ValueError(
            f"weights must not be negative and sum to 1, got minimum {smallest:g} and sum {total:g}"
        )
    return weights @ log_q


def gaussian_log_density(z: Tensor, centres: Tensor, covariance: Tensor | float) -> Tensor:
    r"""Return the Gaussian decoder's log-density, row by row.

    .. math:: \log \mathcal N(z; c, \Sigma_r) = -\tfrac d2 \log 2\pi - \tfrac12 \log|\Sigma_r|
        - \tfrac12 (z - c)^\top \Sigma_r^{-1} (z - c)

    Parameters
    ----------
    z, centres : Tensor, shape (n, d)
        Codes, and the centres that the decoder gives for the other view.
    covariance : float, or Tensor of shape () or (d, d)
        One variance or a covariance matrix.

    Returns
    -------
    Tensor, shape (n,)
        In nats, differentiable.

    Raises
    ------
    ValueError
        If shapes do not fit or the covariance is not positive definite.

    Notes
    -----
    Claims B4.a and B4.d.

    Examples
    --------
    >>> z = torch.zeros(1, 2)
    >>> bool(torch.isclose(gaussian_log_density(z, z, 1.0), -torch.tensor(2 * math.pi).log()))
    True
    """
    z, centres = codes("z", z, min_rows=1), codes("centres", centres, min_rows=1)
    validation.same_shape("z", z, "centres", centres)
    offsets, d = z.double() - centres.double(), z.shape[1]
    if isinstance(covariance, Tensor) and covariance.ndim:
        factor = torch.linalg.cholesky(definite("covariance", covariance, size=d))
        white = torch.linalg.solve_triangular(factor, offsets.T, upper=False).T
        half_log_det = factor.diagonal().log().sum()
    else:
        (variance,) = scalars(covariance=covariance)
        require_positive(covariance=variance)
        variance = variance.to(offsets)
        white = offsets / variance.sqrt()
        half_log_det = d / 2 * variance.log()
    value: Tensor = -white.square().sum(1) / 2 - half_log_det - d / 2 * math.log(2 * math.pi)
    return value.to(z.dtype)


def optimal_variance(mean_square: Tensor | float, d: int) -> Tensor:
    r"""Return the best variance of an isotropic decoder centred at the other code.

    .. math:: \sigma_*^2 = \mathbb E\|Z - Z'\|^2 / d

    Parameters
    ----------
    mean_square : float or scalar Tensor
        The mean squared distance :math:`\mathbb E\|Z - Z'\|^2`, positive.
    d : int
        Dimension of the codes.

    Returns
    -------
    Tensor, scalar

    Notes
    -----
    Claim B4.b.

    Examples
    --------
    >>> float(optimal_variance(2.0, 4))
    0.5
    """
    d = validation.integer("d", d, at_least=1)
    (mean_square,) = scalars(mean_square=mean_square)
    require_positive(mean_square=mean_square)
    return mean_square / d


def optimal_scale(mean_square: Tensor | float, d: int) -> Tensor:
    r"""Return the scale of a linear code at which the bound with unit variance is largest.

    .. math:: a_*^2 = d / \mathbb E\|X - X'\|^2

    For :math:`Z = aX` in the dimension d of the inputs and :math:`q = \mathcal N(z', I)` the bound
    is :math:`d\log a - \tfrac{a^2}2 \mathbb E\|X - X'\|^2` up to a constant: it collapses neither
    to zero nor to infinity.

    Parameters
    ----------
    mean_square : float or scalar Tensor
        The mean squared distance of the inputs, positive.
    d : int
        Their dimension.

    Returns
    -------
    Tensor, scalar
        The positive scale.

    Notes
    -----
    Claim B4.b.

    Examples
    --------
    >>> float(optimal_scale(0.5, 2))
    2.0
    """
    return optimal_variance(mean_square, d).rsqrt()


def isotropic_bound(
    entropy: Tensor | float,
    mean_square: Tensor | float,
    d: int,
    variance: Tensor | float | None = None,
) -> Tensor:
    r"""Return the bound of the decoder :math:`\mathcal N(z; z', \sigma^2 I)` in closed form.

    .. math:: H(Z) - \tfrac d2 \log(2\pi\sigma^2) - \frac{\mathbb E\|Z - Z'\|^2}{2\sigma^2}
        \;\le\; H(Z) - \tfrac d2 \log\bigl(2\pi e\,\mathbb E\|Z - Z'\|^2 / d\bigr)

    Parameters
    ----------
    entropy : float or scalar Tensor
        The entropy H(Z) in nats.
    mean_square : float or scalar Tensor
        The mean squared distance of two codes of one image, positive.
    d : int
        Dimension of the codes.
    variance : float or scalar Tensor, optional
        The variance of the decoder; the best one by default, which gives the right-hand side.

    Returns
    -------
    Tensor, scalar
        In nats, differentiable.

    Raises
    ------
    ValueError
        If `mean_square` or `variance` is not positive or an argument is not finite.

    Notes
    -----
    Claims B4.b and B4.c.

    Examples
    --------
    >>> h = 0.5 * math.log(2 * math.pi * math.e * 1.25)  # views U + E / 2 of a standard normal U
    >>> round(float(isotropic_bound(h, 0.5, 1)), 4)
    0.4581
    """
    if variance is None:
        variance = optimal_variance(mean_square, d)
    entropy, mean_square, variance = scalars(
        entropy=entropy, mean_square=mean_square, variance=variance
    )
    require_positive(mean_square=mean_square, variance=variance)
    best = optimal_variance(mean_square, d)
    return entropy - d / 2 * ((2 * math.pi * variance).log() + best / variance)
