"""Exact cells of a piecewise-affine network on a line or on a plane through input space.

A plane is walked depth first: a chunk of polygons is split by one step, its pieces are handed to
the next step in chunks again, so memory is bounded by the depth and not by the number of cells.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from .. import validation
from ._slice import POINTS, Slice
from ._split import Cells, Criterion, SignCriterion, VertexTable, WinnerCriterion, offsets_of, split
from .arrangement import convex_window, count_regions_shallow
from .program import Program
from .regions_1d import Regions1D, enumerate_regions_1d
from .steps import MaxPool

__all__ = [
    "Regions1D",
    "Regions2D",
    "count_regions_shallow",
    "enumerate_regions_1d",
    "enumerate_regions_2d",
]

CHUNK_BYTES = 12 * 2**20  # of vertex values in one chunk, so that a round stays within the cache
FLAT = 1e-12  # relative size below which a basis counts as degenerate


@dataclass(frozen=True)
class Regions2D:
    """Activation cells on a plane; every tensor is float64 on the CPU unless said otherwise.

    Attributes
    ----------
    vertices : Tensor, shape (total, 2)
        Corners of all cells in slice coordinates, cell after cell, counter-clockwise.
    offsets : Tensor of int64, shape (R + 1,)
        Cell `i` has the corners ``vertices[offsets[i]:offsets[i + 1]]``.
    codes : Tensor of uint8, shape (R, bytes)
        The packed activation pattern of each cell: one bit a rectifier unit, one byte a pooling
        window.
    window : Tensor, shape (v, 2)
        The enumerated window, counter-clockwise.
    """

    vertices: Tensor
    offsets: Tensor
    codes: Tensor
    window: Tensor
    _slice: Slice

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __repr__(self) -> str:
        return f"Regions2D({len(self)} cells, {len(self.vertices)} corners)"

    def polygon(self, i: int) -> Tensor:
        """Return the corners (v, 2) of cell `i`, counter-clockwise."""
        if not -len(self) <= i < len(self):
            raise IndexError(f"cell {i} is out of range for {len(self)} cells")
        i %= len(self)
        return self.vertices[self.offsets[i] : self.offsets[i + 1]]

    def areas(self) -> Tensor:
        """Return the area (R,) of every cell in slice coordinates."""
        return torch.from_numpy(self._moments()[0])

    def centroids(self) -> Tensor:
        """Return the centre of mass (R, 2) of every cell in slice coordinates."""
        area, moment, anchor, mean = self._moments()
        # A cell of vanishing area has no centre of mass numerically; its corners' mean serves.
        flat = area[:, None] <= np.finfo(float).tiny
        with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
            centre = np.where(flat, mean, moment / area[:, None])
        return torch.from_numpy(anchor + centre)

    def maps(self) -> tuple[Tensor, Tensor]:
        r"""Return the affine map of every cell in slice coordinates.

        .. math:: f(x_0 + B s) = A_r s + b_r \quad\text{for } s \text{ in cell } r

        Returns
        -------
        map : Tensor, shape (R, d, 2)
        offset : Tensor, shape (R, d)
            Both come from the cell's own pattern, not from its corners, so that the smallest
            cells are as accurate as the largest.
        """
        return self._slice.maps(self.codes.numpy())

    def linear_regions(self, rtol: float = 1e-10) -> Tensor:
        """Label the cells by their affine map.

        Parameters
        ----------
        rtol : float
            Two maps are one if every entry agrees within `rtol` times the largest entry of that
            kind over all cells (chains of agreeing cells share a label).

        Returns
        -------
        Tensor of int64, shape (R,)
            Labels from 0 on; their number is the number of distinct affine maps.
        """
        validation.nonnegative("rtol", rtol)
        matrix, offset = self.maps()
        entries = torch.cat([matrix.flatten(1), offset], 1).numpy()
        return torch.from_numpy(_labels(entries, rtol))

    def _moments(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Return areas, first moments about an anchor corner, anchors and mean corners."""
        starts, stops = self.offsets[:-1].numpy(), self.offsets[1:].numpy()
        sizes, vertices = stops - starts, self.vertices.numpy()
        anchor = vertices[starts]
        # Relative to a corner of the cell, or a small cell far from zero loses all its digits.
        p = vertices - np.repeat(anchor, sizes, 0)
        following = np.arange(1, len(p) + 1)
        following[stops - 1] = starts
        q = p[following]
        cross = p[:, 0] * q[:, 1] - p[:, 1] * q[:, 0]
        area = np.add.reduceat(cross, starts) / 2
        moment = np.add.reduceat((p + q) * cross[:, None], starts) / 6
        return area, moment, anchor, np.add.reduceat(p, starts) / sizes[:, None]


def enumerate_regions_2d(
    model: nn.Module | Program,
    origin: Tensor,
    basis: Tensor,
    window: Tensor | float,
    *,
    max_regions: int | None = None,
) -> Regions2D:
    r"""Enumerate every activation cell of a network on a plane through input space.

    .. math:: x(s) = x_0 + s_1 B_1 + s_2 B_2, \qquad s \in \text{window}

    Parameters
    ----------
    model : nn.Module or Program
        A piecewise-affine network, see `lower`.
    origin : Tensor, shape of one input
    basis : Tensor, shape (2, *shape of one input)
        Linearly independent directions; they need not be orthonormal.
    window : float or Tensor, shape (v, 2)
        A convex polygon in slice coordinates, or the half-width of a square about zero.
    max_regions : int, optional
        Give up, with an error, once there are certainly more cells than this.

    Returns
    -------
    Regions2D
        The cells tile the window. On each of them every rectifier keeps its sign and every pooling
        window its winner. Pooling may leave a cell in several convex parts, and neighbours may
        share one affine map: see `Regions2D.linear_regions`.

    Raises
    ------
    TypeError
        If a layer is not piecewise affine, or an argument is no tensor.
    ValueError
        If the plane or the window is degenerate, or a shape does not fit.
    RuntimeError
        If there are more than `max_regions` cells.

    Notes
    -----
    Claim: B1.b. Each polygon is cut by one pending unit at a time, all polygons at once; vertex
    values are interpolated along edges. A corner closer to a kink than 1e-12 times the largest
    value of the layer counts as lying on it.

    Examples
    --------
    >>> model = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    >>> _ = model[0].weight.data.copy_(torch.eye(2)), model[0].bias.data.zero_()
    >>> regions = enumerate_regions_2d(model, torch.zeros(2), torch.eye(2), 1.0)
    >>> len(regions), regions.areas().tolist()
    (4, [1.0, 1.0, 1.0, 1.0])
    """
    origin, basis = check_slice(origin, basis, 2)
    corners = convex_window(window)
    if max_regions is not None:
        validation.integer("max_regions", max_regions, at_least=1)
    plane = Slice(model, origin, basis)
    parts = list(_walk(plane, corners, max_regions))
    vertices, sizes, codes = (np.concatenate(part) for part in zip(*parts, strict=True))
    return Regions2D(
        torch.from_numpy(vertices),
        torch.from_numpy(offsets_of(sizes)),
        torch.from_numpy(codes),
        torch.from_numpy(corners),
        plane,
    )


def _walk(
    plane: Slice, corners: np.ndarray, max_regions: int | None
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Yield corners, sizes and codes of finished cells, chunk after chunk."""
    whole = Cells(np.arange(len(corners)), np.array([0, len(corners)]), np.zeros((1, 0), np.uint8))
    stack, found = [(0, plane.start(corners), whole)], 0
    while stack:
        start, columns, cells = stack.pop()
        step, columns = plane.advance(start, columns)
        if step is None:
            found += len(cells)
            yield columns[POINTS][cells.index], cells.sizes(), cells.codes
            continue
        waiting = found + sum(len(other) for _, _, other in stack)
        limit = None if max_regions is None else max_regions - waiting
        stack += _split_chunk(plane, step, columns, cells, limit)
        total = found + sum(len(other) for _, _, other in stack)
        if max_regions is not None and total > max_regions:
            raise RuntimeError(
                f"there are more than max_regions = {max_regions} cells; "
                "choose a smaller window or a larger limit"
            )


def _split_chunk(
    plane: Slice, step: int, columns: dict[int, np.ndarray], cells: Cells, limit: int | None
) -> list[tuple[int, dict[int, np.ndarray], Cells]]:
    """Split one chunk by one step; return what is to be done next."""
    key = plane.program.steps[step].inputs[0]
    width = sum(column.shape[1] for column in columns.values())
    rows = max(CHUNK_BYTES // (8 * width), 64)
    table = VertexTable(columns)
    criterion = _criterion(plane, step, columns[key])
    finished, rest = split(table, key, cells, criterion, max(3 * rows, 4 * table.size), limit)
    todo = [(step, *chunk) for chunk in _chunks(table, rest, rows // 8)]
    whole = _join(finished, cells)
    if step == plane.fields[-1].step:
        return [*todo, (step + 1, {POINTS: table[POINTS]}, whole)]
    for chunk, part in _chunks(table, whole, rows // 8):
        todo.append((step + 1, plane.forward(step, chunk), part))
    return todo


def _criterion(plane: Slice, step: int, values: np.ndarray) -> Criterion:
    if isinstance(plane.program.steps[step], MaxPool):
        return WinnerCriterion(values, plane.windows(step))
    return SignCriterion(values)


def _join(parts: list[Cells], like: Cells) -> Cells:
    if not parts:
        return like.slice(0, 0)
    return Cells(
        np.concatenate([part.index for part in parts]),
        offsets_of(np.concatenate([part.sizes() for part in parts])),
        np.concatenate([part.codes for part in parts]),
    )


def _chunks(
    table: VertexTable, cells: Cells, size: int
) -> Iterator[tuple[dict[int, np.ndarray], Cells]]:
    """Yield chunks of at most `size` cells, each with the rows it refers to."""
    for start in range(0, len(cells), size):
        yield table.restrict(cells.slice(start, min(start + size, len(cells))), POINTS)


def check_slice(origin: Tensor, basis: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Return origin and basis if the basis holds `k` independent directions like `origin`."""
    validation.tensor("origin", origin)
    validation.tensor("basis", basis)
    if basis.shape != (k, *origin.shape):
        raise ValueError(f"basis must have shape {(k, *origin.shape)}, got {tuple(basis.shape)}")
    sizes = torch.linalg.svdvals(basis.detach().double().cpu().reshape(k, -1))
    if len(sizes) < k or sizes[-1] <= FLAT * sizes[0]:
        raise ValueError(f"basis must have rank {k}, its singular values are {sizes.tolist()}")
    return origin, basis


def _labels(entries: np.ndarray, rtol: float) -> np.ndarray:
    """Label rows that agree within `rtol` times the largest size of the column."""
    labels = np.zeros(len(entries), np.int64)
    for column in entries.T:
        order = np.lexsort((column, labels))
        gap = np.diff(column[order]) > rtol * np.abs(column).max()
        fresh = gap | (np.diff(labels[order]) != 0)
        labels[order] = np.concatenate([[0], np.cumsum(fresh)])
    return labels
