"""The exact mass of bins of the output over a plane of Gaussian inputs."""

import torch
from torch import Tensor

from .. import gaussian_measure, validation
from ..piecewise.regions import Regions2D
from ..polygons import clip_polygons, ranks, repeat_polygons
from .plane import region_masses


def pushforward_bin_probabilities(
    regions: Regions2D,
    mean: Tensor,
    covariance: Tensor,
    edges_x: Tensor,
    edges_y: Tensor | None = None,
) -> Tensor:
    r"""Return the exact mass of every bin of the output, for maps of any rank.

    .. math:: P(Z \in B) = \sum_\omega P\bigl(X \in \omega \cap g_\omega^{-1}(B)\bigr)

    Each cell is cut by the preimages of the bins into convex polygons, whose Gaussian measure is
    exact; a map of rank 1 or 0 only makes some of the cuts parallel or void.

    Parameters
    ----------
    regions : Regions2D
        Cells of the plane with one output, or two if `edges_y` is given. They must hold all but
        1e-8 of the input's mass.
    mean : Tensor, shape (2,) or (N, 2)
        In the plane's coordinates; several means give the equal mixture.
    covariance : Tensor, shape (2, 2)
    edges_x : Tensor, shape (n + 1,)
        Increasing; the outermost may be infinite. No edge should coincide with an atom.
    edges_y : Tensor, shape (m + 1,), optional

    Returns
    -------
    Tensor, shape (n, m) or (n,)
        In float64.

    Raises
    ------
    ValueError
        If edges do not increase, the outputs do not match, or the window is too small.

    Notes
    -----
    Claim: B2.a. The cost grows with the number of pieces that cells and bins make together.

    Examples
    --------
    >>> from vcreg_theory.piecewise.regions import enumerate_regions_2d
    >>> relu = torch.nn.Sequential(torch.nn.Linear(2, 1, bias=False), torch.nn.ReLU()).double()
    >>> eye, zero = torch.eye(2).double(), torch.zeros(2).double()
    >>> regions = enumerate_regions_2d(relu, zero, eye, 10.0)
    >>> edges = torch.tensor([-1.0, 1e-9, torch.inf])  # the atom at zero, and the rest
    >>> pushforward_bin_probabilities(regions, zero, eye, edges)
    tensor([0.5000, 0.5000], dtype=torch.float64)
    """
    axes = [_increasing("edges_x", edges_x)]
    if edges_y is not None:
        axes.append(_increasing("edges_y", edges_y))
    maps, shifts = (v.double() for v in regions.maps())
    if maps.shape[1] != len(axes):
        raise ValueError(f"regions must have {len(axes)} outputs, one an axis, got {maps.shape[1]}")
    region_masses(regions, mean, covariance)
    vertices, offsets = regions.vertices.double(), regions.offsets
    cell = torch.arange(len(maps), device=vertices.device)
    flat = torch.zeros_like(cell)
    for axis, edges in enumerate(axes):
        edges = edges.to(vertices)
        parts = _cut_into_bins(vertices, offsets, maps[cell, axis], shifts[cell, axis], edges)
        vertices, offsets, parent, place = parts
        cell, flat = cell[parent], flat[parent] * (len(edges) - 1) + place
    mass = gaussian_measure.polygon_probabilities(vertices, offsets, mean, covariance)
    shape = [len(edges) - 1 for edges in axes]
    return mass.new_zeros(torch.Size(shape).numel()).index_add_(0, flat, mass).reshape(shape)


def _increasing(name: str, edges: Tensor) -> Tensor:
    edges = validation.tensor(name, edges, ndim=1, finite=False, min_rows=2).double()
    if not bool((edges[1:] > edges[:-1]).all()):
        raise ValueError(f"{name} must increase, got {edges.tolist()}")
    return edges


def _cut_into_bins(
    vertices: Tensor, offsets: Tensor, gradient: Tensor, shift: Tensor, edges: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Cut polygon `i` where ``gradient[i] @ s + shift[i]`` passes an edge.

    Returns vertices and offsets of the parts, and the polygon and the bin of each.
    """

    def values(v: Tensor, o: Tensor, polygon: Tensor) -> tuple[Tensor, Tensor]:
        owner = torch.repeat_interleave(o[1:] - o[:-1])
        return (gradient[polygon[owner]] * v).sum(1) + shift[polygon[owner]], owner

    polygon = torch.arange(len(gradient), device=vertices.device)
    height, owner = values(vertices, offsets, polygon)
    ends = height.new_full((len(polygon),), torch.inf)
    low = ends.scatter_reduce(0, owner, height, "amin")
    high = (-ends).scatter_reduce(0, owner, height, "amax")
    # Bins that the values of a polygon reach; one that only touches an edge has no mass there.
    first = (torch.searchsorted(edges, low, right=True) - 1).clamp_min(0)
    last = (torch.searchsorted(edges, high, right=False) - 1).clamp_max(len(edges) - 2)
    last = torch.where(high == low, first, last).clamp_max(len(edges) - 2)
    reached = torch.where((high < edges[0]) | (low >= edges[-1]), 0, last - first + 1).clamp_min(0)
    parent = torch.repeat_interleave(reached)
    place = first[parent] + ranks(reached)
    vertices, offsets = repeat_polygons(vertices, offsets, parent)
    for side, bound in ((-1.0, edges[place]), (1.0, edges[place + 1])):
        height, owner = values(vertices, offsets, parent)
        constant = high[parent[owner]] == low[parent[owner]]
        excess = torch.where(constant, -1.0, side * (height - bound[owner]))
        vertices, offsets = clip_polygons(vertices, offsets, excess)
    return vertices, offsets, parent, place
