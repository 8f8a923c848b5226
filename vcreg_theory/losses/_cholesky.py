"""Cholesky factors of covariances, in double precision and without waiting for a GPU."""

import torch
from torch import Tensor


def factor(matrix: Tensor, remedy: str) -> Tensor:
    """Return the lower Cholesky factor of a symmetric matrix in float64.

    Rounding in float32 makes a covariance of condition number above 1e7 indefinite, hence the
    precision. A matrix that is singular up to rounding raises ``ValueError`` with the remedy on the
    CPU. On a GPU it gives NaN, which the loss then shows, because an error would have to be waited
    for. A matrix that is not finite gives NaN everywhere.
    """
    lower, failed = torch.linalg.cholesky_ex(matrix)
    rounding = len(matrix) * torch.finfo(matrix.dtype).eps * matrix.diagonal()
    regular = (failed == 0) & (lower.diagonal().square() > rounding).all()
    if matrix.is_cpu and not bool(regular) and bool(torch.isfinite(matrix.detach()).all()):
        raise ValueError(f"the covariance of a batch is singular to working precision: {remedy}")
    return torch.where(regular, lower, torch.nan)


def log_det(matrix: Tensor, remedy: str) -> Tensor:
    """Return the log-determinant of a positive definite matrix, in float64."""
    return 2 * factor(matrix, remedy).diagonal().log().sum()
