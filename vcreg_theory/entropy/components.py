"""Gaussian components of a mixture: their checks, weights and entropies."""

import math
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from .. import validation
from .codes import centred, widened
from .divergences import Pair, Parameters, diagonal, full, isotropic, log_det

# Squared distances and variances over variances; their products with weights stay finite.
_LARGEST_RATIO = 1e280


class Divergences(Protocol):
    """A function of the parameters of b and of K components, and of alpha."""

    def __call__(self, rows: Parameters, columns: Parameters, alpha: float) -> Pair:
        """Return the divergences of every pair."""
        ...


class Components(NamedTuple):
    """The components of a Gaussian mixture in float64.

    `parameters` have one row a component, so that rows can be taken out; `divergences` maps the
    parameters of b and of K components and alpha to the Chernoff and Kullback-Leibler divergences
    of every pair, two tensors of shape (b, K). `numbers` is what one pair needs at once.
    """

    parameters: tuple[Tensor, ...]
    weights: Tensor
    entropies: Tensor
    divergences: Divergences
    numbers: int


def components(
    means: Tensor, covs: Tensor | float, weights: Tensor | None, *, name: str = "covs"
) -> Components:
    """Return checked components of the kind that the shape of `covs` says.

    Parameters
    ----------
    means : Tensor, shape (K, d)
        Checked codes.
    covs : float or Tensor of shape (), (K,), (K, d) or (K, d, d)
        Variance of all, variances of isotropic components, diagonals, or covariance matrices.
    weights : Tensor of shape (K,), optional
    name : str
        What messages call `covs`.

    Raises
    ------
    TypeError, ValueError
        If a shape or dtype does not fit, a covariance is not positive definite, or the weights are
        not positive with sum one.

    Examples
    --------
    >>> components(torch.zeros(2, 3), 1.0, None).weights
    tensor([0.5000, 0.5000], dtype=torch.float64)
    """
    covs = _covariances(name, covs, means)
    share = _weights(weights, means)
    build = _full if covs.ndim == 3 else _axes
    return build(name, means, covs, share)


def _covariances(name: str, covs: Any, means: Tensor) -> Tensor:
    """Return the variances as a tensor that fits `means`; one variance becomes a vector of K."""
    k, d = means.shape
    if not isinstance(covs, Tensor):
        variance = validation.positive(name, covs)
        return torch.full((k,), variance, dtype=torch.float64, device=means.device)
    covs = widened(covs)
    found = validation.tensor(name, covs, ndim=(0, 1, 2, 3))
    allowed = ((), (k,), (k, d), (k, d, d))
    if tuple(found.shape) not in allowed:
        raise ValueError(
            f"{name} must have one of the shapes {', '.join(map(str, allowed))} for means of shape "
            f"{(k, d)}, got {tuple(found.shape)}"
        )
    _require_like(name, found, means)
    return found.expand(k) if found.ndim == 0 else found


def _weights(weights: Any, means: Tensor) -> Tensor:
    """Return the weights in float64, checked and rescaled to sum one to the last digit."""
    k = len(means)
    if weights is None:
        return torch.full((k,), 1 / k, dtype=torch.float64, device=means.device)
    weights = validation.tensor("weights", widened(weights), ndim=1)
    if len(weights) != k:
        raise ValueError(f"weights must have one entry a component, {k}, got {len(weights)}")
    _require_like("weights", weights, means)
    share: Tensor = weights.double()
    total, smallest = float(share.detach().sum()), float(share.detach().min())
    if smallest <= 0 or abs(total - 1) > 1e-6:
        raise ValueError(
            f"weights must be positive with sum 1, got minimum {smallest:g} and sum {total:g}"
        )
    return share / share.sum()


def _require_like(name: str, value: Tensor, means: Tensor) -> None:
    """Raise unless `value` has the dtype and device of the means."""
    if value.dtype != means.dtype or value.device != means.device:
        raise ValueError(
            f"{name} must have dtype {means.dtype} on {means.device} as means has, "
            f"got {value.dtype} on {value.device}"
        )


def _require_range(name: str, means: Tensor, covs: Tensor, smallest: float) -> None:
    """Raise where a divergence would overflow, and its gradient be no number."""
    distances = 4 * float(centred(means.detach()).square().sum(1).max())
    largest = distances + float(covs.detach().abs().max())
    if not largest / smallest < _LARGEST_RATIO:
        raise ValueError(
            f"{name} must not be so narrow that divergences overflow, got a smallest variance of "
            f"{smallest:g} where squared distances and variances reach {largest:g}"
        )


def _axes(name: str, means: Tensor, covs: Tensor, share: Tensor) -> Components:
    """Return isotropic components for variances (K,) and diagonal ones for (K, d)."""
    d = means.shape[1]
    variances = covs.double()
    smallest = float(variances.detach().min())
    if smallest <= 0:
        raise ValueError(f"{name} must hold positive variances, got a smallest of {smallest:g}")
    _require_range(name, means, variances, smallest)
    parameters = (means.double(), variances)
    entropies = (variances.log() + math.log(2 * math.pi * math.e)) / 2  # of one axis
    if covs.ndim == 1:
        return Components(parameters, share, d * entropies, isotropic, 1)
    return Components(parameters, share, entropies.sum(1), diagonal, d)


def _full(name: str, means: Tensor, covs: Tensor, share: Tensor) -> Components:
    """Return components with covariance matrices, checked."""
    d = means.shape[1]
    matrices = covs.double()
    _require_definite(name, matrices.detach(), d * torch.finfo(covs.dtype).eps)
    matrices = (matrices + matrices.mT) / 2
    factors = torch.linalg.cholesky(matrices)
    smallest = float(factors.detach().diagonal(dim1=1, dim2=2).square().min())
    _require_range(name, means, matrices, smallest)
    parameters = (means.double(), matrices, factors)
    entropies = (log_det(factors) + d * math.log(2 * math.pi * math.e)) / 2
    return Components(parameters, share, entropies, full, d * d)


def _require_definite(name: str, matrices: Tensor, rounding: float) -> None:
    """Raise unless the matrices are symmetric and positive definite beyond their rounding.

    `rounding` is what a product of d terms leaves. The eigenvalues are those of the correlation
    matrices, since units of the coordinates do not make a matrix singular.
    """
    variances = matrices.diagonal(dim1=1, dim2=2)
    skew = (matrices - matrices.mT).abs().amax((1, 2))
    lopsided = skew > rounding * variances.abs().amax(1)
    if bool(lopsided.any()):
        index = int(lopsided.nonzero()[0])
        raise ValueError(f"{name}[{index}] must be symmetric, got a difference of {skew[index]:g}")
    scale = torch.where(variances > 0, variances, 1.0).rsqrt()
    smallest = torch.linalg.eigvalsh(scale[:, :, None] * matrices * scale[:, None])[:, 0]
    singular = (variances <= 0).any(1) | (smallest <= rounding)
    if bool(singular.any()):
        raise ValueError(
            f"{name}[{int(singular.nonzero()[0])}] must be positive definite, got a matrix "
            f"that is singular at the resolution of its dtype "
            f"({int(singular.sum())} of {len(matrices)} are)"
        )
