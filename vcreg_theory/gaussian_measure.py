"""Exact Gaussian measure of polygons and of cells cut out by half-planes, by Owen's T function.

Along a ray from the mean, the mass of a standard normal beyond radius `r` is ``exp(-r^2 / 2)``. A
triangle with its apex at the mean therefore has a mass that depends on its base alone, and the
divergence theorem writes any polygon as a signed sum of such triangles, one an edge.
Results are computed in float64; their error is absolute, about 1e-16 an edge.
"""

import numpy as np
import torch
from scipy import special
from torch import Tensor

from . import validation
from .polygons import csr, links

__all__ = [
    "escape_probability",
    "gaussian_parameters",
    "normal_tail",
    "polygon_probabilities",
    "polygon_probability",
]

# Lines closer than this to parallel have no usable crossing point.
_PARALLEL = 1e-12
# Stands in for a distance of zero: keeps the order of edges that meet at the mean.
_TOUCHING = 1e-150


def polygon_probability(vertices: Tensor, mean: Tensor, covariance: Tensor) -> float:
    r"""Return the mass that a Gaussian law puts on a polygon.

    With the vertices in whitened coordinates, :math:`h_e` the signed distance from the mean to the
    line of edge :math:`e` and :math:`\theta_e, \theta_e'` the angles of its ends from the foot of
    that perpendicular,

    .. math:: P = \sum_e \operatorname{sign}(h_e) \left[\frac{\theta_e' - \theta_e}{2\pi}
        - T(|h_e|, \tan\theta_e') + T(|h_e|, \tan\theta_e)\right].

    Parameters
    ----------
    vertices : Tensor, shape (v, 2)
        Corners of a polygon that does not cross itself, in either orientation.
    mean : Tensor, shape (2,)
    covariance : Tensor, shape (2, 2)
        Symmetric and positive definite.

    Returns
    -------
    float

    Raises
    ------
    ValueError
        If a shape is wrong or the covariance is not positive definite.

    Notes
    -----
    Claim: B2.a. Owen (1956), Tables for computing bivariate normal probabilities.

    Examples
    --------
    >>> square = torch.tensor([[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]])
    >>> p = polygon_probability(square, torch.zeros(2), torch.eye(2))
    >>> abs(p - torch.erf(torch.tensor(0.5, dtype=torch.float64).sqrt()) ** 2).item() < 1e-15
    True
    """
    vertices = validation.tensor("vertices", vertices, ndim=2, min_rows=3)
    offsets = torch.tensor([0, len(vertices)], device=vertices.device)
    return float(polygon_probabilities(vertices.double(), offsets, mean, covariance)[0])


def polygon_probabilities(
    vertices: Tensor, offsets: Tensor, mean: Tensor, covariance: Tensor
) -> Tensor:
    r"""Return the mass that a Gaussian law puts on each polygon of a list.

    Parameters
    ----------
    vertices : Tensor, shape (total, 2)
        Corners of all polygons, one polygon after the other.
    offsets : Tensor of int, shape (R + 1,)
        Polygon `i` has the corners ``vertices[offsets[i]:offsets[i + 1]]``; fewer than three
        corners have mass zero.
    mean : Tensor, shape (2,) or (N, 2)
        Several means give the equal mixture of their Gaussian laws.
    covariance : Tensor, shape (2, 2)

    Returns
    -------
    Tensor, shape (R,)
        In the dtype of `vertices`.

    Raises
    ------
    ValueError
        If a shape is wrong or the covariance is not positive definite.

    Notes
    -----
    Claim: B2.a. The formula is that of `polygon_probability`.

    Examples
    --------
    >>> quadrants = torch.tensor([[0.0, 0], [50, 0], [0, 50], [0, 0], [0, 50], [-50, 0]])
    >>> polygon_probabilities(quadrants, torch.tensor([0, 3, 6]), torch.zeros(2), torch.eye(2))
    tensor([0.2500, 0.2500])
    """
    vertices, offsets = csr(vertices, offsets)
    means, factor = gaussian_parameters(mean, covariance, vertices)
    counts, following, owner = links(offsets)
    total = vertices.new_zeros(len(counts), dtype=torch.float64)
    for center in means:
        white = torch.linalg.solve_triangular(factor, (vertices.double() - center).T, upper=False).T
        signed = total.new_zeros(len(counts))
        total += signed.index_add_(0, owner, _edge_masses(white, white[following])).abs()
    return (total / len(means)).to(vertices.dtype)


def escape_probability(distance: Tensor, normal: Tensor, sigma: Tensor) -> Tensor:
    r"""Return the probability that isotropic noise leaves a cell cut out by half-planes.

    For the cell :math:`\{s : n_j^\top s \le d_j\}` around the origin and :math:`\xi` standard
    normal in the plane,

    .. math:: P(\sigma\xi \text{ leaves}) = \sum_j \left[T(d_j/\sigma, b_j/d_j)
        - T(d_j/\sigma, a_j/d_j)\right],

    where :math:`[a_j, b_j]` is the part of line :math:`j` that bounds the cell, infinite if the
    cell is. No term is negative, so small probabilities keep their relative accuracy, down to
    about 1e-300.

    Parameters
    ----------
    distance : Tensor, shape (J,)
        Distances of the lines from the origin, not negative. The origin may lie on a line; a line
        at infinity bounds nothing.
    normal : Tensor, shape (J, 2)
        Unit normals that point out of the cell.
    sigma : Tensor, shape (S,)
        Noise levels, positive.

    Returns
    -------
    Tensor, shape (S,)
        In float64.

    Raises
    ------
    ValueError
        If a shape is wrong, a distance is negative, or a noise level is not positive.

    Notes
    -----
    Claim: B2.c.

    Examples
    --------
    >>> wedge = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    >>> escape_probability(torch.zeros(2), wedge, torch.ones(1))
    tensor([0.7500], dtype=torch.float64)
    """
    if distance.ndim != 1 or normal.shape != (len(distance), 2):
        raise ValueError(
            f"distance and normal must have shapes (J,) and (J, 2), "
            f"got {tuple(distance.shape)} and {tuple(normal.shape)}"
        )
    if not bool((distance >= 0).all()):
        raise ValueError("distance must not be negative or NaN")
    validation.tensor("normal", normal)
    if not bool((validation.tensor("sigma", sigma, ndim=1) > 0).all()):
        raise ValueError(f"sigma must be positive, got {sigma.tolist()}")
    near = distance.isfinite()
    d, n = distance[near].double().clamp_min(_TOUCHING), normal[near].double()
    if len(d) == 0:
        return torch.zeros_like(sigma, dtype=torch.float64)
    lower, upper = _bounding_parts(d, n)
    height = d / sigma.double().unsqueeze(1)
    flux = _owens_t(height, upper / d) - _owens_t(height, lower / d)
    return flux.sum(1).clamp(0, 1)


def normal_tail(z: Tensor) -> Tensor:
    """Return the standard normal mass above `z`, accurate far into the tail."""
    # torch.special.ndtr subtracts from one and loses every digit of a small tail.
    return 0.5 * torch.erfc(z / 2**0.5)


def gaussian_parameters(
    mean: Tensor, covariance: Tensor, like: Tensor, dim: int = 2
) -> tuple[Tensor, Tensor]:
    """Return checked means (N, dim) and the Cholesky factor of the covariance, in float64."""
    mean = torch.as_tensor(mean, dtype=torch.float64, device=like.device)
    covariance = torch.as_tensor(covariance, dtype=torch.float64, device=like.device)
    if mean.ndim not in (1, 2) or mean.shape[-1] != dim or mean.numel() == 0:
        raise ValueError(f"mean must have shape ({dim},) or (N, {dim}), got {tuple(mean.shape)}")
    if covariance.shape != (dim, dim):
        raise ValueError(f"covariance must be {dim} x {dim}, got {tuple(covariance.shape)}")
    validation.tensor("mean", mean)
    validation.tensor("covariance", covariance)
    symmetric = torch.allclose(covariance, covariance.T, rtol=1e-6, atol=0)
    factor, failed = torch.linalg.cholesky_ex((covariance + covariance.T) / 2)
    if not symmetric or int(failed):
        raise ValueError(
            "covariance must be symmetric and positive definite, got eigenvalues "
            f"{torch.linalg.eigvals(covariance).real.tolist()}"
        )
    return mean.reshape(-1, dim), factor


def _edge_masses(start: Tensor, end: Tensor) -> Tensor:
    """Return the signed mass of the triangle that each edge spans with the origin."""
    edge = end - start
    length = edge.norm(dim=1)
    usable = length > 0
    length = torch.where(usable, length, 1.0)
    height = (start[:, 0] * end[:, 1] - start[:, 1] * end[:, 0]) / length
    # An edge whose line passes through the origin spans no area.
    usable &= height.abs() > 1e-290
    h = torch.where(usable, height.abs(), 1.0)
    a, b = (start * edge).sum(1) / length / h, (end * edge).sum(1) / length / h
    mass = (b.atan() - a.atan()) / (2 * torch.pi) - _owens_t(h, b) + _owens_t(h, a)
    return torch.where(usable, height.sign() * mass, 0.0)


def _bounding_parts(d: Tensor, n: Tensor) -> tuple[Tensor, Tensor]:
    """Return the interval of each line, along its tangent, that bounds the cell (or an empty one).

    A crossing point is computed by one formula for both of its lines, so the boundary closes even
    where lines are nearly parallel and the point itself is ill conditioned.
    """
    tangent = torch.stack([-n[:, 1], n[:, 0]], 1)
    sine = n[:, None, 0] * n[None, :, 1] - n[:, None, 1] * n[None, :, 0]
    crossing = sine.abs() > _PARALLEL
    numerator = d[None, :, None] * tangent[:, None] - d[:, None, None] * tangent[None]
    point = numerator / torch.where(crossing, sine, 1.0).unsqueeze(2)
    along = (point * tangent[:, None]).sum(2)
    upper = torch.where(crossing & (sine > 0), along, torch.inf).amin(1)
    lower = torch.where(crossing & (sine < 0), along, -torch.inf).amax(1)
    # Of parallel lines on one side only the nearest bounds the cell; of equal ones, the first.
    same_side = ~crossing & (n @ n.T > 0)
    tie = (d[None] - d[:, None]).abs() <= _PARALLEL * d[:, None]
    index = torch.arange(len(d), device=d.device)
    nearer = torch.where(tie, index[None] < index[:, None], d[None] < d[:, None])
    empty = (same_side & nearer).any(1) | (lower >= upper)
    return torch.where(empty, 0.0, lower), torch.where(empty, 0.0, upper)


def _owens_t(h: Tensor, a: Tensor) -> Tensor:
    """Return Owen's T, computed on the CPU."""
    value = special.owens_t(h.cpu().numpy(), a.cpu().numpy())
    return torch.from_numpy(np.asarray(value)).to(h.device)
