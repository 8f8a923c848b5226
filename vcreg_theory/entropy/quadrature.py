"""A reference for estimators: the entropy of a Gaussian mixture by quadrature."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from .. import validation
from .codes import codes
from .components import components

# Beyond ten standard deviations a component leaves a mass below 2e-23.
_REACH = 10.0
# Points an axis per smallest standard deviation: first grid, then doubled.
_FIRST_DENSITY = 3
# Points of a grid at most, and numbers (points times components) in memory at once.
_MOST_POINTS = 2**24
_NUMBERS_AT_ONCE = 2**21


class QuadratureEntropy(NamedTuple):
    """An entropy in nats with a bound on its numerical error."""

    entropy: float
    error: float


def mixture_entropy_quadrature(
    means: Tensor,
    variances: Tensor | float,
    weights: Tensor | None = None,
    *,
    tolerance: float = 1e-9,
) -> QuadratureEntropy:
    r"""Return the entropy of a Gaussian mixture in one or two dimensions by quadrature.

    .. math:: H = -\int p \log p, \qquad p = \sum_k c_k\, \mathcal N(\mu_k, \Sigma_k)

    The trapezoidal rule on a grid that reaches ten standard deviations beyond every component
    converges faster than any power of the spacing, since the integrand is smooth and vanishes at
    the ends. The spacing is halved until two grids agree to `tolerance`.

    Parameters
    ----------
    means : Tensor, shape (K,), (K, 1) or (K, 2)
    variances : float or Tensor of shape (), (K,), (K, d) or (K, d, d)
        One variance, a variance for each isotropic component, diagonals, or covariance matrices.
    weights : Tensor, shape (K,), optional
        Positive with sum 1; equal by default.
    tolerance : float
        Wanted error in nats, positive.

    Returns
    -------
    QuadratureEntropy
        ``entropy`` and ``error``: the difference of the last two grids plus the rounding of the
        sum. The finer grid is far closer than that.

    Raises
    ------
    ValueError
        If d is not 1 or 2, the components are not valid, or the grid would exceed 2^24 points
        before it meets `tolerance`: components of very different widths.

    Notes
    -----
    Claim B6.b. Slow and exact, for tests of estimators; not differentiable.

    Examples
    --------
    >>> found = mixture_entropy_quadrature(torch.tensor([0.0, 100.0]), 1.0)
    >>> abs(found.entropy - 0.5 * math.log(2 * math.pi * math.e) - math.log(2)) < 1e-12
    True
    """
    tolerance = validation.positive("tolerance", tolerance)
    if isinstance(means, Tensor) and means.ndim == 1:
        means = means[:, None]
    means = codes("means", means, min_rows=1).detach()
    if means.shape[1] > 2:
        raise ValueError(f"means must have 1 or 2 columns, got shape {tuple(means.shape)}")
    parts = components(means, variances, weights, name="variances")
    return _refine(_Mixture(parts.parameters, parts.weights), tolerance)


class _Mixture:
    """A mixture in one or two dimensions, ready to be evaluated on grids."""

    def __init__(self, parameters: tuple[Tensor, ...], weights: Tensor):
        means, spread = (p.detach() for p in parameters[:2])
        self.means = means - means[0]  # an offset would cost the grid's coordinates digits
        d = self.means.shape[1]
        if spread.ndim == 1:
            spread = spread[:, None].expand(-1, d)
        matrices = torch.diag_embed(spread) if spread.ndim == 2 else spread
        self.inverse_factors = torch.linalg.inv(torch.linalg.cholesky(matrices))
        log_volumes = self.inverse_factors.diagonal(dim1=1, dim2=2).log().sum(1)
        self.log_heights = weights.detach().log() + log_volumes - d / 2 * math.log(2 * math.pi)
        deviations = matrices.diagonal(dim1=1, dim2=2).sqrt()
        self.low = (self.means - _REACH * deviations).amin(0)
        self.high = (self.means + _REACH * deviations).amax(0)
        self.narrowest = float(torch.linalg.eigvalsh(matrices).min().sqrt())

    def log_density(self, points: Tensor) -> Tensor:
        """Return log p at points of shape (m, d)."""
        offsets = points[:, None] - self.means
        white = torch.einsum("kab,mkb->mka", self.inverse_factors, offsets)
        return torch.logsumexp(self.log_heights - white.square().sum(2) / 2, 1)

    def axes(self, density: float) -> list[Tensor]:
        """Return the coordinates of a grid with so many points a smallest standard deviation."""
        steps = ((self.high - self.low) / self.narrowest * density).ceil() + 1
        points = float(steps.prod())
        if points > _MOST_POINTS:
            raise ValueError(
                f"variances must not differ so much: a grid of {points:.3g} points would resolve "
                f"them, at most {_MOST_POINTS} are allowed"
            )
        dtype, device = self.means.dtype, self.means.device
        ends = zip(self.low.tolist(), self.high.tolist(), steps.tolist(), strict=True)
        return [torch.linspace(a, b, int(m), dtype=dtype, device=device) for a, b, m in ends]


def _refine(mixture: _Mixture, tolerance: float) -> QuadratureEntropy:
    """Halve the spacing until two grids agree."""
    density, last = float(_FIRST_DENSITY), math.inf
    while True:
        entropy, size = _trapezoid(mixture, density)
        # Where p matters its exponent is below about 50, so its logarithm is good to 50 roundings.
        rounding = 64 * torch.finfo(torch.float64).eps * (1 + size)
        error = abs(entropy - last) + rounding
        if abs(entropy - last) <= tolerance:
            return QuadratureEntropy(entropy, error)
        density, last = 2 * density, entropy


def _trapezoid(mixture: _Mixture, density: float) -> tuple[float, float]:
    """Return the sums over a grid of ``-p log p`` and of its magnitude, times the cell."""
    axes = mixture.axes(density)
    cell = math.prod(float(axis[1] - axis[0]) for axis in axes)
    height = max(1, _NUMBERS_AT_ONCE // (len(mixture.means) * math.prod(map(len, axes[1:]))))
    total = size = 0.0
    for first in axes[0].split(height):
        grid = torch.cartesian_prod(first, *axes[1:]).reshape(-1, len(axes))
        log_p = mixture.log_density(grid)
        terms = -log_p.exp() * log_p
        total += float(terms.sum())
        size += float(terms.abs().sum())
    return total * cell, size * cell
