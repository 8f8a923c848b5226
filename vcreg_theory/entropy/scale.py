"""One scale for the codes of different encoders, and the number of directions they use."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from .codes import centred, codes


def standardise(z: Tensor) -> Tensor:
    r"""Return the codes centred and rescaled to total variance d.

    .. math:: z_i \mapsto \sqrt{\frac d{\operatorname{tr}\hat\Sigma}}\,(z_i - \bar z)

    Entropy grows by :math:`d \log s` when codes are multiplied by s, so raw entropies of encoders
    with different scales say nothing about their shapes. One factor for all coordinates leaves the
    shape as it is, correlations and unequal variances included.

    Parameters
    ----------
    z : Tensor, shape (n, d)
        Codes, n at least 2.

    Returns
    -------
    Tensor, shape (n, d)
        With mean zero and :math:`\operatorname{tr}\hat\Sigma = d` (divisor n - 1); differentiable.

    Raises
    ------
    ValueError
        If all codes coincide.

    Notes
    -----
    Claims B6.c and B9.e.

    Examples
    --------
    >>> standardise(torch.tensor([[-3.0], [3.0]])).flatten()
    tensor([-0.7071,  0.7071])
    """
    z = codes("z", z)
    x = centred(z)
    total = x.square().sum() / (len(z) - 1)
    _require_spread(total)
    return (x * (z.shape[1] / total).sqrt()).to(z.dtype)


def whiten(z: Tensor) -> Tensor:
    r"""Return the codes with mean zero and identity covariance, by the symmetric root (ZCA).

    .. math:: z_i \mapsto \hat\Sigma^{-1/2} (z_i - \bar z)

    Of all whitening maps the symmetric root moves the codes least. With
    :math:`Z - \bar Z = U S V^\top` the result is :math:`\sqrt{n-1}\, U V^\top`; the covariance is
    never formed.

    Parameters
    ----------
    z : Tensor, shape (n, d)
        Codes, more than d of them.

    Returns
    -------
    Tensor, shape (n, d)
        Differentiable once, also where eigenvalues of the covariance coincide.

    Raises
    ------
    ValueError
        If the covariance has not full rank at the resolution of the dtype; the message states its
        rank.

    Notes
    -----
    Claim A5.c. A singular value counts as zero below max(n, d) roundings of the largest one.

    Examples
    --------
    >>> z = torch.tensor([[2.0, 0.0], [-2.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
    >>> bool(torch.allclose(torch.cov(whiten(z).T), torch.eye(2)))
    True
    """
    z = codes("z", z)
    n, d = z.shape
    x = centred(z)
    values = torch.linalg.svdvals(x.detach())
    smallest = max(n, d) * torch.finfo(z.dtype).eps * values[0]
    rank = int((values > smallest).sum())
    if rank < d:
        raise ValueError(
            f"z must have a covariance of full rank, got rank {rank} of d = {d} from n = {n} codes"
        )
    polar_factor: Callable[[Tensor], Tensor] = _PolarFactor.apply
    scale: float = (n - 1) ** 0.5
    return (scale * polar_factor(x)).to(z.dtype)


class _PolarFactor(torch.autograd.Function):
    """The orthogonal factor ``U V^T`` of a matrix ``U S V^T`` of full column rank."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        """Return the factor."""
        u, values, vh = torch.linalg.svd(x, full_matrices=False)
        ctx.save_for_backward(u, values, vh)
        factor: Tensor = u @ vh
        return factor

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        """Return the gradient: sums of singular values divide it, never their differences."""
        u, values, vh = ctx.saved_tensors
        right = grad @ vh.mT
        inner = u.mT @ right
        turn = (inner - inner.mT) / (values[:, None] + values)
        gradient: Tensor = (u @ (turn - inner / values) + right / values) @ vh
        return gradient


def effective_rank(z: Tensor) -> Tensor:
    r"""Return the number of directions over which the variance of the codes is spread.

    .. math:: \exp\Bigl(-\sum_k p_k \log p_k\Bigr), \qquad
        p_k = \frac{\lambda_k(\hat\Sigma)}{\operatorname{tr}\hat\Sigma}

    It is r for equal variances in r directions, at most :math:`\min(n-1, d)`, and does not depend
    on the scale, position or orientation of the codes.

    Parameters
    ----------
    z : Tensor, shape (n, d)
        Codes, n at least 2.

    Returns
    -------
    Tensor, scalar
        Differentiable.

    Raises
    ------
    ValueError
        If all codes coincide.

    Notes
    -----
    Claims B9.e and C9.a. Roy and Vetterli (2007), The effective rank, define it for the normalised
    singular values of a matrix; here that matrix is the covariance, whose singular values are its
    eigenvalues :math:`\lambda_k`. Their definition applied to the matrix of centred codes
    normalises :math:`\sqrt{\lambda_k}` instead, which is another number, and a larger one unless
    the positive eigenvalues are equal.

    Examples
    --------
    >>> z = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
    >>> round(effective_rank(z).item(), 6)
    2.0
    """
    z = codes("z", z)
    values = torch.linalg.svdvals(centred(z))
    variances: Tensor = values[values > 0].square()
    _require_spread(variances.sum())
    terms: Tensor = torch.special.entr(variances / variances.sum())
    return terms.sum().exp().to(z.dtype)


def _require_spread(total: Tensor) -> None:
    """Raise unless the total variance is positive."""
    if float(total.detach()) == 0:
        raise ValueError("z must have at least two distinct rows, got total variance 0")
