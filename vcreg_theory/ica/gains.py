"""Errors of the gain matrix W A: asymptotic variances, bounds, and chance."""

import math
from typing import TypeVar

import numpy as np
from torch import Tensor

from .._types import FloatArray

Number = TypeVar("Number", float, FloatArray, Tensor)


def ica_gain_variance(information_i: Number, information_j: Number) -> Number:
    r"""Return the variance of a gain of orthogonal maximum likelihood, times n.

    .. math::
        n \operatorname{Var}(G_{ij}) \to \frac{(J_j - 1)^2 + S}{S^2}, \qquad S = J_i + J_j - 2

    for :math:`G = W A` with the order, signs and scales of the sources resolved: row i estimates
    source i, and :math:`G_{ij}` is what source j leaves in it.

    Parameters
    ----------
    information_i, information_j : float, ndarray or Tensor
        Fisher information of location of the two sources at unit variance (1 for a Gaussian), or
        the information :math:`a^\top C^{-1} a` that the features of a block explain.

    Returns
    -------
    float, ndarray or Tensor
        The asymptotic variance; divide by n.

    Raises
    ------
    ValueError
        If an information is below 1 or not finite, or both are 1: two Gaussians.

    Notes
    -----
    Claim A6.c. This is the variance of one estimator, with outputs white on the sample, not a lower
    bound: see `cramer_rao_gain_variance`.

    Examples
    --------
    >>> ica_gain_variance(2.0, 2.0), ica_gain_variance(1.25, 1.25)  # Laplace, Student t of 5
    (0.75, 2.25)
    """
    _check(information_i, information_j)
    excess = information_i + information_j - 2
    return ((information_j - 1) ** 2 + excess) / excess**2


def cramer_rao_gain_variance(information_i: Number, information_j: Number) -> Number:
    r"""Return the Cramer-Rao bound of a gain, times n.

    .. math:: n \operatorname{Var}(G_{ij}) \ge \frac{J_j}{J_i J_j - 1}

    Block-whitened VCReg attains it, with the information that its features explain, if the
    unmixing matrix is not held to rotations.

    Parameters
    ----------
    information_i, information_j : float, ndarray or Tensor
        As for `ica_gain_variance`.

    Returns
    -------
    float, ndarray or Tensor
        The bound; divide by n.

    Raises
    ------
    ValueError
        If an information is below 1 or not finite, or both are 1: two Gaussians.

    Notes
    -----
    Claim A6.c. Equality needs :math:`\mathbb E \psi_i^2 = \mathbb E \psi_i' = J_i`, which holds for
    the regressed scores of any block of features.

    Examples
    --------
    >>> cramer_rao_gain_variance(2.0, 2.0)
    0.6666666666666666
    """
    _check(information_i, information_j)
    return information_j / (information_i * information_j - 1)


def chance_amari_index() -> float:
    r"""Return the mean Amari index of a random rotation of two sources, :math:`(2/\pi) \ln 2`.

    .. math:: \frac4\pi \int_0^{\pi/4} \tan\theta \, d\theta = \frac2\pi \ln 2

    What is left of two Gaussian sources, of which no method can find more.

    Examples
    --------
    >>> round(chance_amari_index(), 4)
    0.4413
    """
    return 2 / math.pi * math.log(2)


def chance_amari_distance() -> float:
    r"""Return the mean Amari distance of a random rotation of two sources, :math:`4/\pi - 1`.

    .. math:: \frac4\pi \int_0^{\pi/4} \tan^2\theta \, d\theta = \frac4\pi - 1

    Examples
    --------
    >>> round(chance_amari_distance(), 4)
    0.2732
    """
    return 4 / math.pi - 1


def _check(*information: Number) -> None:
    """Raise unless every information is that of a law of variance one, not all Gaussian."""
    for name, value in zip(("information_i", "information_j"), information, strict=True):
        array = value.detach().cpu().numpy() if isinstance(value, Tensor) else np.asarray(value)
        if not np.isfinite(array).all() or (array < 1).any():
            raise ValueError(f"{name} must be finite and at least 1 (a Gaussian's), got {value!r}")
    first, second = information
    product = first * second
    if bool((product <= 1).any() if isinstance(product, np.ndarray | Tensor) else product <= 1):
        raise ValueError("information_i and information_j must not both be 1: two Gaussians")
