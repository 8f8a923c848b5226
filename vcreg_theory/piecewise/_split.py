"""Split convex polygons by the kinks of one step, all polygons of a round at once.

Polygons are index lists into a table that holds, for every vertex, its place on the slice and every
network value that is still needed. The network is affine inside a polygon, so the row of a new
vertex is interpolated from the ends of the edge it lies on and never needs a forward pass.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch

RTOL = 1e-12  # a vertex closer to a kink than this (relative to the largest value) lies on it

ROUNDING = 1e-13  # points closer than this (relative to the farthest) are one vertex


@dataclass
class Cells:
    """Convex polygons: cell `i` has the vertices ``index[offsets[i]:offsets[i + 1]]``."""

    index: np.ndarray
    offsets: np.ndarray
    codes: np.ndarray

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def sizes(self) -> np.ndarray:
        return np.diff(self.offsets)

    def select(self, mask: np.ndarray) -> "Cells":
        sizes = self.sizes()
        index = self.index[np.repeat(mask, sizes)]
        return Cells(index, offsets_of(sizes[mask]), self.codes[mask])

    def slice(self, start: int, stop: int) -> "Cells":
        first, last = self.offsets[start], self.offsets[stop]
        return Cells(
            self.index[first:last],
            self.offsets[start : stop + 1] - first,
            self.codes[start:stop],
        )


def offsets_of(sizes: np.ndarray) -> np.ndarray:
    """Return the CSR offsets of lists with the given sizes."""
    return np.concatenate([[0], np.cumsum(sizes)])


class VertexTable:
    """Named columns (rows, width) that share their rows and grow together."""

    def __init__(self, columns: dict[int, np.ndarray]):
        self.size = len(next(iter(columns.values())))
        self._columns = dict(columns)

    def __getitem__(self, key: int) -> np.ndarray:
        return self._columns[key][: self.size]

    def interpolate(self, a: np.ndarray, b: np.ndarray, weight: np.ndarray) -> None:
        """Append the rows ``(1 - weight) row[a] + weight row[b]``."""
        start, self.size = self.size, self.size + len(a)
        share = torch.from_numpy(weight)[:, None]
        for key, column in self._columns.items():
            if len(column) < self.size:
                self._columns[key] = column = grown(column, start, self.size)
            new = column[start : self.size]
            np.take(column, a, 0, out=new, mode="clip")
            begin, end = torch.from_numpy(new), torch.from_numpy(column.take(b, 0))
            torch.lerp(begin, end, share, out=begin)  # in place: `begin` is `new`

    def restrict(self, cells: Cells, points: int) -> tuple[dict[int, np.ndarray], Cells]:
        """Return the columns with the rows that `cells` refer to, and the cells that refer to them.

        An edge is cut once from either side, so most vertices arrive twice. Rows whose points (the
        column `points`) are the same up to rounding are joined.
        """
        used = np.zeros(self.size, bool)
        used[cells.index] = True
        rows = np.flatnonzero(used)
        first, same = _distinct(self._columns[points].take(rows, 0))
        place = np.empty(self.size, np.int64)
        place[rows] = same
        columns = {key: column.take(rows[first], 0) for key, column in self._columns.items()}
        return columns, Cells(place[cells.index], cells.offsets, cells.codes)


def grown(array: np.ndarray, used: int, needed: int) -> np.ndarray:
    """Return a longer array with the same first `used` rows."""
    longer = np.empty((max(needed, int(1.6 * len(array))), *array.shape[1:]), array.dtype)
    longer[:used] = array[:used]
    return longer


class Criterion(Protocol):
    """What decides where the cells of a step end."""

    tolerance: float

    def extend(self, values: np.ndarray) -> None:
        """Take note of the rows of `values` that are new."""

    def decide(self, cells: Cells) -> tuple[np.ndarray, np.ndarray]:
        """Return the step's code for every cell, and what to split it by (-1: nothing)."""

    def gaps(self, values: np.ndarray, cells: Cells, choice: np.ndarray) -> np.ndarray:
        """Return, for each corner of each cell, the affine function whose zero splits the cell."""


class SignCriterion:
    """Rectifiers: a cell is split by every unit that takes both signs at its vertices."""

    def __init__(self, values: np.ndarray):
        self.units = values.shape[1]
        self.tolerance = RTOL * _largest(values)
        self.words = -(-self.units // 64)
        self._rows = 0
        self._bits = np.empty((0, 2 * self.words), np.uint64)
        self.extend(values)

    def extend(self, values: np.ndarray) -> None:
        start, self._rows = self._rows, len(values)
        if len(self._bits) < self._rows:
            self._bits = grown(self._bits, start, self._rows)
        new = self._bits[start : self._rows].view(np.uint8)
        new[:] = 0
        width = -(-self.units // 8)
        new[:, :width] = np.packbits(values[start:] > self.tolerance, 1, "little")
        middle = 8 * self.words
        new[:, middle : middle + width] = np.packbits(values[start:] < -self.tolerance, 1, "little")

    def decide(self, cells: Cells) -> tuple[np.ndarray, np.ndarray]:
        bits = np.bitwise_or.reduceat(self._bits[cells.index], cells.offsets[:-1], axis=0)
        positive, negative = bits[:, : self.words], bits[:, self.words :]
        choice = _lowest_bit(positive & negative)
        code = np.ascontiguousarray(positive).view(np.uint8)[:, : -(-self.units // 8)]
        return code, choice

    def gaps(self, values: np.ndarray, cells: Cells, choice: np.ndarray) -> np.ndarray:
        gaps: np.ndarray = values[cells.index, np.repeat(choice, cells.sizes())]
        return gaps


class WinnerCriterion:
    """Max-pooling: a cell is split until one entry of each window wins at all its vertices.

    A cut always separates the winner at the cell's centre from a stronger entry elsewhere in the
    cell, so comparisons between entries that win nowhere in the cell cost nothing.
    """

    def __init__(self, values: np.ndarray, windows: np.ndarray):
        if windows.shape[1] > 64:
            raise ValueError(
                f"max-pooling windows may have at most 64 entries, got {windows.shape[1]}"
            )
        self.windows, self.outside = np.maximum(windows, 0), windows < 0
        self.tolerance = RTOL * _largest(values)
        self._dtype = np.dtype(f"u{max(1, 1 << ((windows.shape[1] - 1) // 8).bit_length())}")
        self._winners = np.empty((0, len(windows)), self._dtype)
        self.extend(values)

    def extend(self, values: np.ndarray) -> None:
        entries = values[len(self._winners) :][:, self.windows]
        entries[:, self.outside] = -np.inf
        wins = entries >= entries.max(-1, keepdims=True) - self.tolerance
        packed = np.zeros((*wins.shape[:2], self._dtype.itemsize), np.uint8)
        packed[..., : -(-wins.shape[2] // 8)] = np.packbits(wins, -1, "little")
        self._winners = np.concatenate([self._winners, packed.view(self._dtype)[..., 0]])

    def decide(self, cells: Cells) -> tuple[np.ndarray, np.ndarray]:
        common = np.bitwise_and.reduceat(self._winners[cells.index], cells.offsets[:-1], axis=0)
        undecided = common == 0
        choice = np.where(undecided.any(1), undecided.argmax(1), -1)
        lowest = common & (~common + self._dtype.type(1))
        return np.bitwise_count(lowest - self._dtype.type(1)).astype(np.uint8), choice

    def gaps(self, values: np.ndarray, cells: Cells, choice: np.ndarray) -> np.ndarray:
        sizes, starts = cells.sizes(), cells.offsets[:-1]
        window = np.repeat(choice, sizes)
        entries = values[cells.index[:, None], self.windows[window]]
        entries[self.outside[window]] = -np.inf
        winner = np.add.reduceat(entries / np.repeat(sizes, sizes)[:, None], starts).argmax(1)
        ahead = entries - np.take_along_axis(entries, np.repeat(winner, sizes)[:, None], 1)
        most = np.maximum.reduceat(ahead, starts)
        crossing = (most > self.tolerance) & (np.minimum.reduceat(ahead, starts) < -self.tolerance)
        rival = np.where(crossing, most, -np.inf).argmax(1)
        gap = np.take_along_axis(ahead, np.repeat(rival, sizes)[:, None], 1)[:, 0]
        settled = np.repeat(~crossing.any(1), sizes)
        if settled.any():  # ahead by a few tolerances at some vertex, behind by none: a tie
            rows, bit = cells.index[settled], np.repeat(winner, sizes)[settled]
            self._winners[rows, window[settled]] |= self._dtype.type(1) << bit.astype(self._dtype)
            gap[settled] = np.inf
        return gap


def split(
    table: VertexTable,
    key: int,
    cells: Cells,
    criterion: Criterion,
    max_rows: int,
    max_cells: int | None,
) -> tuple[list[Cells], Cells]:
    """Split cells until the step is affine on each.

    Returns the finished cells and those left over when the table outgrew `max_rows`.
    """
    finished, count = [], 0
    while True:
        code, choice = criterion.decide(cells)
        todo = choice >= 0
        if not todo.all():
            part = cells.select(~todo)
            part.codes = np.concatenate([part.codes, code[~todo]], 1)
            finished.append(part)
            count += len(part)
            cells = cells.select(todo)
        if not len(cells) or table.size > max_rows:
            return finished, cells
        if max_cells is not None and count + len(cells) > max_cells:
            return finished, cells
        gap = criterion.gaps(table[key], cells, choice[todo])
        cells = _cut(table, cells, gap, criterion.tolerance)
        criterion.extend(table[key])


def _cut(table: VertexTable, cells: Cells, gap: np.ndarray, tolerance: float) -> Cells:
    """Cut every cell along the zero of its gap function."""
    above, below = gap > tolerance, gap < -tolerance
    following = np.arange(1, len(gap) + 1)
    following[cells.offsets[1:] - 1] = cells.offsets[:-1]
    crossed = np.flatnonzero((above & below[following]) | (below & above[following]))
    a, b = crossed, following[crossed]
    new = table.size + np.arange(len(crossed))
    table.interpolate(cells.index[a], cells.index[b], gap[a] / (gap[a] - gap[b]))
    sides = [_side(cells, keep, crossed, new) for keep in (~below, ~above)]
    sizes = np.concatenate([size for _, size in sides])
    codes = np.concatenate([cells.codes, cells.codes])[sizes > 0]
    return Cells(np.concatenate([i for i, _ in sides]), offsets_of(sizes[sizes > 0]), codes)


def _side(
    cells: Cells, keep: np.ndarray, crossed: np.ndarray, new: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return index list and sizes of the half-cells whose old corners are `keep`."""
    # A corner contributes itself if kept, then the new vertex on the edge that follows it.
    count = keep.astype(np.int64)
    count[crossed] += 1
    end = np.cumsum(count)
    index = np.empty(end[-1], np.int64)
    index[(end - count)[keep]] = cells.index[keep]
    index[end[crossed] - 1] = new
    return index, np.add.reduceat(count, cells.offsets[:-1])


def _distinct(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows of distinct points, and for each point which of those it is."""
    step = ROUNDING * np.abs(points).max()
    grid = np.rint(points / step).astype(np.int64)
    # One odd multiplier turns the pair into a single word; equal words of different points are
    # possible in principle, so the points are compared before any row is dropped.
    _, first, same = np.unique(
        grid[:, 0] * 0x9E3779B97F4A7C1 + grid[:, 1], return_index=True, return_inverse=True
    )
    if np.abs(points[first][same] - points).max() > 2 * step:
        return np.arange(len(points)), np.arange(len(points))
    return first, same


def _largest(values: np.ndarray) -> float:
    largest: float = max(values.max(), -values.min(), np.finfo(float).tiny)
    return largest


def _lowest_bit(words: np.ndarray) -> np.ndarray:
    """Return the index of the lowest set bit of each row of words; -1 for an empty row."""
    found = np.full(len(words), -1)
    for w in range(words.shape[1] - 1, -1, -1):
        column = words[:, w]
        rows = np.flatnonzero(column)
        low = column[rows]
        low &= ~low + np.uint64(1)
        # bitwise_count returns uint8, too small for the sum
        found[rows] = 64 * w + np.bitwise_count(low - np.uint64(1)).astype(np.int64)
    return found
