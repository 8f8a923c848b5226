"""A network restricted to an affine slice of input space, and its patterns packed into codes.

The slice is ``x = origin + sum_i s_i basis_i``. Everything runs in float64 on the CPU, whatever the
dtype of the model: the place of a boundary is a ratio of differences, and single precision would
lose the small cells.
"""

import copy
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .inputs import batch
from .layers import LAYERS
from .program import Program, lower
from .steps import Affine, MaxPool, Pattern, Rectifier, Step

POINTS = -1  # column of slice coordinates, beside the values 0, 1, ... of the program


@dataclass(frozen=True)
class Field:
    """Bytes ``start:stop`` of a code: the pattern of step `step`."""

    step: int
    start: int
    stop: int


class Slice:
    """A program in float64 together with the slice it is looked at on."""

    def __init__(
        self, model: nn.Module | Program, origin: Tensor, basis: Tensor, name: str = "origin"
    ):
        self.program = _in_float64(lower(model))
        self.origin = batch(self.program, name, origin.detach().double().cpu()[None])
        self.basis = basis.detach().double().cpu()
        values = self.program.values(self.origin)
        self.shapes = [value.shape[1:] for value in values]
        self.last_use = self._last_use()
        self.fields = list(self._fields())

    def points(self, coordinates: np.ndarray) -> Tensor:
        """Return the inputs with slice coordinates `coordinates` (n, k)."""
        s = torch.from_numpy(np.ascontiguousarray(coordinates))
        offsets: Tensor = torch.tensordot(s, self.basis, 1)
        return self.origin + offsets

    def forward(self, step: int, columns: dict[int, np.ndarray]) -> dict[int, np.ndarray]:
        """Apply one step to flattened values; drop those that no later step reads."""
        operation = self.program.steps[step]
        kept = {i: column for i, column in columns.items() if self.last_use[i] > step}
        reads = [self._unflatten(i, columns[i]) for i in operation.inputs]
        if not isinstance(operation, Rectifier):
            out = operation.forward(*reads)
        else:  # the same values as its `forward`, in one pass
            in_place = operation.inputs[0] not in kept
            out = F.leaky_relu(reads[0], operation.slope, inplace=in_place)
        kept[step + 1] = out.flatten(1).numpy()
        return kept

    def start(self, coordinates: np.ndarray) -> dict[int, np.ndarray]:
        """Return the columns before the first step: the points and the inputs there."""
        return {POINTS: coordinates, 0: self.points(coordinates).flatten(1).numpy()}

    def advance(
        self, step: int, columns: dict[int, np.ndarray]
    ) -> tuple[int | None, dict[int, np.ndarray]]:
        """Run from `step` to the next step that has a pattern; None if there is none."""
        stop = next((field.step for field in self.fields if field.step >= step), None)
        for i in range(step, stop or step):
            if i + 1 in self.last_use:
                columns = self.forward(i, columns)
        return stop, columns

    def windows(self, step: int) -> np.ndarray:
        """Return the window table of a pooling step."""
        operation = self.program.steps[step]
        assert isinstance(operation, MaxPool)
        return operation.windows(self.shapes[operation.inputs[0]]).numpy()

    def patterns(self, codes: np.ndarray) -> dict[int, Pattern]:
        """Unpack codes (n, bytes) into the pattern of every step that has one.

        A code holds, step after step, one bit a rectifier unit (padded to bytes) and one byte a
        pooling window: the place of its winner.
        """
        return {field.step: self._decode(field, codes) for field in self.fields}

    def maps(self, codes: np.ndarray, chunk: int = 4096) -> tuple[Tensor, Tensor]:
        """Return the affine map of every code: coefficients (n, d, k) and offsets (n, d).

        The patterns are fixed and the origin (with offsets) and the basis (without) are sent
        through, so nothing is solved from vertices and tiny cells are as accurate as large ones.
        """
        width = max(shape.numel() for shape in self.shapes)
        chunk = max(1, min(chunk, 2**21 // width))
        parts = [self._coefficients(codes[i : i + chunk]) for i in range(0, len(codes), chunk)]
        offset, *columns = (torch.cat(part) for part in zip(*parts, strict=True))
        return torch.stack(columns, -1), offset

    def _coefficients(self, codes: np.ndarray) -> list[Tensor]:
        patterns, n = self.patterns(codes), len(codes)
        values = [[v.expand(n, *v.shape[1:]) for v in (self.origin, *self.basis[:, None])]]
        for i, step in enumerate(self.program.steps):
            if i + 1 not in self.last_use:
                values.append([])
                continue
            pattern = patterns.get(i)
            offsets, *rest = zip(*(values[j] for j in step.inputs), strict=True)
            new = [step.affine(pattern, *offsets)]
            values.append(new + [step.linear(pattern, *reads) for reads in rest])
            for j in step.inputs:
                if self.last_use[j] <= i:
                    values[j] = []
        return [value.flatten(1) for value in values[self.program.output]]

    def _last_use(self) -> dict[int, int]:
        """Map each value the output depends on to the last step that reads it."""
        steps = self.program.steps
        uses = dict.fromkeys((self.program.output, POINTS), len(steps))
        for i in range(len(steps) - 1, -1, -1):
            if i + 1 in uses:
                for j in steps[i].inputs:
                    uses.setdefault(j, i)
        return uses

    def _fields(self) -> Iterator[Field]:
        start = 0
        for i, step in enumerate(self.program.steps):
            if i + 1 not in self.last_use or not isinstance(step, Rectifier | MaxPool):
                continue
            units = self.shapes[i + 1].numel()
            stop = start + (units if isinstance(step, MaxPool) else -(-units // 8))
            yield Field(i, start, stop)
            start = stop

    def _decode(self, field: Field, codes: np.ndarray) -> Tensor:
        part, shape = codes[:, field.start : field.stop], self.shapes[field.step + 1]
        if isinstance(self.program.steps[field.step], Rectifier):
            bits = np.unpackbits(part, axis=1, count=shape.numel(), bitorder="little")
            return torch.from_numpy(bits.view(bool)).reshape(-1, *shape)
        places = self.windows(field.step)[np.arange(shape.numel()), part]
        plane = self.shapes[self.program.steps[field.step].inputs[0]][1:].numel()
        return torch.from_numpy(places % plane).reshape(-1, *shape)

    def _unflatten(self, value: int, column: np.ndarray) -> Tensor:
        return torch.from_numpy(column).reshape(-1, *self.shapes[value])


def _in_float64(program: Program) -> Program:
    """Return the program with every layer rebuilt from a float64 copy on the CPU."""
    return Program(tuple(_step_in_float64(step) for step in program.steps), program.output)


def _step_in_float64(step: Step) -> Step:
    if not isinstance(step, Affine) or step.source is None:
        return step  # constants of such steps follow the dtype of what they meet
    layer = copy.deepcopy(step.source).double().cpu()
    build = next(build for kinds, build in LAYERS if isinstance(layer, kinds))
    rebuilt = build(step.name, step.inputs, layer)
    assert rebuilt is not None  # only layers without a step have none
    return rebuilt
