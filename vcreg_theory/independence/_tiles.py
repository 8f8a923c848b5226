"""Gram matrices of K scalar variables, tile by tile, never whole."""

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from ._moments import block_bytes

Tile = tuple[slice, slice, float]
_PROBES = 32  # samples a kernel's rough mean is taken from


def tiles(u: Tensor) -> Iterator[Tile]:
    """Return tiles (rows, columns, weight) on and above the diagonal, for u of shape (K, n).

    A tile above the diagonal stands for its mirror image as well: weight 2. The first is the
    largest, and one tile of all K matrices fits a block.
    """
    number, n = u.shape
    size = max(32, math.isqrt(block_bytes(u.device) // (4 * number)))
    blocks = [slice(i, min(n, i + size)) for i in range(0, n, size)]
    for i, rows in enumerate(blocks):
        for columns in blocks[i:]:
            yield rows, columns, 1.0 if rows is columns else 2.0


def scaled(z: Tensor, widths: Tensor) -> tuple[Tensor, Tensor]:
    """Return columns u (K, n) such that the kernel is exp(-(u_i - u_j)^2), and a shift a kernel.

    The shift is a rough mean of the kernel less 1. Subtracting it changes no centred quantity and
    keeps the digits that centring a sum would cancel.
    """
    z = z.double()
    u = ((z - z.mean(0)) * (math.sqrt(0.5) / widths)).T.contiguous()
    with torch.no_grad():
        probe = u[:, :: max(1, u.shape[1] // _PROBES)]
        shift = (probe[:, :, None] - probe[:, None]).square().neg().expm1().mean((1, 2))
    return u, shift


def tile(rows: Tensor, columns: Tensor, shift: Tensor, out: Tensor | None = None) -> Tensor:
    """Return the kernels of (K, r) against (K, c) less 1 and their shifts, in `out` if given."""
    rows, columns, shift = rows[:, :, None], columns[:, None], shift[:, None, None]
    if out is None:
        return (rows - columns).square().neg().expm1() - shift
    block = out[: rows.numel() * columns.shape[2]].view(*rows.shape[:2], columns.shape[2])
    torch.sub(rows, columns, out=block)
    torch.addcmul(block.new_zeros(()), block, block, value=-1, out=block)
    return block.expm1_().sub_(shift)


def buffer(u: Tensor) -> Tensor:
    """Return memory for the largest tile of u of shape (K, n)."""
    rows, columns, _ = next(tiles(u))
    return u.new_empty(len(u) * (rows.stop - rows.start) * (columns.stop - columns.start))


def blocks(u: Tensor, shift: Tensor) -> Iterator[tuple[Tile, Tensor]]:
    """Yield every tile with its kernels (K, r, c) in one memory that the next tile overwrites."""
    out = buffer(u)
    for rows, columns, weight in tiles(u):
        yield (rows, columns, weight), tile(u[:, rows], u[:, columns], shift, out)


def add_row_sums(sums: Tensor, place: Tile, over_columns: Tensor, over_rows: Tensor) -> None:
    """Add the sums of one tile, over its columns and over its rows, to the row sums (K, n)."""
    rows, columns, weight = place
    sums[:, rows] += over_columns
    if weight == 2:
        sums[:, columns] += over_rows
