"""Simulated errors of the solution of block-whitened VCReg, for many samples at once."""

from collections.abc import Callable

import torch
from torch import Tensor

from .. import validation

Block = Callable[[Tensor], tuple[Tensor, Tensor]]


def block_gains(
    samples: Tensor,
    block: Block,
    *,
    orthogonal: bool = False,
    tol: float = 1e-3,
    max_iter: int = 60,
) -> Tensor:
    r"""Return the gain matrix of the Gauss-Newton fixed point of each of many samples.

    The samples are the sources themselves, so W is the gain matrix, and the steps of `pair_steps`
    start near the identity. At the fixed point of the free steps :math:`M_{ij} = 0` for all
    :math:`i \ne j`, at that of rotations :math:`M_{ij} = M_{ji}` on white outputs.

    Parameters
    ----------
    samples : Tensor, shape (r, n, d)
        r samples of n observations of d independent sources.
    block : callable
        From outputs y to their features and the derivatives of these, both (..., m); the features
        must contain y itself.
    orthogonal : bool
        Whether W is held to rotations of white outputs.
    tol : float
        Largest entry of the last step of any sample, well below the errors of order n^-1/2.
    max_iter : int
        Largest number of steps, at least 1.

    Returns
    -------
    Tensor, shape (r, d, d)
        Row i is the estimate of source i, in units of its sample deviation.

    Raises
    ------
    ValueError
        If the shapes do not fit, or the steps of a sample do not come to rest.

    Notes
    -----
    Claim A6.c. Scores are regressed on the features of each sample, without ridge.

    Examples
    --------
    >>> g = torch.Generator().manual_seed(0)
    >>> s = 3**0.5 * (2 * torch.rand(20, 500, 2, generator=g, dtype=torch.float64) - 1)
    >>> cube = lambda y: (torch.stack([y, y**3], -1), torch.stack([y**0, 3 * y**2], -1))
    >>> gains = block_gains(s, cube)
    >>> bool(gains[:, 0, 1].abs().max() < 0.15)
    True
    """
    validation.tensor("samples", samples, ndim=3, min_rows=1)
    validation.positive("tol", tol)
    validation.integer("max_iter", max_iter, at_least=1)
    y = samples - samples.mean(1, keepdim=True)
    covariance = y.mT @ y / y.shape[1]
    deviation = covariance.diagonal(dim1=1, dim2=2).sqrt()
    correlation = covariance / (deviation[:, :, None] * deviation[:, None])
    y = y / deviation[:, None]
    unmixing = _start(correlation, orthogonal)
    for _ in range(max_iter):
        step = _step(y @ unmixing.mT, block, orthogonal)
        size = float(step.abs().max())
        if orthogonal:
            unmixing = torch.linalg.matrix_exp(step) @ unmixing
        else:
            unmixing = unmixing + step @ unmixing
            variance = ((unmixing @ correlation) * unmixing).sum(2, keepdim=True)
            unmixing = unmixing / variance.sqrt()
        if size < tol:
            return unmixing
    raise ValueError(
        f"max_iter must be enough for the fixed point, got a last step of {size:.2g} after "
        f"{max_iter}; raise max_iter or the sample size"
    )


def _start(correlation: Tensor, orthogonal: bool) -> Tensor:
    """Return the symmetric whitening of outputs of variance one, or the identity."""
    if not orthogonal:
        return torch.eye(correlation.shape[1], dtype=correlation.dtype, device=correlation.device)
    values, vectors = torch.linalg.eigh(correlation)
    root: Tensor = (vectors * values.rsqrt()[:, None]) @ vectors.mT
    return root


def _step(y: Tensor, block: Block, orthogonal: bool) -> Tensor:
    """Return the steps of all samples, (r, d, d), from outputs y[r, n, d]."""
    features, slopes = block(y)
    if features.ndim != 4 or features.shape[:3] != y.shape or features.shape != slopes.shape:
        raise ValueError(
            f"block must return features and slopes of shape {(*y.shape, 'm')}, got "
            f"{tuple(features.shape)} and {tuple(slopes.shape)}"
        )
    n, slope = y.shape[1], slopes.mean(1)
    centred = (features - features.mean(1, keepdim=True)).permute(0, 2, 3, 1)
    weights = torch.linalg.solve(centred @ centred.mT / n, slope[..., None])
    cross = (weights.mT @ centred)[:, :, 0] @ y / n
    information = (weights[..., 0] * slope).sum(2)
    first, second = information[:, :, None], information[:, None]
    step: Tensor
    if orthogonal:
        step = (cross.mT - cross) / (first + second - 2)
    else:
        step = (cross.mT - second * cross) / (first * second - 1)
    return step * (1 - torch.eye(y.shape[2], dtype=y.dtype, device=y.device))
