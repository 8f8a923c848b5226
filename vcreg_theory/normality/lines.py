"""Noise along one line through an input: the kinks it meets, and the exact moments it makes."""

from torch import Tensor, nn

from .. import validation
from ..piecewise.kinks import Kinks
from ..piecewise.program import Program
from ..piecewise.regions_1d import enumerate_regions_1d
from .moments import PiecewiseMoments, piecewise_linear_moments

_REACH = 8.5  # standard deviations from the input to either end of the segment


def kinks_along(kinks: Kinks, direction: Tensor) -> Kinks:
    r"""Return the kinks that noise along one direction meets, as an expansion in one variable.

    .. math:: f(x + g u) = f(x) + A u\, g
              + \sum_j \kappa_j |n_j^\top u|\, \Big(\pm g - \frac{d_j}{|n_j^\top u|}\Big)_+

    with the sign of :math:`n_j^\top u`. Boundaries parallel to the line are left out.

    Claim: B3.b

    Parameters
    ----------
    kinks : Kinks
        Expansion with J kinks, D inputs and d outputs, from `piecewise.kink_expansion`.
    direction : Tensor, shape (D,) or that of one input
        The direction u, of any length but zero.

    Returns
    -------
    Kinks
        With one input: ``normal`` of shape (J', 1) holds signs.

    Raises
    ------
    ValueError
        If `direction` is zero, not finite, or has not D entries.

    Examples
    --------
    >>> import torch
    >>> one = torch.ones(1)
    >>> normal = torch.tensor([[0.6, 0.8]])
    >>> kinks = Kinks(one, normal, one[None], torch.ones(1, 2), one)
    >>> line = kinks_along(kinks, torch.tensor([0.0, -1.0]))
    >>> line.distance.item(), line.normal.item(), line.jump.item(), line.map.item()
    (1.25, -1.0, 0.800000011920929, -1.0)
    """
    u = validation.tensor("direction", direction).flatten().to(kinks.normal)
    if u.numel() != kinks.normal.shape[1]:
        raise ValueError(f"direction must have {kinks.normal.shape[1]} entries, got {u.numel()}")
    if not bool(u.any()):
        raise ValueError("direction must not be zero")
    along = kinks.normal @ u
    met = along != 0
    along = along[met]
    return Kinks(
        kinks.distance[met] / along.abs(),
        along.sign().unsqueeze(1),
        kinks.jump[met] * along.abs().unsqueeze(1),
        (kinks.map @ u).unsqueeze(1),
        kinks.value,
    )


def moments_along(
    model: nn.Module | Program, x: Tensor, direction: Tensor, sigma: float
) -> PiecewiseMoments:
    r"""Return the exact first four moments of each output under noise along one direction.

    .. math:: Z = f(x + \sigma g u), \qquad g \sim \mathcal N(0, 1)

    Every piece of the network on the segment of 8.5 standard deviations to either side is
    enumerated; the mass beyond is below 2e-17.

    Claim: B3.b

    Parameters
    ----------
    model : nn.Module or Program
        A piecewise-affine network with d outputs.
    x, direction : Tensor, shape of one input
        The input and the direction u.
    sigma : float
        Standard deviation of the noise along u, positive.

    Returns
    -------
    PiecewiseMoments
        Each of shape (d,), float64.

    Raises
    ------
    ValueError
        If `sigma` is not positive, `direction` is zero, or an output is constant on the line.

    Examples
    --------
    The half-wave of one standard normal variable.

    >>> import torch
    >>> zero, one = torch.zeros(1), torch.ones(1)
    >>> round(moments_along(nn.ReLU(), zero, one, 1.0).skewness.item(), 4)
    1.6406
    """
    reach = _REACH * validation.positive("sigma", sigma)
    validation.tensor("direction", direction)
    validation.same_shape("x", validation.tensor("x", x), "direction", direction)
    if not bool(direction.any()):
        raise ValueError("direction must not be zero")
    step = reach * direction.double()
    pieces = enumerate_regions_1d(model, x.double() - step, x.double() + step)
    # The segment is [0, 1] there; here it is [-8.5, 8.5], with the input at zero.
    breakpoints = _REACH * (2 * pieces.breakpoints - 1)
    offsets, slopes = (pieces.offset + pieces.slope / 2).T, (pieces.slope / (2 * _REACH)).T
    return piecewise_linear_moments(breakpoints.expand(len(offsets), -1), offsets, slopes)
