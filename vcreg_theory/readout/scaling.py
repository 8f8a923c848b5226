"""Standardised features, and the rows held out to choose a penalty."""

from typing import NamedTuple

import torch
from torch import Tensor

from .. import seeding, validation

FOLDS = 5  # one row in five is held out


class Scaling(NamedTuple):
    """Shift and scale of each feature; the scale of a constant feature is zero."""

    mean: Tensor
    scale: Tensor

    def __call__(self, features: Tensor) -> Tensor:
        """Return standardised features in float64."""
        return (features.double() - self.mean).mul_(self.scale)


def standardise(features: Tensor) -> Scaling:
    """Return the scaling to mean zero and variance one (normalised by n) of these features.

    A feature counts as constant if its standard deviation is at most 8 spacings of its largest
    entry in the dtype that it came in: such a spread is rounding, and to scale it up makes noise.
    """
    exact = features.double()
    variance, mean = torch.var_mean(exact, 0, correction=0)
    floor = 8 * torch.finfo(features.dtype).eps * exact.abs().amax(0)
    deviation = variance.sqrt()
    return Scaling(mean, torch.where(deviation > floor, deviation, torch.inf).reciprocal())


def check_features(name: str, value: Tensor, *, columns: int | None = None) -> Tensor:
    """Return features of shape (n, d), in float32 at least, finite and with a column."""
    if isinstance(value, Tensor) and value.dtype in (torch.float16, torch.bfloat16):
        value = value.float()
    validation.tensor(name, value, ndim=2, min_rows=1)
    if value.shape[1] == 0 or columns not in (None, value.shape[1]):
        wanted = "at least 1 column" if columns is None else f"{columns} columns"
        raise ValueError(f"{name} must have {wanted}, got shape {tuple(value.shape)}")
    return value.detach()


def check_labels(name: str, value: Tensor, features: Tensor) -> Tensor:
    """Return integer labels, one a row of `features`, on their device."""
    if not isinstance(value, Tensor):
        raise TypeError(f"{name} must be a torch.Tensor, got {type(value).__name__}")
    if value.is_floating_point() or value.is_complex() or value.dtype == torch.bool:
        raise TypeError(f"{name} must hold integers, got {value.dtype}")
    if value.shape != features.shape[:1]:
        raise ValueError(
            f"{name} must have shape {tuple(features.shape[:1])}, one label a row of features, "
            f"got {tuple(value.shape)}"
        )
    return value.detach().to(features.device, torch.int64)


def held_out(groups: Tensor) -> Tensor:
    """Return which rows are held out: after a fixed shuffle, every fifth of each group.

    The shuffle makes the choice independent of the order of the data set; the groups (classes)
    keep their shares, and one of fewer than five rows is not held out from.
    """
    n = len(groups)
    shuffle = torch.randperm(n, generator=seeding.torch_generator(0, "readout split"))
    shuffle = shuffle.to(groups.device)
    order = shuffle[torch.argsort(groups[shuffle], stable=True)]
    sizes = torch.unique_consecutive(groups[order], return_counts=True)[1]
    starts = torch.repeat_interleave(sizes.cumsum(0) - sizes, sizes)
    place = torch.arange(n, device=groups.device) - starts
    mask = torch.zeros(n, dtype=torch.bool, device=groups.device)
    mask[order] = place % FOLDS == FOLDS - 1
    return mask
