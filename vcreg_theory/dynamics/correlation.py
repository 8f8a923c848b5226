"""Correlation matrices: what makes a matrix one, and its eigenvalues."""

import functools
import math

import torch
from torch import Tensor

from .. import seeding, validation


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
        _refuse(corr, *torch.stack([low, high, *diagonal, _skewness(corr)]).tolist())
    return corr


def _skewness(corr: Tensor) -> Tensor:
    r"""Return the largest entry of :math:`(F - F^\top) v` for one fixed vector v.

    The entries of v have sizes from 1 to 2 and random signs. A single pair of entries that differ
    by a therefore gives a at least, and where many differ, all k sums would have to cancel for
    none to be that large. Two products with a vector cost a third of a transposed copy.
    """
    with torch.autocast(corr.device.type, enabled=False):
        probe = _probe(len(corr), corr.dtype, corr.device)
        return (corr.mv(probe) - corr.T.mv(probe)).abs_().amax()


@functools.lru_cache(maxsize=16)
def _probe(k: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return the fixed vector of `_skewness`."""
    numbers = 2 * torch.rand(k, generator=seeding.torch_generator(0, "symmetry")) - 1
    return (numbers + numbers.sign()).to(device, dtype)


def _asymmetry(corr: Tensor) -> Tensor:
    """Return the largest difference between an entry and its mirror image."""
    # A transposed copy first: subtracting a transposed view costs three times as much.
    difference = corr.T.clone(memory_format=torch.contiguous_format).sub_(corr)
    return difference.amax()  # the differences come in pairs of opposite sign


def _refuse(
    corr: Tensor, low: float, high: float, bottom: float, top: float, skewness: float
) -> None:
    """Raise unless the extremes of a matrix and its diagonal allow it to be a correlation."""
    if not (math.isfinite(low) and math.isfinite(high)):
        validation.tensor("corr", corr)
    largest = max(-low, high)
    slack = _slack(corr, largest)
    if not skewness <= slack and (asymmetry := float(_asymmetry(corr))) > slack:
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
