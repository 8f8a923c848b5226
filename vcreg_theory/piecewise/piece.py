"""One affine piece of a network: a program whose patterns are frozen.

A piece is an affine map, so it can be pushed forward (tangents) and pulled back (cotangents) many
rows at a time: only the patterns of one input are kept, however many rows pass.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .program import Program
from .steps import Pattern, Step


@dataclass(frozen=True)
class Piece:
    """The affine map of one pattern: `shapes` are those of the values of a batch of one."""

    program: Program
    patterns: Sequence[Pattern]
    shapes: Sequence[torch.Size]
    offset: Tensor

    def push_forward(self, tangents: Tensor) -> Tensor:
        """Return the images of a batch of tangents of the input."""
        values = Live(self.program, tangents)
        for step, pattern in zip(self.program.steps, self.patterns, strict=True):
            values.append(step.linear(pattern, *values.read(step)))
        return values.output()

    def pull_back(self, cotangents: Tensor) -> Iterator[tuple[int, Tensor]]:
        """Carry cotangents of the output back, yielding each value's index and cotangents.

        Indices fall from the output to 0, the input.
        """
        steps = self.program.steps
        pending = {self.program.output: cotangents}
        for index in reversed(range(len(steps) + 1)):
            if index not in pending:  # a step that the output does not depend on
                continue
            g = pending.pop(index)
            yield index, g
            if index == 0:
                return
            step, pattern = steps[index - 1], self.patterns[index - 1]
            parts = step.adjoint(pattern, g, self.shapes[step.inputs[0]][1:])
            del g
            for value, part in zip(step.inputs, parts, strict=True):
                # A sum may have stretched one of its two values.
                part = part.sum_to_size(part.shape[0], *self.shapes[value][1:])
                pending[value] = pending[value] + part if value in pending else part
            del parts, part


class Live:
    """The values of a running program, each dropped once its last reader is done."""

    def __init__(self, program: Program, x: Tensor):
        self._program = program
        self._readers = Counter(v for step in program.steps for v in step.inputs)
        self._readers[program.output] += 1
        self._values = {0: x}
        self._count = 1

    def read(self, step: Step) -> list[Tensor]:
        """Return what `step` reads."""
        values = [self._values[i] for i in step.inputs]
        for i in step.inputs:
            self._release(i)
        return values

    def append(self, value: Tensor) -> None:
        """Add the output of the next step."""
        self._values[self._count] = value
        self._count += 1

    def output(self) -> Tensor:
        """Return the program's output."""
        return self._values[self._program.output]

    def _release(self, index: int) -> None:
        self._readers[index] -= 1
        if self._readers[index] == 0:
            del self._values[index]


def piece_at(program: Program, x: Tensor) -> Piece:
    """Return the piece that acts at `x`, a batch of one."""
    patterns = [p if p is None else _dense(p) for p in program.patterns(x)]
    values = [torch.zeros_like(x)]
    for step, pattern in zip(program.steps, patterns, strict=True):
        values.append(step.affine(pattern, *program.reads(step, values)))
    return Piece(program, patterns, [v.shape for v in values], values[program.output])


def _dense(pattern: Tensor) -> Tensor:
    """Return a mask in the layout that convolutions give to what it will be applied to."""
    if pattern.ndim == 4:
        return pattern.contiguous(memory_format=torch.channels_last)
    return pattern
