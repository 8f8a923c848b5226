"""A data set with the views that self-supervision trains on, in one form for every source."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor


class Images(NamedTuple):
    """Images of shape (n, channels, height, width) with entries near [0, 1], and class labels."""

    images: Tensor
    labels: Tensor


TwoViews = Callable[[Tensor, torch.Generator], tuple[Tensor, Tensor]]
"""A function of the rows of training images and a generator; it returns two views of each."""


@dataclass(frozen=True, eq=False)
class ViewDataset:
    """Hold training and test images with the function that draws two views of training images.

    Parameters
    ----------
    name : str
        Name of the data, as records quote it.
    identity : dict of str to str
        What the data are: origin, options, and a hash of the pixels.
    train, test : Images
        Canonical images, without augmentation, on one device: uint8 in 0 to 255 or float32 in
        [0, 1], shape (n, channels, height, width), with int64 labels of shape (n,).
    two_views : callable
        ``two_views(rows, generator)`` returns two independent float32 views of the training images
        numbered `rows` (int64, shape (batch,)); the generator lives on the device of the images.
    train_factors, test_factors : Tensor, shape (n, factors), optional
        The float32 factors that made the images, where these are known.
    factor_names : tuple of str
        Names of the columns of the factors.

    Raises
    ------
    TypeError, ValueError
        If a field has another dtype, shape or range than stated.

    Examples
    --------
    >>> still = Images(torch.zeros(5, 1, 2, 2), torch.zeros(5, dtype=torch.int64))
    >>> data = ViewDataset("dark", {}, still, still, lambda rows, g: (still.images[rows],) * 2)
    >>> len(data), data
    (5, ViewDataset(name='dark', identity={}, factor_names=()))
    """

    name: str
    identity: dict[str, str]
    train: Images = field(repr=False)
    test: Images = field(repr=False)
    two_views: TwoViews = field(repr=False)
    train_factors: Tensor | None = field(default=None, repr=False)
    test_factors: Tensor | None = field(default=None, repr=False)
    factor_names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse fields that disagree with each other."""
        for part in ("train", "test"):
            _check_images(part, getattr(self, part))
            images, factors = getattr(self, part).images, getattr(self, f"{part}_factors")
            _check_factors(f"{part}_factors", factors, len(images), len(self.factor_names))
        train, test = self.train.images, self.test.images
        if train.shape[1:] != test.shape[1:] or train.device != test.device:
            raise ValueError(
                "train and test images must share shape and device, got "
                f"{tuple(train.shape[1:])} on {train.device} and {tuple(test.shape[1:])} on "
                f"{test.device}"
            )
        if not all(isinstance(text, str) for item in self.identity.items() for text in item):
            raise TypeError(f"identity must map strings to strings, got {self.identity!r}")

    def __len__(self) -> int:
        """Return the number of training images."""
        return len(self.train.images)

    @property
    def device(self) -> torch.device:
        """The device of the images, on which views are drawn."""
        return self.train.images.device


def to_float(images: Tensor) -> Tensor:
    r"""Return images as float32 in [0, 1].

    .. math:: x \mapsto x / 255 \quad\text{for bytes}, \qquad x \mapsto x \quad\text{for floats}

    Parameters
    ----------
    images : Tensor, any shape
        Bytes (uint8), or floats, which are taken to be in [0, 1] already.

    Returns
    -------
    Tensor of float32, shape of `images`

    Raises
    ------
    TypeError
        If `images` is no tensor of bytes or floats.

    Examples
    --------
    >>> to_float(torch.tensor([0, 51, 255], dtype=torch.uint8))
    tensor([0.0000, 0.2000, 1.0000])
    """
    if not isinstance(images, Tensor):
        raise TypeError(f"images must be a torch.Tensor, got {type(images).__name__}")
    if images.dtype == torch.uint8:
        return images.to(torch.float32) / 255
    if not images.is_floating_point():
        raise TypeError(f"images must be uint8 or floating, got {images.dtype}")
    return images.to(torch.float32)


def check_rows(rows: Any, generator: Any, images: Tensor) -> Tensor:
    """Return the row numbers of a batch, on the device of `images`, if views can be drawn of them.

    Numbers on the CPU are compared with the number of images; those on a GPU are left to the
    indexing there, since to compare them would make every training step wait for the device.
    """
    if not isinstance(rows, Tensor) or rows.dtype != torch.int64 or rows.ndim != 1:
        shown = f"{rows.dtype} {tuple(rows.shape)}" if isinstance(rows, Tensor) else type(rows)
        raise TypeError(f"rows must be an int64 tensor of 1 dimension, got {shown}")
    if rows.device.type == "cpu" and rows.numel():
        low, high = (int(value) for value in rows.aminmax())
        if low < 0 or high >= len(images):
            raise ValueError(f"rows must lie in 0 to {len(images) - 1}, got {low} to {high}")
    if not isinstance(generator, torch.Generator):
        raise TypeError(f"generator must be a torch.Generator, got {type(generator).__name__}")
    if generator.device.type != images.device.type:
        raise ValueError(
            f"generator must be on the device of the images, {images.device}, got "
            f"{generator.device}"
        )
    return rows.to(images.device)


def _check_images(name: str, part: Images) -> None:
    """Refuse images that are not canonical, or labels that do not fit them."""
    images, labels = part
    if images.ndim != 4 or not len(images):
        raise ValueError(
            f"{name} images must have 4 dimensions and a row, got shape {tuple(images.shape)}"
        )
    if images.dtype not in (torch.uint8, torch.float32):
        raise TypeError(f"{name} images must be uint8 or float32, got {images.dtype}")
    if images.dtype == torch.float32:
        low, high = (float(value) for value in images.aminmax())
        if not (low >= 0 and high <= 1):  # NaN fails both
            raise ValueError(f"{name} images must lie in [0, 1], got {low:g} to {high:g}")
    if labels.dtype != torch.int64 or labels.shape != images.shape[:1]:
        raise ValueError(
            f"{name} labels must be int64 of shape {tuple(images.shape[:1])}, "
            f"got {labels.dtype} of shape {tuple(labels.shape)}"
        )


def _check_factors(name: str, factors: Tensor | None, rows: int, columns: int) -> None:
    """Refuse factors that are not one float32 row an image and one column a name."""
    if factors is None:
        if columns:
            raise ValueError(f"{name} must be given where factor_names has {columns} names")
    elif factors.dtype != torch.float32 or factors.shape != (rows, columns):
        raise ValueError(
            f"{name} must be float32 of shape {(rows, columns)}, "
            f"got {factors.dtype} of shape {tuple(factors.shape)}"
        )


def content_hash(*parts: Images) -> str:
    """Return the sha256 of the pixels and labels of images on the CPU."""
    digest = hashlib.sha256()
    for part in parts:
        for values in part:
            digest.update(values.contiguous().numpy().data)
    return digest.hexdigest()
