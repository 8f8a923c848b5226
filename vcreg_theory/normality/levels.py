"""Noise levels that matter: where an output is still surely Gaussian, and where a test notices."""

import math

import torch
from torch import Tensor, nn

from .. import validation
from ..gaussian_measure import normal_tail
from ..piecewise.kinks import hyperplanes
from ..piecewise.program import Program, lower


def safe_noise(model: nn.Module | Program, x: Tensor, n: int, budget: float = 0.01) -> Tensor:
    r"""Return the largest noise at which no test can reject much more often than its size.

    .. math:: \sigma_{\text{safe}} = \max\Big\{\sigma :
              n \sum_j Q(d_j/\sigma) \le \text{budget}\Big\}

    with :math:`d_j` the distances to the extended boundaries of the cell. By the bound of
    `rejection_bound` a test on n noisy copies then rejects with probability at most size + budget.

    Claim: B3.a

    Parameters
    ----------
    model : nn.Module or Program
        Piecewise-affine network.
    x : Tensor, shape (B, ...)
        Inputs.
    n : int
        Sample size of the test, at least 1.
    budget : float
        Extra rejections allowed, in (0, 1).

    Returns
    -------
    Tensor, shape (B,)
        In the dtype of `x`; zero for an input on a boundary, infinite where there is none (or
        so few that no noise exhausts the budget).

    Raises
    ------
    ValueError
        If `n` is below 1 or `budget` is outside (0, 1).

    Examples
    --------
    >>> relu = nn.Sequential(nn.ReLU())
    >>> sigma = safe_noise(relu, torch.tensor([[1.0], [2.0]]), 512)
    >>> round(sigma[0].item(), 4), round((sigma[1] / sigma[0]).item(), 4)
    (0.2431, 2.0)
    """
    program = lower(model)
    validation.tensor("x", x, ndim=(2, 3, 4, 5), min_rows=1)
    share = validation.probability("budget", budget) / validation.integer("n", n, at_least=1)
    found = [
        _largest_noise(hyperplanes(program, row).distance.double(), share) for row in x.split(1)
    ]
    return torch.tensor(found, dtype=x.dtype, device=x.device)


def _largest_noise(distance: Tensor, share: float) -> float:
    """Solve ``sum_j Q(d_j / sigma) = share`` for sigma by bisection of its logarithm."""
    distance = distance[distance.isfinite()]
    if distance.numel() / 2 <= share:
        return math.inf
    nearest = float(distance.min())
    if nearest == 0:
        return 0.0
    # In units of the nearest distance: below 1/38 no tail is above the smallest float64.
    low, high = 1 / 38, 1.0
    while float(normal_tail(distance / (high * nearest)).sum()) < share:
        high *= 2
    for _ in range(100):
        middle = math.sqrt(low * high)
        inside = float(normal_tail(distance / (middle * nearest)).sum()) <= share
        low, high = (middle, high) if inside else (low, middle)
    return low * nearest


def crossing_noise(sigmas: Tensor, shares: Tensor, level: float) -> Tensor:
    r"""Return the noise at which measured or predicted shares first reach a level.

    .. math:: \sigma^* = \min\{\sigma : p(\sigma) \ge \text{level}\}

    with p interpolated linearly in :math:`\log\sigma` between grid points.

    Claim: B3.b

    Parameters
    ----------
    sigmas : Tensor, shape (S,)
        Increasing positive noise levels, S at least 2.
    shares : Tensor, shape (S, ...)
        Shares of rejections at these levels, one curve for each remaining index.
    level : float
        Share looked for, in (0, 1).

    Returns
    -------
    Tensor, shape (...)
        float64; ``inf`` where the level is not reached, ``sigmas[0]`` where it is already there.

    Raises
    ------
    ValueError
        If shapes disagree, the grid is not increasing and positive, or `level` is outside (0, 1).

    Examples
    --------
    >>> sigmas, shares = torch.tensor([0.01, 0.1, 1.0]), torch.tensor([0.0, 0.2, 0.6])
    >>> round(crossing_noise(sigmas, shares, 0.4).item(), 4)
    0.3162
    """
    validation.tensor("sigmas", sigmas, ndim=1, min_rows=2)
    validation.tensor("shares", shares)
    if shares.ndim == 0 or shares.shape[0] != sigmas.shape[0]:
        raise ValueError(
            f"shares must have {sigmas.shape[0]} rows, one a noise level, "
            f"got shape {tuple(shares.shape)}"
        )
    if bool((sigmas[0] <= 0) | (sigmas.diff() <= 0).any()):
        raise ValueError("sigmas must be positive and increasing")
    level = validation.probability("level", level)
    curves, place = shares.double().reshape(len(sigmas), -1), sigmas.double().log()
    reached = curves >= level
    after = reached.int().argmax(0)
    before = (after - 1).clamp_min(0)
    low, high = curves.gather(0, before[None])[0], curves.gather(0, after[None])[0]
    weight = torch.where(after > 0, (level - low) / torch.where(high > low, high - low, 1), 0)
    crossing = torch.exp(place[before] + weight * (place[after] - place[before]))
    return torch.where(reached.any(0), crossing, torch.inf).reshape(shares.shape[1:])
