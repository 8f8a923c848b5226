"""Windows in a plane, and the number of cells that lines cut them into."""

import numpy as np
from torch import Tensor

from .. import validation

FLAT = 1e-12  # relative size below which a window counts as degenerate


def convex_window(window: Tensor | float) -> np.ndarray:
    """Return the corners (v, 2) of a convex window, counter-clockwise.

    Parameters
    ----------
    window : float or Tensor, shape (v, 2)
        Half-width of a square about zero, or the corners of a convex polygon in order.

    Raises
    ------
    ValueError
        If the window is empty, has a repeated corner, or is not convex.

    Examples
    --------
    >>> convex_window(1.0).tolist()
    [[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]]
    """
    if not isinstance(window, Tensor):
        w = validation.positive("window", window)
        return np.array([[-w, -w], [w, -w], [w, w], [-w, w]])
    validation.tensor("window", window, ndim=2)
    if window.shape[0] < 3 or window.shape[1] != 2:
        raise ValueError(f"window must have shape (v >= 3, 2), got {tuple(window.shape)}")
    corners = window.detach().double().cpu().numpy().copy()
    edges = np.roll(corners, -1, 0) - corners
    following = np.roll(edges, -1, 0)
    turns = edges[:, 0] * following[:, 1] - edges[:, 1] * following[:, 0]
    scale = np.abs(edges).max() ** 2
    if np.abs(turns).max() <= FLAT * scale or not edges.any(1).all():
        raise ValueError("window must have a positive area and no repeated corner")
    # All turns to one side, and once around in total: a pentagram only has the first property.
    side = np.sign(turns.sum())
    around = np.arctan2(turns, (edges * following).sum(1)).sum() / (2 * np.pi)
    if (side * turns < -FLAT * scale).any() or abs(abs(around) - 1) > 1e-6:
        raise ValueError("window must be a convex polygon with its corners in order")
    return corners if side > 0 else corners[::-1].copy()


def count_regions_shallow(weight: Tensor, bias: Tensor, window: Tensor | float) -> int:
    r"""Count the cells of one layer of rectifiers in a window by Euler's formula.

    .. math:: R = 1 + \#\{\text{lines } w_j \cdot s + b_j = 0 \text{ that cross the window}\}
                    + \#\{\text{intersections inside}\}

    Parameters
    ----------
    weight : Tensor, shape (h, 2)
    bias : Tensor, shape (h,)
    window : float or Tensor, shape (v, 2)
        Half-width of a square about zero, or a convex polygon.

    Returns
    -------
    int

    Raises
    ------
    ValueError
        If a shape is wrong, or the arrangement is not simple: two lines coincide in the window, or
        three meet in one point of it. The formula does not hold then.

    Notes
    -----
    Claim: B1.c. Nothing is shared with the enumeration of cells, so that either checks the other.

    Examples
    --------
    >>> import torch
    >>> count_regions_shallow(torch.eye(2), torch.zeros(2), 1.0)
    4
    """
    validation.tensor("weight", weight, ndim=2)
    validation.tensor("bias", bias, ndim=1)
    if weight.shape[1] != 2 or bias.shape[0] != weight.shape[0]:
        raise ValueError(
            "weight must have shape (h, 2) and bias (h,), "
            f"got {tuple(weight.shape)} and {tuple(bias.shape)}"
        )
    corners = convex_window(window)
    w, b = weight.detach().double().cpu().numpy(), bias.detach().double().cpu().numpy()
    at_corners = corners @ w.T + b
    crosses = (at_corners.max(0) > 0) & (at_corners.min(0) < 0)
    w, b = w[crosses], b[crosses]
    return 1 + len(w) + _intersections(w, b, corners)


def _intersections(w: np.ndarray, b: np.ndarray, corners: np.ndarray) -> int:
    """Count the intersections of lines ``w s + b = 0`` inside a convex polygon."""
    norm = np.linalg.norm(w, axis=1)
    w, b = w / norm[:, None], b / norm
    i, j = np.triu_indices(len(w), 1)
    determinant = w[i, 0] * w[j, 1] - w[i, 1] * w[j, 0]
    size = np.abs(corners).max()
    parallel = np.abs(determinant) <= FLAT
    same = np.abs(b[i] - np.sign((w[i] * w[j]).sum(1)) * b[j]) <= FLAT * size
    if (parallel & same).any():
        raise ValueError("two lines coincide in the window: the arrangement is not simple")
    i, j, determinant = i[~parallel], j[~parallel], determinant[~parallel]
    x = (w[i, 1] * b[j] - w[j, 1] * b[i]) / determinant
    y = (w[j, 0] * b[i] - w[i, 0] * b[j]) / determinant
    edges = np.roll(corners, -1, 0) - corners
    side = edges[:, 0] * (y[:, None] - corners[:, 1]) - edges[:, 1] * (x[:, None] - corners[:, 0])
    points = np.stack([x, y], 1)[(side > 0).all(1)]
    points = points[np.lexsort(points.T)]
    if (np.abs(np.diff(points, axis=0)).max(1) <= FLAT * size).any():
        raise ValueError("three lines meet in the window: the arrangement is not simple")
    return len(points)
