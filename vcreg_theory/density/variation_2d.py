"""Total variation on the plane, between the exact law of the output and the mixture."""

from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.distributions import MultivariateNormal

from .. import validation
from ..piecewise.program import Program
from ..piecewise.regions import Regions2D, enumerate_regions_2d
from .mixture import prototype_mixture
from .plane import pushforward_density_2d

# Half-width of the window around the prototypes, in standard deviations: Q(9) is about 1e-19.
_REACH = 9.0


class Estimate(NamedTuple):
    """A Monte Carlo mean and its standard error."""

    estimate: float
    standard_error: float


def total_variation_2d(
    model: nn.Module | Program,
    prototypes: Tensor,
    sigma: float,
    *,
    generator: torch.Generator,
    n_samples: int = 20_000,
    regions: Regions2D | None = None,
) -> Estimate:
    r"""Estimate the total variation for two inputs and two outputs, without bias.

    .. math:: \mathrm{TV} = \mathbb E_{z \sim q} \bigl(1 - p(z) / q(z)\bigr)_+

    with :math:`q` the prototype mixture and :math:`p` the exact density of the output (of its
    absolutely continuous part, if some cells are flat).

    Parameters
    ----------
    model : nn.Module or Program
    prototypes : Tensor, shape (N, 2)
    sigma : float
        Noise level, positive.
    generator : torch.Generator
    n_samples : int
        At least 2.
    regions : Regions2D, optional
        Cells of the input plane (origin zero, standard basis); enumerated within nine standard
        deviations of the prototypes if not given.

    Returns
    -------
    Estimate
        Fields `estimate` and `standard_error`.

    Raises
    ------
    ValueError
        If a prototype's local map is singular or the regions do not hold the input's mass.

    Notes
    -----
    Claim: B2.b.

    Examples
    --------
    >>> double = nn.Linear(2, 2).double()
    >>> points = torch.zeros(1, 2, dtype=torch.float64)
    >>> tv = total_variation_2d(double, points, 1.0, generator=torch.Generator(), n_samples=100)
    >>> tv.estimate < 1e-12  # an affine network
    True
    """
    validation.integer("n_samples", n_samples, at_least=2)
    if validation.tensor("prototypes", prototypes, ndim=2, min_rows=1).shape[1] != 2:
        raise ValueError(f"prototypes must have shape (N, 2), got {tuple(prototypes.shape)}")
    mixture = prototype_mixture(model, prototypes, sigma)
    if regions is None:
        regions = plane_regions(model, prototypes, sigma)
    components = cast(MultivariateNormal, mixture.component_distribution)
    pick = torch.randint(
        len(prototypes), (n_samples,), generator=generator, device=prototypes.device
    )
    noise = torch.randn(
        (n_samples, 2, 1), generator=generator, dtype=prototypes.dtype, device=prototypes.device
    )
    z = components.loc[pick] + (components.scale_tril[pick] @ noise).squeeze(2)
    covariance = sigma**2 * torch.eye(2, dtype=torch.float64)
    p = pushforward_density_2d(regions, prototypes, covariance, z, continuous_part=True)
    loss = (1 - p * torch.exp(-mixture.log_prob(z))).clamp_min(0).double()
    return Estimate(float(loss.mean()), float(loss.std() / n_samples**0.5))


def plane_regions(model: nn.Module | Program, prototypes: Tensor, sigma: float) -> Regions2D:
    """Return the cells of the input plane within nine standard deviations of the prototypes.

    Parameters
    ----------
    model : nn.Module or Program
    prototypes : Tensor, shape (N, 2)
    sigma : float

    Returns
    -------
    Regions2D
        In input coordinates: origin zero, standard basis.

    Raises
    ------
    ValueError
        If `prototypes` has not the shape (N, 2) or `sigma` is not positive.

    Notes
    -----
    Claim: B2.a.

    Examples
    --------
    >>> points = torch.zeros(1, 2, dtype=torch.float64)
    >>> len(plane_regions(nn.Linear(2, 2).double(), points, 1.0))  # affine: one cell
    1
    """
    sigma = validation.positive("sigma", sigma)
    prototypes = validation.tensor("prototypes", prototypes, ndim=2, min_rows=1)
    if prototypes.shape[1] != 2:
        raise ValueError(f"prototypes must have shape (N, 2), got {tuple(prototypes.shape)}")
    low = prototypes.amin(0) - _REACH * sigma
    high = prototypes.amax(0) + _REACH * sigma
    (a, b), (c, d) = low.tolist(), high.tolist()
    window = prototypes.new_tensor([[a, b], [c, b], [c, d], [a, d]])
    basis = torch.eye(2, dtype=prototypes.dtype, device=prototypes.device)
    return enumerate_regions_2d(model, torch.zeros_like(basis[0]), basis, window)
