"""Centring and whitening of observations by their principal components."""

from typing import NamedTuple

import torch
from torch import Tensor


class White(NamedTuple):
    """White data (k, n), the map to them (k, p), its pseudoinverse (p, k) and the mean (p,)."""

    data: Tensor
    whitening: Tensor
    colouring: Tensor
    mean: Tensor


def whiten(x: Tensor, components: int | None) -> White:
    """Whiten observations x[n, p] and keep the leading principal components, all by default.

    If all are kept the features are brought to one scale first, so that units do not matter.

    Raises
    ------
    ValueError
        If their covariance has a lower rank than the number of components, or the components that
        are kept differ in scale beyond what rounding leaves of the smallest.
    """
    n, p = x.shape
    mean = x.mean(0)
    centred = (x - mean).T
    wanted = min(n, p) if components is None else components
    # Columns of unit scale, so that the rank does not depend on the units of the features.
    peak = centred.abs().amax(1).clamp(min=torch.finfo(x.dtype).tiny)
    scale = (centred / peak[:, None]).square().mean(1).sqrt() * peak
    constant = int((scale <= 1e-12 * mean.abs().clamp(min=1e-300)).sum())
    if constant and wanted > p - constant:
        raise ValueError(
            f"X must vary in every feature, got {constant} constant of {p}; remove them or set "
            f"n_components to at most {p - constant}"
        )
    rank = _rank(centred, scale)
    if rank < wanted:
        raise ValueError(
            f"X must have a covariance of rank at least n_components = {wanted}, got rank {rank} "
            f"from shape {(n, p)}; set n_components to at most {rank} or give more samples"
        )
    unit = scale if wanted == p else scale.amax().expand(p)
    vectors, sizes = (part[..., :wanted] for part in _principal(centred / unit[:, None]))
    if float(sizes[-1]) <= 1e-6 * float(sizes[0]):
        raise ValueError(
            "X must have principal components of comparable size, got a smallest of "
            f"{float(sizes[-1] / sizes[0]):.1e} times the largest; scale the features or lower "
            "n_components"
        )
    whitening = (vectors / sizes).T
    data = whitening @ (centred / unit[:, None])
    return White(data, whitening / unit, unit[:, None] * vectors * sizes, mean)


def _principal(centred: Tensor) -> tuple[Tensor, Tensor]:
    """Return principal axes (p, r) and standard deviations (r,), largest first."""
    p, n = centred.shape
    if p <= n:
        values, vectors = torch.linalg.eigh(centred @ centred.T / n)
        return vectors.flip(1), values.flip(0).clamp(min=0).sqrt()
    vectors, sizes, _ = torch.linalg.svd(centred, full_matrices=False)
    return vectors, sizes / n**0.5


def _rank(centred: Tensor, scale: Tensor) -> int:
    """Return the numerical rank of the correlation matrix."""
    rows = centred / torch.where(scale > 0, scale, 1)[:, None]
    small = rows @ rows.T if rows.shape[0] <= rows.shape[1] else rows.T @ rows
    values = torch.linalg.eigvalsh(small / rows.shape[1])
    limit = 10 * max(rows.shape) * torch.finfo(rows.dtype).eps * values[-1]
    return int((values > limit).sum()) if values[-1] > 0 else 0


def arranged(white: White, unmixing: Tensor, information: Tensor) -> tuple[Tensor, Tensor]:
    """Return unmixing matrix and information, most informative first, main loadings positive."""
    order = information.argsort(descending=True, stable=True)
    unmixing = unmixing[order]
    mixing = white.colouring @ torch.linalg.inv(unmixing)
    largest = mixing.gather(0, mixing.abs().argmax(0, keepdim=True))[0]
    signs = torch.where(largest < 0, -1.0, 1.0).to(unmixing)
    return unmixing * signs[:, None], information[order]
