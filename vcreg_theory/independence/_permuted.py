"""Statistics as functions of permutations of the samples, as cheap as each can be had."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from ..kernels.gaussian import centre, gram_less_one, u_centre
from ._lowrank import features_fit, low_rank, positions
from ._moments import block_bytes

_TOL = 1e-8  # error allowed in the HSIC of low-rank kernels
_ROUNDING = 1e-13  # hundreds of float64 epsilons, for sums over n^2 entries added in a tree


class Compared(NamedTuple):
    """A statistic as a function of permutations (m, q, n), in batches of m.

    `slack` bounds the error of a difference of two values: a smaller difference is a tie.
    """

    function: Callable[[Tensor], Tensor]
    slack: float
    batch: int


def from_factors(samples: list[Tensor], widths: list[float], estimator: str) -> Compared | None:
    """Return n^2 HSIC from low-rank kernels, or None where they are not smaller than the kernels.

    With HKH = F F^T and HLH = G G^T it is |F^T P G|_F^2; the unbiased estimator subtracts a
    multiple of the product of row sums.
    """
    if any(value.shape[1] > 1 for value in samples):
        return None
    like = torch.empty((), dtype=torch.float64, device=samples[0].device)
    placed = [
        positions(value, like.new_tensor(w), _TOL) for value, w in zip(samples, widths, strict=True)
    ]
    if not all(features_fit(u, _TOL) for u in placed):
        return None
    kernels = [kernel for u in placed for _, kernel in low_rank(u, _TOL, u.dtype)]
    left, right = (kernel.factors[:, 0].to(samples[0].dtype) for kernel in kernels)
    n, r = right.shape
    correction = 4 / (n * (n - 2)) if estimator == "unbiased" else 0.0

    def function(permutations: Tensor) -> Tensor:
        moved = permutations[:, 0]
        gathered = right.index_select(0, moved.T.reshape(-1)).view(n, -1)
        products = (left.T @ gathered).square_().view(-1, len(moved), r).sum((0, 2))
        across = kernels[1].rows[0][moved] @ kernels[0].rows[0] if correction else 0.0
        return products.double() - correction * across

    # |F|_F^2 = tr(HKH) <= n: rounding moves the norm of F^T P G by about sqrt(n) eps n.
    norm = torch.linalg.matrix_norm(left.T @ right).item()
    slack = _TOL * n**2 + 2 * norm * n**1.5 * torch.finfo(right.dtype).eps
    return Compared(
        function, slack, max(1, block_bytes(right.device) // (16 * n * r * right.itemsize))
    )


def from_grams(samples: list[Tensor], widths: list[float], estimator: str) -> Compared:
    """Return n^2 HSIC, up to a constant factor, from centred Gram matrices."""
    centring = centre if estimator == "biased" else u_centre
    left, right = (
        centring(gram_less_one(value, value, w)) for value, w in zip(samples, widths, strict=True)
    )

    def function(permutations: Tensor) -> Tensor:
        sums = [(left * _permuted(right, moved)).sum() for moved in permutations[:, 0]]
        return torch.stack(sums)

    scale = (left.square().sum() * right.square().sum()).sqrt().item()
    return Compared(function, _ROUNDING * scale, 1 << 10)


def from_products(samples: list[Tensor], widths: list[float]) -> Compared:
    """Return dHSIC, up to a constant, from Gram matrices."""
    grams = [1 + gram_less_one(value, value, w) for value, w in zip(samples, widths, strict=True)]
    means = [kernel.mean(0) for kernel in grams]

    def function(permutations: Tensor) -> Tensor:
        return torch.stack([_joint(moved) for moved in permutations])

    def _joint(moved: Tensor) -> Tensor:
        product, rows = grams[0], means[0]
        for order, kernel, mean in zip(moved, grams[1:], means[1:], strict=True):
            product, rows = product * _permuted(kernel, order), rows * mean[order]
        return product.mean() - 2 * rows.mean()

    return Compared(function, _ROUNDING, 1 << 10)


def _permuted(kernel: Tensor, order: Tensor) -> Tensor:
    return kernel.index_select(0, order).index_select(1, order)
