"""Integrals over the line of functions that are smooth between known points."""

from collections.abc import Callable
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

Points = TypeVar("Points", Tensor, np.ndarray)

# The mass beyond 12 standard deviations is below 2e-33.
_REACH = 12.0
# In panels of a quarter of a standard deviation, 20 Gauss-Legendre nodes resolve the logarithm of
# a sum of two normal densities to rounding.
_STEP = 0.25
_NODES = 20
_ENTRIES_AT_ONCE = 2**22


def panel_edges(lower: Tensor, upper: Tensor, offset: Tensor, slope: Tensor) -> Tensor:
    """Return sorted points that split the line for a sum of affinely mapped, truncated normals.

    Between neighbours every component is smooth and moves by at most a quarter of its standard
    deviation; beyond the ends less than 2e-33 of each is left.

    Parameters
    ----------
    lower, upper : Tensor, shape (R,)
        Truncation points in standard deviations.
    offset, slope : Tensor, shape (R,)
        Component `r` is ``offset + slope * G``, with `G` truncated standard normal.

    Returns
    -------
    Tensor, shape (E,)
    """
    near = (lower < _REACH) & (upper > -_REACH)
    grid = torch.arange(-_REACH, _REACH + _STEP, _STEP, dtype=slope.dtype, device=slope.device)
    low, high = lower[near].clamp_min(-_REACH), upper[near].clamp_max(_REACH)
    points = torch.minimum(torch.maximum(grid, low[:, None]), high[:, None])
    edges: Tensor = (offset[near, None] + slope[near, None] * points).unique()
    return edges


def panel_integral(f: Callable[[Tensor], Tensor], edges: Tensor, width: int) -> Tensor:
    """Integrate a function between each pair of neighbouring points and add up.

    Parameters
    ----------
    f : callable
        Maps ``z[M]`` to values of shape (k, M).
    edges : Tensor, shape (E,)
    width : int
        Numbers that one evaluation of `f` holds, to bound memory.

    Returns
    -------
    Tensor, shape (k,)
    """
    nodes, weights = (torch.as_tensor(v).to(edges) for v in np.polynomial.legendre.leggauss(_NODES))
    half, middle = edges.diff() / 2, (edges[1:] + edges[:-1]) / 2
    z = (middle[:, None] + half[:, None] * nodes).flatten()
    weight = (half[:, None] * weights).flatten()
    rows = max(1, _ENTRIES_AT_ONCE // max(1, width))
    parts = [f(v) @ w for v, w in zip(z.split(rows), weight.split(rows), strict=True)]
    return torch.stack(parts).sum(0)


def chunked(f: Callable[[Tensor], Tensor], z: Points, width: int) -> Points:
    """Apply an elementwise function piece by piece; return the kind of `z`, in float64."""
    points = torch.as_tensor(z, dtype=torch.float64)
    rows = max(1, _ENTRIES_AT_ONCE // max(1, width))
    values = torch.cat([f(v) for v in points.reshape(-1).split(rows)]).reshape(points.shape)
    return values if isinstance(z, Tensor) else values.numpy()
