"""What every HSIC estimator is made of, and how to sum it over blocks of a Gram matrix."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from .. import validation
from ..kernels.gaussian import variable

ESTIMATORS = ("biased", "unbiased")
# Bytes of one block: small enough for a processor's cache, large enough to keep a GPU busy.
_BYTES = {"cpu": 1 << 23, "cuda": 1 << 28}


class Moments(NamedTuple):
    """Inner products of kernels with unit diagonal, one pair or many.

    ``inner`` is <HKH, HLH>; ``rows`` the inner product of the vectors HK1 and HL1; ``gap`` the
    product of the two values 1 - mean off-diagonal entry.
    """

    inner: Tensor
    rows: Tensor
    gap: Tensor

    def hsic(self, n: int, estimator: str) -> Tensor:
        """Return HSIC, biased or unbiased, from n samples.

        The unbiased estimator written in centred quantities, which are small where HSIC is small:
        n (n - 3) HSIC_u = inner - 4 rows / (n (n - 2)) - (n - 1) gap.
        """
        if estimator == "biased":
            return self.inner / n**2
        corrected = self.inner - 4 / (n * (n - 2)) * self.rows - (n - 1) * self.gap
        return corrected / (n * (n - 3))


def check_estimator(estimator: Any) -> int:
    """Return the smallest number of samples an estimator needs."""
    return 2 if validation.member("estimator", estimator, ESTIMATORS) == "biased" else 4


def variables(named: dict[str, Any], smallest: int) -> dict[str, Tensor]:
    """Return samples of several variables as (n, d) each, one n, dtype and device."""
    checked = {name: variable(name, value, min_rows=smallest) for name, value in named.items()}
    first_name, first = next(iter(checked.items()))
    for name, value in checked.items():
        if len(value) != len(first):
            raise ValueError(
                f"{first_name} and {name} must have one number of samples, "
                f"got {len(first)} and {len(value)}"
            )
        if value.dtype != first.dtype or value.device != first.device:
            raise ValueError(
                f"{first_name} and {name} must share dtype and device, "
                f"got {first.dtype} on {first.device} and {value.dtype} on {value.device}"
            )
    return checked


def block_bytes(device: torch.device) -> int:
    """Return the size of a block on a device."""
    return _BYTES.get(device.type, _BYTES["cpu"])


def strips(like: Tensor) -> Iterator[slice]:
    """Return slices of the rows of `like` such that so many rows of a Gram matrix fit a block."""
    n = len(like)
    size = max(1, block_bytes(like.device) // (8 * n))
    return (slice(i, min(n, i + size)) for i in range(0, n, size))


def recomputed(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function; under autograd keep only its arguments and recompute it going back.

    So the gradient of a sum over blocks never holds more than one block of kernels.
    """
    tracked = any(isinstance(a, Tensor) and a.requires_grad for a in arguments)
    if not (tracked and torch.is_grad_enabled()):
        return function(*arguments)
    return checkpoint(function, *arguments, use_reentrant=False)


def centred_rows(sums: Tensor) -> Tensor:
    """Return row sums (..., n) less their mean: the vectors HK1, whatever is subtracted from K."""
    return sums - sums.mean(-1, keepdim=True)


def centred_inner(inner: Tensor, rows: Tensor, totals: Tensor, n: int) -> Tensor:
    """Return <HKH, HLH> from <K, L>, the product of HK1 and HL1 and that of the two totals."""
    return inner - 2 / n * rows - totals / n**2


def mean_gaps(sums: Tensor, shift: Tensor | float = 0.0) -> Tensor:
    """Return 1 - mean off-diagonal entry of kernels, from row sums (..., n) of K - 1 - shift."""
    n = sums.shape[-1]
    return -shift - (sums.sum(-1) + n * shift) / (n * (n - 1))


def self_moments(squares: Tensor, sums: Tensor, gaps: Tensor) -> Moments:
    """Return the moments of kernels with themselves, from <K, K> and row sums (..., n)."""
    rows, totals = centred_rows(sums).square().sum(-1), sums.sum(-1).square()
    return Moments(centred_inner(squares, rows, totals, sums.shape[-1]), rows, gaps.square())
