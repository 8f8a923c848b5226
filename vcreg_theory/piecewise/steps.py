"""The steps a piecewise-affine network is made of.

A step maps the values it reads to one new value. Once its *pattern* is fixed (which units are on,
which entry wins each pooling window) it is affine, so each kind of step offers four views of
itself: the forward map, the pattern at an input, the affine map of a fixed pattern, and the linear
part of that map together with its adjoint.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Pattern = Tensor | None


@dataclass(frozen=True)
class Step:
    """One step: `name` is the layer's name in the model, `inputs` the values it reads.

    `branches` tells the kinds of step that have several pieces, and so a pattern.
    """

    branches: ClassVar[bool] = False

    name: str
    inputs: tuple[int, ...]

    def pattern(self, *values: Tensor) -> Pattern:
        """Return what decides which affine map acts at `values`; None if there is only one."""
        return None

    def forward(self, *values: Tensor) -> Tensor:
        """Return the step's output."""
        return self.affine(self.pattern(*values), *values)

    def affine(self, pattern: Pattern, *values: Tensor) -> Tensor:
        """Return the output of the affine map that `pattern` selects, offset included."""
        return self.linear(pattern, *values)

    def linear(self, pattern: Pattern, *values: Tensor) -> Tensor:
        """Return the linear part of that map."""
        raise NotImplementedError

    def adjoint(self, pattern: Pattern, g: Tensor, shape: torch.Size) -> tuple[Tensor, ...]:
        """Return the cotangents of the inputs (each of trailing shape `shape`) given `g`."""
        raise NotImplementedError

    def margins(self, pattern: Pattern, *values: Tensor) -> Tensor | None:
        """Return linear forms of `values`, one a column, that are >= 0 where `pattern` acts.

        A unit leaves its piece when its margin turns negative. None if there is only one piece.
        """
        return None


@dataclass(frozen=True)
class Affine(Step):
    """A layer that is affine everywhere, such as a convolution or BatchNorm in evaluation mode."""

    apply: Callable[[Tensor], Tensor]
    apply_linear: Callable[[Tensor], Tensor]
    transpose: Callable[[Tensor, torch.Size], Tensor] | None = None
    source: nn.Module | None = None

    def affine(self, pattern: Pattern, *values: Tensor) -> Tensor:
        return self.apply(values[0])

    def linear(self, pattern: Pattern, *values: Tensor) -> Tensor:
        return self.apply_linear(values[0])

    def adjoint(self, pattern: Pattern, g: Tensor, shape: torch.Size) -> tuple[Tensor, ...]:
        if self.transpose is not None:
            return (self.transpose(g, shape),)
        # The transpose of a linear map is its reverse-mode derivative, at any point.
        zero = g.new_zeros((g.shape[0], *shape))
        return (torch.func.vjp(self.apply_linear, zero)[1](g)[0],)


@dataclass(frozen=True)
class Rectifier(Step):
    """ReLU (`slope` 0) or leaky ReLU; the pattern holds True where the unit is on."""

    branches: ClassVar[bool] = True

    slope: float = 0.0

    def pattern(self, *values: Tensor) -> Tensor:
        return values[0] > 0

    def linear(self, pattern: Pattern, *values: Tensor) -> Tensor:
        assert pattern is not None
        # Twenty times as fast as torch.where once one mask serves a batch of rows.
        return values[0] * (pattern if self.slope == 0.0 else self._choose(pattern, values[0]))

    def adjoint(self, pattern: Pattern, g: Tensor, shape: torch.Size) -> tuple[Tensor, ...]:
        return (self.linear(pattern, g),)

    def margins(self, pattern: Pattern, *values: Tensor) -> Tensor:
        assert pattern is not None
        return (values[0] * (pattern.to(values[0].dtype) * 2 - 1)).flatten(1)

    def _choose(self, pattern: Tensor, like: Tensor) -> Tensor:
        return torch.where(pattern, like.new_ones(()), like.new_full((), self.slope))


@dataclass(frozen=True)
class MaxPool(Step):
    """Two-dimensional max-pooling; the pattern holds each window's winner, as an input index."""

    branches: ClassVar[bool] = True

    options: dict[str, Any] = field(default_factory=dict)

    def pattern(self, *values: Tensor) -> Tensor:
        return F.max_pool2d(values[0], return_indices=True, **self.options)[1]

    def linear(self, pattern: Pattern, *values: Tensor) -> Tensor:
        assert pattern is not None
        flat = values[0].flatten(-2)
        winners = pattern.flatten(-2).expand(*flat.shape[:-1], -1)
        found: Tensor = flat.gather(-1, winners).unflatten(-1, pattern.shape[-2:])
        return found

    def adjoint(self, pattern: Pattern, g: Tensor, shape: torch.Size) -> tuple[Tensor, ...]:
        assert pattern is not None
        out = g.new_zeros((*g.shape[:-2], shape[-2] * shape[-1]))
        winners = pattern.flatten(-2).expand(*g.shape[:-2], -1)
        # Overlapping windows may share a winner, hence the addition.
        return (out.scatter_add_(-1, winners, g.flatten(-2)).unflatten(-1, shape[-2:]),)

    def margins(self, pattern: Pattern, *values: Tensor) -> Tensor:
        # Winner minus entry, window by window; the winner's own column and places outside the
        # image are constant zeros, which no direction can turn negative.
        windows = self.windows(values[0].shape[1:]).to(values[0].device)
        entries = values[0].flatten(1)[:, windows.clamp(min=0)]
        gaps = self.linear(pattern, *values).flatten(1).unsqueeze(-1) - entries
        return gaps.masked_fill_(windows < 0, 0.0).flatten(1)

    def places(self, pattern: Tensor, shape: torch.Size) -> Tensor:
        """Return each winner's place in its window, for inputs of trailing shape ``(C, H, W)``."""
        windows = self.windows(shape).to(pattern.device)
        plane = shape[-2] * shape[-1]
        channel = torch.arange(shape[0], device=pattern.device).reshape(-1, 1, 1)
        winners = (pattern + plane * channel).flatten(1).unsqueeze(-1)
        return (windows == winners).int().argmax(-1)

    def windows(self, shape: torch.Size) -> Tensor:
        """Return the window table for inputs of trailing shape ``(C, H, W)``.

        Row `o` lists the flat input indices that compete for flat output `o`; places outside the
        image hold -1.
        """
        index = torch.arange(1, shape.numel() + 1, dtype=torch.float64).reshape(1, *shape)
        kernel, stride, padding, dilation = (
            _pair(self.options.get(key, default))
            for key, default in (
                ("kernel_size", None),
                ("stride", None),
                ("padding", 0),
                ("dilation", 1),
            )
        )
        columns = F.unfold(index, kernel, dilation, padding, stride or kernel)
        columns = columns.reshape(shape[0], kernel[0] * kernel[1], -1).transpose(1, 2)
        return columns.reshape(-1, kernel[0] * kernel[1]).long() - 1


@dataclass(frozen=True)
class Sum(Step):
    """A signed sum of two values: a residual connection."""

    signs: tuple[float, float] = (1.0, 1.0)

    def linear(self, pattern: Pattern, *values: Tensor) -> Tensor:
        a, b = values
        return torch.add(a, b, alpha=self.signs[1]) if self.signs[0] == 1 else b - a

    def adjoint(self, pattern: Pattern, g: Tensor, shape: torch.Size) -> tuple[Tensor, ...]:
        return tuple(g if sign == 1 else -g for sign in self.signs)


def _pair(value: Any) -> Any:
    return (value, value) if isinstance(value, int) else value
