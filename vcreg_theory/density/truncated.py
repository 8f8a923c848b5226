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


def truncated_moments(lower: Tensor, upper: Tensor, order: int) -> list[Tensor]:
    r"""Return the moments of order 0 to `order` of the standard normal between two points.

    .. math:: m_q = \int_l^u t^q \varphi(t)\, dt
        = (q-1)\, m_{q-2} + l^{q-1} \varphi(l) - u^{q-1} \varphi(u)

    None is divided by the mass :math:`m_0`.
    """
    ends = torch.stack([lower, upper])
    density = torch.exp(-0.5 * ends**2) / math.sqrt(2 * math.pi)
    ends = torch.where(torch.isinf(ends), 0.0, ends)  # where the density vanishes faster
    moments = [normal_between(lower, upper)]
    for q in range(1, order + 1):
        boundary = ends ** (q - 1) * density
        moments.append(boundary[0] - boundary[1])
        if q > 1:
            moments[q] = moments[q] + (q - 1) * moments[q - 2]
    return moments


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
