"""Many images side by side in one picture."""

import numpy as np
import torch
from torch import Tensor

from .. import validation
from .source import to_float


def contact_sheet(images: Tensor, columns: int, *, gap: int = 1) -> np.ndarray:
    """Return images laid out in rows, as one picture for ``matplotlib.pyplot.imshow``.

    Parameters
    ----------
    images : Tensor, shape (n, channels, height, width)
        One channel (grey) or three, uint8 or floating; floats are clipped to [0, 1].
    columns : int
        Images a row; the last row may be shorter.
    gap : int
        White pixels between neighbours, not negative.

    Returns
    -------
    ndarray of float32, shape (H, W, 3)
        Entries in [0, 1], with ``W = columns * (width + gap) - gap``. Places left over are white.

    Raises
    ------
    TypeError, ValueError
        If `images` has no image, other dimensions or a NaN, or an option is not a whole number.

    Examples
    --------
    >>> contact_sheet(torch.zeros(5, 1, 8, 8), columns=3).shape
    (17, 26, 3)
    """
    columns = validation.integer("columns", columns, at_least=1)
    gap = validation.integer("gap", gap, at_least=0)
    cells = validation.tensor("images", to_float(images), ndim=4, min_rows=1)
    n, channels, height, width = cells.shape
    validation.member("number of channels of images", channels, (1, 3))
    rows = -(-n // columns)
    canvas = torch.ones(rows * columns, 3, height + gap, width + gap)
    canvas[:n, :, :height, :width] = cells.detach().cpu().clamp(0, 1)
    grid = canvas.view(rows, columns, 3, height + gap, width + gap).permute(0, 3, 1, 4, 2)
    sheet = grid.reshape(rows * (height + gap), columns * (width + gap), 3)
    return sheet[: sheet.shape[0] - gap, : sheet.shape[1] - gap].numpy()
