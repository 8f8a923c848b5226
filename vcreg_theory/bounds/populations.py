"""Finite populations, on which every expectation is a sum: clusters, and the memoriser."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from .. import validation
from . import _inputs


class Population(NamedTuple):
    """Equally likely images: their features, shape (N, d), and their classes, shape (N,)."""

    features: Tensor
    labels: Tensor


class Memoriser(NamedTuple):
    """An encoder that knows every image by name: its population and the rows that get a label."""

    population: Population
    rows: Tensor


class MemoriserLimits(NamedTuple):
    """What the memoriser's bound says with pairs of views, its risk, and its class invariance."""

    view_bound: float
    risk: float
    class_invariance: float


def memoriser(classes: int, images: int, *, dtype: torch.dtype = torch.float64) -> Memoriser:
    r"""Return the encoder that gives every image a coordinate of its own.

    .. math:: f(x) = e_{\text{image}(x)}

    Parameters
    ----------
    classes : int
        Number of equally likely classes, at least 1.
    images : int
        Images M of each class; the first has a label.
    dtype : torch.dtype
        float32 or float64.

    Returns
    -------
    Memoriser
        The features are the identity matrix of size classes times images.

    Raises
    ------
    TypeError, ValueError
        If a number is below 1 or `dtype` is not allowed.

    Notes
    -----
    Claim B8.d. A view of an image keeps its features, so the invariance over views is exactly 0.

    Examples
    --------
    >>> found = memoriser(2, 2)
    >>> found.population.labels, found.rows
    (tensor([0, 0, 1, 1]), tensor([0, 2]))
    """
    classes = validation.integer("classes", classes, at_least=1)
    images = validation.integer("images", images, at_least=1)
    validation.member("dtype", dtype, (torch.float32, torch.float64))
    labels = torch.arange(classes).repeat_interleave(images)
    population = Population(torch.eye(classes * images, dtype=dtype), labels)
    return Memoriser(population, images * torch.arange(classes))


def memoriser_limits(classes: int, images: int, delta: float) -> MemoriserLimits:
    r"""Return in closed form what goes wrong for the memoriser with pairs of views.

    .. math:: 2 \sqrt{\frac{\ln(1/\delta)}{2n}} \;\text{ against }\; R = 1 - \frac1M, \qquad
        \bar I = \sqrt2\, \Big(1 - \frac1M\Big)

    Parameters
    ----------
    classes : int
        Number n of classes, each with one label.
    images : int
        Images M of each class.
    delta : float
        As of `probe_risk_bound`, in (0, 1).

    Returns
    -------
    MemoriserLimits

    Raises
    ------
    TypeError, ValueError
        If a number is out of range.

    Notes
    -----
    Claim B8.d. Any size is free of cost here; `memoriser` makes the matrices.

    Examples
    --------
    >>> found = memoriser_limits(1000, 50, 0.05)
    >>> round(found.view_bound, 3), found.risk
    (0.077, 0.98)
    """
    classes = validation.integer("classes", classes, at_least=1)
    images = validation.integer("images", images, at_least=1)
    delta = validation.probability("delta", delta)
    unseen = 1 - 1 / images
    bound = 2 * math.sqrt(math.log(1 / delta) / (2 * classes))
    return MemoriserLimits(bound, unseen, math.sqrt(2) * unseen)


def clusters(
    classes: int,
    images: int,
    dim: int,
    *,
    spread: float,
    generator: torch.Generator,
    dtype: torch.dtype = torch.float64,
) -> Population:
    r"""Return classes of points on the unit sphere, scattered about random directions.

    .. math:: f(x) = \frac{u_y + s\, \xi / \sqrt d}{\lVert u_y + s\, \xi / \sqrt d \rVert}, \qquad
        u_y \text{ uniform on the sphere},\; \xi \sim \mathcal N(0, I)

    Parameters
    ----------
    classes, images, dim : int
        Number of classes, of images of each, and of features.
    spread : float
        s, not negative.
    generator : torch.Generator
        Source of all randomness, on the CPU.
    dtype : torch.dtype
        float32 or float64.

    Returns
    -------
    Population

    Raises
    ------
    TypeError, ValueError
        If a number is out of range.

    Examples
    --------
    >>> found = clusters(3, 5, 2, spread=0.5, generator=torch.Generator().manual_seed(0))
    >>> found.features.shape, bool((found.features.norm(dim=1) - 1).abs().max() < 1e-12)
    (torch.Size([15, 2]), True)
    """
    for name, value in (("classes", classes), ("images", images), ("dim", dim)):
        validation.integer(name, value, at_least=1)
    spread = validation.nonnegative("spread", spread)
    validation.member("dtype", dtype, (torch.float32, torch.float64))
    directions = torch.randn(classes, dim, generator=generator, dtype=dtype)
    centres = torch.nn.functional.normalize(directions)
    labels = torch.arange(classes).repeat_interleave(images)
    noise = torch.randn(len(labels), dim, generator=generator, dtype=dtype) / math.sqrt(dim)
    return Population(torch.nn.functional.normalize(centres[labels] + spread * noise), labels)


def draw(population: Population, size: int, *, generator: torch.Generator) -> Tensor:
    """Return the rows of an i.i.d. sample, drawn with replacement.

    Parameters
    ----------
    population : Population
        Equally likely images.
    size : int
        Number of draws, at least 1.
    generator : torch.Generator
        Source of all randomness, on the CPU.

    Returns
    -------
    Tensor of int64, shape (size,)

    Raises
    ------
    TypeError, ValueError
        If the population is none or `size` is below 1.

    Examples
    --------
    >>> one = Population(torch.eye(1), torch.tensor([0]))
    >>> draw(one, 3, generator=torch.Generator().manual_seed(0))
    tensor([0, 0, 0])
    """
    size = validation.integer("size", size, at_least=1)
    features = _inputs.features("population", population[0])
    return torch.randint(len(features), (size,), generator=generator)
