"""Functions of one variable that are linear on cells, and exact averages of their products.

A smooth feature of a scalar is tabulated at the nodes of one grid and taken to be linear between
them, and beyond the last nodes. Averages over n samples of such functions, of their products and of
their slopes then need three sums a cell, whatever the number of features, so a block of features
costs O(n) instead of O(n m^2) and one look-up evaluates any combination of them.
"""

from typing import NamedTuple

import torch
from torch import Tensor

LOWEST, STEP, CELLS = -4.0, 1 / 64, 512  # of variables at variance one


class Cells(NamedTuple):
    """Where samples lie: `index` of the cell among those of all rows, `offset` in units of it."""

    index: Tensor  # type: ignore[assignment]  # hides tuple.index
    offset: Tensor


class Sums(NamedTuple):
    """Number of samples, sum of offsets and of squared offsets of each cell, each (d, cells)."""

    count: Tensor  # type: ignore[assignment]  # hides tuple.count
    first: Tensor
    second: Tensor

    @property
    def samples(self) -> Tensor:
        """Number of samples of each row, shape (d, 1)."""
        return self.count.sum(1, keepdim=True)


def nodes(like: Tensor) -> Tensor:
    """Return the nodes of the grid in the dtype and on the device of a tensor."""
    return LOWEST + STEP * torch.arange(CELLS + 1, dtype=like.dtype, device=like.device)


def locate(y: Tensor) -> Cells:
    """Return the cells of samples y[d, n]; outside the grid the offset runs beyond 0 and 1."""
    scaled = (y - LOWEST) / STEP
    cell = scaled.floor().clamp_(0, CELLS - 1)
    offset = scaled.sub_(cell)
    start = torch.arange(len(y), device=y.device)[:, None] * CELLS
    return Cells(cell.long().add_(start).flatten(), offset.flatten())


def sums(where: Cells, rows: int) -> Sums:
    """Return the three sums of each cell."""
    t = where.offset

    def total(weights: Tensor | None) -> Tensor:
        found = torch.bincount(where.index, weights, minlength=rows * CELLS)
        return found.to(t.dtype).view(rows, CELLS)

    return Sums(total(None), total(t), total(t * t))


def fold_sums(where: Cells, rows: int, folds: int) -> list[Sums]:
    """Return the sums of every `folds`-th sample, for each of the folds."""
    index, offset = where.index.view(rows, -1), where.offset.view(rows, -1)
    parts = [(index[:, k::folds], offset[:, k::folds]) for k in range(folds)]
    return [sums(Cells(i.flatten(), t.flatten()), rows) for i, t in parts]


def quantiles(found: Sums, levels: Tensor) -> Tensor:
    """Return quantiles of each row, shape (d, levels), linear inside a cell, never equal."""
    grid = nodes(found.count)
    # A share of the uniform law makes the distribution function strictly increasing.
    share = found.count / found.samples + 1e-6
    cumulative = torch.cat([share.new_zeros(len(share), 1), share.cumsum(1)], 1)
    cumulative = cumulative / cumulative[:, -1:]
    wanted = levels.expand(len(share), -1).contiguous()
    right = torch.searchsorted(cumulative, wanted).clamp_(1, CELLS)
    low, high = cumulative.gather(1, right - 1), cumulative.gather(1, right)
    return grid[right - 1] + STEP * (wanted - low) / (high - low)


class Moments(NamedTuple):
    """Covariance (d, k, k) of k tabulated functions of each row, means and mean slopes (d, k)."""

    covariance: Tensor
    mean: Tensor
    slope: Tensor


def moments(found: Sums, table: Tensor) -> Moments:
    """Return the exact sample moments of functions tabulated in `table`, (d, k, nodes)."""
    n = found.samples
    left, rise = table[..., :-1], table.diff(dim=-1)
    mean = (
        torch.einsum("dkc,dc->dk", left, found.count)
        + torch.einsum("dkc,dc->dk", rise, found.first)
    ) / n
    mixed = (left * found.first[:, None]) @ rise.mT
    second = (left * found.count[:, None]) @ left.mT + mixed + mixed.mT
    second = (second + (rise * found.second[:, None]) @ rise.mT) / n[..., None]
    slope = torch.einsum("dkc,dc->dk", rise, found.count) / (n * STEP)
    return Moments(second - mean[:, :, None] * mean[:, None], mean, slope)


def evaluate(where: Cells, table: Tensor) -> Tensor:
    """Return one tabulated function of each row at its samples, (d, nodes) to (d, n)."""
    left = table[:, :-1].reshape(-1).index_select(0, where.index)
    rise = table.diff(dim=1).reshape(-1).index_select(0, where.index)
    return torch.addcmul(left, rise, where.offset).view(len(table), -1)
