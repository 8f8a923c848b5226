"""The mixture of affinely mapped Gaussians, and how far its components overlap at the input."""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.distributions import Categorical, MixtureSameFamily, MultivariateNormal

from .. import validation
from ..gaussian_measure import normal_tail
from ..piecewise.local import local_affine_map
from ..piecewise.program import Program, lower
from .exit import noise_levels


class OverlapBounds(NamedTuple):
    """Bounds on the probability that noise brings an input closer to another prototype."""

    lower: Tensor
    upper: Tensor


def prototype_mixture(
    model: nn.Module | Program, prototypes: Tensor, sigma: float
) -> MixtureSameFamily:
    r"""Return the equal mixture of the Gaussians that the local affine maps make.

    With :math:`A_n` the map of the cell of prototype :math:`x_n`,

    .. math:: q(z) = \frac1N \sum_n
        \mathcal N\bigl(z; f(x_n), \sigma^2 A_n A_n^\top\bigr).

    Parameters
    ----------
    model : nn.Module or Program
    prototypes : Tensor, shape (N, ...)
    sigma : float
        Noise level at the input, positive.

    Returns
    -------
    torch.distributions.MixtureSameFamily
        Over outputs of shape (d,).

    Raises
    ------
    ValueError
        If a local map has not full row rank, so that its component has no density.

    Notes
    -----
    Claim: B2.b. Shwartz-Ziv et al. (2023), Theorem 1.

    Examples
    --------
    >>> double = nn.Linear(1, 1, bias=False)
    >>> _ = double.weight.data.fill_(2.0)
    >>> q = prototype_mixture(double, torch.tensor([[-1.0], [1.0]]), 0.5)
    >>> q.mean, q.variance
    (tensor([0.]), tensor([5.]))
    """
    prototypes = validation.tensor("prototypes", prototypes, ndim=(2, 3, 4, 5), min_rows=1)
    sigma = validation.positive("sigma", sigma)
    program = lower(model)
    maps = local_affine_map(program, prototypes).map
    _require_full_row_rank(maps)
    # A A^T = R^T R for the triangular factor of A^T: the product is never formed.
    triangular = torch.linalg.qr(maps.mT, mode="r").R
    signs = torch.where(torch.diagonal(triangular, dim1=1, dim2=2) < 0, -1.0, 1.0)
    scale_tril = sigma * (signs.unsqueeze(2) * triangular).mT
    centers = program(prototypes).detach().flatten(1)
    weights = Categorical(probs=centers.new_full((len(centers),), 1 / len(centers)))
    return MixtureSameFamily(weights, MultivariateNormal(centers, scale_tril=scale_tril))


def overlap_probability(distance: Tensor, sigma: float | Tensor) -> Tensor:
    r"""Return the probability that noise carries an input past the midpoint to a neighbour.

    .. math:: P(\|x + \sigma\xi - x'\| < \|\sigma\xi\|)
        = Q\left(\frac{\|x - x'\|}{2\sigma}\right).

    Parameters
    ----------
    distance : Tensor
        Distances between two inputs, not negative.
    sigma : float or Tensor, shape (S,)

    Returns
    -------
    Tensor
        The shape of `distance`, after the shape of `sigma`. Zero at zero noise.

    Raises
    ------
    ValueError
        If a distance or a noise level is negative or not finite.

    Notes
    -----
    Claim: B3.c.

    Examples
    --------
    >>> overlap_probability(torch.tensor([0.0, 2.0, 6.0]), 1.0)
    tensor([0.5000, 0.1587, 0.0013])
    """
    distance = validation.tensor("distance", distance)
    if not bool((distance >= 0).all()):
        raise ValueError("distance must not be negative")
    levels = noise_levels(sigma, distance)
    levels = levels.reshape(-1, *[1] * distance.ndim)
    tail = normal_tail(distance.double() / (2 * torch.where(levels > 0, levels, 1.0)))
    tail = torch.where(levels > 0, tail, 0.0).to(distance.dtype)
    return tail if isinstance(sigma, Tensor) and sigma.ndim else tail[0]


def prototype_overlap(prototypes: Tensor, sigma: float | Tensor) -> OverlapBounds:
    r"""Bound the probability that noise brings a prototype closer to another one.

    A midpoint plane separates two prototypes, so the event is a union of half-spaces:

    .. math:: \max_{m \ne n} Q\left(\frac{\|x_n - x_m\|}{2\sigma}\right)
        \le P(n \text{ not nearest})
        \le \sum_{m \ne n} Q\left(\frac{\|x_n - x_m\|}{2\sigma}\right).

    Parameters
    ----------
    prototypes : Tensor, shape (N, ...)
        At least two.
    sigma : float or Tensor, shape (S,)

    Returns
    -------
    OverlapBounds
        Fields `lower` and `upper` (capped at one), each of shape (N,) or (S, N).

    Raises
    ------
    ValueError
        If there are fewer than two prototypes or a noise level is negative.

    Notes
    -----
    Claim: B3.c. With two prototypes both bounds are exact.

    Examples
    --------
    >>> prototype_overlap(torch.tensor([[0.0], [2.0]]), 1.0).upper
    tensor([0.1587, 0.1587])
    """
    validation.tensor("prototypes", prototypes, ndim=(2, 3, 4, 5), min_rows=2)
    flat = prototypes.flatten(1)
    exact = "donot_use_mm_for_euclid_dist"  # the fast form loses small distances to cancellation
    pairwise = overlap_probability(torch.cdist(flat, flat, compute_mode=exact), sigma)
    itself = torch.eye(len(flat), dtype=torch.bool, device=flat.device)
    pairwise = pairwise.masked_fill(itself, 0.0)
    return OverlapBounds(pairwise.amax(-1), pairwise.sum(-1).clamp_max(1))


def _require_full_row_rank(maps: Tensor) -> None:
    ranks = torch.linalg.matrix_rank(maps)
    outputs, entries = maps.shape[1:]
    deficient = torch.nonzero(ranks < outputs).flatten().tolist()
    if deficient:
        first = deficient[0]
        raise ValueError(
            f"prototypes must have local maps of full row rank: at prototype {first} the map from "
            f"{entries} inputs to {outputs} outputs has rank {int(ranks[first])}, so A A^T is "
            f"singular and its Gaussian has no density ({len(deficient)} of {len(maps)} "
            "prototypes); project the output onto fewer coordinates, or compare bin masses with "
            "pushforward_bin_probabilities"
        )
