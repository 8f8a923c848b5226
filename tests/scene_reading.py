"""Read the factors of a scene off its picture, and draw scenes in another way: for the tests."""

import math
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

THIRDS = torch.tensor([0, 2 * math.pi / 3, 4 * math.pi / 3], dtype=torch.float64)


class Reading(NamedTuple):
    """What pictures of shape (n, 3, size, size) show: exact factors, coverage and its moments."""

    background: Tensor
    light: Tensor
    hue: Tensor
    coverage: Tensor
    area: Tensor
    x: Tensor
    y: Tensor
    tilt: Tensor


def read(pictures: Tensor) -> Reading:
    """Return a reading in float64; the four corner pixels show the background alone."""
    pictures = pictures.double()
    size = pictures.shape[-1]
    ticks = (2 * torch.arange(size, dtype=torch.float64) + 1) / size - 1
    px, py = ticks[None, None, :], ticks[None, :, None]
    corners = pictures[:, 0, [0, 0, -1, -1], [0, -1, 0, -1]]
    grey = corners.mean(1)
    right = corners @ torch.tensor([-1.0, 1, -1, 1]).double() / (4 * ticks[-1] * grey)
    down = corners @ torch.tensor([-1.0, -1, 1, 1]).double() / (4 * ticks[-1] * grey)
    lit = 1 + right[:, None, None] * px + down[:, None, None] * py
    rest = pictures / lit[:, None] - grey[:, None, None, None]
    total = rest.sum((2, 3))  # a positive multiple of colour minus grey
    angle = torch.atan2(total @ THIRDS.sin(), total @ THIRDS.cos())
    angle = _from_minus_quarter(angle)
    wave = (angle[:, None] - THIRDS).cos()
    coverage = torch.einsum("nc,nchw->nhw", wave, rest) / (0.3 * 1.5)
    mass = coverage.sum((1, 2))
    x, y = ((coverage * p).sum((1, 2)) / mass for p in (px, py))
    dx, dy = px - x[:, None, None], py - y[:, None, None]
    xx, yy, xy = ((coverage * p).sum((1, 2)) for p in (dx * dx, dy * dy, dx * dy))
    return Reading(
        background=(grey - 0.1) / 0.5,
        light=_from_minus_quarter(torch.atan2(-down, -right)) / math.pi,
        hue=angle / (4 * math.pi / 3),
        coverage=coverage,
        area=mass * (2 / size) ** 2,
        x=x,
        y=y,
        tilt=torch.atan2(-2 * xy, yy - xx) / 2,  # of the long axis, clockwise from upright
    )


def _from_minus_quarter(angle: Tensor) -> Tensor:
    """Return angles in the turn that starts a quarter below zero, so that none near zero wraps."""
    return torch.remainder(angle + math.pi / 2, 2 * math.pi) - math.pi / 2


def outline(shape: str) -> np.ndarray:
    """Return the corners of a shape of area 1 about its centroid, y down; many for the ellipse."""
    if shape == "ellipse":
        t = np.linspace(0, 2 * np.pi, 200, endpoint=False)
        return np.stack([np.sin(t), 2 * np.cos(t)], 1) / np.sqrt(2 * np.pi)
    if shape == "rectangle":
        corners = np.array([[-1, -2], [1, -2], [1, 2], [-1, 2]]) / np.sqrt(8)
    elif shape == "triangle":
        corners = np.array([[0.0, 0], [0.5, 1.3], [-0.5, 1.3]]) * np.sqrt(2 / 1.3)
        corners -= corners.mean(0)
    else:
        xs = [-0.65, 0.65, 0.65, 0.2, 0.2, -0.2, -0.2, -0.65]
        corners = np.stack([xs, [0, 0, 0.4, 0.4, 1.6, 1.6, 0.4, 0.4]], 1)
        corners[:, 1] -= 0.584
    return corners


def shoelace(corners: np.ndarray) -> tuple[float, np.ndarray]:
    """Return area and centroid of a polygon."""
    following = np.roll(corners, -1, 0)
    cross = corners[:, 0] * following[:, 1] - corners[:, 1] * following[:, 0]
    area = cross.sum() / 2
    centroid = ((corners + following) * cross[:, None]).sum(0) / (6 * area)
    return abs(area), centroid


def clipped_area(corners: np.ndarray, low: np.ndarray, high: np.ndarray) -> float:
    """Return the area of a polygon inside a box, by clipping at its four sides in turn."""
    for axis in (0, 1):
        for sign, level in ((1, high[axis]), (-1, -low[axis])):
            excess = sign * corners[:, axis] - level
            following, next_excess = np.roll(corners, -1, 0), np.roll(excess, -1)
            crosses = (excess > 0) != (next_excess > 0)
            with np.errstate(divide="ignore", invalid="ignore"):
                share = (excess / (excess - next_excess))[:, None]
            cuts = corners + np.where(crosses[:, None], share, 0) * (following - corners)
            pairs = np.stack([corners, cuts], 1).reshape(-1, 2)
            corners = pairs[np.stack([excess <= 0, crosses], 1).reshape(-1)]
            if len(corners) < 3:
                return 0.0
    return shoelace_area(corners)


def shoelace_area(corners: np.ndarray) -> float:
    """Return the area alone: a clipped part may have none, and then no centroid."""
    x, y = corners.T
    return abs(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2
