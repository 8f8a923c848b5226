"""How far inputs and centroids are from one point, and how fast the soft flow must shrink that."""

import math

import torch
from torch import Tensor

from .. import validation
from ..entropy.codes import centred, codes
from ..entropy.distances import exact_squares
from ._inputs import exponents, points, squares

# Rows of a block of pairwise distances: 8 MiB at 1024 columns.
_SIDE = 1024


def energy(x: Tensor, centroids: Tensor) -> Tensor:
    r"""Return the squared distances of all points to their common mean, summed.

    .. math:: E = \sum_n \|x_n - c\|^2 + \sum_k \|\mu_k - c\|^2, \qquad
        c = \frac1{N + K} \Bigl(\sum_n x_n + \sum_k \mu_k\Bigr)

    Parameters
    ----------
    x : Tensor, shape (N, d)
        Inputs.
    centroids : Tensor, shape (K, d)

    Returns
    -------
    Tensor, scalar
        Differentiable.

    Raises
    ------
    ValueError
        If shapes do not fit or an entry is not finite.

    Notes
    -----
    Claim B7.a. Zero exactly where all points coincide.

    Examples
    --------
    >>> energy(torch.tensor([[1.0]]), torch.tensor([[-1.0]]))
    tensor(2.)
    """
    together = torch.cat(points(x, centroids))
    return centred(together).square().sum().to(together.dtype)


def energy_rate(x: Tensor, centroids: Tensor, variance: float) -> Tensor:
    r"""Return the exact time derivative of the energy under the soft flow, inputs trainable.

    .. math:: \dot E = -\frac2{\sigma^2} \sum_{nk} r_{nk} \|x_n - \mu_k\|^2

    Parameters
    ----------
    x : Tensor, shape (N, d)
        Inputs.
    centroids : Tensor, shape (K, d)
    variance : float
        The variance :math:`\sigma^2`, positive.

    Returns
    -------
    Tensor, scalar
        Negative, or zero where all points coincide; differentiable.

    Raises
    ------
    ValueError
        If shapes do not fit, an entry is not finite or the variance is not positive.

    Notes
    -----
    Claim B7.a.

    Examples
    --------
    >>> energy_rate(torch.tensor([[1.0]]), torch.tensor([[-1.0]]), 1.0)  # -2 times 2 squared
    tensor(-8.)
    """
    x, centroids = points(x, centroids)
    logits, variance = exponents(x, centroids, variance)
    total = (torch.softmax(logits, 1) * squares(x, centroids)).sum()
    return (-2 / variance * total).to(x.dtype)


def diameter(x: Tensor, centroids: Tensor | None = None) -> Tensor:
    """Return the largest distance between any two points, inputs and centroids alike.

    Parameters
    ----------
    x : Tensor, shape (N, d)
    centroids : Tensor, shape (K, d), optional

    Returns
    -------
    Tensor, scalar
        Without gradient.

    Raises
    ------
    ValueError
        If shapes do not fit or an entry is not finite.

    Notes
    -----
    Claims B7.a and B7.e. Taken in blocks; the time grows with the square of the number of points.

    Examples
    --------
    >>> diameter(torch.tensor([[0.0, 0.0], [3.0, 4.0]]))
    tensor(5.)
    """
    parts = (codes("x", x, min_rows=1),) if centroids is None else points(x, centroids)
    together = torch.cat(parts).detach()
    blocks = together.double().split(_SIDE)
    largest = [
        exact_squares(one, other).max()
        for number, one in enumerate(blocks)
        for other in blocks[number:]
    ]
    return torch.stack(largest).max().sqrt().to(together.dtype)


def collapse_rate(n: int, k: int, diameter: float, variance: float) -> float:
    r"""Return the rate at which the energy of the soft flow decays at least.

    .. math:: \kappa = \frac{2 \min(N, K)}{\sigma^2 K} e^{-D_0^2 / 2\sigma^2}, \qquad
        E(t) \le E(0)\, e^{-\kappa t}

    Parameters
    ----------
    n, k : int
        Numbers of inputs and centroids.
    diameter : float
        The diameter :math:`D_0` of inputs and centroids at the start, not negative.
    variance : float
        The variance :math:`\sigma^2`, positive.

    Returns
    -------
    float
        Per unit of time; zero where it underflows, at diameters of some 38 standard deviations.

    Raises
    ------
    ValueError
        If an argument is out of range.

    Notes
    -----
    Claim B7.a. Points move into their convex hull, so the diameter never grows, and no
    responsibility falls below :math:`e^{-D_0^2/2\sigma^2} / K`.

    Examples
    --------
    >>> collapse_rate(2, 2, 0.0, 1.0)
    2.0
    """
    n, k = validation.integer("n", n, at_least=1), validation.integer("k", k, at_least=1)
    diameter = validation.nonnegative("diameter", diameter)
    variance = validation.positive("variance", variance)
    return 2 * min(n, k) / (variance * k) * math.exp(-diameter * (diameter / variance) / 2)
