"""Pictures of scenes: four shapes drawn from their signed distances, coloured and lit.

The picture plane is [-1, 1] x [-1, 1], x to the right and y down. Shapes have coordinates of their
own: area 1, centroid at the origin, long axis upright. So shapes of one size cover one area,
whatever their class, and each turns about its centroid.
"""

import math
from typing import Any

import torch
from torch import Tensor

from .. import validation
from .scene_factors import SHAPES, Scenes, check_factors

RENDERER = "1"  # a new number whenever a picture changes: it is part of a data set's identity

SIDE = (0.36, 0.60)  # root of the area of a shape, from the smallest to the largest
REACH = 0.32  # largest displacement of the centroid along x and along y
TILT = math.pi / 3  # largest rotation to either side; below a quarter turn, so nothing wraps
HUE_ARC = 4 * math.pi / 3  # red through green to blue
ALBEDO, CHROMA = 0.4, 0.3  # mean reflectance of a shape, and how far a channel departs from it
GREY = (0.1, 0.6)  # reflectance of the background
SLOPE = 0.3  # change of the illumination over a unit of length

_BLOCK = 2**16  # pixels drawn at once on a CPU: the planes in use then stay in its cache


def render_scenes(scenes: Scenes, *, size: int = 32) -> Tensor:
    r"""Draw scenes as colour images.

    .. math::
        I(p) = L(p)\,\bigl(g + \kappa(p)\,(c - g)\bigr), \qquad
        L(p) = 1 - 0.3\,(p_x \cos \pi u_{\text{light}} + p_y \sin \pi u_{\text{light}}), \qquad
        c_i = 0.4 + 0.3 \cos\bigl(\tfrac{4\pi}{3} u_{\text{hue}} - \tfrac{2\pi}{3} i\bigr),

    for the channels i = 0, 1, 2, with :math:`g = 0.1 + 0.5\,u_{\text{background}}` and the coverage
    :math:`\kappa(p) = \min(1, \max(0, \tfrac12 - d(p)/h))` for the signed distance d from the shape
    and the width h of a pixel. The shape has area
    :math:`(0.36 + 0.24\,u_{\text{size}})^2`, its centroid at :math:`0.32\,(2 u_x - 1)` and
    :math:`0.32\,(2 u_y - 1)`, and is turned clockwise by
    :math:`\tfrac{\pi}{3}(2 u_{\text{rotation}} - 1)`.

    Parameters
    ----------
    scenes : Scenes
        Shape classes of shape (n,) and factors in [0, 1] of shape (n, 7).
    size : int
        Height and width in pixels, at least 8.

    Returns
    -------
    Tensor, shape (n, 3, size, size)
        Entries in [0, 1], none clipped, in the dtype and on the device of the factors.

    Raises
    ------
    TypeError, ValueError
        If the scenes or `size` are not as described.

    Notes
    -----
    Every factor can be read off the picture: a shape lies wholly inside it, its colour never is
    grey, no angle wraps, and no value saturates. The ellipse's distance is the first-order one.

    Examples
    --------
    >>> green = Scenes(torch.tensor([0]), torch.full((1, 7), 0.5))  # u_hue = 1/2: pure green
    >>> picture = render_scenes(green, size=9)
    >>> [round(float(channel), 4) for channel in picture[0, :, 4, 4]]
    [0.25, 0.7, 0.25]
    """
    check_scenes(scenes)
    return render(scenes, validation.integer("size", size, at_least=8))


def render(scenes: Scenes, size: int) -> Tensor:
    """Return `render_scenes` of checked scenes; nothing here waits for a GPU."""
    shapes, factors = scenes
    rows = max(1, _BLOCK // size**2) if factors.device.type == "cpu" else max(1, len(factors))
    out = factors.new_empty((len(factors), 3, size, size))
    for start in range(0, len(factors), rows):
        part = slice(start, start + rows)
        _paint(out[part], shapes[part], factors[part])
    return out


def check_scenes(scenes: Any) -> None:
    """Refuse what is no Scenes of known classes and factors in [0, 1]."""
    if not isinstance(scenes, Scenes):
        raise TypeError(f"scenes must be Scenes, got {type(scenes).__name__}")
    shapes, factors = scenes
    check_factors("factors", factors)
    if not isinstance(shapes, Tensor) or shapes.dtype != torch.int64:
        raise TypeError(f"shapes must be an int64 tensor, got {getattr(shapes, 'dtype', shapes)}")
    if shapes.shape != factors.shape[:1] or shapes.device != factors.device:
        raise ValueError(
            f"shapes must have shape {tuple(factors.shape[:1])} on {factors.device}, "
            f"got {tuple(shapes.shape)} on {shapes.device}"
        )
    if shapes.numel() and not (shapes.min() >= 0 and shapes.max() < len(SHAPES)):
        low, high = shapes.min().item(), shapes.max().item()
        raise ValueError(f"shapes must lie in 0 to {len(SHAPES) - 1}, got {low} to {high}")


def _paint(out: Tensor, shapes: Tensor, factors: Tensor) -> None:
    """Draw a block of scenes into `out`."""
    hue, size, x, y, rotation, background, light = (u[:, None, None] for u in factors.unbind(1))
    ticks = torch.arange(out.shape[-1], dtype=out.dtype, device=out.device)
    ticks = (2 * ticks + 1) / len(ticks) - 1
    px, py = ticks[None, None, :], ticks[None, :, None]
    side = SIDE[0] + (SIDE[1] - SIDE[0]) * size
    distance = _distance(shapes, _local(px, py, x, y, rotation, side))
    coverage = distance.mul_(side * (-len(ticks) / 2)).add_(0.5).clamp_(0, 1)
    angle = math.pi * light
    lit = (1 - SLOPE * angle.cos() * px) - SLOPE * angle.sin() * py
    thirds = ticks.new_tensor([0, 2 * math.pi / 3, 4 * math.pi / 3])[:, None]
    colour = ALBEDO + CHROMA * (HUE_ARC * hue - thirds).cos()
    grey = GREY[0] + (GREY[1] - GREY[0]) * background
    torch.mul((coverage * lit).unsqueeze(1), (colour - grey).unsqueeze(-1), out=out)
    out.add_((grey * lit).unsqueeze(1))


def _local(
    px: Tensor, py: Tensor, x: Tensor, y: Tensor, rotation: Tensor, side: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the pixels' places in the coordinates of each scene's shape."""
    angle = TILT * (2 * rotation - 1)
    cos, sin = angle.cos() / side, angle.sin() / side
    px, py = px - REACH * (2 * x - 1), py - REACH * (2 * y - 1)
    return cos * px + sin * py, cos * py - sin * px


def _distance(shapes: Tensor, place: tuple[Tensor, Tensor]) -> Tensor:
    """Return the signed distance of each pixel from its scene's shape, in the shape's units."""
    x, y = place
    x = x.abs()  # all shapes are symmetric
    distance = _ellipse(x, y)
    # all four are drawn and one is kept: cheap, and sorting by class would wait for a GPU
    for shape, other in enumerate((_rectangle, _triangle, _tee), 1):
        distance = torch.where(shapes[:, None, None] == shape, other(x, y), distance)
    return distance


def _ellipse(x: Tensor, y: Tensor) -> Tensor:
    """Return the distance of the ellipse of axes 1 : 2, to first order about its edge."""
    a, b = math.sqrt(1 / (2 * math.pi)), math.sqrt(2 / math.pi)
    x2, y2 = x.square(), y.square()
    level = (x2 / a**2).add_(y2, alpha=1 / b**2).sub_(1)
    slope = (x2 / a**4).add_(y2, alpha=1 / b**4).clamp_min_(1e-12)  # zero at the centre
    return level.mul_(slope.rsqrt_()).mul_(0.5)


def _rectangle(x: Tensor, y: Tensor) -> Tensor:
    """Return the distance of the rectangle of sides 1 : 2."""
    return _box(x, y, 0.0, math.sqrt(1 / 8), math.sqrt(1 / 2))


def _triangle(x: Tensor, y: Tensor) -> Tensor:
    """Return the distance of the isosceles triangle that is 1.3 times as high as wide, apex up."""
    width = math.sqrt(2 / 1.3)
    height = 1.3 * width
    leg = math.hypot(height, width / 2)
    flank = (x * (height / leg)).sub_(y, alpha=width / 2 / leg).sub_(height * width / 3 / leg)
    return torch.maximum(flank, y - height / 3)


def _tee(x: Tensor, y: Tensor) -> Tensor:
    """Return the distance of a T: a bar of 1.3 by 0.4 on a stem of 0.4 by 1.2."""
    top = -0.584  # keeps the centroid at the origin: 0.52 * 0.2 + 0.48 * 1.0 below the top
    bar = _box(x, y, top + 0.2, 0.65, 0.2)
    # the stem's box begins inside the bar: two boxes that only touch would leave a seam
    return torch.minimum(bar, _box(x, y, top + 0.9, 0.2, 0.7))


def _box(x: Tensor, y: Tensor, centre: float, half_width: float, half_height: float) -> Tensor:
    """Return the distance of an upright box about (0, centre), beyond its corners a lower bound."""
    return torch.maximum(x - half_width, (y - centre).abs_().sub_(half_height))
