"""Entropies from sums of one Gaussian kernel over all pairs of samples."""

import math
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from .. import validation
from .codes import centred, codes
from .distances import exact_squares, product_squares, rounding
from .pairwise import EntropyBounds

# Rows of a block: the squared distances of two blocks take 2 MiB, which stays in the cache.
_SIDE = 512
# Largest error that rounding may leave in the exponent of a kernel.
_EXPONENT_ERROR = 1e-10
# Rates and exponents beyond it could overflow in products with gradients.
_LARGEST_EXPONENT = 1e280


def isotropic_pairwise_entropy(z: Tensor, variance: float) -> EntropyBounds:
    r"""Bound the entropy of the mixture of equal isotropic Gaussians at the samples.

    .. math:: \hat H_s = \tfrac d2 \log(2\pi e \sigma^2)
        - \frac1n \sum_i \log \frac1n \sum_j \exp\Bigl(-\frac{\|z_i - z_j\|^2}{s \sigma^2}\Bigr),
        \qquad \hat H_8 \le H \le \hat H_2

    This is `pairwise_entropy_bounds` for one variance and equal weights, where the Chernoff
    divergence of order one half is :math:`\Delta^2/8\sigma^2` and the Kullback-Leibler divergence
    :math:`\Delta^2/2\sigma^2`. Both saturate at :math:`\tfrac d2 \log(2\pi e\sigma^2) + \log n`
    and then have no gradient; the lower one still has one while neighbours are within about
    :math:`4\sigma`.

    Parameters
    ----------
    z : Tensor, shape (n, d)
        Centres of the components.
    variance : float
        Variance :math:`\sigma^2` of each component in every direction, positive.

    Returns
    -------
    EntropyBounds
        ``lower`` and ``upper`` in nats, differentiable once.

    Raises
    ------
    ValueError
        If `z` is not a batch of finite codes or `variance` is not positive.

    Notes
    -----
    Claims B6.b and B6.e. The bounds are those of the mixture, not of the law that `z` was drawn
    from. Pairs are taken in tiles, and again in the backward pass, so memory is of order n d, not
    n squared. At exact collapse the gradient is exactly zero.

    Examples
    --------
    >>> isotropic_pairwise_entropy(torch.zeros(3, 1), 1.0).lower  # three copies of one Gaussian
    tensor(1.4189)
    """
    z = codes("z", z, min_rows=1)
    variance = validation.positive("variance", variance)
    n, d = z.shape
    sums = _log_kernel_sums(z, "variance", variance, (1 / 8, 1 / 2), own=True)
    lower, upper = d / 2 * math.log(2 * math.pi * math.e * variance) + math.log(n) - sums.mean(1)
    return EntropyBounds(lower.to(z.dtype), upper.to(z.dtype))


def kde_entropy(z: Tensor, bandwidth: float) -> Tensor:
    r"""Return the leave-one-out entropy estimate of a Gaussian kernel density.

    .. math:: \hat H = -\frac1n \sum_i \log \frac1{n-1} \sum_{j \ne i}
        \mathcal N(z_i; z_j, h^2 I)

    For independent samples and a bandwidth h that does not depend on them its expectation is
    :math:`H(p) + \mathbb E\,\mathrm{KL}(p \| \hat p_{n-1})`: never below the entropy, and far above
    it in high dimension.

    Parameters
    ----------
    z : Tensor, shape (n, d)
        Samples, n at least 2.
    bandwidth : float
        Standard deviation h of the kernel, positive.

    Returns
    -------
    Tensor, scalar
        In nats, differentiable once.

    Raises
    ------
    ValueError
        If `z` is not a batch of finite samples or `bandwidth` is not positive.

    Notes
    -----
    Claim B6.d. Sums are formed by their logarithms, so an isolated sample gives a large finite
    value. Memory is of order n d, as for `isotropic_pairwise_entropy`.

    Examples
    --------
    >>> z = torch.tensor([[0.0], [2.0]])  # each sample has density N(2; 0, 1)
    >>> bool(torch.isclose(kde_entropy(z, 1.0), torch.tensor(2 + 0.5 * math.log(2 * math.pi))))
    True
    """
    z = codes("z", z)
    bandwidth = validation.positive("bandwidth", bandwidth)
    n, d = z.shape
    sums = _log_kernel_sums(z, "bandwidth", bandwidth**2, (1 / 2,), own=False)
    constant = d / 2 * math.log(2 * math.pi * bandwidth**2) + math.log(n - 1)
    return (constant - sums.mean()).to(z.dtype)


def _log_kernel_sums(
    z: Tensor, name: str, variance: float, factors: tuple[float, ...], *, own: bool
) -> Tensor:
    """Return ``log sum_j exp(-factor |z_i - z_j|^2 / variance)`` for each factor, shape (R, n).

    `own` says whether the sum includes j = i. A product of the centred codes gives the squared
    distances, or differences of the codes where a product would round the exponent too much.
    """
    x, centre = z.double(), centred(z.detach())
    largest = 4 * float(centre.square().sum(1).max())
    if not max(largest, 1.0) / _LARGEST_EXPONENT < variance:
        raise ValueError(
            f"{name} must not be so small that exponents overflow, got {variance:g} as the "
            f"variance of the kernel where squared distances reach {largest:g}"
        )
    rates = tuple(factor / variance for factor in factors)
    exact = max(rates) * float(rounding(centre, centre).max()) > _EXPONENT_ERROR
    log_sums: Callable[[Tensor, Tensor, tuple[float, ...], bool, bool], Tensor] = (
        _LogKernelSums.apply
    )
    return log_sums(x, centre, rates, own, exact)


class _LogKernelSums(torch.autograd.Function):
    """Log-sums of kernels whose backward pass forms the kernels anew, tile by tile."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, centre: Tensor, rates: tuple[float, ...], own: bool, exact: bool
    ) -> Tensor:
        """Return the sums, shape (R, n)."""
        sums = x.new_full((len(rates), len(x)), -torch.inf)
        ctx.tiles = partial(_tiles, own=own, exact=exact)
        points = x if exact else centre
        for rows, columns, squares in ctx.tiles(points):
            for out, rate in zip(sums, rates, strict=True):
                exponents = -rate * squares
                out[rows] = torch.logaddexp(out[rows], exponents.logsumexp(1))
                if rows != columns:
                    out[columns] = torch.logaddexp(out[columns], exponents.logsumexp(0))
        ctx.save_for_backward(points, centre, sums)
        ctx.rates = rates
        return sums

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradient: a pull ``-2 rate p_ij`` of every pair along its difference."""
        points, x, sums = ctx.saved_tensors
        result = torch.zeros_like(x)
        for rows, columns, squares in ctx.tiles(points):
            pull = torch.zeros_like(squares)
            for g, log_sum, rate in zip(-2 * grad, sums, ctx.rates, strict=True):
                exponents = -rate * squares
                pull += (exponents - log_sum[rows, None]).exp_().mul_(rate * g[rows, None])
                if rows != columns:
                    pull += exponents.sub_(log_sum[columns]).exp_().mul_(rate * g[columns])
            result[rows] += pull.sum(1)[:, None] * x[rows] - pull @ x[columns]
            result[columns] += pull.sum(0)[:, None] * x[columns] - pull.mT @ x[rows]
        return result, None, None, None, None


def _tiles(x: Tensor, *, own: bool, exact: bool) -> Iterator[tuple[slice, slice, Tensor]]:
    """Yield the squared distances of every unordered pair of blocks of rows, once.

    From a row to itself the distance is zero, or infinite where `own` is false.
    """
    blocks = [slice(i, min(i + _SIDE, len(x))) for i in range(0, len(x), _SIDE)]
    for number, rows in enumerate(blocks):
        for columns in blocks[number:]:
            squares = (exact_squares if exact else product_squares)(x[rows], x[columns])
            if rows == columns:
                squares.fill_diagonal_(0.0 if own else torch.inf)
            yield rows, columns, squares
