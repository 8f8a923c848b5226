"""The exact density of two outputs over a plane of Gaussian inputs."""

import torch
from torch import Tensor

from .. import gaussian_measure, validation
from ..piecewise.regions import Regions2D
from ..polygons import edge_halfplanes

_ENTRIES_AT_ONCE = 2**22
# What a window may leave out before a density or a total mass would be visibly wrong.
_MISSING_MASS = 1e-8


def pushforward_density_2d(
    regions: Regions2D,
    mean: Tensor,
    covariance: Tensor,
    z: Tensor,
    *,
    continuous_part: bool = False,
) -> Tensor:
    r"""Return the exact density of two outputs of a Gaussian input in a plane.

    .. math:: p(z) = \sum_{\omega : A_\omega^{-1}(z - b_\omega) \in \omega}
        \frac{p_X\bigl(A_\omega^{-1}(z - b_\omega)\bigr)}{|\det A_\omega|}

    Parameters
    ----------
    regions : Regions2D
        Cells of the plane, with two outputs. They must hold all but 1e-8 of the input's mass.
    mean : Tensor, shape (2,) or (N, 2)
        In the plane's coordinates; several means give the equal mixture.
    covariance : Tensor, shape (2, 2)
    z : Tensor, shape (M, 2)
        Points of the output plane.
    continuous_part : bool
        Where some cells have a map of rank 0 or 1, return the density of the rest of the law
        instead of raising.

    Returns
    -------
    Tensor, shape (M,)
        In the dtype of `z`.

    Raises
    ------
    ValueError
        If a map is singular, the output is not a plane, or the window is too small.

    Notes
    -----
    Claim: B2.a. Points on the image of a cell's edge, a null set, get either value or their sum.

    Examples
    --------
    >>> from vcreg_theory.piecewise.regions import enumerate_regions_2d
    >>> double = torch.nn.Linear(2, 2, bias=False).double()
    >>> _ = double.weight.data.copy_(2 * torch.eye(2))
    >>> eye, zero = torch.eye(2).double(), torch.zeros(2).double()
    >>> regions = enumerate_regions_2d(double, zero, eye, 10.0)
    >>> pushforward_density_2d(regions, zero, eye, torch.zeros(1, 2)) * 8 * torch.pi
    tensor([1.])
    """
    z = validation.tensor("z", z, ndim=2)
    maps, offsets = (v.double() for v in regions.maps())
    if maps.shape[1] != 2 or z.shape[1] != 2:
        raise ValueError(f"regions and z must have 2 outputs, got {maps.shape[1]} and {z.shape[1]}")
    points = z.to(maps)
    means, factor = gaussian_measure.gaussian_parameters(mean, covariance, points)
    mass = region_masses(regions, mean, covariance)
    # Against the largest map: what rounding leaves of a zero map is no map of rank 2.
    smallest_wanted = 64 * torch.finfo(maps.dtype).eps * torch.linalg.matrix_norm(maps, 2).amax()
    regular = torch.linalg.matrix_rank(maps, atol=smallest_wanted, rtol=0.0) == 2
    if not continuous_part and not bool(regular.all()):
        raise ValueError(
            f"the law has no density: {int((~regular).sum())} of {len(maps)} regions, which hold "
            f"a mass of {float(mass[~regular].sum()):.6g}, have a map of rank below 2; use "
            "pushforward_bin_probabilities, or continuous_part=True for the rest of the law"
        )
    inverse = torch.linalg.inv(maps[regular])
    shift = -(inverse @ offsets[regular].unsqueeze(2)).squeeze(2)
    normals, levels = edge_halfplanes(regions.vertices.double(), regions.offsets, regular)
    # Conditions on the preimage, written as conditions on z: one product tests all points.
    conditions = normals @ inverse
    bounds = levels - (normals @ shift.unsqueeze(2)).squeeze(2)
    jacobian = torch.linalg.det(maps[regular]).abs()
    rows = max(1, _ENTRIES_AT_ONCE // max(1, levels.numel()))
    parts = []
    for chunk in points.split(rows):
        inside = ((conditions @ chunk.T) <= bounds.unsqueeze(2)).all(1)
        cell, place = torch.nonzero(inside, as_tuple=True)
        preimage = (inverse[cell] @ chunk[place].unsqueeze(2)).squeeze(2) + shift[cell]
        height = _mixture_density(preimage, means, factor) / jacobian[cell]
        parts.append(points.new_zeros(len(chunk)).index_add_(0, place, height))
    return torch.cat(parts).to(z) if parts else z.new_zeros(0)


def region_masses(regions: Regions2D, mean: Tensor, covariance: Tensor) -> Tensor:
    """Return the mass of every cell; raise if the cells leave out more than rounding."""
    mass = gaussian_measure.polygon_probabilities(
        regions.vertices.double(), regions.offsets, mean, covariance
    )
    if float(mass.sum()) < 1 - _MISSING_MASS:
        raise ValueError(
            f"regions must cover the input's law, but hold only {float(mass.sum()):.9g} of its "
            "mass; enumerate them on a larger window (8.5 standard deviations leave 1e-16)"
        )
    return mass


def _mixture_density(points: Tensor, means: Tensor, factor: Tensor) -> Tensor:
    """Return the density of the equal mixture of Gaussians at each point."""
    white = torch.linalg.solve_triangular(factor, points.T, upper=False).T
    centers = torch.linalg.solve_triangular(factor, means.T, upper=False).T
    squared = (white[:, None] - centers).square().sum(2)
    return torch.exp(-0.5 * squared).mean(1) / (2 * torch.pi * torch.diagonal(factor).prod())
