"""Masses and moments of pieces of the standard normal law."""

import math

import torch
from torch import Tensor

from ..gaussian_measure import normal_tail


def normal_between(lower: Tensor, upper: Tensor) -> Tensor:
    """Return the standard normal mass between two points, accurate in either tail."""
    right = lower > 0
    near, far = torch.where(right, lower, -upper), torch.where(right, upper, -lower)
    return normal_tail(near) - normal_tail(far)


def truncated_moments(lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    r"""Return the moments of order 0, 1 and 2 of the standard normal between two points.

    With :math:`\varphi` the normal density, :math:`m_1 = \varphi(l) - \varphi(u)` and
    :math:`m_2 = m_0 + l\varphi(l) - u\varphi(u)`; none is divided by the mass :math:`m_0`.
    """
    ends = torch.stack([lower, upper])
    density = torch.exp(-0.5 * ends**2) / math.sqrt(2 * math.pi)
    leverage = torch.where(torch.isinf(ends), 0.0, ends) * density
    mass = normal_between(lower, upper)
    return mass, density[0] - density[1], mass + leverage[0] - leverage[1]


def common_values(values: Tensor, selected: Tensor) -> Tensor:
    """Return `values` with selected ones that differ by rounding alone set to the least of them."""
    out = values.clone()
    place = torch.nonzero(selected).flatten()
    if len(place):
        place = place[values[place].argsort()]
        ordered = values[place]
        apart = ordered.diff() > 1e-12 * values.abs().amax()
        group = torch.cat([apart.new_zeros(1), apart]).long().cumsum(0)
        least = ordered.new_full((int(group[-1]) + 1,), torch.inf)
        out[place] = least.scatter_reduce(0, group, ordered, "amin")[group]
    return out
