"""Checks of points and centroids, and their squared distances."""

from typing import Any

import torch
from torch import Tensor

from .. import validation
from ..entropy.codes import codes
from ..entropy.distances import exact_squares

# Squared distances over the variance beyond it would overflow in products.
_LARGEST_EXPONENT = 1e280


def points(x: Any, centroids: Any) -> tuple[Tensor, Tensor]:
    """Return inputs (N, d) and centroids (K, d) that fit each other."""
    x = codes("x", x, min_rows=1)
    centroids = codes("centroids", centroids, min_rows=1)
    if x.shape[1] != centroids.shape[1]:
        raise ValueError(
            "x and centroids must have the same number of columns, "
            f"got shapes {tuple(x.shape)} and {tuple(centroids.shape)}"
        )
    if x.dtype != centroids.dtype or x.device != centroids.device:
        raise ValueError(
            "x and centroids must share dtype and device, got "
            f"{x.dtype} on {x.device} and {centroids.dtype} on {centroids.device}"
        )
    return x, centroids


def squares(x: Tensor, centroids: Tensor) -> Tensor:
    """Return squared distances (N, K) in float64, from differences and twice differentiable."""
    x, centroids = x.double(), centroids.double()
    if torch.is_grad_enabled() and (x.requires_grad or centroids.requires_grad):
        return (x[:, None] - centroids).square().sum(2)
    return exact_squares(x, centroids)  # without the differences in memory


def exponents(x: Tensor, centroids: Tensor, variance: Any) -> tuple[Tensor, float]:
    """Return ``-|x_n - mu_k|^2 / (2 variance)``, shape (N, K), and the checked variance."""
    variance = validation.positive("variance", variance)
    distances = squares(x, centroids)
    largest = float(distances.detach().max())
    if not max(largest, 1.0) / _LARGEST_EXPONENT < variance:
        raise ValueError(
            f"variance must not be so small that exponents overflow, got {variance:g} where "
            f"squared distances reach {largest:g}"
        )
    return -distances / (2 * variance), variance
