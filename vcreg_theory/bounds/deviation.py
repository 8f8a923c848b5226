"""Deviations: how far the mean of a sample strays."""

import math

import torch
from torch import Tensor

from .. import validation


def hoeffding_deviation(width: float | Tensor, spread: float | Tensor, delta: float) -> Tensor:
    r"""Return how far a weighted sum of independent bounded numbers strays from its mean.

    .. math:: \text{width} \sqrt{\tfrac12 v \ln\tfrac1\delta}, \qquad v = \sum_i a_i^2

    Parameters
    ----------
    width : float or Tensor
        Length of the interval that holds every number, not negative.
    spread : float or Tensor
        Sum of the squared weights; 1/n for a mean.
    delta : float
        Probability with which the sum may lie further above (or below) its mean, in (0, 1).

    Returns
    -------
    Tensor
        A float64 number.

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range.

    Notes
    -----
    Claim B8.a; Hoeffding 1963, Theorem 2.

    Examples
    --------
    >>> round(float(hoeffding_deviation(2.0, 0.01, 0.05)), 4)
    0.2448
    """
    delta = validation.probability("delta", delta)
    for name, value in (("width", width), ("spread", spread)):
        validation.nonnegative(name, float(value))
    root = torch.as_tensor(spread, dtype=torch.float64).mul(math.log(1 / delta) / 2).sqrt()
    return width * root
