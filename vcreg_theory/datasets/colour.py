"""Changes of colour as one linear map of a pixel and one offset for each image."""

from functools import cache

import numpy as np
import torch
from torch import Tensor

LUMA = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in the brightness that is seen (ITU-R BT.601)."""

_CHROMA = ((0.5959, -0.2746, -0.3213), (0.2115, -0.5227, 0.3112))  # I and Q of the NTSC's YIQ


@cache
def _parts(device: torch.device) -> Tensor:
    """Return the grey part, the colour part and the quarter turn of the colour part, (3, 3, 3)."""
    yiq = np.array((LUMA, *_CHROMA))
    grey = np.outer(np.ones(3), LUMA)
    turn = np.zeros((3, 3))
    turn[1, 2], turn[2, 1] = 1.0, -1.0  # from red towards green, as a growing hue of HSV turns
    parts = np.stack((grey, np.eye(3) - grey, np.linalg.solve(yiq, turn @ yiq)))
    with torch.inference_mode(False):  # what is kept must serve every later caller
        return torch.from_numpy(parts).to(device, torch.float32)


def colour_maps(gain: Tensor, saturation: Tensor, hue: Tensor) -> Tensor:
    r"""Return the linear maps of RGB pixels that scale, saturate and turn the hue.

    .. math::
        M = g\,\bigl[\,\mathbf 1 \ell^\top
            + s \cos\theta\,(I - \mathbf 1 \ell^\top) + s \sin\theta\, K\,\bigr],
        \qquad \theta = 2\pi \cdot \text{hue},

    with :math:`\ell` the weights of the luma, `g` the gain, `s` the saturation and :math:`K` the
    quarter turn of the plane of the two colour differences I and Q of YIQ.

    Parameters
    ----------
    gain, saturation, hue : Tensor, shape (n,)
        Factor of all channels, factor of the distance to grey, and turns of the colour circle; a
        positive hue goes from red towards green.

    Returns
    -------
    Tensor, shape (n, 3, 3)

    Notes
    -----
    Grey stays grey and the luma is multiplied by the gain alone. So the three changes commute.

    Examples
    --------
    >>> one, zero = torch.ones(1), torch.zeros(1)
    >>> colour_maps(2 * one, zero, zero) @ torch.tensor([1.0, 0.0, 0.0])
    tensor([[0.5980, 0.5980, 0.5980]])
    """
    angle = 2 * torch.pi * hue
    weights = gain * torch.stack(
        (torch.ones_like(hue), saturation * angle.cos(), saturation * angle.sin())
    )
    # A sum, not a matrix product: it keeps float32 under autocast and with TF32 allowed.
    return (weights[:, :, None, None] * _parts(hue.device)[:, None]).sum(0)


def recolour(
    images: Tensor, brightness: Tensor, contrast: Tensor, saturation: Tensor, hue: Tensor
) -> Tensor:
    r"""Return images with their brightness, contrast, saturation and hue changed, not clamped.

    .. math:: x' = M x + b\,(1 - c)\, \bar\ell\, \mathbf 1, \qquad M = M(b c, s, \text{hue}),

    for every pixel `x` of an image with mean luma :math:`\bar\ell`, brightness `b`, contrast `c`.

    Parameters
    ----------
    images : Tensor, shape (n, channels, height, width)
        One channel (grey; saturation and hue have no effect) or three (RGB).
    brightness, contrast, saturation, hue : Tensor, shape (n,)
        Three factors and a number of turns; 1, 1, 1 and 0 change nothing.

    Returns
    -------
    Tensor, shape of `images`

    Examples
    --------
    >>> x = torch.tensor([0.2, 0.6]).reshape(1, 1, 1, 2)
    >>> one = torch.ones(1)
    >>> recolour(x, one, 0.5 * one, one, 0 * one).flatten()
    tensor([0.3000, 0.5000])
    """
    mean = images.mean((2, 3))
    if images.shape[1] == 3:
        mean = (mean * _parts(images.device)[0, 0]).sum(1, keepdim=True)
    offset = ((brightness * (1 - contrast))[:, None] * mean)[:, :, None]
    pixels = images.flatten(2)
    gain = brightness * contrast
    if images.shape[1] == 1:
        return torch.addcmul(offset, gain[:, None, None], pixels).view(images.shape)
    maps = colour_maps(gain, saturation, hue)
    changed = torch.addcmul(offset, maps[:, :, 0:1], pixels[:, 0:1])
    for k in (1, 2):
        changed.addcmul_(maps[:, :, k : k + 1], pixels[:, k : k + 1])
    return changed.view(images.shape)
