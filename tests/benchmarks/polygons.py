"""Activation cells on a plane by a plain loop: polygon after polygon, layer after layer.

What one would write first, and what public programs do in essence: the values of a layer at the
corners of a polygon decide which units cross it, and the polygon is cut by one of them at a time.
"""

import numpy as np
from torch import nn

TOLERANCE = 1e-12  # relative to the largest value of a layer: closer corners lie on the line
Polygon = np.ndarray  # corners (v, 2), in order
Map = tuple[np.ndarray, np.ndarray]  # matrix and offset of values on the plane


def cells(network: nn.Sequential, corners: Polygon) -> list[Polygon]:
    """Return the cells of a plain ReLU network with two inputs inside a convex polygon."""
    layers = [
        (layer.weight.detach().double().numpy(), layer.bias.detach().double().numpy())
        for layer in network
        if isinstance(layer, nn.Linear)
    ]
    found = [(corners, (np.eye(2), np.zeros(2)))]
    for weight, bias in layers[:-1]:
        before, found = found, []
        for polygon, (matrix, offset) in before:
            values = weight @ matrix, weight @ offset + bias
            found += [(part, _rectified(part, values)) for part in _cut(polygon, values)]
    return [polygon for polygon, _ in found]


def _rectified(polygon: Polygon, values: Map) -> Map:
    """Return the map behind the rectifiers, as they are inside the polygon."""
    matrix, offset = values
    on = matrix @ polygon.mean(0) + offset > 0
    return matrix * on[:, None], offset * on


def _cut(polygon: Polygon, values: Map) -> list[Polygon]:
    """Return the parts of a polygon on which no unit changes its sign."""
    matrix, offset = values
    pending, done = [polygon], []
    while pending:
        part = pending.pop()
        heights = part @ matrix.T + offset
        slack = TOLERANCE * np.abs(heights).max()
        crossing = (heights.min(0) < -slack) & (heights.max(0) > slack)
        if not crossing.any():
            done.append(part)
            continue
        height = heights[:, crossing.argmax()]
        pending += [_half(part, height), _half(part, -height)]
    return done


def _half(polygon: Polygon, height: np.ndarray) -> Polygon:
    """Return the part of a convex polygon where an affine function is positive."""
    corners = []
    following = zip(np.roll(polygon, -1, 0), np.roll(height, -1), strict=True)
    for a, p, (b, q) in zip(polygon, height, following, strict=True):
        if p >= 0:
            corners.append(a)
        if p * q < 0:
            corners.append(a + p / (p - q) * (b - a))
    return np.array(corners)
