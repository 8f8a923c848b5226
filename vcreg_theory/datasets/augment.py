"""Random views of images for self-supervision, drawn for a whole batch on its device."""

import torch
from torch import Tensor

from .. import validation
from .colour import recolour
from .crop import crop_boxes, resample
from .source import to_float

_DRAWS = 12  # uniform numbers an image takes, used or not: an option never shifts other draws


def augment(
    images: Tensor,
    *,
    generator: torch.Generator,
    crop_scale: tuple[float, float] = (0.2, 1.0),
    crop_ratio: tuple[float, float] = (3 / 4, 4 / 3),
    flip: float = 0.5,
    brightness: float = 0.4,
    contrast: float = 0.4,
    saturation: float = 0.2,
    hue: float = 0.1,
    jitter: float = 0.8,
    greyscale: float = 0.2,
    solarize: float = 0.0,
) -> Tensor:
    r"""Return one random view of each image: crop, flip, colour jitter, greyscale, solarize.

    .. math:: x' = \operatorname{sol}\bigl(\operatorname{clip}_{[0,1]}(M\, T x + o)\bigr),

    with `T` one bilinear resampling (crop, resize and flip) and `M`, `o` one 3 x 3 colour matrix
    and one grey offset (jitter and greyscale). Every image has its own, independent draws.

    Parameters
    ----------
    images : Tensor, shape (n, channels, height, width)
        Bytes 0..255 or floating numbers in [0, 1]; one channel (grey) or three (RGB).
    generator : torch.Generator
        Source of all randomness. Numbers are drawn on its own device, so that with a generator on
        the CPU the views are the same on every device, up to rounding.
    crop_scale : tuple of float
        The area of the crop is uniform between these fractions of the image's. (1, 1) crops nothing
        and leaves pixels exactly as they are.
    crop_ratio : tuple of float
        Given the area, the logarithm of the crop's width over height (both as fractions of the
        image's) is uniform among the values in this range for which the crop fits; the place is
        uniform.
    flip : float
        Probability of a mirror image, left to right.
    brightness : float
        The pixels are multiplied by a factor uniform on 1 -+ `brightness`; at most 1.
    contrast : float
        The distance to the view's mean luma is multiplied by a factor uniform on 1 -+ `contrast`;
        at most 1.
    saturation : float
        The distance of each pixel to its own luma is multiplied by a factor uniform on
        1 -+ `saturation`; at most 1.
    hue : float
        The colour differences (I, Q) of YIQ turn by an angle uniform on -+ `hue` full turns; at
        most 0.5. The luma stays.
    jitter : float
        Probability that the four changes above are made at all, together.
    greyscale : float
        Probability that the view loses its colour and keeps its luma.
    solarize : float
        Probability that the values from 1/2 upwards are inverted, as the last step.

    Returns
    -------
    Tensor, shape of `images`
        float32 in [0, 1], on the device of `images`, never an alias of it.

    Raises
    ------
    TypeError
        If `images` is not a uint8 or floating tensor or a parameter is not of its type.
    ValueError
        If the shape or the range of `images` is wrong, a parameter is out of range, or a grey
        image is to change its saturation, its hue or become grey.

    Notes
    -----
    The recipe is that of SimCLR, in kind. It differs from torchvision's transforms of these names:

    * Values are clipped once, at the end, not after each change. Without clipping the four changes
      are linear and commute, so that torchvision's random order has no counterpart.
    * The hue turns in YIQ, which keeps the luma; torchvision turns in HSV, which keeps the
      largest and the smallest channel. Both agree at full turns and in the direction, little more:
      on random colours a tenth of a turn changes a channel by 0.10 on average in HSV, and the two
      results differ by 0.09.
    * The area is uniform also for large crops. torchvision draws area and ratio, rejects pairs that
      do not fit, at most ten times, and rounds the crop to whole pixels.
    * The resampling reads the pixel next to a crop where it lies inside the image.

    Nothing computed from a batch of bytes is read back by the host, so that with a generator on the
    GPU no call waits for it; the range of floats is checked, which does wait. Two views are two
    calls.

    Examples
    --------
    >>> x = torch.randint(0, 256, (4, 3, 32, 32), dtype=torch.uint8)
    >>> g = torch.Generator().manual_seed(0)
    >>> augment(x, generator=g).shape
    torch.Size([4, 3, 32, 32])
    >>> off = {"crop_scale": (1.0, 1.0), "flip": 0.0, "jitter": 0.0, "greyscale": 0.0}
    >>> torch.equal(augment(x, generator=g, **off), x / 255)
    True
    """
    views = _checked_images(images)
    if not isinstance(generator, torch.Generator):
        raise TypeError(f"generator must be a torch.Generator, got {type(generator).__name__}")
    _check_crop(crop_scale, crop_ratio)
    widths = {"brightness": brightness, "contrast": contrast, "saturation": saturation, "hue": hue}
    probabilities = {"flip": flip, "jitter": jitter, "greyscale": greyscale, "solarize": solarize}
    for name, value in {**widths, **probabilities}.items():
        _within(name, value, 0.5 if name == "hue" else 1.0)
    if views.shape[1] == 1 and max(saturation, hue, greyscale) > 0:
        raise ValueError(
            "images with 1 channel have no colour: saturation, hue and greyscale must be 0, "
            f"got {saturation}, {hue} and {greyscale}"
        )
    u = torch.rand(len(views), _DRAWS, generator=generator, device=generator.device)
    u = u.to(views.device)
    views = _moved(views, u[:, :5], crop_scale, crop_ratio, flip)
    if jitter * max(widths.values()) > 0 or greyscale > 0:
        views = _recoloured(views, u[:, 5:11], widths, jitter, greyscale)
    views = views.clone() if views is images else views.clamp_(0, 1)
    if solarize > 0:
        inverted = (u[:, 11, None, None, None] < solarize) & (views >= 0.5)
        views = torch.where(inverted, 1 - views, views)
    return views


def _moved(
    images: Tensor,
    u: Tensor,
    scale: tuple[float, float],
    ratio: tuple[float, float],
    flip: float,
) -> Tensor:
    """Return the images cropped and flipped; without a crop the pixels are copied exactly."""
    flipped = u[:, 4] < flip
    if scale[0] < 1:
        return resample(images, crop_boxes(u[:, :4], scale=scale, ratio=ratio), flipped)
    if flip > 0:
        return torch.where(flipped[:, None, None, None], images.flip(-1), images)
    return images


def _recoloured(
    images: Tensor, u: Tensor, widths: dict[str, float], jitter: float, greyscale: float
) -> Tensor:
    """Return the images with their colours changed by the draws `u`, not clamped."""
    changed = u[:, 0] < jitter
    b, c, s, h = (
        width * (2 * u[:, k] - 1) * changed for k, width in enumerate(widths.values(), start=1)
    )
    coloured = (u[:, 5] >= greyscale).float()
    return recolour(images, 1 + b, 1 + c, (1 + s) * coloured, h)


def _checked_images(images: Tensor) -> Tensor:
    """Return a batch of images as float32 in [0, 1]."""
    views = to_float(images)
    if views.ndim != 4 or views.shape[1] not in (1, 3) or 0 in views.shape:
        raise ValueError(
            "images must have shape (n, channels, height, width) with 1 or 3 channels and none "
            f"empty, got {tuple(views.shape)}"
        )
    if images.dtype != torch.uint8:
        low, high = (value.item() for value in views.aminmax())
        if not (low >= 0 and high <= 1):  # so written, NaN is refused as well
            raise ValueError(f"images must lie in [0, 1], got values from {low} to {high}")
    return views


def _within(name: str, value: float, high: float) -> None:
    """Raise ``ValueError`` unless a number lies between 0 and `high`."""
    if not 0 <= validation.real(name, value) <= high:
        raise ValueError(f"{name} must lie between 0 and {high:g}, got {value!r}")


def _check_crop(scale: tuple[float, float], ratio: tuple[float, float]) -> None:
    """Raise ``ValueError`` unless both are increasing pairs in their ranges."""
    for name, pair in (("crop_scale", scale), ("crop_ratio", ratio)):
        if len(pair) != 2 or not 0 < validation.real(name, pair[0]) <= validation.real(
            name, pair[1]
        ):
            raise ValueError(f"{name} must be two positive numbers in order, got {pair!r}")
    if scale[1] > 1:
        raise ValueError(f"crop_scale must not exceed 1, the whole image, got {scale!r}")
    if not ratio[0] <= 1 <= ratio[1]:
        raise ValueError(f"crop_ratio must contain 1, got {ratio!r}")
