"""Centred Gaussian kernels of scalar variables as F F^T with few columns, and what that costs."""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from ..kernels.fourier import close_gaps, features, series, terms
from ._moments import Moments

_GROUP = 64  # variables compressed together at most: one eigenproblem each, one size a group
_ENTRIES = 1 << 23  # features of one group before compression
_MOST = 2048  # frequencies a variable: beyond, its eigenproblem alone costs more than exact kernels


class LowRank(NamedTuple):
    """Centred kernels of g variables: ``factors`` (n, g, r), with what uncentring needs.

    ``rows`` (g, n) are the vectors HK1 and ``gaps`` (g,) the values 1 - mean off-diagonal entry.
    """

    factors: Tensor
    rows: Tensor
    gaps: Tensor


def _kernel_tolerance(tol: float) -> float:
    # An error e of every entry of both kernels moves the biased HSIC by at most 2 e, because the
    # mean absolute entry of a centred kernel is at most its norm / n <= trace / n <= 1. So half of
    # tol goes to the series; compression has the other half.
    return tol / 4


def positions(z: Tensor, widths: Tensor, tol: float) -> Tensor:
    """Return columns (n, K) in bandwidths from their smallest sample, with long gaps closed."""
    return close_gaps(z.double() / widths, _kernel_tolerance(tol))


def _numbers(u: Tensor, tol: float) -> Tensor:
    """Return the number M of frequencies of every column of positions (n, K)."""
    return terms(u.amax(0), _kernel_tolerance(tol))


def features_fit(u: Tensor, tol: float) -> bool:
    """Return whether every column of positions (n, K) has fewer Fourier features than samples."""
    return _numbers(u, tol).max().item() <= min(_MOST, len(u) / 2)


def fourier_pays(u: Tensor, tol: float) -> bool:
    """Return whether low-rank kernels of positions (n, K) cost less than exact ones for all pairs.

    With r columns they take 2 r^2 / n of the exact multiplications, and of the 2 M features of a
    Gaussian kernel about r = 1.25 M are left after compression.
    """
    numbers = _numbers(u, tol)
    cheap = 2 * 1.25**2 * numbers.square().mean().item() <= len(u)
    return cheap and numbers.max().item() <= _MOST


def low_rank(u: Tensor, tol: float, dtype: torch.dtype) -> Iterator[tuple[Tensor, LowRank]]:
    """Yield indices and low-rank kernels of groups of positions (n, K), shortest ranges first."""
    numbers = _numbers(u, tol)
    if numbers.max() > _MOST:
        raise ValueError(
            f"z spans too many bandwidths for Fourier features in column {int(numbers.argmax())}: "
            "take another method or a larger bandwidth"
        )
    for wide in numbers.argsort().split(_GROUP):
        most = int(2 * numbers[wide[-1]]) * len(u)
        for group in wide.split(max(1, _ENTRIES // most)):
            yield group, _compressed(u[:, group], tol, dtype)


def _compressed(u: Tensor, tol: float, dtype: torch.dtype) -> LowRank:
    """Return the leading eigenvectors of centred kernels at positions (n, g), scaled.

    Dropping eigenvalues up to e tr K and e tr L changes <K, L> by at most 2 e tr K tr L, so the
    biased HSIC by 2 e, as traces are at most n: half of tol for e = tol / 4. Relative to the traces
    because a wide bandwidth makes all of a centred kernel small.
    """
    n = len(u)
    u = u - u.amax(0) / 2  # smaller angles keep more digits
    cosines = series(2 * u.amax(), _kernel_tolerance(tol))
    f = features(u.T.to(dtype), cosines)
    means = f.mean(1, keepdim=True)
    f -= means
    f *= (u.amax(0) > 0)[:, None, None]  # a constant variable: exactly zero
    rows = n * (f @ means.mT)[..., 0].double()
    mean = cosines.constant + means.double().square().sum((1, 2))
    gaps = (1 - mean) * n / (n - 1)
    values, vectors = torch.linalg.eigh((f.mT @ f).double())
    kept = values > tol / 4 * values.sum(1, keepdim=True)
    rank = max(1, int(kept.sum(1).max()))
    factors = f @ vectors[..., -rank:].to(dtype)
    return LowRank(factors.transpose(0, 1).contiguous(), rows, gaps)


def fourier_moments(u: Tensor, tol: float, dtype: torch.dtype) -> Moments:
    """Return the moments of all pairs of columns of positions (n, K) from low-rank kernels."""
    groups = list(low_rank(u, tol, dtype))
    inner = u.new_zeros(u.shape[1], u.shape[1])
    for i, (left, a) in enumerate(groups):
        for right, b in groups[i:]:
            block = squared_products(a.factors, b.factors)
            inner[left[:, None], right] = block
            inner[right[:, None], left] = block.T
    order = torch.cat([group for group, _ in groups]).argsort()
    rows = torch.cat([kernels.rows for _, kernels in groups])[order]
    gaps = torch.cat([kernels.gaps for _, kernels in groups])[order]
    return Moments(inner, rows @ rows.T, torch.outer(gaps, gaps))


def squared_products(a: Tensor, b: Tensor) -> Tensor:
    """Return |A_k^T B_l|_F^2 for factors (n, g, r) and (n, h, s), as (g, h) in float64."""
    (n, g, r), (_, h, s) = a.shape, b.shape
    products = a.view(n, g * r).T @ b.view(n, h * s)
    return products.square_().view(g * r, h, s).sum(2).view(g, r, h).sum(1).double()
