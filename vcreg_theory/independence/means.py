"""Means over all pairs and all triples of K scalar variables, in time linear in K."""

import math
from typing import Any

import torch
from torch import Tensor

from ..kernels.bandwidths import columns, resolve_columns
from ._moments import (
    Moments,
    check_estimator,
    mean_gaps,
    recomputed,
    self_moments,
)
from ._tiles import add_row_sums, blocks, buffer, scaled, tile, tiles
from .pairs import self_scales


def mean_pairwise_hsic(
    z: Tensor, *, bandwidth: Any = None, estimator: str = "biased", normalize: bool = False
) -> Tensor:
    r"""Return the mean HSIC over all pairs of different columns.

    .. math::
        \sum_{k \ne l} \langle \tilde K^k, \tilde K^l \rangle
        = \Bigl\lVert \sum_k \tilde K^k \Bigr\rVert_F^2 - \sum_k \lVert \tilde K^k \rVert_F^2

    so the mean over :math:`K(K-1)/2` pairs costs :math:`O(K n^2)`. The unbiased estimator is
    bilinear in the two kernels as well; normalised HSICs weight each kernel first.

    Parameters
    ----------
    z : Tensor, shape (n, K)
        Samples of K >= 2 scalar variables; n at least 2, for "unbiased" at least 4.
    bandwidth : float or K floats, optional
        As in `pairwise_hsic`; median distances are constants for autograd.
    estimator : {"biased", "unbiased"}
        As in `hsic`.
    normalize : bool
        Divide each HSIC by the geometric mean of the two self-HSICs (same estimator).

    Returns
    -------
    Tensor, shape ()
        In the dtype of `z`. Differentiable; going back, kernels are recomputed tile by tile.

    Raises
    ------
    ValueError
        As `pairwise_hsic`, and if K < 2.

    Notes
    -----
    Claim A7.a. It is the mean of the entries of `pairwise_hsic` off the diagonal.

    Examples
    --------
    >>> z = torch.tensor([[-1.0, -1.0], [-1.0, -1.0], [1.0, 1.0], [1.0, 1.0]])
    >>> round(mean_pairwise_hsic(z, normalize=True, bandwidth=1.0).item(), 6)
    1.0
    """
    z = _several(z, 2, check_estimator(estimator))
    u, shift = scaled(z, resolve_columns(bandwidth, z))
    u, shift = u.to(z.dtype), shift.to(z.dtype)
    n, number = z.shape
    with torch.autocast(z.device.type, enabled=False):
        scales = torch.ones_like(shift)
        if normalize:
            alone = _additive(u, shift, scales)[1].hsic(n, estimator)
            scales = self_scales(alone).to(z.dtype)
        mixed, selves = _additive(u, shift, scales)
        own = (scales.double().square() * selves.hsic(n, estimator)).sum()
        total = mixed.hsic(n, estimator) - own
    return (total / (number * (number - 1))).to(z.dtype)


def _several(z: object, smallest: int, samples: int) -> Tensor:
    """Return samples (n, K) of at least `smallest` variables."""
    z = columns(z, samples)
    if z.shape[1] < smallest:
        raise ValueError(f"z must have at least {smallest} columns, got shape {tuple(z.shape)}")
    return z


def _additive(u: Tensor, shift: Tensor, scales: Tensor) -> tuple[Moments, Moments]:
    """Return the moments with itself of the scaled sum of all kernels, and of each kernel."""
    tracked = torch.is_grad_enabled() and u.requires_grad
    out = None if tracked else buffer(u)
    sums = u.new_zeros(u.shape, dtype=torch.float64)
    squares, own = sums.new_zeros(()), sums.new_zeros(len(u))
    for place in tiles(u):
        rows, across, weight = place
        parts = recomputed(_tile_sums, u[:, rows], u[:, across], shift, scales, out)
        squares = squares + weight * parts[0].double()
        own = own + weight * parts[1].double()
        add_row_sums(sums, place, parts[2], parts[3])
    gaps, scales = mean_gaps(sums, shift.double()), scales.double()
    return self_moments(squares, scales @ sums, scales @ gaps), self_moments(own, sums, gaps)


def _tile_sums(
    rows: Tensor, columns: Tensor, shift: Tensor, scales: Tensor, out: Tensor | None
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return sums over a tile: of the squared scaled sum, of squares, over columns, over rows."""
    block = tile(rows, columns, shift, out)
    mixed = scales @ block.flatten(1)
    return mixed.square().sum(), block.square().sum((1, 2)), block.sum(2), block.sum(1)


@torch.no_grad()
def lancaster_interaction(z: Tensor, *, bandwidth: Any = None) -> Tensor:
    r"""Return the mean three-way Lancaster statistic over all triples of different columns.

    .. math::
        \binom K3^{-1} \frac1{n^2} \sum_{ab} e_3(\tilde K^1_{ab}, \dots, \tilde K^K_{ab}), \qquad
        e_3 = \frac{p_1^3 - 3 p_1 p_2 + 2 p_3}6, \quad p_r = \sum_k (\tilde K^k_{ab})^r,

    by Newton's identities: all triples in :math:`O(K n^2)`.

    Parameters
    ----------
    z : Tensor, shape (n, K)
        Samples of K >= 3 scalar variables, n at least 2.
    bandwidth : float or K floats, optional
        As in `pairwise_hsic`.

    Returns
    -------
    Tensor, shape ()
        In the dtype and on the device of `z`; not differentiable (`lancaster` is).

    Raises
    ------
    ValueError
        As `pairwise_hsic`, and if K < 3.

    Notes
    -----
    Claim A4.d. Two passes over the kernels: row means, then centred entries. Under mutual
    independence the mean is that of `lancaster`, averaged over triples, of order 1/n.

    Examples
    --------
    >>> x = torch.tensor([-1.0, -1.0, 1.0, 1.0])
    >>> y = torch.tensor([-1.0, 1.0, -1.0, 1.0])
    >>> round(lancaster_interaction(torch.stack([x, y, x * y], 1), bandwidth=1.0).item(), 6)
    0.080808
    """
    z = _several(z, 3, 2)
    u, shift = scaled(z, resolve_columns(bandwidth, z))
    u, shift = u.to(z.dtype), shift.to(z.dtype)
    n, number = z.shape
    sums = u.new_zeros(u.shape, dtype=torch.float64)
    for place, block in blocks(u, shift):
        add_row_sums(sums, place, block.sum(2), block.sum(1))
    means = sums / n
    half = (means - means.mean(1, keepdim=True) / 2).to(z.dtype)
    total = sums.new_zeros(())
    for (rows, across, weight), block in blocks(u, shift):
        block.sub_(half[:, rows, None]).sub_(half[:, None, across])
        total += weight * _third_symmetric(block).sum()
    return (total / n**2 / math.comb(number, 3)).to(z.dtype)


def _third_symmetric(block: Tensor) -> Tensor:
    """Return e_3 of K entries along the first axis, in float64."""
    squares = block.square()
    first, second = block.sum(0).double(), squares.sum(0).double()
    third = squares.mul_(block).sum(0).double()
    return (first**3 - 3 * first * second + 2 * third) / 6
