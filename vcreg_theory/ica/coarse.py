"""A rotation near the solution: Gauss-Newton with few features, and escapes from false ones."""

import math

import torch
from torch import Tensor

from . import cells, projector, scores, steps
from .dependence import WIDTH, Dependence, dependence
from .progress import Progress

_RIDGE = 1e-2
_LARGEST = 0.5  # radians a step may turn
_CLOSE = 1e-2
_SUSPECT = 1e-6  # p-value of a pair that is worth a turn by 45 degrees
_ESCAPES, _RESTARTS = 8, 2


def rotate(x: Tensor, start: Tensor, seed: int, progress: Progress) -> Tensor:
    """Return a rotation of white data x[d, n] near which its rows are independent.

    The usual false fixed points leave pairs of sources mixed at 45 degrees, where the step vanishes
    and the loss does not. Those pairs are turned back by 45 degrees; where that does not help, a
    few other starts are tried.
    """
    if len(x) == 1 or x.shape[1] <= 2 * WIDTH + 4:
        return _descend(x, start, progress)
    generator = torch.Generator().manual_seed(seed)
    best, found = _escape(x, start, progress)
    for _ in range(_RESTARTS):
        if _turn(found) is None or progress.halfway:
            break
        start = torch.linalg.qr(torch.randn(start.shape, generator=generator, dtype=x.dtype))[0]
        other, new = _escape(x, start.to(x.device), progress)
        if _excess(new) < _excess(found):
            best, found = other, new
    return best


def _escape(x: Tensor, start: Tensor, progress: Progress) -> tuple[Tensor, Dependence]:
    """Descend, and turn dependent pairs as long as that lowers the loss."""
    best = _descend(x, start, progress)
    found = dependence(best @ x, math.inf)
    for _ in range(_ESCAPES):
        turn = _turn(found)
        if turn is None or progress.halfway:
            break
        other = _descend(x, turn @ best, progress)
        new = dependence(other @ x, math.inf)
        if _excess(new) >= _excess(found):
            break
        best, found = other, new
    return best, found


def _descend(x: Tensor, rotation: Tensor, progress: Progress) -> Tensor:
    """Repeat the Gauss-Newton rotation until it is small."""
    ridge = x.new_full((len(x),), _RIDGE)
    for count in range(60):
        y = rotation @ x
        where = cells.locate(y)
        found = cells.sums(where, len(y))
        table = projector.coarse_features(y).expand(len(y), -1, -1)
        score = scores.fit(found, table, ridge, free=1)
        cross = cells.evaluate(where, score.table) @ y.T / y.shape[1]
        step = steps.rotation(cross, score.information)
        size = float(step.abs().max())
        step = step * min(1.0, _LARGEST / max(size, _LARGEST)) * (1.0 if count < 30 else 0.5)
        rotation = torch.linalg.matrix_exp(step) @ rotation
        if progress.step(size) or size < _CLOSE:
            break
    return rotation


def _turn(found: Dependence) -> Tensor | None:
    """Return a rotation by 45 degrees of disjoint pairs, the most dependent ones first."""
    d = len(found.loss)
    turn, free = torch.eye(d, dtype=found.loss.dtype, device=found.loss.device), set(range(d))
    ratio = torch.triu(found.loss / found.mean.clamp(min=1e-300), 1) * (found.pvalues < _SUSPECT)
    for place in ratio.flatten().argsort(descending=True).tolist():
        i, j = divmod(place, d)
        if ratio[i, j] <= 0:
            break
        if {i, j} <= free:
            free -= {i, j}
            turn[i, i] = turn[j, j] = turn[i, j] = 0.5**0.5
            turn[j, i] = -(0.5**0.5)
    return turn if len(free) < d else None


def _excess(found: Dependence) -> float:
    """Return the loss of all pairs beyond what independence leaves."""
    return float((found.loss - found.mean).sum())
