"""Gaussian kernels integrated against a bivariate normal law."""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from .. import validation
from .gaussian import width


class KernelMeans(NamedTuple):
    """Means over independent copies of a pair: k(X,X')l(Y,Y'), k(X,X')l(Y,Y''), k, l."""

    joint: Any
    cross: Any
    x: Any
    y: Any


def _squared_bandwidths(bandwidth: Any) -> tuple[float, float]:
    pair = bandwidth if isinstance(bandwidth, tuple | list) else (bandwidth, bandwidth)
    if len(pair) != 2:
        raise ValueError(f"bandwidth must be one number or a pair, got {len(pair)} numbers")
    first, second = (width("bandwidth", value) for value in pair)
    return first**2, second**2


def _correlation(rho: object) -> Tensor:
    if not isinstance(rho, Tensor):
        rho = torch.tensor(validation.real("rho", rho), dtype=torch.float64)
    value = rho.double()
    if not bool((value.abs() <= 1).all()):
        raise ValueError(f"rho must lie in [-1, 1], got {rho.tolist()!r}")
    return value


def _like(value: Tensor, rho: Any) -> Any:
    return value.to(rho.dtype) if isinstance(rho, Tensor) else value.item()


def gaussian_kernel_means(rho: float | Tensor, bandwidth: Any) -> KernelMeans:
    r"""Return the four kernel means of a standard normal pair of correlation rho.

    .. math::
        \mathbb E\, k(X,X') l(Y,Y') = \sqrt{\frac{\tau\upsilon}{ab - 4\rho^2}}, \qquad
        \mathbb E\, k(X,X') l(Y,Y'') = \sqrt{\frac{\tau\upsilon}{ab - \rho^2}}, \qquad
        \mathbb E\, k(X,X') = \sqrt{\frac\tau a},

    with the squared bandwidths :math:`\tau, \upsilon` of the two kernels, :math:`a = \tau + 2` and
    :math:`b = \upsilon + 2`. They give HSIC (`gaussian_hsic`) and the exact mean of the biased
    estimator (`independence.expected_biased_hsic`).

    Parameters
    ----------
    rho : float or Tensor
        Correlation in [-1, 1].
    bandwidth : float or pair of floats
        Bandwidth of both kernels, or of each.

    Returns
    -------
    KernelMeans
        ``joint, cross, x, y`` in the order above; floats, or tensors of the shape of `rho`.

    Raises
    ------
    ValueError
        If rho lies outside [-1, 1] or a bandwidth is not finite and positive.

    Notes
    -----
    Claims A2.a and A2.d.

    Examples
    --------
    >>> [round(mean, 4) for mean in gaussian_kernel_means(0.0, 1.0)]
    [0.3333, 0.3333, 0.5774, 0.5774]
    """
    square = _correlation(rho).square()
    tau, upsilon = _squared_bandwidths(bandwidth)
    a, b = tau + 2, upsilon + 2
    top = (tau * upsilon) ** 0.5
    ones = torch.ones_like(square)
    means = (
        top / (a * b - 4 * square).sqrt(),
        top / (a * b - square).sqrt(),
        (tau / a) ** 0.5 * ones,
        (upsilon / b) ** 0.5 * ones,
    )
    return KernelMeans(*(_like(mean, rho) for mean in means))


def gaussian_hsic(rho: float | Tensor, bandwidth: Any) -> Any:
    r"""Return HSIC of a standard normal pair of correlation rho under Gaussian kernels.

    .. math::
        \mathrm{HSIC} = \tau \Bigl[ \frac1{\sqrt{(\tau+2)^2 - 4\rho^2}} + \frac1{\tau+2}
            - \frac2{\sqrt{(\tau+2)^2 - \rho^2}} \Bigr]
            = \frac{\tau\rho^2}{(\tau+2)^3} + O(\rho^4), \qquad \tau = \sigma^2 .

    Two bandwidths replace :math:`\tau` in front by the geometric mean of their squares and
    :math:`(\tau+2)^2` by the product of the two sums. The difference is evaluated in a form
    without cancellation, so that small correlations keep all digits.

    Parameters
    ----------
    rho : float or Tensor
        Correlation in [-1, 1].
    bandwidth : float or pair of floats
        Bandwidth :math:`\sigma` of both kernels, or of each.

    Returns
    -------
    float or Tensor
        Of the kind and shape of `rho`.

    Raises
    ------
    ValueError
        If rho lies outside [-1, 1] or a bandwidth is not finite and positive.

    Notes
    -----
    Claim A2.a.

    Examples
    --------
    >>> round(gaussian_hsic(0.6, 1.0), 7)
    0.016616
    """
    square = _correlation(rho).square()
    tau, upsilon = _squared_bandwidths(bandwidth)
    product = (tau + 2) * (upsilon + 2)
    root = product**0.5
    # With g(c) = 1/sqrt(product - c) - 1/sqrt(product) = c / (root s (root + s)): g(4r) - 2 g(r).
    joint, cross = (product - 4 * square).sqrt(), (product - square).sqrt()
    bracket = 4 / (joint * (root + joint)) - 2 / (cross * (root + cross))
    return _like((tau * upsilon) ** 0.5 * square / root * bracket, rho)
