"""Scores of the sources, regressed on the features of their blocks.

With a block that holds the variable itself, the whitened block turns the Gauss-Newton step of the
cross-block loss into Fisher scoring with the score ``features @ inverse(covariance) @ mean slope``
(claim A6.c). A ridge, chosen on held-out samples, keeps that regression from fitting noise.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from . import cells

RIDGES = tuple(10.0 ** (k / 2) for k in range(-12, 7))
FREE = 2
_CONSTANT = 1e-12  # a variance below it is rounding
_ALIKE = cells.STEP**2
_CLEAR = 2.33  # standard errors: of a Gaussian they are exceeded with probability 0.01


class Scores(NamedTuple):
    """Score of each row as a table (d, nodes), and its mean slope, the Fisher information (d,)."""

    table: Tensor
    information: Tensor


def fit(found: cells.Sums, features: Tensor, ridge: Tensor, *, free: int = FREE) -> Scores:
    """Return the scores for one ridge a row, which the first `free` features are spared."""
    block = cells.moments(found, features)
    weights = _weights(block, ridge, free)
    table = torch.einsum("dk,dkc->dc", weights, features)
    mean = torch.einsum("dk,dk->d", weights, block.mean)
    information = torch.einsum("dk,dk->d", weights, block.slope)
    return Scores(_held(table - mean[:, None], found), information)


class Choice(NamedTuple):
    """Ridge of each row, and the Fisher information that its score explains on held-out halves."""

    ridge: Tensor
    information: Tensor


def cross_validate(where: cells.Cells, features: Tensor, sharpest: Tensor) -> Choice:
    r"""Choose the ridge of each row by the score-matching loss on held-out halves.

    The loss :math:`\frac12 E \psi^2 - E \psi'` has its minimum at minus half the information, and
    on held-out samples it is not biased by the fit. Of the ridges within one standard error of the
    best the largest is taken, among those whose information does not exceed `sharpest`.
    """
    rows = len(features)
    sums = cells.fold_sums(where, rows, 2)
    halves = [cells.moments(s, features) for s in sums]
    ridges = torch.tensor(RIDGES, dtype=features.dtype, device=features.device)
    each = ridges[:, None].expand(-1, rows)
    plain = torch.zeros_like(features[None, ..., 0])
    plain[..., 0] = 1
    losses, explained = [], torch.zeros_like(each)
    for train, test in ((1, 0), (0, 1)):
        weights = _weights(halves[train], each, FREE)
        explained = explained + torch.einsum("rdk,dk->rd", weights, halves[train].slope) / 2
        weights = torch.cat([weights, plain])  # last, the score of a Gaussian
        losses.append(_losses(weights, features, halves[train].mean, sums[test]))
    loss, count = torch.cat(losses, 2), torch.cat([s.count for s in sums], 1)
    loss, gaussian = loss[:-1], loss[-1]
    place, mean = _largest_good(loss, count, explained <= sharpest)
    clear = _clear(gaussian, _pick(loss, place), count)
    information = -2 * _pick(mean, place)
    return Choice(ridges[place], torch.where(clear, information, information.clamp(max=1)))


def _largest_good(loss: Tensor, count: Tensor, allowed: Tensor) -> tuple[Tensor, Tensor]:
    """Return the place of the largest ridge within one standard error of the best; mean losses."""
    mean = torch.einsum("rdc,dc->rd", loss, count) / count.sum(1)
    allowed[-1] = True
    eligible = torch.where(allowed, mean, float("inf"))
    best = eligible.min(0)
    error = _errors(loss - _pick(loss, best.indices), count)
    order = torch.arange(1, len(RIDGES) + 1, device=loss.device)[:, None]
    return ((eligible - best.values <= error) * order).argmax(0), mean


def _clear(gaussian: Tensor, loss: Tensor, count: Tensor) -> Tensor:
    """Return whether a loss is clearly below that of a Gaussian's score, both in each cell.

    The latter is the square of the sample, whose mean is known to be one: what the gain owes to it
    is neither gain nor error.
    """
    gain, n = gaussian - loss, count.sum(1, keepdim=True)
    square = gaussian - (gaussian * count).sum(1, keepdim=True) / n
    share = (gain * square * count).sum(1) / (square.square() * count).sum(1)
    gain = gain - share[:, None] * square
    return (gain * count).sum(1) / n[:, 0] > _CLEAR * _errors(gain[None], count)[0]


def _pick(values: Tensor, places: Tensor) -> Tensor:
    """Return ``values[places[i], i]`` of each row i."""
    return values[places, torch.arange(len(places), device=values.device)]


def _errors(change: Tensor, count: Tensor) -> Tensor:
    """Return standard errors of mean changes, (ridges, d), from changes in each cell."""
    n = count.sum(1)
    mean = torch.einsum("rdc,dc->rd", change, count) / n
    square = torch.einsum("rdc,dc->rd", change.square(), count) / n
    return ((square - mean.square()).clamp(min=0) / n).sqrt()


def _losses(weights: Tensor, features: Tensor, mean: Tensor, found: cells.Sums) -> Tensor:
    """Return the mean loss of the samples in each cell, (ridges, d, cells)."""
    table = torch.einsum("rdk,dkc->rdc", weights, features)
    table = table - torch.einsum("rdk,dk->rd", weights, mean)[..., None]
    left, rise = table[..., :-1], table.diff(dim=-1)
    count = found.count.clamp(min=1)
    square = left.square() + 2 * left * rise * (found.first / count)
    square = square + rise.square() * (found.second / count)
    return square / 2 - rise / cells.STEP


def _held(table: Tensor, found: cells.Sums) -> Tensor:
    """Keep a score at its last value outside the cells that hold samples, where it is a guess."""
    places = torch.arange(cells.CELLS, device=table.device)
    occupied = found.count > 0
    first = torch.where(occupied, places, cells.CELLS).amin(1, keepdim=True)
    last = torch.where(occupied, places, -1).amax(1, keepdim=True) + 1
    node = torch.arange(cells.CELLS + 1, device=table.device).expand_as(table)
    return table.gather(1, torch.maximum(torch.minimum(node, last), first))


def _weights(block: cells.Moments, ridge: Tensor, free: int) -> Tensor:
    """Solve the regression with a ridge in units of variances on all but the first features.

    Samples that cells resolve to two values make the variable and its tanh one feature; then the
    tanh has the ridge, too, and the system stays regular. Of constant samples the score is 0.
    """
    scale = block.covariance.diagonal(dim1=1, dim2=2).clamp(min=_CONSTANT).sqrt()
    correlation = block.covariance / (scale[:, :, None] * scale[:, None])
    penalty = torch.ones_like(scale)
    penalty[:, :free] = 0
    if free > 1:
        alike = 1 - correlation[:, :1, 1:free].square() < _ALIKE
        penalty[:, 1:free] = alike[:, 0].to(penalty)
    system = correlation + ridge[..., None, None] * penalty.diag_embed()
    constant = block.covariance[:, 0, 0] <= _CONSTANT
    system = torch.where(constant[:, None, None], torch.eye(len(scale[0])).to(system), system)
    slope = torch.where(constant[:, None], 0.0, block.slope)
    target = (slope / scale)[..., None].expand(*ridge.shape, -1, 1)
    weights: Tensor = torch.linalg.solve(system, target)[..., 0]
    return weights / scale
