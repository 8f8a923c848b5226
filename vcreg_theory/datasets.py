"""Data sets that need no download, and the views that self-supervision trains on."""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from . import seeding, validation


class Images(NamedTuple):
    """Images of shape (n, channels, height, width) with entries near [0, 1], and class labels."""

    images: Tensor
    labels: Tensor


def digits(
    *,
    train: bool = True,
    jitter: float = 1e-3,
    seed: int = 0,
    dtype: torch.dtype = torch.float64,
) -> Images:
    r"""Return scikit-learn's handwritten digits, real 8 x 8 scans, with a small uniform jitter.

    .. math:: x = \text{pixel}/16 + \text{jitter} \cdot u, \qquad u \sim U[0, 1)^{64}.

    Many pixels are zero in every image. A network sees such images exactly on the boundary of
    activation cells, where it has no derivative; the jitter (dequantisation) moves them off.

    Parameters
    ----------
    train : bool
        The first 1,000 images after a fixed shuffle, or the remaining 797.
    jitter : float
        Width of the uniform noise, not negative; a pixel step is 1/16.
    seed : int
        Seed of the jitter; the split never changes.
    dtype : torch.dtype
        float32 or float64.

    Returns
    -------
    Images
        ``images`` of shape (n, 1, 8, 8) and integer ``labels`` of shape (n,).

    Raises
    ------
    ValueError
        If `jitter` is negative or `dtype` is not float32 or float64.

    Notes
    -----
    The images come with scikit-learn (Optical Recognition of Handwritten Digits, E. Alpaydin and
    C. Kaynak, UCI Machine Learning Repository).

    Examples
    --------
    >>> digits(train=False).images.shape
    torch.Size([797, 1, 8, 8])
    """
    from sklearn.datasets import load_digits

    validation.nonnegative("jitter", jitter)
    validation.member("dtype", dtype, (torch.float32, torch.float64))
    bunch = load_digits()
    order = seeding.numpy_generator(0, "digits split").permutation(len(bunch.target))
    rows = order[:1000] if train else order[1000:]
    images = torch.from_numpy(bunch.images[rows]).unsqueeze(1) / 16
    stream = f"digits jitter {'train' if train else 'test'}"
    noise = torch.rand(
        images.shape, generator=seeding.torch_generator(seed, stream), dtype=torch.float64
    )
    labels = torch.from_numpy(bunch.target[rows])
    return Images((images + jitter * noise).to(dtype), labels)


def contrast_noise_views(
    images: Tensor,
    *,
    generator: torch.Generator,
    contrast: float = 0.2,
    noise: float = 0.2,
) -> Tensor:
    r"""Return one random view of each image: a change of contrast and pixel noise.

    .. math:: x' = c\, x + \text{noise} \cdot \xi, \qquad
        c \sim U[1 - \text{contrast}, 1 + \text{contrast}],\; \xi \sim \mathcal N(0, I).

    Parameters
    ----------
    images : Tensor, shape (n, channels, height, width)
        The images.
    generator : torch.Generator
        Source of all randomness.
    contrast, noise : float
        Half-width of the contrast factor and standard deviation of the noise, not negative.

    Returns
    -------
    Tensor, shape of `images`

    Raises
    ------
    ValueError
        If `images` is not four-dimensional and finite or an option is negative.

    Examples
    --------
    >>> x = torch.ones(2, 1, 8, 8)
    >>> g = torch.Generator().manual_seed(0)
    >>> contrast_noise_views(x, generator=g, contrast=0.0, noise=0.0).equal(x)
    True
    """
    validation.tensor("images", images, ndim=4)
    validation.nonnegative("contrast", contrast)
    validation.nonnegative("noise", noise)
    options: dict[str, Any] = {
        "generator": generator,
        "device": images.device,
        "dtype": images.dtype,
    }
    factor = 1 + contrast * (2 * torch.rand(len(images), 1, 1, 1, **options) - 1)
    return factor * images + noise * torch.randn(images.shape, **options)
