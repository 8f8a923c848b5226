"""How dependent are estimated sources, apart from what a small error of unmixing would cause?"""

from typing import NamedTuple

import numpy as np
import torch
from scipy import stats
from torch import Tensor

from . import cells, projector

WIDTH = len(projector.COARSE)
# An unmixing error of order n^-1/2 costs n times the loss a chi-square of 2: 25 once in 3e5.
_EXPLAINED = 25.0
_SINGULAR = 5e-3  # below this eigenvalue of a block's correlations, errors of discrete sources show


class Dependence(NamedTuple):
    """Cross-block loss of each pair, its permutation mean and variance, and p-values.

    `loss`, `mean`, `variance` and `pvalues` have shape (d, d), with zeros (ones for p-values) on
    the diagonal; `pvalue` is that of all pairs together.
    """

    loss: Tensor
    mean: Tensor
    variance: Tensor
    pvalues: Tensor
    pvalue: float


class _Block(NamedTuple):
    """Whitened features (d, k, n), ranks, directions of slope and of the variable, leverages."""

    features: Tensor
    rank: Tensor
    slope: Tensor
    own: Tensor
    leverage: Tensor


def dependence(y: Tensor, explained: float = _EXPLAINED) -> Dependence:
    """Measure the dependence of sources y[d, n], centred and of variance one, n above 2 WIDTH + 4.

    The loss of a pair is the squared norm of its whitened cross block without the two directions
    in which a small error of the unmixing matrix moves it, so that it does not depend on how the
    matrix was estimated. At most ``explained / n`` is left out: of sources with few values the two
    directions can span the block, and a gross error would hide in them. Under a random permutation
    of one source the mean is exact and the variance that of the whole block (Kazi-Aoual), scaled;
    p-values are those of a gamma law with these moments.
    """
    d, n = y.shape
    block = _whitened(y)
    flat = block.features.flatten(0, 1)
    cross = (flat @ flat.T / n).view(d, -1, d, flat.shape[0] // d).transpose(1, 2)
    loss = cross.square().sum((2, 3)) - _tangent(cross, block).clamp(max=explained / n)
    ranks = block.rank[:, None] * block.rank
    freedom = (ranks - 2).clamp(min=1)
    mean = freedom / (n - 1)
    variance = _variance(block, n) * freedom / ranks
    off = ~torch.eye(d, dtype=torch.bool, device=y.device)
    loss, mean, variance = (v * off for v in (loss.clamp(min=0), mean, variance))
    pvalues = torch.ones_like(loss)
    pvalues[off] = _gamma(loss[off], mean[off], variance[off])
    return Dependence(loss, mean, variance, pvalues, _combined(loss, mean, variance, pvalues))


def _whitened(y: Tensor) -> _Block:
    """Whiten the blocks of the coarse projector, dropping directions without variance."""
    where = cells.locate(y)
    found = cells.sums(where, len(y))
    table = projector.coarse_features(y).expand(len(y), -1, -1)
    moment = cells.moments(found, table)
    # Only bounded features: the variable itself would give outliers a heavy-tailed weight.
    table, mean, slopes = table[:, 1:], moment.mean[:, 1:], moment.slope[:, 1:]
    own, covariance = moment.covariance[:, 1:, 0], moment.covariance[:, 1:, 1:]
    scale = covariance.diagonal(dim1=1, dim2=2).clamp(min=1e-12).rsqrt()
    correlation = covariance * scale[:, :, None] * scale[:, None]
    values, vectors = torch.linalg.eigh(correlation)
    keep = values > _SINGULAR
    root = torch.where(keep, values.clamp(min=_SINGULAR).rsqrt(), 0.0)
    maps = (vectors * root[:, None]).mT * scale[:, None]
    tables = maps @ table - (maps @ mean[..., None])
    features = torch.stack([cells.evaluate(where, t) for t in tables.unbind(1)], 1)
    slope, own = ((maps @ v[..., None])[..., 0] for v in (slopes, own))
    leverage = (features.square().sum(1) / y.shape[1]).square().sum(1)
    return _Block(features, keep.sum(1).to(y.dtype), slope, own, leverage)


def _tangent(cross: Tensor, block: _Block) -> Tensor:
    """Return the part of the loss along the two derivatives by the entries of the unmixing."""
    one = torch.einsum("ijkl,ik,jl->ij", cross, block.slope, block.own)
    two = one.T
    a, b = block.slope.square().sum(1), block.own.square().sum(1)
    dot = (block.slope * block.own).sum(1)
    first, mixed = a[:, None] * b, dot[:, None] * dot
    second = first.T
    determinant = first * second - mixed.square()
    both = (second * one.square() + first * two.square() - 2 * mixed * one * two) / determinant
    # Of a Gaussian the score is the variable itself, and the two directions coincide.
    single = determinant < 1e-6 * first * second
    return torch.where(single, one.square() / first, both)


def _variance(block: _Block, n: int) -> Tensor:
    """Return the variance of the trace of two projections under permutation of one of them."""
    r = block.rank
    excess = n * (n + 1) * block.leverage / r - (n - 1) * (r + 2)
    excess = excess / ((n - 3) * (n - 1 - r)) * (n - 1)
    spread = n - 1 - r
    base = 2 * spread[:, None] * spread / (float(n + 1) * (n - 1) ** 2 * (n - 2))
    tail = 1 + (n - 3) / (2 * n * (n - 1)) * excess[:, None] * excess
    return r[:, None] * r * base * tail


def _gamma(loss: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
    """Return upper tail probabilities of gamma laws with given moments."""
    shape, scale = (mean.square() / variance).cpu().numpy(), (variance / mean).cpu().numpy()
    found = stats.gamma.sf(loss.cpu().numpy(), shape, scale=scale)
    return torch.from_numpy(np.asarray(found)).to(loss)


def _combined(loss: Tensor, mean: Tensor, variance: Tensor, pvalues: Tensor) -> float:
    """Return a p-value of all pairs: that of their sum and of the worst one, both doubled."""
    upper = torch.triu(torch.ones_like(loss), 1) > 0
    total = _gamma(loss[upper].sum()[None], mean[upper].sum()[None], variance[upper].sum()[None])
    worst = pvalues[upper].min() * int(upper.sum())
    found = 2 * float(torch.minimum(total[0], worst))
    return found if found != found else min(1.0, found)  # not a number is no evidence
