"""Exact pieces of a piecewise-affine network along a segment of input space."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from .. import validation
from ._slice import POINTS, Slice
from .program import Program
from .steps import MaxPool

CHUNK_BYTES = 64 * 2**20
SHORT = 1e-14  # pieces shorter than this share of the segment are rounding, and are dropped


@dataclass(frozen=True)
class Regions1D:
    """Pieces of ``t -> f((1 - t) x0 + t x1)`` on [0, 1]: ``f = offset + slope t`` on each.

    Attributes
    ----------
    breakpoints : Tensor, shape (R + 1,)
        Increasing, from 0 to 1.
    offset : Tensor, shape (R, d)
    slope : Tensor, shape (R, d)
        Taken from the piece's own pattern, so that short pieces are as accurate as long ones.
    """

    breakpoints: Tensor
    offset: Tensor
    slope: Tensor

    def __len__(self) -> int:
        return len(self.slope)

    def merge(self, rtol: float = 1e-10) -> "Regions1D":
        """Join neighbours that share one affine map (within `rtol` of the largest entry).

        A cell of constant pattern need not be a maximal affine piece: pooling may change its
        winner, and units may be switched, where nothing downstream notices.
        """
        validation.nonnegative("rtol", rtol)
        entries = torch.stack([self.offset, self.slope])
        change = entries.diff(dim=1).abs().amax(-1)
        scale = entries.abs().amax((1, 2))
        first = torch.cat([torch.tensor([True]), (change > rtol * scale[:, None]).any(0)])
        breaks = torch.cat([self.breakpoints[:-1][first], self.breakpoints[-1:]])
        return Regions1D(breaks, self.offset[first], self.slope[first])


def enumerate_regions_1d(
    model: nn.Module | Program, x0: Tensor, x1: Tensor, *, max_regions: int | None = None
) -> Regions1D:
    r"""Enumerate every cell of a network along a segment, with its affine map.

    .. math:: f\bigl((1 - t)\,x_0 + t\,x_1\bigr) = b_r + a_r t
              \quad\text{for } t_r \le t \le t_{r+1}

    Parameters
    ----------
    model : nn.Module or Program
        A piecewise-affine network, see `lower`.
    x0, x1 : Tensor, shape of one input
        Ends of the segment.
    max_regions : int, optional
        Give up, with an error, once there are more pieces than this.

    Returns
    -------
    Regions1D
        In float64, whatever the dtype of the model.

    Raises
    ------
    TypeError
        If a layer is not piecewise affine, or an end is no tensor.
    ValueError
        If the ends coincide or their shapes do not fit.
    RuntimeError
        If there are more than `max_regions` pieces.

    Notes
    -----
    Claim: B1.b.

    Examples
    --------
    >>> regions = enumerate_regions_1d(nn.ReLU(), torch.tensor([-1.0]), torch.tensor([3.0]))
    >>> regions.breakpoints.tolist(), regions.slope.flatten().tolist()
    ([0.0, 0.25, 1.0], [0.0, 4.0])
    """
    validation.tensor("x0", x0)
    validation.tensor("x1", x1)
    validation.same_shape("x0", x0, "x1", x1)
    if max_regions is not None:
        validation.integer("max_regions", max_regions, at_least=1)
    direction = x1.double() - x0.double()
    if not bool(direction.any()):
        raise ValueError("x0 and x1 must differ, got the same point twice")
    line = Slice(model, x0, direction[None], "x0")
    breaks, codes = _walk(line, max_regions)
    slope, offset = line.maps(codes)
    return Regions1D(torch.from_numpy(breaks), offset, slope[..., 0])


def _walk(line: Slice, max_regions: int | None) -> tuple[np.ndarray, np.ndarray]:
    """Return the breakpoints and the code of every piece, from left to right."""
    start = line.start(np.array([[0.0], [1.0]]))
    stack = [(0, start, np.zeros((1, 0), np.uint8))]
    breaks: list[np.ndarray] = []
    codes: list[np.ndarray] = []
    count = 0
    while stack:
        first, columns, code = stack.pop()
        step, columns = line.advance(first, columns)
        if step is None:
            count += len(code)
            breaks.append(columns[POINTS][:-1, 0])
            codes.append(code)
            continue
        stack += _split_chunk(line, step, columns, code)[::-1]
        total = count + sum(len(other) for _, _, other in stack)
        if max_regions is not None and total > max_regions:
            raise RuntimeError(
                f"there are more than max_regions = {max_regions} pieces; "
                "choose a shorter segment or a larger limit"
            )
    return np.concatenate([*breaks, [1.0]]), np.concatenate(codes)


def _split_chunk(
    line: Slice, step: int, columns: dict[int, np.ndarray], codes: np.ndarray
) -> list[tuple[int, dict[int, np.ndarray], np.ndarray]]:
    """Split a run of pieces by one step; return runs of pieces for the next step, in order."""
    key = line.program.steps[step].inputs[0]
    windows = line.windows(step) if isinstance(line.program.steps[step], MaxPool) else None
    values = columns[key]
    changes = _sign_changes(values) if windows is None else _winner_changes(values, windows)
    piece, weight = changes
    piece, weight = _tidy(piece, weight, np.diff(columns[POINTS][:, 0]))
    columns = {i: _insert(column, piece, weight) for i, column in columns.items()}
    parent = np.sort(np.concatenate([np.arange(len(codes)), piece]))
    middle = (columns[key][:-1] + columns[key][1:]) / 2
    new = np.packbits(middle > 0, 1, "little") if windows is None else _winners(middle, windows)
    codes = np.concatenate([codes[parent], new], 1)
    size = max(CHUNK_BYTES // (8 * sum(c.shape[1] for c in columns.values())), 16)
    chunks = []
    for i in range(0, len(codes), size):
        chunk = {key: column[i : i + size + 1] for key, column in columns.items()}
        chunks.append((step + 1, line.forward(step, chunk), codes[i : i + size]))
    return chunks


def _sign_changes(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return piece and relative place of every zero strictly inside a piece."""
    left, right = values[:-1], values[1:]
    piece, unit = np.nonzero(((left > 0) & (right < 0)) | ((left < 0) & (right > 0)))
    a, b = left[piece, unit], right[piece, unit]
    return piece, a / (a - b)


def _winner_changes(values: np.ndarray, windows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return piece and relative place of every change of a window's winner inside a piece."""
    size = windows.shape[1]
    left = _entries(values[:-1], windows).reshape(-1, size)
    rise = _entries(np.diff(values, axis=0), windows).reshape(-1, size)
    found, weights = [], []
    # Follow the upper envelope from the left: the winner only ever passes to a steeper entry.
    winner = np.lexsort((rise, left), axis=-1)[:, -1]
    active, place = np.arange(len(left)), np.zeros(len(left))
    for _ in range(size - 1):
        a, slope, rows = left[active], rise[active], np.arange(len(active))
        ahead = slope - slope[rows, winner][:, None]
        with np.errstate(divide="ignore", invalid="ignore"):
            meet = np.where(ahead > 0, (a[rows, winner][:, None] - a) / ahead, np.inf)
        meet = np.maximum(meet, place[:, None])
        first = meet.min(1)
        winner = np.where(meet <= first[:, None], slope, -np.inf).argmax(1)
        go = first < 1
        active, winner, place = active[go], winner[go], first[go]
        found.append(active)
        weights.append(place)
    cell = np.concatenate([np.empty(0, np.int64), *found]) // len(windows)
    return cell, np.concatenate([np.empty(0), *weights])


def _winners(values: np.ndarray, windows: np.ndarray) -> np.ndarray:
    """Return the place of each window's winner; the first of several."""
    winners: np.ndarray = _entries(values, windows).argmax(-1).astype(np.uint8)
    return winners


def _entries(values: np.ndarray, windows: np.ndarray) -> np.ndarray:
    entries = values[:, np.maximum(windows, 0)]
    entries[:, windows < 0] = -np.inf
    return entries


def _tidy(
    piece: np.ndarray, weight: np.ndarray, lengths: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Sort the breaks along the line and drop those that repeat another one."""
    order = np.lexsort((weight, piece))
    piece, weight = piece[order], weight[order]
    repeated = np.diff(weight, prepend=0.0)
    start = np.diff(piece, prepend=-1) != 0
    repeated[start] = weight[start]
    length = lengths[piece]
    keep = (repeated * length > SHORT) & ((1 - weight) * length > SHORT)
    return piece[keep], weight[keep]


def _insert(column: np.ndarray, piece: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Insert interpolated rows after the row that starts their piece."""
    new = column[piece] + weight[:, None] * (column[piece + 1] - column[piece])
    return np.insert(column, piece + 1, new, axis=0)
