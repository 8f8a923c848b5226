"""Information between jointly Gaussian vectors, and what a linear decoder makes of it."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from .. import validation
from ..entropy.codes import widened
from ._matrices import definite, log_det, normalised, rounding


class DecoderBound(NamedTuple):
    """The bound of a decoder, and the mean divergence by which it misses the information."""

    bound: Tensor
    gap: Tensor


def gaussian_entropy(covariance: Tensor) -> Tensor:
    r"""Return the entropy of the Gaussian with a covariance, the largest that covariance allows.

    .. math:: \tfrac12 \log\det(2\pi e\,\Sigma)

    Parameters
    ----------
    covariance : Tensor, shape (d, d)
        Positive definite.

    Returns
    -------
    Tensor, scalar
        In nats, differentiable.

    Raises
    ------
    ValueError
        If the matrix is not symmetric and positive definite at the resolution of its dtype.

    Notes
    -----
    Claims B4.c and B5.a. From samples: `entropy.logdet_entropy`.

    Examples
    --------
    >>> bool(torch.isclose(gaussian_entropy(torch.eye(1)).exp(), torch.tensor(4.1327314)))
    True
    """
    checked = definite("covariance", covariance)
    value = (log_det(checked) + len(checked) * math.log(2 * math.pi * math.e)) / 2
    return value.to(widened(covariance).dtype)


def correlation_information(correlation: Tensor) -> Tensor:
    r"""Return the information between two Gaussian numbers from their correlation.

    .. math:: I = -\tfrac12 \log(1 - \rho^2)

    Parameters
    ----------
    correlation : Tensor, any shape
        Correlations strictly between -1 and 1.

    Returns
    -------
    Tensor, the same shape
        In nats, differentiable, with full relative accuracy near zero.

    Raises
    ------
    ValueError
        If a correlation is not strictly between -1 and 1.

    Notes
    -----
    Claim B4.e.

    Examples
    --------
    >>> round(float(correlation_information(torch.tensor(0.8))), 4)
    0.5108
    """
    rho = validation.tensor("correlation", widened(correlation))
    if rho.numel() and float(rho.detach().abs().max()) >= 1:
        raise ValueError(
            "correlation must lie strictly between -1 and 1, got an entry of size "
            f"{float(rho.detach().abs().max()):g}"
        )
    return -torch.log1p(-rho.square()) / 2


def gaussian_mutual_information(covariance: Tensor, split: int) -> Tensor:
    r"""Return the information between two parts of a Gaussian vector.

    .. math:: I(Z; Z') = \tfrac12 \log \frac{|\Sigma| |\Sigma'|}{|\Sigma_{\text{joint}}|}
        = -\tfrac12 \sum_i \log(1 - \rho_i^2),

    with :math:`\rho_i` the canonical correlations, the singular values of
    :math:`L^{-1} C L'^{-\top}` for Cholesky factors of the two blocks and their cross-covariance
    :math:`C`.

    Parameters
    ----------
    covariance : Tensor, shape (p, p)
        Covariance, or correlation matrix, of both parts together, positive definite.
    split : int
        The first part has the coordinates before it, 1 to p - 1.

    Returns
    -------
    Tensor, scalar
        In nats, differentiable, not negative.

    Raises
    ------
    ValueError
        If the matrix is singular at the resolution of its dtype, where the information may be
        infinite, or `split` leaves a part empty.

    Notes
    -----
    Claims B4.a and B4.e. A difference of log-determinants would lose small informations in
    rounding; here an information of 1e-20 has all its digits.

    Examples
    --------
    >>> joint = torch.tensor([[1.0, 0.8], [0.8, 1.0]])
    >>> round(float(gaussian_mutual_information(joint, 1)), 4)
    0.5108
    """
    joint = normalised(definite("covariance", covariance))
    split = _split(split, len(joint))
    first = torch.linalg.cholesky(joint[:split, :split])
    second = torch.linalg.cholesky(joint[split:, split:])
    half = torch.linalg.solve_triangular(first, joint[:split, split:], upper=False)
    whitened = torch.linalg.solve_triangular(second, half.T, upper=False)
    squares = torch.linalg.svdvals(whitened).square()
    if float(squares.detach().max()) >= 1:
        raise ValueError("covariance must be positive definite, got a canonical correlation of 1")
    return (-torch.log1p(-squares).sum() / 2).to(widened(covariance).dtype)


def linear_decoder_bound(
    covariance: Tensor,
    split: int,
    coefficients: Tensor | None = None,
    noise: Tensor | None = None,
) -> DecoderBound:
    r"""Return the bound of a linear Gaussian decoder of a Gaussian vector, and what it misses.

    For :math:`q(z \mid z') = \mathcal N(z; B z', S)` and the law :math:`p(z \mid z') =
    \mathcal N(z; A z', R)`, where :math:`A = C \Sigma'^{-1}` and :math:`R = \Sigma - A C^\top`,

    .. math::
        \text{bound} &= \tfrac12 \log\frac{|\Sigma|}{|S|} + \tfrac d2
            - \tfrac12 \operatorname{tr} S^{-1} \mathbb E (Z - BZ')(Z - BZ')^\top, \\
        \text{gap} &= \mathbb E\,\mathrm{KL}(p \| q) = \tfrac12 \Bigl[\log\frac{|S|}{|R|} - d
            + \operatorname{tr} S^{-1} \bigl(R + (A - B) \Sigma' (A - B)^\top\bigr)\Bigr].

    Parameters
    ----------
    covariance : Tensor, shape (d + m, d + m)
        Covariance of :math:`(Z, Z')`, of mean zero, positive definite.
    split : int
        The dimension d of Z.
    coefficients : Tensor, shape (d, m), optional
        The matrix B; the identity centres the decoder at the other code. By default the
        regression A, with which the bound attains the information.
    noise : Tensor, shape (d, d), optional
        The decoder's covariance S; by default the best one for B, the second moment of
        :math:`Z - BZ'`.

    Returns
    -------
    DecoderBound
        ``bound`` and ``gap`` in nats, differentiable, each from its own formula; their sum is the
        information.

    Raises
    ------
    ValueError
        If a matrix is not positive definite, a shape does not fit, or the coefficients are so large
        that the second moment of :math:`Z - BZ'` overflows or, where it is the noise, is singular
        in rounding.

    Notes
    -----
    Claims B4.a and B4.e.

    Examples
    --------
    >>> joint = torch.tensor([[1.25, 1.0], [1.0, 1.25]])  # views U + E / 2 of a standard normal U
    >>> found = linear_decoder_bound(joint, 1, torch.eye(1))
    >>> [round(float(value), 4) for value in found]
    [0.4581, 0.0527]
    """
    joint = definite("covariance", covariance)
    d = _split(split, len(joint))
    own, cross, other = joint[:d, :d], joint[:d, d:], joint[d:, d:]
    regression = torch.linalg.solve(other, cross.T).T
    if coefficients is None:
        slope = regression
    else:
        slope = validation.tensor("coefficients", widened(coefficients), ndim=2).double()
        if slope.shape != cross.shape:
            raise ValueError(
                f"coefficients must have shape {tuple(cross.shape)}, got {tuple(slope.shape)}"
            )
    residual = own - regression @ cross.T
    error = residual + (slope - regression) @ other @ (slope - regression).T
    direct = own - slope @ cross.T - cross @ slope.T + slope @ other @ slope.T
    if not bool(torch.isfinite(direct.detach() + error.detach()).all()):
        raise ValueError(_too_large(slope))
    spread = _resolved(direct, slope) if noise is None else definite("noise", noise, size=d)
    factor = torch.linalg.cholesky(spread)
    ratios = [torch.cholesky_solve(m, factor).trace() for m in (direct, error)]
    bound = (log_det(own) - log_det(spread) + d - ratios[0]) / 2
    gap = (log_det(spread) - log_det((residual + residual.T) / 2) - d + ratios[1]) / 2
    dtype = widened(covariance).dtype
    return DecoderBound(bound.to(dtype), gap.to(dtype))


def _resolved(moment: Tensor, slope: Tensor) -> Tensor:
    """Return a second moment, symmetric, if rounding has not made it singular."""
    moment = (moment + moment.T) / 2
    plain = moment.detach()
    if float(plain.diagonal().min()) <= 0 or float(
        torch.linalg.eigvalsh(normalised(plain))[0]
    ) <= rounding(plain):
        raise ValueError(_too_large(slope))
    return moment


def _too_large(slope: Tensor) -> str:
    """Return the message for coefficients that rounding cannot bear."""
    return (
        "coefficients must leave a second moment of Z - BZ' that is finite and positive definite "
        f"in float64, got entries up to {float(slope.detach().abs().max()):g}"
    )


def _split(split: int, size: int) -> int:
    """Return the size of the first part if both parts have a coordinate."""
    split = validation.integer("split", split, at_least=1)
    if split >= size:
        raise ValueError(f"split must be below the number of coordinates, {size}, got {split}")
    return split
