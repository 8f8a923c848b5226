"""Checks of covariance and correlation matrices, and of scalars that may be tensors."""

from typing import Any

import torch
from torch import Tensor

from .. import validation
from ..entropy.codes import widened


def scalars(**values: Any) -> tuple[Tensor, ...]:
    """Return finite numbers as scalar tensors of one dtype and device.

    Those of the tensors among them; float64 on the CPU if there is none.
    """
    given = [v for v in values.values() if isinstance(v, Tensor)]
    for name, value in values.items():
        if isinstance(value, Tensor):
            validation.tensor(name, widened(value), ndim=0)
        else:
            validation.real(name, value)
    dtype, device = torch.float64, torch.device("cpu")
    if given:
        dtype, device = widened(given[0]).dtype, given[0].device
    for value in given[1:]:
        dtype = torch.promote_types(dtype, widened(value).dtype)
    return tuple(torch.as_tensor(v, dtype=dtype, device=device) for v in values.values())


def require_positive(**values: Tensor) -> None:
    """Raise unless scalar tensors are above zero."""
    for name, value in values.items():
        if float(value.detach()) <= 0:
            raise ValueError(f"{name} must be positive, got {float(value.detach()):g}")


def symmetric(name: str, matrix: Tensor, *, size: int | None = None) -> Tensor:
    """Return a symmetric matrix in float64, rounding errors of its symmetry averaged away."""
    matrix = validation.tensor(name, widened(matrix), ndim=2, min_rows=1)
    d = matrix.shape[0] if size is None else size
    if tuple(matrix.shape) != (d, d):
        raise ValueError(f"{name} must have shape {(d, d)}, got {tuple(matrix.shape)}")
    skew = float((matrix - matrix.T).detach().abs().max())
    largest = float(matrix.detach().abs().max())
    if skew > rounding(matrix) * largest:
        raise ValueError(
            f"{name} must be symmetric, got entries that differ from their mirror image by "
            f"{skew:g} where the largest is {largest:g}"
        )
    matrix = matrix.double()
    return (matrix + matrix.T) / 2


def definite(name: str, matrix: Tensor, *, size: int | None = None) -> Tensor:
    """Return a symmetric positive definite matrix in float64.

    Units of the coordinates do not make a matrix singular, so the eigenvalues looked at are those
    of the correlation matrix.
    """
    checked = symmetric(name, matrix, size=size)
    variances = checked.detach().diagonal()
    if float(variances.min()) <= 0:
        raise ValueError(
            f"{name} must have positive variances, got {float(variances.min()):g} on its diagonal"
        )
    smallest = float(torch.linalg.eigvalsh(normalised(checked.detach()))[0])
    if smallest <= rounding(matrix):
        raise ValueError(
            f"{name} must be positive definite, got a matrix that is singular or indefinite at "
            f"the resolution of its dtype: smallest eigenvalue of its correlations {smallest:g}"
        )
    return checked


def semidefinite(name: str, matrix: Tensor, size: int) -> Tensor:
    """Return a symmetric matrix without negative eigenvalues, up to rounding, in float64."""
    checked = symmetric(name, matrix, size=size)
    values = torch.linalg.eigvalsh(checked.detach())
    if float(values[0]) < -rounding(matrix) * float(values.abs().max()):
        raise ValueError(
            f"{name} must not have negative eigenvalues, got a smallest of {float(values[0]):g}"
        )
    return checked


def correlation(name: str, matrix: Tensor) -> Tensor:
    """Return a positive definite matrix with unit diagonal in float64."""
    checked = definite(name, matrix)
    # A variance over the product of its own roots misses one by a few roundings.
    off = float((checked.detach().diagonal() - 1).abs().max())
    if off > 8 * torch.finfo(widened(matrix).dtype).eps:
        raise ValueError(f"{name} must have a unit diagonal, got an entry {off:g} away from 1")
    return checked


def normalised(matrix: Tensor) -> Tensor:
    """Return the correlation matrix of a covariance matrix."""
    scale = matrix.diagonal().rsqrt()
    return scale[:, None] * matrix * scale


def rounding(matrix: Tensor) -> float:
    """Return the relative error that a sum of d products leaves in the dtype of a matrix."""
    return matrix.shape[0] * torch.finfo(widened(matrix).dtype).eps


def log_det(matrix: Tensor) -> Tensor:
    """Return the log-determinant of a positive definite matrix."""
    factor: Tensor = torch.linalg.cholesky(matrix)
    return 2 * factor.diagonal().log().sum()
