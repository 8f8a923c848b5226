"""Total variation on the line, between the exact law of an output and its prototype mixture."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from .. import validation
from ..piecewise.program import Program
from .law import PushforwardLaw1D

_BISECTIONS = 60


def total_variation_1d(
    model: nn.Module | Program, prototypes: Tensor, sigma: float, *, coordinate: int = 0
) -> float:
    r"""Return the total variation between the exact law of an output and its prototype mixture.

    .. math:: \mathrm{TV}\Bigl(f_\# P, \tfrac1N \sum_n \mathcal N(f(x_n), \sigma^2 a_n^2)\Bigr)

    for scalar inputs, :math:`P` the equal mixture of :math:`\mathcal N(x_n, \sigma^2)` and
    :math:`a_n` the slope at :math:`x_n`; a slope of zero makes a point mass.

    Parameters
    ----------
    model : nn.Module or Program
        Network that takes inputs of shape (B, 1).
    prototypes : Tensor, shape (N, 1)
    sigma : float
        Noise level, positive.
    coordinate : int
        Which entry of the flattened output.

    Returns
    -------
    float

    Raises
    ------
    ValueError
        If a shape is wrong or `sigma` is not positive.

    Notes
    -----
    Claim: B2.b. Computed by `law_total_variation`.

    Examples
    --------
    >>> relu = nn.Sequential(nn.Linear(1, 1, bias=False), nn.ReLU()).double()
    >>> _ = relu[0].weight.data.fill_(1.0)
    >>> round(total_variation_1d(relu, torch.full((1, 1), 2.0, dtype=torch.float64), 1.0), 9)
    0.022750132
    """
    prototypes = validation.tensor("prototypes", prototypes, ndim=2, min_rows=1)
    if prototypes.shape[1] != 1:
        raise ValueError(f"prototypes must have shape (N, 1), got {tuple(prototypes.shape)}")
    sigma = validation.positive("sigma", sigma)
    exact = PushforwardLaw1D.from_model(model, prototypes[:, 0], sigma, coordinate=coordinate)
    # The piece around the middle of each component is the prototype's own.
    own = (exact.lower < 0) & (exact.upper >= 0)
    mixture = PushforwardLaw1D.gaussian_mixture(exact.offset[own], exact.slope[own].abs())
    return law_total_variation(exact, mixture)


def law_total_variation(first: PushforwardLaw1D, second: PushforwardLaw1D) -> float:
    r"""Return the total variation between two laws on the line, atoms included.

    .. math:: \mathrm{TV} = \tfrac12 \sum_i \bigl|\Delta_i (F - G)\bigr|
        + \tfrac12 \sum_a \bigl|P\{a\} - Q\{a\}\bigr|,

    where :math:`F, G` are the distribution functions of the parts without atoms and the intervals
    :math:`i` end at each sign change of the difference of densities. The sum never exceeds the
    true value, and an error in a sign change enters it to second order only.

    Parameters
    ----------
    first, second : PushforwardLaw1D

    Returns
    -------
    float

    Notes
    -----
    Claim: B2.b.

    Examples
    --------
    >>> mean, std = torch.zeros(1), torch.ones(1)
    >>> first = PushforwardLaw1D.gaussian_mixture(mean, std)
    >>> second = PushforwardLaw1D.gaussian_mixture(mean + 1, std)
    >>> round(law_total_variation(first, second), 9)  # 2 Phi(1/2) - 1
    0.382924923
    """
    edges = torch.cat([first.panel_edges(), second.panel_edges()]).unique()

    def difference(z: Tensor) -> Tensor:
        return first.pdf(z) - second.pdf(z)

    cuts = torch.cat([edges, _sign_changes(difference, edges)]).sort().values
    cuts = torch.cat([cuts.new_tensor([-torch.inf]), cuts, cuts.new_tensor([torch.inf])])
    gap = first.continuous_cdf(cuts) - second.continuous_cdf(cuts)
    return float(gap.diff().abs().sum() + _atom_distance(first, second)) / 2


def _sign_changes(f: Callable[[Tensor], Tensor], edges: Tensor) -> Tensor:
    """Return the roots that a sampling of every panel between `edges` brackets."""
    places = torch.cat([edges.new_tensor([1e-9]), torch.linspace(0.06, 0.94, 9).to(edges)])
    places = torch.cat([places, edges.new_tensor([1 - 1e-9])])
    z = edges[:-1, None] + edges.diff()[:, None] * places
    # Two classes, not three: a root that is itself a sample must not hide the change around it.
    positive = f(z) >= 0
    change = positive[:, :-1] != positive[:, 1:]
    low, high, start = z[:, :-1][change], z[:, 1:][change], positive[:, :-1][change]
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        same = (f(middle) >= 0) == start
        low, high = torch.where(same, middle, low), torch.where(same, high, middle)
    return low


def _atom_distance(first: PushforwardLaw1D, second: PushforwardLaw1D) -> Tensor:
    """Return the summed absolute differences of the masses of all atoms."""
    a, b = first.atoms(), second.atoms()
    location = torch.cat([a.location, b.location])
    mass = torch.cat([a.mass, -b.mass])
    if not len(location):
        return mass.sum()
    order = location.argsort()
    apart = location[order].diff() > 1e-9 * location.abs().amax().clamp_min(1e-300)
    group = torch.cat([apart.new_zeros(1), apart]).long().cumsum(0)
    return mass.new_zeros(len(mass)).index_add_(0, group, mass[order]).abs().sum()
