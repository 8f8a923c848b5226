"""How many places points are at: their entropy at the resolution of the mixture."""

import math

import torch
from torch import Tensor

from .. import validation
from ..entropy import isotropic_pairwise_entropy
from ..entropy.codes import codes
from .flow import MixtureTrajectory


def location_entropy(points: Tensor, variance: float) -> Tensor:
    r"""Return the entropy of equal Gaussians at the points, less that of one of them.

    .. math:: -\frac1n \sum_i \log \frac1n \sum_j e^{-\|z_i - z_j\|^2 / 8\sigma^2}

    Parameters
    ----------
    points : Tensor, shape (n, d)
    variance : float
        The variance :math:`\sigma^2` of each Gaussian, positive.

    Returns
    -------
    Tensor, scalar
        In nats, differentiable: 0 where all points coincide, log n where they are far apart, at
        most log m for m distinct points.

    Raises
    ------
    ValueError
        If `points` is not a batch of finite points or the variance is not positive.

    Notes
    -----
    Claims B7.a and B7.d. The lower bound of Kolchinsky and Tracey,
    `entropy.isotropic_pairwise_entropy`, on a scale without the dimension.

    Examples
    --------
    >>> round(float(location_entropy(torch.tensor([[0.0], [0.0], [100.0]]), 1.0)), 4)
    0.6365
    """
    points = codes("points", points, min_rows=1)
    lower = isotropic_pairwise_entropy(points.double(), variance).lower
    one = points.shape[1] / 2 * math.log(2 * math.pi * math.e * variance)
    return (lower - one).to(points.dtype)


def trajectory_entropy(
    trajectory: MixtureTrajectory, variance: float, *, points: str = "inputs"
) -> Tensor:
    r"""Return the location entropy along a trajectory.

    Parameters
    ----------
    trajectory : MixtureTrajectory
    variance : float
        The variance :math:`\sigma^2` of each Gaussian, positive.
    points : {"inputs", "centroids"}
        Whose entropy.

    Returns
    -------
    Tensor, shape (T,)
        In nats.

    Raises
    ------
    ValueError
        If the variance is not positive or `points` is neither.

    Notes
    -----
    Claims B7.a and B7.d.

    Examples
    --------
    >>> states = torch.tensor([[[0.0], [100.0]], [[0.0], [0.0]]])
    >>> run = MixtureTrajectory(torch.tensor([0.0, 1.0]), states, states)
    >>> trajectory_entropy(run, 1.0)
    tensor([0.6931, 0.0000])
    """
    validation.member("points", points, ("inputs", "centroids"))
    states = getattr(trajectory, points)
    return torch.stack([location_entropy(state, variance) for state in states])
