"""Checks of features, labels and class probabilities; the work is done in float64."""

import torch
from torch import Tensor

from .. import validation


def features(name: str, value: object, *, columns: int | None = None) -> Tensor:
    """Return a matrix in float32 at least, finite, with a row and the wanted columns."""
    if isinstance(value, Tensor) and value.dtype in (torch.float16, torch.bfloat16):
        value = value.float()
    value = validation.tensor(name, value, ndim=2, min_rows=1)
    if value.shape[1] == 0 or columns not in (None, value.shape[1]):
        wanted = "at least 1 column" if columns is None else f"{columns} columns"
        raise ValueError(f"{name} must have {wanted}, got shape {tuple(value.shape)}")
    return value


def classes(name: str, value: object, rows: int, n_classes: int | None = None) -> Tensor:
    """Return classes 0, 1, ..., one a row, as int64."""
    if not isinstance(value, Tensor):
        raise TypeError(f"{name} must be a torch.Tensor, got {type(value).__name__}")
    if value.is_floating_point() or value.is_complex() or value.dtype == torch.bool:
        raise TypeError(f"{name} must hold integers, got {value.dtype}")
    if value.shape != (rows,):
        raise ValueError(
            f"{name} must have shape {(rows,)}, one class a row, got {tuple(value.shape)}"
        )
    if rows == 0:
        raise ValueError(f"{name} must have at least 1 row, got none")
    low, high = (int(end) for end in value.aminmax())
    if low < 0 or (n_classes is not None and high >= n_classes):
        wanted = "not be negative" if n_classes is None else f"lie in 0 to {n_classes - 1}"
        raise ValueError(f"{name} must {wanted}, got {low} to {high}")
    return value.to(torch.int64)


def targets(name: str, value: object, rows: int) -> Tensor:
    """Return label vectors of norm at most one, one a row."""
    value = features(name, value)
    if len(value) != rows:
        raise ValueError(f"{name} must have {rows} rows, got shape {tuple(value.shape)}")
    return value


def distribution(name: str, value: object) -> Tensor:
    """Return probabilities of classes in float64."""
    value = validation.tensor(name, value, ndim=1, min_rows=1)
    low, total = float(value.min()), float(value.double().sum())
    # A sum of K rounded numbers is off by K spacings at most.
    if low < 0 or abs(total - 1) > len(value) * torch.finfo(value.dtype).eps:
        raise ValueError(
            f"{name} must be probabilities with sum 1, got minimum {low:g} and sum {total:.8g}"
        )
    return value.detach().double()


def radius(value: object, **seen: Tensor) -> float:
    """Return the bound on the norm of features, if the features seen obey it."""
    value = validation.positive("radius", value)
    for name, part in seen.items():
        largest = float(part.detach().double().norm(dim=1).max())
        # Norms computed in the features' own precision are off by a few spacings.
        if largest > value * (1 + 8 * torch.finfo(part.dtype).eps):
            raise ValueError(
                f"radius must be at least the norm of every feature, got {value:g}, "
                f"but {name} has a row of norm {largest:g}"
            )
    return value


def nonnegative(name: str, value: object) -> Tensor:
    """Return a number or a tensor of one entry as float64, finite and not negative."""
    if isinstance(value, Tensor):
        validation.tensor(name, value, ndim=0)
        validation.nonnegative(name, float(value))
        return value.double()
    return torch.tensor(validation.nonnegative(name, value), dtype=torch.float64)
