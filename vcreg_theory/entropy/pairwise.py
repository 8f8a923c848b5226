"""Two-sided bounds on the entropy of a Gaussian mixture from the divergences of its pairs."""

import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import product
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from .. import validation
from .codes import codes
from .components import components

Divergences = Callable[[Sequence[Tensor], Sequence[Tensor]], tuple[Tensor, Tensor]]

# Numbers that one block of pairs holds at once: 4 MiB an array.
_NUMBERS_AT_ONCE = 2**19


class EntropyBounds(NamedTuple):
    """Lower and upper bound of an entropy in nats, scalar tensors."""

    lower: Tensor
    upper: Tensor


def pairwise_entropy_bounds(
    means: Tensor,
    covs: Tensor | float,
    weights: Tensor | None = None,
    *,
    alpha: float = 0.5,
) -> EntropyBounds:
    r"""Bound the entropy of a Gaussian mixture by the divergences between its components.

    For :math:`p = \sum_i c_i p_i` and a divergence D,

    .. math:: \hat H_D = \sum_i c_i H(p_i) - \sum_i c_i \log \sum_j c_j e^{-D(p_i \| p_j)}, \qquad
        \hat H_{C_\alpha} \le H(p) \le \hat H_{\mathrm{KL}}

    with the Chernoff divergence :math:`C_\alpha(p\|q) = -\log\int p^\alpha q^{1-\alpha}` and the
    Kullback-Leibler divergence. For Gaussians, with :math:`M = (1-\alpha)\Sigma_i +
    \alpha\Sigma_j` and :math:`\Delta = \mu_i - \mu_j`,

    .. math::
        C_\alpha &= \tfrac{\alpha(1-\alpha)}2 \Delta^\top M^{-1} \Delta
        + \tfrac12 \log\frac{|M|}{|\Sigma_i|^{1-\alpha} |\Sigma_j|^\alpha}, \\
        \mathrm{KL} &= \tfrac12 \Bigl[\log\frac{|\Sigma_j|}{|\Sigma_i|} - d
        + \operatorname{tr} \Sigma_j^{-1}\Sigma_i + \Delta^\top \Sigma_j^{-1} \Delta\Bigr].

    Parameters
    ----------
    means : Tensor, shape (K, d)
    covs : float or Tensor of shape (), (K,), (K, d) or (K, d, d)
        One variance, a variance for each isotropic component, diagonals, or covariance matrices.
    weights : Tensor, shape (K,), optional
        Positive with sum 1; equal by default.
    alpha : float
        Order of the Chernoff divergence in (0, 1). One half is best for equal covariances.

    Returns
    -------
    EntropyBounds
        ``lower`` and ``upper`` in nats, in the dtype of `means`, differentiable once in every
        tensor. Both reach at most :math:`\sum_i c_i H(p_i) - \sum_i c_i \log c_i`, which is the
        entropy of components that do not overlap.

    Raises
    ------
    ValueError
        If a shape does not fit, a covariance is not symmetric and positive definite, or weights
        are not positive with sum 1.

    Notes
    -----
    Claim B6.b. Kolchinsky and Tracey (2017), Estimating mixture entropy with pairwise distances.
    Pairs are taken in tiles, and again in the backward pass, so memory does not grow with the
    number of pairs; each pair of full covariances costs two factorisations of order
    :math:`d^3`.

    Examples
    --------
    >>> apart = torch.tensor([[0.0], [100.0]], dtype=torch.float64)
    >>> bounds = pairwise_entropy_bounds(apart, 1.0)
    >>> exact = 0.5 * math.log(2 * math.pi * math.e) + math.log(2)
    >>> [round(float(bound) - exact, 12) for bound in bounds]
    [0.0, 0.0]
    """
    alpha = validation.probability("alpha", alpha)
    means = codes("means", means, min_rows=1)
    mixture = components(means, covs, weights)
    within = mixture.weights @ mixture.entropies
    divergences = partial(mixture.divergences, alpha=alpha)
    log_weights = mixture.weights.log()
    overlaps: Callable[..., Tensor] = _LogOverlaps.apply
    sums = overlaps(divergences, mixture.numbers, log_weights, *mixture.parameters)
    lower, upper = within - sums @ mixture.weights
    return EntropyBounds(lower.to(means.dtype), upper.to(means.dtype))


class _LogOverlaps(torch.autograd.Function):
    """``log sum_j c_j exp(-D_ij)`` of both divergences for each component, shape (2, K)."""

    @staticmethod
    def forward(
        ctx: Any, divergences: Divergences, numbers: int, log_weights: Tensor, *parameters: Tensor
    ) -> Tensor:
        """Return the sums, tile by tile."""
        sums = log_weights.new_full((2, len(log_weights)), -torch.inf)
        for rows, columns in _tiles(len(log_weights), numbers):
            pair = divergences([p[rows] for p in parameters], [p[columns] for p in parameters])
            for out, divergence in zip(sums, pair, strict=True):
                part = torch.logsumexp(log_weights[columns] - divergence, 1)
                out[rows] = torch.logaddexp(out[rows], part)
        ctx.save_for_backward(sums, log_weights, *parameters)
        ctx.divergences, ctx.numbers = divergences, numbers
        return sums

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients; the divergences of each tile are formed anew and then dropped."""
        sums, log_weights, *parameters = ctx.saved_tensors
        results = [torch.zeros_like(p) for p in (log_weights, *parameters)]
        half = len(parameters)
        for rows, columns in _tiles(len(log_weights), ctx.numbers):
            leaves = [p[part].requires_grad_() for part in (rows, columns) for p in parameters]
            with torch.enable_grad():
                pair = ctx.divergences(leaves[:half], leaves[half:])
            shares = torch.exp(log_weights[columns] - torch.stack(pair) - sums[:, rows, None])
            shares *= grad[:, rows, None]
            results[0][columns] += shares.sum((0, 1))
            pieces = torch.autograd.grad(pair, leaves, [-share for share in shares])
            for place, into in enumerate(results[1:]):
                into[rows] += pieces[place]
                into[columns] += pieces[half + place]
        return None, None, *results


def _tiles(count: int, numbers: int) -> Iterator[tuple[slice, slice]]:
    """Yield rows and columns of the tiles that cover all ordered pairs."""
    side = max(1, math.isqrt(_NUMBERS_AT_ONCE // numbers))
    blocks = [slice(i, i + side) for i in range(0, count, side)]
    return product(blocks, blocks)
