"""Real signals: crops of two photographs, and differences of pixels, as sources."""

from typing import Any

import numpy as np

from .. import validation
from .._types import FloatArray

_NAMES = ("china.jpg", "flower.jpg")
_LUMINANCE = (0.299, 0.587, 0.114)  # of red, green and blue, ITU-R BT.601


def photographs() -> FloatArray:
    """Return the luminance of the two photographs that come with scikit-learn.

    A temple and a flower, by the Flickr users danielbuechele and vultilion, both under the licence
    CC BY 2.0. Nothing is downloaded.

    Returns
    -------
    ndarray, shape (2, 427, 640)
        In [0, 1].

    Examples
    --------
    >>> images = photographs()
    >>> images.shape, bool(images.min() >= 0), bool(images.max() <= 1)
    ((2, 427, 640), True, True)
    """
    from sklearn.datasets import load_sample_image

    return np.stack([load_sample_image(name) @ np.array(_LUMINANCE) / 255 for name in _NAMES])


def crops(images: Any, size: int, count: int, generator: np.random.Generator) -> FloatArray:
    """Return disjoint square crops of images, at random places of a grid.

    Parameters
    ----------
    images : array_like, shape (k, h, w)
    size : int
        Side of the crops in pixels.
    count : int
        Number of crops, at most the number of squares that fit.
    generator : numpy.random.Generator

    Returns
    -------
    ndarray, shape (count, size, size)

    Raises
    ------
    ValueError
        If the images are not of that shape, or the crops do not fit.

    Examples
    --------
    >>> crops(np.arange(24.0).reshape(1, 4, 6), 2, 6, np.random.default_rng(0)).sum()
    np.float64(276.0)
    """
    stack = _stack(images)
    side = validation.integer("size", size, at_least=1)
    number = validation.integer("count", count, at_least=1)
    k, rows, columns = stack.shape[0], stack.shape[1] // side, stack.shape[2] // side
    if number > k * rows * columns:
        raise ValueError(
            f"count must be at most {k * rows * columns}, the disjoint squares of side {side} in "
            f"images of shape {stack.shape}, got {number}"
        )
    tiles = stack[:, : rows * side, : columns * side].reshape(k, rows, side, columns, side)
    tiles = tiles.swapaxes(2, 3).reshape(-1, side, side)
    return tiles[generator.permutation(len(tiles))[:number]]


def differences(images: Any) -> FloatArray:
    r"""Return the second difference of each image, down and across.

    .. math::
        u_{ab} = v_{a + 1, b + 1} - v_{a + 1, b} - v_{a, b + 1} + v_{ab}

    It is linear, so mixtures of images become the same mixtures of differences; it removes what is
    constant along rows or columns, such as lighting, and leaves few large values.

    Parameters
    ----------
    images : array_like, shape (k, h, w)

    Returns
    -------
    ndarray, shape (k, h - 1, w - 1)

    Raises
    ------
    ValueError
        If the images are not of that shape.

    Notes
    -----
    Claim A6.c is about independent samples; differences of neighbouring pixels are much closer to
    them than the pixels themselves.

    Examples
    --------
    >>> rows, columns = np.meshgrid(np.arange(3.0), np.arange(4.0), indexing="ij")
    >>> bool((differences([rows + columns**2]) == 0).all())
    True
    """
    stack = _stack(images)
    return np.diff(np.diff(stack, axis=1), axis=2)


def as_sources(images: Any) -> FloatArray:
    """Return images as columns of mean 0 and variance 1, one row a pixel.

    Parameters
    ----------
    images : array_like, shape (k, h, w)

    Returns
    -------
    ndarray, shape (h w, k)

    Raises
    ------
    ValueError
        If the images are not of that shape or one is constant.

    Examples
    --------
    >>> as_sources([[[0.0, 2.0], [2.0, 0.0]]]).ravel()
    array([-1.,  1.,  1., -1.])
    """
    stack = _stack(images)
    columns = stack.reshape(len(stack), -1).T
    columns = columns - columns.mean(0)
    deviation = columns.std(0)
    if not (deviation > 0).all():
        raise ValueError(f"images must vary, got {int((deviation == 0).sum())} constant ones")
    standard: FloatArray = columns / deviation
    return standard


def _stack(images: Any) -> FloatArray:
    """Return images as a finite float64 array of three axes."""
    stack = np.asarray(images, dtype=np.float64)
    if stack.ndim != 3 or not stack.size:
        raise ValueError(f"images must have shape (k, h, w), none of them 0, got {stack.shape}")
    if not np.isfinite(stack).all():
        raise ValueError("images must be finite")
    return stack
