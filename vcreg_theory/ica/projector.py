"""Elementwise projectors of a source: blocks of features of one variable, tabulated on the grid.

Every block begins with the variable itself and its tanh, which scores take without a ridge: what
little departs from a Gaussian in a small sample is mostly of that shape. The other features are
fixed by the sample (thresholds at quantiles) or drawn at random, independently for each variable.
"""

import math

import torch
from torch import Tensor

from . import cells

COARSE = (-1.2, -0.4, 0.4, 1.2)  # thresholds in standard deviations
PROJECTORS = ("tanh", "relu", "random_tanh", "random_relu")


def features(
    kind: str, width: int, found: cells.Sums, generator: torch.Generator | None = None
) -> Tensor:
    """Return the features of each row, (d, 2 + width, nodes): the variable, its tanh, the rest."""
    grid = cells.nodes(found.count)
    thresholds, scale = _drawn(width, found, generator) if generator else _placed(width, found)
    inner = grid - thresholds[..., None]
    block = inner.clamp(min=0) if kind.endswith("relu") else (inner / scale[..., None]).tanh()
    plain = torch.stack([grid, grid.tanh()]).expand(len(block), 2, -1)
    return torch.cat([plain, block], 1)


def coarse_features(like: Tensor) -> Tensor:
    """Return few wide tanh features, the same for all variables, tables of shape (1, 5, nodes).

    Their thresholds are no quantiles: those of a sparse source all lie where it is silent.
    """
    grid = cells.nodes(like)
    thresholds = torch.tensor(COARSE, dtype=grid.dtype, device=grid.device)
    return torch.cat([grid[None], (grid - thresholds[:, None]).tanh()])[None]


def _placed(width: int, found: cells.Sums) -> tuple[Tensor, Tensor]:
    """Return thresholds at quantiles that crowd towards the ends, and scales of 1.5 gaps."""
    # Chebyshev levels: scores change fastest at the ends of bounded sources.
    angle = (torch.arange(width, dtype=torch.float64) + 0.5) * math.pi / width
    levels = ((1 - angle.cos()) / 2).to(found.count)
    thresholds = cells.quantiles(found, levels)
    gap = thresholds.diff(dim=1)
    ends = torch.cat([gap[:, :1], gap, gap[:, -1:]], 1)
    return thresholds, (0.75 * (ends[:, 1:] + ends[:, :-1])).clamp(min=2 * cells.STEP)


def _drawn(width: int, found: cells.Sums, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return thresholds uniform in three standard deviations, scales log-uniform in (1/8, 2)."""
    shape = (2, len(found.count), width)
    draw = torch.rand(shape, generator=generator, dtype=torch.float64).to(found.count)
    return 6 * draw[0] - 3, 2.0 ** (4 * draw[1] - 3)
