"""Scikit-learn's handwritten digits, and the views that self-supervision trains on."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from .. import seeding, validation
from .source import Images, ViewDataset, check_rows, content_hash

_JITTER = 1e-3


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


def digit_views(
    *,
    seed: int = 0,
    shift: int = 1,
    contrast: float = 0.2,
    noise: float = 0.2,
    device: torch.device | str = "cpu",
) -> ViewDataset:
    r"""Return scikit-learn's digits with views that shift them and change contrast and pixels.

    .. math:: x'_{ij} = c\, x_{i+a,\, j+b} + \text{noise} \cdot \xi_{ij}, \qquad
        a, b \sim U\{-\text{shift}, \dots, \text{shift}\},

    with c and :math:`\xi` as in `contrast_noise_views` and zeros beyond the border.

    Parameters
    ----------
    seed : int
        Seed of the jitter of the pixels; the split never changes.
    shift : int
        Largest shift in pixels along each axis, 0 to 7. The digits fill the 8 x 8 pixels nearly,
        so a shift of 2 can cut a stroke away.
    contrast, noise : float
        Half-width of the contrast factor and standard deviation of the noise, not negative.
    device : torch.device or str
        Where the images are kept and the views drawn.

    Returns
    -------
    ViewDataset
        1,000 training and 797 test images of shape (1, 8, 8), float32 in [0, 1]: those of `digits`
        divided by the largest value that the jitter allows. The noise can take the entries of a
        view out of [0, 1]; they are not clipped, so that its law stays Gaussian.

    Raises
    ------
    TypeError, ValueError
        If an option is out of range.

    Examples
    --------
    >>> data = digit_views()
    >>> view, other = data.two_views(torch.arange(3), torch.Generator().manual_seed(0))
    >>> len(data), view.shape, torch.equal(view, other)
    (1000, torch.Size([3, 1, 8, 8]), False)
    """
    shift = validation.integer("shift", shift, at_least=0)
    validation.member("shift", shift, range(8))
    validation.nonnegative("contrast", contrast)
    validation.nonnegative("noise", noise)
    train, test = (_unit_digits(part, seed) for part in (True, False))
    options = {"seed": seed, "jitter": _JITTER, "shift": shift}
    identity = {
        "data": "scikit-learn digits, split 1000 / 797",
        **{key: str(value) for key, value in options.items()},
        "contrast": f"{contrast:g}",
        "noise": f"{noise:g}",
        "sha256": content_hash(train, test),
    }
    train, test = (Images(*(part.to(device) for part in images)) for images in (train, test))

    def two_views(rows: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        images = train.images[check_rows(rows, generator, train.images).repeat(2)]
        moved = shifted(images, shift, generator=generator)
        views = contrast_noise_views(moved, generator=generator, contrast=contrast, noise=noise)
        first, second = views.chunk(2)
        return first, second

    return ViewDataset("digits", identity, train, test, two_views)


def shifted(images: Tensor, shift: int, *, generator: torch.Generator) -> Tensor:
    """Return images of shape (n, c, h, w), each moved by up to `shift` pixels, zeros moving in."""
    n, _, height, width = images.shape
    padded = functional.pad(images, (shift,) * 4)
    windows = padded.unfold(2, height, 1).unfold(3, width, 1)  # every shift, without a copy
    corner = torch.randint(2 * shift + 1, (2, n), generator=generator, device=images.device)
    return windows[torch.arange(n, device=images.device), :, corner[0], corner[1]]


def _unit_digits(train: bool, seed: int) -> Images:
    """Return float32 digits in [0, 1]."""
    images, labels = digits(train=train, jitter=_JITTER, seed=seed, dtype=torch.float32)
    return Images(images / (1 + _JITTER), labels)
