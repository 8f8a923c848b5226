"""Random resized crops and flips of a batch of images: one crop for each image, sampled at once."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def crop_boxes(
    uniforms: Tensor, *, scale: tuple[float, float], ratio: tuple[float, float]
) -> Tensor:
    r"""Return one random crop for each row of uniform numbers.

    .. math::
        a \sim U[\text{scale}], \qquad
        \log r \mid a \sim U\bigl([\log\text{ratio}] \cap [\log a, -\log a]\bigr), \qquad
        w = \sqrt{a r},\; h = \sqrt{a / r},

    and the centre is uniform over the places where the crop lies inside the image. All lengths are
    fractions of the image's: `a` of its area, `w` of its width, `h` of its height.

    Parameters
    ----------
    uniforms : Tensor, shape (n, 4)
        Independent numbers in [0, 1): area, ratio, place across and place down.
    scale : tuple of float
        Smallest and largest area, in (0, 1].
    ratio : tuple of float
        Smallest and largest quotient w / h; 1 lies between them.

    Returns
    -------
    Tensor, shape (n, 4)
        Width, height, and the centre across and down as an offset from the image's centre in units
        of half its width and height.

    Notes
    -----
    The area has exactly the law asked for, because the ratio is drawn among those that fit. The
    usual recipe draws both and rejects what does not fit, which makes large areas rarer.

    Examples
    --------
    >>> crop_boxes(torch.tensor([[0.0, 0.5, 0.5, 0.0]]), scale=(0.25, 1.0), ratio=(0.75, 4 / 3))
    tensor([[ 0.5000,  0.5000,  0.0000, -0.5000]])
    """
    area = scale[0] + (scale[1] - scale[0]) * uniforms[:, 0]
    room = -area.log()  # the crop fits the image if and only if |log ratio| <= -log area
    lower = (-room).clamp(min=math.log(ratio[0]))
    upper = room.clamp(max=math.log(ratio[1]))
    log_ratio = lower + (upper - lower) * uniforms[:, 1]
    width = ((area.log() + log_ratio) / 2).exp().clamp(max=1)
    height = ((area.log() - log_ratio) / 2).exp().clamp(max=1)
    sizes = torch.stack((width, height), 1)
    return torch.cat((sizes, (2 * uniforms[:, 2:4] - 1) * (1 - sizes)), 1)


def resample(images: Tensor, boxes: Tensor, flip: Tensor) -> Tensor:
    """Return each image's crop, flipped or not, resized to the size of the image.

    Parameters
    ----------
    images : Tensor, shape (n, channels, height, width)
        Floating images.
    boxes : Tensor, shape (n, 4)
        Crops as `crop_boxes` returns them.
    flip : Tensor of bool, shape (n,)
        Which crops are mirrored left to right.

    Returns
    -------
    Tensor, shape of `images`

    Notes
    -----
    Bilinear interpolation at the centres of the new pixels, which lie inside the crop. Within half
    a pixel of the image's edge the edge's own value is used; at the edge of a crop inside the image
    the neighbouring pixel takes part. Crops are never larger than the image, so that nothing has
    to be smoothed before sampling.

    Examples
    --------
    >>> x = torch.arange(4.0).reshape(1, 1, 1, 4)
    >>> resample(x, torch.tensor([[0.5, 1.0, 0.5, 0.0]]), torch.tensor([True]))
    tensor([[[[3.0000, 2.7500, 2.2500, 1.7500]]]])
    """
    n, _, height, width = images.shape
    grid = images.new_empty((n, height, width, 2))
    across = torch.where(flip, -boxes[:, 0], boxes[:, 0])
    grid[..., 0] = _centres(across, boxes[:, 2], width)[:, None, :]
    grid[..., 1] = _centres(boxes[:, 1], boxes[:, 3], height)[:, :, None]
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)


def _centres(extent: Tensor, middle: Tensor, count: int) -> Tensor:
    """Return the coordinates of `count` pixel centres along each crop; the image is [-1, 1]."""
    steps = torch.arange(1 - count, count, 2, device=extent.device, dtype=extent.dtype)
    return middle[:, None] + extent[:, None] * (steps / count)
