"""Deterministic Fourier features: the Gaussian kernel of a scalar as a short sum of cosines.

Over the range L of the samples, in bandwidths, the kernel equals its periodic copy of period
P = L + c up to exp(-c^2/2); Poisson summation writes the periodic kernel as a cosine series whose
weights fall like a Gaussian, so about P sqrt(2 log(1/tol)) / (2 pi) terms are enough.
"""

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .. import validation
from .gaussian import variable, width

_LARGEST = 0.1  # tolerances above make the bounds of this module useless


class Series(NamedTuple):
    """A cosine series: sum of weight * cos(frequency * u), with the constant term apart."""

    constant: float
    frequencies: Tensor
    weights: Tensor


def margin(tol: float) -> float:
    """Return c, the distance in bandwidths at which the kernel is tol / 8."""
    return math.sqrt(2 * math.log(8 / tol))


def close_gaps(u: Tensor, tol: float) -> Tensor:
    """Shorten the gaps between neighbouring samples of each column of (n, K) to the margin.

    Across a gap that long the kernel is below tol / 8 before and after, and no other distance
    changes; so an outlier does not stretch the period of the series.
    """
    s, order = u.sort(0)
    steps = torch.diff(s, dim=0).clamp_max(margin(tol)).cumsum(0)
    moved = torch.cat([torch.zeros_like(s[:1]), steps])
    return torch.empty_like(u).scatter_(0, order, moved)


def terms(lengths: Tensor, tol: float) -> Tensor:
    """Return the number M of frequencies that `series` takes for each range."""
    periods = lengths + margin(tol)
    return torch.ceil(periods * (math.sqrt(math.log(2 / tol) / 2) / math.pi))


def series(length: Tensor, tol: float) -> Series:
    """Return the series that equals the kernel exp(-u^2/2) up to 3/4 tol for |u| <= length.

    Periodic copies add at most 2 exp(-c^2/2) (1 + tiny) = tol / 4 + tiny; the M terms kept leave
    out at most erfc(sqrt(2) pi M / P) <= exp(-2 (pi M / P)^2) = tol / 2.
    """
    period = length.item() + margin(tol)
    order = torch.arange(1, int(terms(length, tol)) + 1, dtype=length.dtype, device=length.device)
    frequencies = 2 * math.pi / period * order
    constant = math.sqrt(2 * math.pi) / period
    return Series(constant, frequencies, 2 * constant * torch.exp(-frequencies.square() / 2))


def features(u: Tensor, cosines: Series) -> Tensor:
    """Return sqrt(weight) * (cos, sin)(frequency * u) along a new last axis of length 2 M."""
    angles = u[..., None] * cosines.frequencies.to(u.dtype)
    amplitudes = cosines.weights.sqrt().repeat(2).to(u.dtype)
    return torch.cat([angles.cos(), angles.sin()], -1).mul_(amplitudes)


def fourier_features_1d(x: Tensor, bandwidth: float | Tensor, tol: float = 1e-6) -> Tensor:
    r"""Return features whose inner products are the Gaussian kernel of a scalar variable.

    .. math::
        \Bigl| \langle f(x_i), f(x_j) \rangle - \exp\Bigl(-\frac{(x_i-x_j)^2}{2\sigma^2}\Bigr)
        \Bigr| \le \mathrm{tol}

    by a cosine series: one constant and :math:`M` pairs of cosine and sine, with :math:`M` growing
    like :math:`\log(1/\mathrm{tol})` and like the range of the samples in bandwidths. No
    randomness. The bound holds in exact arithmetic; rounding adds a few epsilon of the dtype.

    Parameters
    ----------
    x : Tensor, shape (n,)
        Samples.
    bandwidth : float or Tensor with one entry
        Bandwidth of the kernel, positive.
    tol : float
        Largest error of an entry of the Gram matrix, in (0, 0.1].

    Returns
    -------
    Tensor, shape (n, 2 M + 1)
        In the dtype and on the device of `x`; not differentiable.

    Raises
    ------
    ValueError
        If `x` is not a vector, an entry is not finite or a parameter is out of range.

    Notes
    -----
    Claim A2.c: with these features the sample covariance loss is the biased HSIC of the Gaussian
    kernel, up to tol.

    Examples
    --------
    >>> x = torch.tensor([0.0, 1.0, 5.0], dtype=torch.float64)
    >>> f = fourier_features_1d(x, 1.0, tol=1e-8)
    >>> exact = torch.exp(-(x[:, None] - x).square() / 2)
    >>> (f @ f.T - exact).abs().max().item() < 1e-8
    True
    """
    checked = variable("x", x, min_rows=1)
    if x.ndim != 1:
        raise ValueError(f"x must have 1 dimension, got shape {tuple(x.shape)}")
    tolerance(tol)
    with torch.no_grad():
        u = close_gaps(checked.double() / width("bandwidth", bandwidth), tol)
        cosines = series(u.max(), tol)
        constant = torch.full_like(u, math.sqrt(cosines.constant))
        return torch.cat([constant, features(u[:, 0], cosines)], 1).to(checked.dtype)


def tolerance(tol: Any) -> float:
    """Return a tolerance if it lies in (0, 0.1]."""
    if validation.positive("tol", tol) > _LARGEST:
        raise ValueError(f"tol must be at most {_LARGEST}, got {tol!r}")
    return float(tol)
