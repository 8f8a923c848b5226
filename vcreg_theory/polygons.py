"""Lists of convex polygons: corners one polygon after the other, and where each one starts."""

import torch
from torch import Tensor

from . import validation


def clip_polygon(vertices: Tensor, normal: Tensor, level: float) -> Tensor:
    r"""Return the part of a convex polygon where :math:`n^\top s \le c`.

    Parameters
    ----------
    vertices : Tensor, shape (v, 2)
    normal : Tensor, shape (2,)
    level : float

    Returns
    -------
    Tensor, shape (w, 2)
        Corners in the order of the input; empty if nothing is left.

    Raises
    ------
    ValueError
        If a shape is wrong or an entry is not finite.

    Notes
    -----
    Claim: B2.a.

    Examples
    --------
    >>> square = torch.tensor([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])
    >>> clip_polygon(square, torch.tensor([1.0, 1.0]), 1.0)
    tensor([[0., 0.],
            [1., 0.],
            [0., 1.]])
    """
    vertices = validation.tensor("vertices", vertices, ndim=2)
    normal = validation.tensor("normal", normal, ndim=1).to(vertices)
    offsets = torch.tensor([0, len(vertices)], device=vertices.device)
    excess = vertices @ normal - validation.real("level", level)
    return clip_polygons(vertices, offsets, excess)[0]


def clip_polygons(vertices: Tensor, offsets: Tensor, excess: Tensor) -> tuple[Tensor, Tensor]:
    r"""Clip every polygon of a list to where its own affine function is at most zero.

    Parameters
    ----------
    vertices : Tensor, shape (total, 2)
        Corners of convex polygons, one polygon after the other.
    offsets : Tensor of int, shape (R + 1,)
    excess : Tensor, shape (total,)
        Value of the polygon's affine function at each corner; the part where it is positive is
        cut off. Minus or plus infinity throughout keeps or drops a whole polygon.

    Returns
    -------
    vertices : Tensor, shape (total', 2)
    offsets : Tensor of int, shape (R + 1,)
        As many polygons as before; those cut off entirely have no corners.

    Raises
    ------
    ValueError
        If the shapes do not fit together or `excess` holds a NaN.

    Notes
    -----
    Claim: B2.a.

    Examples
    --------
    >>> square = torch.tensor([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])
    >>> clip_polygons(square, torch.tensor([0, 4]), square[:, 0] - 0.5)[0]
    tensor([[0.0000, 0.0000],
            [0.5000, 0.0000],
            [0.5000, 1.0000],
            [0.0000, 1.0000]])
    """
    vertices, offsets = csr(vertices, offsets)
    if excess.shape != vertices.shape[:1]:
        raise ValueError(f"excess must have shape ({len(vertices)},), got {tuple(excess.shape)}")
    if bool(excess.isnan().any()):
        raise ValueError("excess must not be NaN")
    _, following, owner = links(offsets)
    after = excess[following]
    keep = excess <= 0
    cross = (excess < 0) & (after > 0) | (excess > 0) & (after < 0)
    written = keep.long() + cross.long()
    end = written.cumsum(0)
    place = end - written
    out = vertices.new_empty((int(written.sum()), 2))
    out[place[keep]] = vertices[keep]
    share = (excess[cross] / (excess[cross] - after[cross])).unsqueeze(1)
    crossing = vertices[cross] + share * (vertices[following][cross] - vertices[cross])
    out[place[cross] + keep[cross].long()] = crossing
    counts = torch.zeros_like(offsets[1:]).index_add_(0, owner, written.to(offsets.dtype))
    return out, torch.cat([offsets[:1] * 0, counts.cumsum(0)])


def ranks(counts: Tensor) -> Tensor:
    """Return 0, 1, ..., count - 1 for each count, one after the other."""
    start = counts.cumsum(0) - counts
    return torch.arange(int(counts.sum()), device=counts.device) - torch.repeat_interleave(
        start, counts
    )


def repeat_polygons(vertices: Tensor, offsets: Tensor, index: Tensor) -> tuple[Tensor, Tensor]:
    """Return the polygons of a list that `index` names, in that order."""
    counts = (offsets[1:] - offsets[:-1])[index]
    place = torch.repeat_interleave(offsets[:-1][index], counts) + ranks(counts)
    return vertices[place], torch.cat([counts.new_zeros(1), counts.cumsum(0)])


def edge_halfplanes(vertices: Tensor, offsets: Tensor, selected: Tensor) -> tuple[Tensor, Tensor]:
    """Return half-planes ``n @ s <= c`` of the selected polygons, counter-clockwise ones.

    Shapes (R, E, 2) and (R, E), padded to one number of edges with what is always satisfied.
    """
    counts = (offsets[1:] - offsets[:-1])[selected]
    place = torch.arange(int(counts.amax()) if len(counts) else 0, device=vertices.device)
    used = place < counts.unsqueeze(1)
    start = offsets[:-1][selected].unsqueeze(1)
    here = torch.where(used, start + place, 0)
    following = torch.where(used, start + (place + 1) % counts.unsqueeze(1), 0)
    edge = vertices[following] - vertices[here]
    # Counter-clockwise: the outside lies to the right of every edge.
    normals = torch.stack([edge[..., 1], -edge[..., 0]], -1)
    levels = (normals * vertices[here]).sum(-1)
    return normals * used.unsqueeze(2), torch.where(used, levels, torch.inf)


def csr(vertices: Tensor, offsets: Tensor) -> tuple[Tensor, Tensor]:
    """Return a checked list of polygons."""
    vertices = validation.tensor("vertices", torch.as_tensor(vertices), ndim=2)
    offsets = torch.as_tensor(offsets, device=vertices.device)
    if offsets.is_floating_point():
        raise TypeError(f"offsets must be integers, got {offsets.dtype}")
    offsets = offsets.long()
    if vertices.shape[1] != 2:
        raise ValueError(f"vertices must have shape (total, 2), got {tuple(vertices.shape)}")
    rising = offsets.ndim == 1 and len(offsets) > 0 and bool((offsets[1:] >= offsets[:-1]).all())
    if not rising or offsets[0] != 0 or offsets[-1] != len(vertices):
        raise ValueError(f"offsets must rise from 0 to {len(vertices)}, the number of vertices")
    return vertices, offsets


def links(offsets: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return corner counts, and for each corner the place of the next one and its polygon."""
    counts = offsets[1:] - offsets[:-1]
    owner = torch.repeat_interleave(counts)
    following = torch.arange(1, int(offsets[-1]) + 1, device=offsets.device)
    some = counts > 0
    following[offsets[1:][some] - 1] = offsets[:-1][some]
    return counts, following, owner
