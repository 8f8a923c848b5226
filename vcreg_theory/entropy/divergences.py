"""Divergences of every pair of two lists of Gaussian components.

Each function takes the parameters of b components (`rows`), of K components (`columns`) and the
order alpha, and returns the Chernoff and the Kullback-Leibler divergences, both of shape (b, K).
"""

from collections.abc import Sequence

import torch
from torch import Tensor

Pair = tuple[Tensor, Tensor]
Parameters = Sequence[Tensor]


def isotropic(rows: Parameters, columns: Parameters, alpha: float) -> Pair:
    """Return the divergences of components with means (b, d) and variances (b,).

    Examples
    --------
    >>> one = (torch.zeros(1, 2), torch.ones(1))
    >>> [float(divergence) for divergence in isotropic(one, one, 0.5)]
    [0.0, 0.0]
    """
    d = rows[0].shape[1]
    mode = "donot_use_mm_for_euclid_dist"  # differences, not a product that cancels
    squares = torch.cdist(rows[0], columns[0], compute_mode=mode).square() / d
    chernoff, relative = _axis(squares, rows[1][:, None], columns[1], alpha)
    return d * chernoff, d * relative


def diagonal(rows: Parameters, columns: Parameters, alpha: float) -> Pair:
    """Return the divergences of components with means (b, d) and variances (b, d).

    Examples
    --------
    >>> zero, two = (torch.zeros(1, 1), torch.ones(1, 1)), (2 * torch.ones(1, 1), torch.ones(1, 1))
    >>> [float(divergence) for divergence in diagonal(zero, two, 0.5)]
    [0.5, 2.0]
    """
    squares = (rows[0][:, None] - columns[0]).square()
    chernoff, relative = _axis(squares, rows[1][:, None], columns[1], alpha)
    return chernoff.sum(2), relative.sum(2)


def _axis(squares: Tensor, v: Tensor, w: Tensor, alpha: float) -> Pair:
    """Return the divergences of N(a, v) from N(b, w) on the line, with squares (a - b)^2."""
    between = (1 - alpha) * v + alpha * w
    volumes = between.log() - (1 - alpha) * v.log() - alpha * w.log()
    chernoff = (alpha * (1 - alpha) * squares / between + volumes) / 2
    return chernoff, (w.log() - v.log() - 1 + (v + squares) / w) / 2


def full(rows: Parameters, columns: Parameters, alpha: float) -> Pair:
    """Return the divergences of components with means, covariances and their Cholesky factors.

    Examples
    --------
    >>> one = (torch.zeros(1, 2), torch.eye(2)[None], torch.eye(2)[None])
    >>> [float(divergence) for divergence in full(one, one, 0.5)]
    [0.0, 0.0]
    """
    (a, v, factor_v), (b, w, factor_w) = rows, columns
    difference = (a[:, None] - b).unsqueeze(3)
    factor = torch.linalg.cholesky((1 - alpha) * v[:, None] + alpha * w)
    log_v, log_w = log_det(factor_v)[:, None], log_det(factor_w)
    volumes = log_det(factor) - (1 - alpha) * log_v - alpha * log_w
    distance = _solve(factor, difference)
    chernoff = (alpha * (1 - alpha) * distance + volumes) / 2
    # tr(W^-1 V) and the Mahalanobis distance are squared norms of one triangular solve.
    both = torch.cat([factor_v[:, None].expand(-1, len(b), -1, -1), difference], 3)
    return chernoff, (log_w - log_v - a.shape[1] + _solve(factor_w, both)) / 2


def log_det(factors: Tensor) -> Tensor:
    """Return the log-determinants of the matrices that have these Cholesky factors.

    Examples
    --------
    >>> log_det(torch.eye(3))
    tensor(0.)
    """
    return 2 * factors.diagonal(dim1=-2, dim2=-1).log().sum(-1)


def _solve(factors: Tensor, right: Tensor) -> Tensor:
    """Return the squared Frobenius norm of ``factors^-1 right`` for every pair."""
    solved: Tensor = torch.linalg.solve_triangular(factors, right, upper=False)
    return solved.square().sum((2, 3))
