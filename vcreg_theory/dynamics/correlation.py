"""Correlation matrices: what makes a matrix one, and its eigenvalues."""

import math

import torch
from torch import Tensor

from .. import validation


def checked(corr: Tensor, check: bool) -> Tensor:
    """Return the correlation, detached, once it is seen to be square, finite and symmetric."""
    validation.tensor("corr", corr, ndim=2, finite=False)
    k = corr.shape[0]
    if corr.shape[1] != k or k == 0:
        raise ValueError(f"corr must be a square matrix, got shape {tuple(corr.shape)}")
    corr = corr.detach()
    if check:
        low, high = torch.aminmax(corr)  # both NaN if an entry is
        diagonal = torch.aminmax(corr.diagonal())
        _refuse(corr, *torch.stack([low, high, *diagonal, _asymmetry(corr)]).tolist())
    return corr


def _asymmetry(corr: Tensor) -> Tensor:
    """Return the largest difference between an entry and its mirror image."""
    # A transposed copy first: subtracting a transposed view costs three times as much.
    difference = corr.T.clone(memory_format=torch.contiguous_format).sub_(corr)
    return difference.amax()  # the differences come in pairs of opposite sign


def _refuse(
    corr: Tensor, low: float, high: float, bottom: float, top: float, asymmetry: float
) -> None:
    """Raise unless the extremes of a matrix and its diagonal allow it to be a correlation."""
    if not (math.isfinite(low) and math.isfinite(high)):
        validation.tensor("corr", corr)
    largest = max(-low, high)
    slack = _slack(corr, largest)
    if asymmetry > slack:
        raise ValueError(
            f"corr must be symmetric, got entries that differ from their mirror image by "
            f"{asymmetry:.3g} where the largest is {largest:.3g}"
        )
    if bottom < -slack:
        raise ValueError(
            f"corr must be positive semi-definite, got the diagonal entry {bottom:.3g}"
        )
    if largest > top + slack:
        raise ValueError(
            f"corr must be positive semi-definite, got the entry {largest:.3g} (in absolute "
            f"value) above the largest on the diagonal, {top:.3g}"
        )


def _slack(corr: Tensor, largest: float) -> float:
    """Return what rounding may have done to entries or eigenvalues of size `largest`."""
    return math.sqrt(torch.finfo(corr.dtype).eps) * largest


def spectrum(corr: Tensor, check: bool) -> tuple[Tensor, Tensor]:
    """Return the eigenvalues, ascending and not negative, and the eigenvectors in columns."""
    values, vectors = torch.linalg.eigh((corr + corr.T) / 2)
    if check and float(values[0]) < -_slack(corr, float(values[-1])):
        raise ValueError(
            f"corr must be positive semi-definite, got eigenvalues from {float(values[0]):.3g} "
            f"to {float(values[-1]):.3g}"
        )
    return values.clamp(min=0), vectors


def rebuild(values: Tensor, vectors: Tensor) -> Tensor:
    """Return the symmetric matrix with these eigenvalues and eigenvectors."""
    return (vectors * values) @ vectors.T
