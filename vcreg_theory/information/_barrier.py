"""The largest log-determinant over matrices of given diagonal that dominate another matrix."""

import torch
from torch import Tensor

# A step of the barrier method divides the duality gap by this; Newton needs few steps after it.
_SHRINK = 10.0
_NEWTON_STEPS = 100


def dominating(least: Tensor, room: Tensor, tolerance: float) -> Tensor:
    """Return the matrix of largest log-determinant that dominates another.

    `room` is by how much its diagonal exceeds that of `least`. Found in units in which the
    variances are one; a change of units shifts the log-determinant only. Where rounding stops the
    method before the tolerance is reached, it says so and returns nothing.
    """
    scale = (least.diagonal() + room).sqrt()
    least = least / scale / scale[:, None]
    matrix = least + torch.diag(room / scale.square())
    weight = 1.0
    while weight * len(room) > tolerance:
        weight /= _SHRINK
        matrix = _centre(matrix, least, weight)
        if int(torch.linalg.cholesky_ex(matrix - least).info):
            raise ValueError(
                f"tolerance must be larger than {tolerance:g}: rounding stops the search at "
                f"{weight * len(room):.1g}"
            )
    return matrix * scale * scale[:, None]


def _centre(matrix: Tensor, least: Tensor, weight: float) -> Tensor:
    """Return the maximiser of ``log|S| + weight log|S - least|`` over off-diagonal entries."""
    i, j = torch.triu_indices(len(least), len(least), 1, device=least.device)
    for _ in range(_NEWTON_STEPS):
        gradient, curvature = 0.0, 0.0
        for factor, inverse in (
            (1.0, torch.linalg.inv(matrix)),
            (weight, torch.linalg.inv(matrix - least)),
        ):
            gradient = gradient + 2 * factor * inverse[i, j]
            pairs = inverse[i][:, i] * inverse[j][:, j] + inverse[i][:, j] * inverse[j][:, i]
            curvature = curvature + 2 * factor * pairs
        step = torch.linalg.solve(curvature, gradient)
        # Newton's decrement in the units of the barrier, which makes the function self-concordant.
        decrement = float((step @ gradient / weight).clamp(min=0).sqrt())
        if decrement < 1e-6:
            break
        change = torch.zeros_like(matrix)
        change[i, j] = change[j, i] = step / (1 + decrement)
        matrix = matrix + change
    return matrix
