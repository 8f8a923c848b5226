"""Checks of a network's inputs, and the arithmetic under which its pieces are computed."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from .. import validation
from .program import Program
from .steps import Affine, MaxPool

_SPATIAL = (
    ((nn.Conv1d, nn.AvgPool1d, nn.AdaptiveAvgPool1d), 3),
    ((nn.Conv2d, nn.BatchNorm2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d), 4),
    ((nn.Conv3d, nn.BatchNorm3d), 5),
)


@contextmanager
def exact_arithmetic(x: Tensor) -> Iterator[None]:
    """Record no gradients and leave autocast's half precision switched off."""
    with torch.no_grad(), torch.autocast(x.device.type, enabled=False):
        yield


def batch(program: Program, name: str, x: Tensor) -> Tensor:
    """Return `x` if it is a finite batch of inputs that the network accepts."""
    validation.tensor(name, x, min_rows=1)
    wanted = input_ndim(program)
    if x.ndim < 2 or (wanted is not None and x.ndim != wanted):
        shape = f"{wanted} dimensions" if wanted else "at least 2 dimensions"
        raise ValueError(f"{name} must be a batch with {shape}, got shape {tuple(x.shape)}")
    x = x.detach()
    with exact_arithmetic(x):
        try:
            rows = program(x[:1]).shape[0]
        except (RuntimeError, ValueError, IndexError) as error:
            raise ValueError(
                f"{name} of shape {tuple(x.shape)} and {x.dtype} is not an input of this network, "
                f"which said: {error}"
            ) from error
    if rows != 1:
        raise ValueError(
            f"{name} of shape {tuple(x.shape)} does not keep its first dimension as the batch: "
            f"one input gave {rows} outputs"
        )
    return x


def single(program: Program, name: str, x: Tensor) -> Tensor:
    """Return one input as a batch of one; `x` may come with or without the batch dimension."""
    validation.tensor(name, x, min_rows=1)
    wanted = input_ndim(program) or (2 if x.ndim == 1 else x.ndim)
    if x.ndim == wanted - 1:
        x = x.unsqueeze(0)
    if x.shape[0] != 1:
        raise ValueError(f"{name} must be one input, got a batch of shape {tuple(x.shape)}")
    return batch(program, name, x)


def input_ndim(program: Program) -> int | None:
    """Return the dimensions of a batch of inputs if the network's first layers fix them."""
    same = {0}  # values that have as many dimensions as the input
    for index, step in enumerate(program.steps):
        if not same.intersection(step.inputs):
            continue
        if isinstance(step, MaxPool):
            return 4
        source = step.source if isinstance(step, Affine) else None
        for kinds, ndim in _SPATIAL:
            if isinstance(source, kinds):
                return ndim
        if not isinstance(source, nn.Flatten):
            same.add(index + 1)
    return None
