"""Exact moments of a piecewise-linear function of one standard normal variable."""

import math
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from .. import validation
from ..density.truncated import truncated_moments

_NARROW = 1.0  # pieces up to this width are integrated by quadrature, wider ones by recursion
_NODES = 12  # Gauss-Legendre error below 1e-26 on a narrow piece
_REACH = 8.5  # a window this wide leaves out a mass of 2e-17


class PiecewiseMoments(NamedTuple):
    """Mean, variance, skewness and excess kurtosis, each of the batch's shape."""

    mean: Tensor
    variance: Tensor
    skewness: Tensor
    excess_kurtosis: Tensor


def _density(t: Tensor) -> Tensor:
    return torch.exp(-t.square() / 2) / math.sqrt(2 * math.pi)


class _Pieces:
    """Pieces of one line, ready to integrate powers of an affine function on each."""

    def __init__(self, breakpoints: Tensor):
        a, b = breakpoints[..., :-1], breakpoints[..., 1:]
        self.narrow = b - a <= _NARROW
        half = torch.where(self.narrow, (b - a) / 2, 0)[..., None]
        middle = torch.where(self.narrow, (a + b) / 2, 0)[..., None]
        nodes, weights = (torch.as_tensor(v).to(a) for v in np.polynomial.legendre.leggauss(_NODES))
        self.nodes = middle + half * nodes
        self.weights = half * weights * _density(self.nodes)
        self.moments = truncated_moments(a, b, 4)

    def expectation(self, offsets: Tensor, slopes: Tensor, power: int) -> Tensor:
        """Return the mean of ``(offset + slope g)^power`` over all pieces."""
        wide = sum(
            math.comb(power, q) * offsets ** (power - q) * slopes**q * self.moments[q]
            for q in range(power + 1)
        )
        values = offsets[..., None] + slopes[..., None] * self.nodes
        narrow = (self.weights * values**power).sum(-1)
        return torch.where(self.narrow, narrow, wide).sum(-1)


def _check_pieces(breakpoints: Tensor, offsets: Tensor, slopes: Tensor) -> None:
    validation.tensor("breakpoints", breakpoints, finite=False)
    validation.tensor("offsets", offsets)
    validation.tensor("slopes", slopes)
    if min(breakpoints.ndim, offsets.ndim, slopes.ndim) == 0:
        raise ValueError("breakpoints, offsets and slopes must have at least 1 dimension")
    pieces = breakpoints.shape[-1] - 1
    if pieces < 1 or offsets.shape[-1] != pieces or slopes.shape[-1] != pieces:
        raise ValueError(
            f"breakpoints must have one entry more than offsets and slopes, got "
            f"{pieces + 1}, {offsets.shape[-1]} and {slopes.shape[-1]}"
        )
    inner = breakpoints[..., 1:-1]
    increasing = bool((breakpoints[..., 1:] > breakpoints[..., :-1]).all())
    if not (increasing and bool(inner.isfinite().all())):
        raise ValueError("breakpoints must increase strictly, infinite at most at the two ends")
    if bool((breakpoints[..., 0] > -_REACH).any() | (breakpoints[..., -1] < _REACH).any()):
        raise ValueError(
            f"breakpoints must reach from below {-_REACH} to above {_REACH}, got "
            f"{float(breakpoints[..., 0].max())} to {float(breakpoints[..., -1].min())}"
        )


def piecewise_linear_moments(
    breakpoints: Tensor, offsets: Tensor, slopes: Tensor
) -> PiecewiseMoments:
    r"""Return the exact first four moments of a piecewise-linear function of a normal variable.

    .. math::
       y(g) = \alpha_r + \beta_r g \ \text{ for } t_r \le g < t_{r+1}, \quad
       g \sim \mathcal N(0,1), \qquad
       \mathbb E (y-c)^p = \sum_r \sum_q \binom pq (\alpha_r-c)^{p-q} \beta_r^q
                           \int_{t_r}^{t_{r+1}} t^q \varphi

    with :math:`\int_a^b t^q\varphi = (q-1)\int_a^b t^{q-2}\varphi + a^{q-1}\varphi(a) -
    b^{q-1}\varphi(b)`. The moments are taken around the mean from the start. A narrow piece with a
    steep slope would lose digits in this sum; pieces of width at most 1 are therefore integrated by
    a Gauss-Legendre rule that is exact to rounding. Differentiable in `offsets` and `slopes`;
    the calculation is in float64.

    Claim: B3.b

    Parameters
    ----------
    breakpoints : Tensor, shape (..., R + 1)
        Increasing; the ends are infinite, or at least 8.5 away from zero.
    offsets, slopes : Tensor, shape (..., R)
        Value at ``g = 0`` of each piece's line, and its slope. Leading dimensions broadcast.

    Returns
    -------
    PiecewiseMoments
        In the dtype of `offsets`.

    Raises
    ------
    ValueError
        If shapes disagree, breakpoints do not increase or do not cover the normal law, or `y` is
        constant (it then has no skewness).

    Examples
    --------
    The half-wave max(g, 0) has mean 1/sqrt(2 pi) and variance 1/2 - 1/(2 pi).

    >>> inf = float("inf")
    >>> ends = torch.tensor([-inf, 0.0, inf])
    >>> moments = piecewise_linear_moments(ends, torch.zeros(2), torch.tensor([0.0, 1.0]))
    >>> round(float(moments.mean), 6), round(float(moments.variance), 6)
    (0.398942, 0.340845)
    """
    _check_pieces(breakpoints, offsets, slopes)
    dtype = offsets.dtype
    pieces, offsets, slopes = _Pieces(breakpoints.double()), offsets.double(), slopes.double()
    mean = pieces.expectation(offsets, slopes, 1)
    centred = offsets - mean[..., None]
    second, third, fourth = (pieces.expectation(centred, slopes, p) for p in (2, 3, 4))
    rounding = torch.finfo(torch.float64).eps * (1 + offsets.abs().amax(-1))
    if bool((second <= (100 * rounding) ** 2).any()):
        raise ValueError("offsets and slopes must not make a constant function, got variance 0")
    moments = mean, second, third / second**1.5, fourth / second**2 - 3
    return PiecewiseMoments(*(m.to(dtype) for m in moments))
