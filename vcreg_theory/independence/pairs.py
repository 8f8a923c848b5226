"""The matrix of HSIC of every two of K scalar variables."""

from typing import Any

import torch
from torch import Tensor

from .. import validation
from ..kernels.bandwidths import columns, resolve_columns
from ..kernels.fourier import tolerance
from ._lowrank import fourier_moments, fourier_pays, positions
from ._moments import (
    Moments,
    centred_inner,
    centred_rows,
    check_estimator,
    mean_gaps,
)
from ._tiles import add_row_sums, blocks, scaled

METHODS = ("auto", "exact", "fourier")
_BAND = 128  # rows of the result computed at once, so that only half of it is computed
_LENGTH = 4096  # products summed in the dtype of z before float64 takes over


@torch.no_grad()
def pairwise_hsic(
    z: Tensor,
    *,
    bandwidth: Any = None,
    estimator: str = "biased",
    method: str = "auto",
    tol: float = 1e-6,
    normalize: bool = False,
) -> Tensor:
    r"""Return the HSIC of every two columns under Gaussian kernels.

    .. math:: \mathrm{HSIC}_{kl} = \frac1{n^2} \langle H K^k H, H K^l H \rangle

    or the unbiased form, as in `hsic`. "exact" is one matrix product over flattened Gram matrices,
    taken in blocks: :math:`O(K^2 n^2)` with no Gram matrix in memory. "fourier" writes
    :math:`H K^k H = F_k F_k^\top` with few columns r, so that the entry is
    :math:`\lVert F_k^\top F_l \rVert_F^2`: :math:`O(K^2 n r^2)`, r about 15 for tol 1e-6.

    Parameters
    ----------
    z : Tensor, shape (n, K)
        Samples of K scalar variables; n at least 2, for "unbiased" at least 4.
    bandwidth : float or K floats, optional
        One bandwidth for all, or one for each column; its median distance where none is given.
    estimator : {"biased", "unbiased"}
        As in `hsic`.
    method : {"auto", "exact", "fourier"}
        "auto" takes "fourier" where that costs less.
    tol : float
        Largest error of the biased HSIC by "fourier" in exact arithmetic, in (0, 0.1]; typical
        errors are far smaller. At least 4 epsilon of the dtype is taken.
    normalize : bool
        Divide by the geometric mean of the two self-HSICs (same estimator): the diagonal is 1.

    Returns
    -------
    Tensor, shape (K, K)
        Symmetric, in the dtype and on the device of `z`; not differentiable
        (`mean_pairwise_hsic` and `hsic` are).

    Raises
    ------
    ValueError
        If shapes or parameters are out of range, an entry is not finite, no bandwidth is given and
        a column is constant, or a self-HSIC to divide by is not positive.

    Notes
    -----
    Claims A2.c and A7.a. Kernel entries are computed in the dtype of `z` and summed in float64.

    Examples
    --------
    >>> z = torch.tensor([[-1.0, -1.0], [-1.0, 1.0], [1.0, -1.0], [1.0, 1.0]])
    >>> pairwise_hsic(z, bandwidth=1.0, normalize=True).round(decimals=4).abs()
    tensor([[1., 0.],
            [0., 1.]])
    """
    z = columns(z, check_estimator(estimator))
    validation.member("method", method, METHODS)
    tol = max(tolerance(tol), 4 * torch.finfo(z.dtype).eps)
    widths = resolve_columns(bandwidth, z)
    with torch.autocast(z.device.type, enabled=False):
        matrix = _moments(z, widths, method, tol).hsic(len(z), estimator)
    if normalize:
        scales = self_scales(matrix.diagonal())
        matrix = matrix * scales * scales[:, None]
    return matrix.to(z.dtype)


def _moments(z: Tensor, widths: Tensor, method: str, tol: float) -> Moments:
    if method == "exact":
        return exact_moments(z, widths)
    u = positions(z, widths, tol)
    if method == "auto" and not fourier_pays(u, tol):
        return exact_moments(z, widths)
    return fourier_moments(u, tol, z.dtype)


def self_scales(selves: Tensor) -> Tensor:
    """Return 1 / sqrt of the self-HSICs."""
    if not bool((selves > 0).all()):
        bad = (~(selves > 0)).nonzero().flatten().tolist()
        raise ValueError(f"z has columns whose HSIC with themselves is not positive: {bad[:10]}")
    return selves.rsqrt()


def exact_moments(z: Tensor, widths: Tensor) -> Moments:
    """Return the moments of all pairs by matrix products over flattened tiles of K - 1 - shift."""
    u, shift = scaled(z, widths)
    u, low = u.to(z.dtype), shift.to(z.dtype)
    number = len(u)
    inner, sums = shift.new_zeros(number, number), shift.new_zeros(u.shape)
    for place, block in blocks(u, low):
        add_row_sums(sums, place, block.sum(2), block.sum(1))
        for flat in block.flatten(1).split(_LENGTH, 1):
            for k in range(0, number, _BAND):
                inner[k : k + _BAND, k:] += place[2] * (flat[k : k + _BAND] @ flat[k:].T)
    inner = inner.triu() + inner.triu(1).T
    across = centred_rows(sums) @ centred_rows(sums).T
    gaps = mean_gaps(sums, low.double())
    totals = sums.sum(1)
    return Moments(
        centred_inner(inner, across, torch.outer(totals, totals), sums.shape[1]),
        across,
        torch.outer(gaps, gaps),
    )
