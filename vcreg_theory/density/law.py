"""The exact law of one output of a network along a line of Gaussian inputs."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from .. import validation
from ..piecewise.program import Program
from ..piecewise.regions import Regions1D, enumerate_regions_1d
from .folding import EntropyIdentity, entropy_identity
from .quadrature import Points, chunked, panel_edges
from .truncated import common_values, normal_between, truncated_moments

# Half-width of the enumerated window in standard deviations: Q(38) is below 1e-315.
_REACH = 38.0


class Atoms(NamedTuple):
    """Points of positive probability, in increasing order."""

    location: Tensor
    mass: Tensor


@dataclass(frozen=True, eq=False)
class PushforwardLaw1D:
    r"""Exact law of a piecewise-affine function of a scalar Gaussian.

    With :math:`G` standard normal and the function equal to :math:`\alpha_r + \beta_r G` for
    :math:`G` between :math:`l_r` and :math:`u_r`,

    .. math:: P(Z \le z) = \sum_r w_r\, P(l_r < G < u_r,\; \alpha_r + \beta_r G \le z).

    A flat piece (:math:`\beta_r = 0`) is an atom; every other piece is an affinely mapped,
    truncated normal.

    Parameters
    ----------
    lower, upper : Tensor, shape (R,)
        Ends of the pieces in standard deviations of the input, infinite where a piece is.
    offset, slope : Tensor, shape (R,)
        The affine map of each piece of the standardized input.
    weight : Tensor, shape (R,)
        Weight of the mixture component a piece belongs to.
    std : float
        Standard deviation of the input.

    Notes
    -----
    Claim: B2.a. Make one with `from_model`, `from_regions` or `gaussian_mixture`. All methods
    compute in float64 and take a tensor or an array, and return the same kind.

    Examples
    --------
    >>> relu = nn.Sequential(nn.Linear(1, 1, bias=False), nn.ReLU()).double()
    >>> _ = relu[0].weight.data.fill_(1.0)
    >>> law = PushforwardLaw1D.from_model(relu, 0.0, 1.0)
    >>> law.atoms()
    Atoms(location=tensor([0.], dtype=torch.float64), mass=tensor([0.5000], dtype=torch.float64))
    """

    lower: Tensor
    upper: Tensor
    offset: Tensor
    slope: Tensor
    weight: Tensor
    std: float

    @classmethod
    def from_model(
        cls, model: nn.Module | Program, mean: float | Tensor, std: float, *, coordinate: int = 0
    ) -> "PushforwardLaw1D":
        """Return the law of one output of a network with a scalar Gaussian input.

        Parameters
        ----------
        model : nn.Module or Program
            Network that takes inputs of shape (B, 1).
        mean : float or Tensor, shape (N,)
            Several means give the law of their equal mixture.
        std : float
            Standard deviation of every component, positive.
        coordinate : int
            Which entry of the flattened output.
        """
        std = validation.positive("std", std)
        centers = torch.as_tensor(mean, dtype=torch.float64, device="cpu").detach().reshape(-1, 1)
        validation.tensor("mean", centers, min_rows=1)
        laws = []
        for center in centers:
            ends = center - _REACH * std, center + _REACH * std
            regions = enumerate_regions_1d(model, *ends)
            laws.append(cls.from_regions(regions, 0.5, 0.5 / _REACH, coordinate=coordinate))
        return _join(laws, std)

    @classmethod
    def from_regions(
        cls, regions: Regions1D, mean: float, std: float, *, coordinate: int = 0
    ) -> "PushforwardLaw1D":
        """Return the law of one output along a line, for a Gaussian position on that line.

        Parameters
        ----------
        regions : Regions1D
            Pieces along a segment; the first and the last are continued to infinity.
        mean, std : float
            Law of the position, in the segment's own coordinate (0 to 1).
        coordinate : int
            Which output.
        """
        mean, std = validation.real("mean", mean), validation.positive("std", std)
        outputs = regions.slope.shape[1]
        if not 0 <= validation.integer("coordinate", coordinate, at_least=0) < outputs:
            raise ValueError(f"coordinate must be below {outputs}, got {coordinate}")
        slope = regions.slope[:, coordinate]
        offset = regions.offset[:, coordinate]
        # Slopes that rounding alone can make are slopes of zero.
        scale = torch.maximum(slope.abs().amax(), offset.abs().amax())
        slope = torch.where(slope.abs() <= 64 * torch.finfo(slope.dtype).eps * scale, 0.0, slope)
        slope, offset = slope.double(), offset.double()
        knots = (regions.breakpoints[1:-1].double() - mean) / std
        infinity = knots.new_full((1,), torch.inf)
        return cls._from_pieces(
            torch.cat([-infinity, knots]),
            torch.cat([knots, infinity]),
            offset + slope * mean,
            slope * std,
            torch.ones_like(slope),
            std,
        )

    @classmethod
    def gaussian_mixture(cls, mean: Tensor, std: Tensor) -> "PushforwardLaw1D":
        """Return an equal mixture of normal laws; a standard deviation of zero is a point mass.

        Parameters
        ----------
        mean, std : Tensor, shape (N,)
        """
        mean = validation.tensor("mean", mean, ndim=1, min_rows=1).double()
        std = validation.tensor("std", std, ndim=1).double()
        if std.shape != mean.shape or not bool((std >= 0).all()):
            raise ValueError(f"std must be {len(mean)} numbers that are not negative")
        ends = torch.full_like(mean, torch.inf)
        weight = torch.full_like(mean, 1 / len(mean))
        return cls._from_pieces(-ends, ends, mean, std, weight, 1.0)

    @classmethod
    def _from_pieces(
        cls, lower: Tensor, upper: Tensor, offset: Tensor, slope: Tensor, weight: Tensor, std: float
    ) -> "PushforwardLaw1D":
        """Build a law; flat pieces at one height, up to rounding, get one common location."""
        offset = torch.where(slope == 0, common_values(offset, slope == 0), offset)
        return cls(lower, upper, offset, slope, weight, std)

    @property
    def piece_mass(self) -> Tensor:
        """Probability of each piece, weight included."""
        return self.weight * normal_between(self.lower, self.upper)

    def cdf(self, z: Points) -> Points:
        """Return the probability of values up to `z`, of any shape."""
        return chunked(lambda v: self._steps(v) + self._continuous(v), z, self.slope.numel())

    def continuous_cdf(self, z: Points) -> Points:
        """Return the probability of values up to `z` in the part without atoms."""
        return chunked(self._continuous, z, self.slope.numel())

    def pdf(self, z: Points) -> Points:
        """Return the density at `z` of the part without atoms."""
        return chunked(lambda v: self.piece_densities(v).sum(-1), z, self.slope.numel())

    def piece_densities(self, z: Tensor) -> Tensor:
        """Return the part of the density that each piece contributes at ``z[M]``, shape (M, R)."""
        standard = self._standardized(z)
        # Half open: a point where two pieces meet belongs to one of them, not to none.
        inside = (standard >= self.lower) & (standard < self.upper) & (self.slope != 0)
        steepness = torch.where(self.slope == 0, 1.0, self.slope.abs())
        height = self.weight / steepness / (2 * torch.pi) ** 0.5
        return torch.where(inside, height * torch.exp(-0.5 * standard**2), 0.0)

    def atoms(self) -> Atoms:
        """Return the points of positive probability and their masses."""
        flat = self.slope == 0
        location, group = self.offset[flat].unique(return_inverse=True)
        mass = torch.zeros_like(location).index_add_(0, group, self.piece_mass[flat])
        return Atoms(location[mass > 0], mass[mass > 0])

    def mean(self) -> float:
        """Return the mean."""
        return float(self._moment(self.offset, 1))

    def variance(self) -> float:
        """Return the variance."""
        return float(self._moment(self.offset - self.mean(), 2))

    def entropy(self) -> float:
        r"""Return the differential entropy :math:`-\int p \log p` in nats.

        Raises
        ------
        ValueError
            If the law has atoms; it then has no differential entropy.
        """
        return self.entropy_identity().entropy

    def folding_loss(self) -> float:
        r"""Return :math:`H(\Omega \mid Z)`, what the output hides about the piece, in nats."""
        return self.entropy_identity().folding_loss

    def entropy_identity(self) -> EntropyIdentity:
        r"""Return both sides of the entropy identity of an invertible piecewise-affine map.

        .. math:: H(Z) = H(X) + \mathbb E \log|f'(X)| - H(\Omega \mid Z)

        Raises
        ------
        ValueError
            If the law has atoms.

        Notes
        -----
        Claim: B2.d.
        """
        return entropy_identity(self)

    def panel_edges(self) -> Tensor:
        """Return points between which the density is smooth on the scale of every piece."""
        sloped = self.slope != 0
        return panel_edges(
            self.lower[sloped], self.upper[sloped], self.offset[sloped], self.slope[sloped]
        )

    def _standardized(self, z: Tensor) -> Tensor:
        steepness = torch.where(self.slope == 0, 1.0, self.slope)
        return (z.unsqueeze(-1) - self.offset) / steepness

    def _steps(self, z: Tensor) -> Tensor:
        location, mass = self.atoms()
        below = torch.searchsorted(location, z.contiguous(), right=True)
        return torch.cat([mass.new_zeros(1), mass.cumsum(0)])[below]

    def _continuous(self, z: Tensor) -> Tensor:
        reached = torch.maximum(torch.minimum(self._standardized(z), self.upper), self.lower)
        rising, falling = normal_between(self.lower, reached), normal_between(reached, self.upper)
        mass = torch.where(self.slope > 0, rising, falling)
        return (self.weight * torch.where(self.slope == 0, 0.0, mass)).sum(-1)

    def _moment(self, offset: Tensor, order: int) -> Tensor:
        """Return a raw moment of order 1 or 2 of ``offset + slope * G`` over all pieces."""
        mass, first, second = truncated_moments(self.lower, self.upper, 2)
        if order == 1:
            return (self.weight * (offset * mass + self.slope * first)).sum()
        terms = offset**2 * mass + 2 * offset * self.slope * first + self.slope**2 * second
        return (self.weight * terms).sum()


def _join(laws: Sequence[PushforwardLaw1D], std: float) -> PushforwardLaw1D:
    """Return the equal mixture of laws whose inputs have one standard deviation."""
    lower, upper, offset, slope = (
        torch.cat([getattr(law, name) for law in laws])
        for name in ("lower", "upper", "offset", "slope")
    )
    weight = torch.full_like(slope, 1 / len(laws))
    return PushforwardLaw1D._from_pieces(lower, upper, offset, slope, weight, std)
