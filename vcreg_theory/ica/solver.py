"""From white data to an unmixing matrix: a coarse rotation, then steps with estimated scores."""

import itertools
from typing import NamedTuple

import torch
from torch import Tensor

from . import cells, projector, scores, steps
from .anderson import Anderson
from .coarse import rotate
from .options import Options
from .progress import Progress

ROUNDS, _CHOICES = 4, 2  # estimates of the scores at most, and of their ridges
_COARSE = 1.5  # information that the coarse rotation is credited with
_SETTLED = 1e-3  # a first step this small after new scores ends the rounds
_LARGEST = 0.5
_TWINS = 0.5  # correlation of two outputs that have found one source
_NEAR = 0.2  # largest gain by which a rotation may differ from the free matrix near it
_ROUND = 60  # steps of a round that others follow
_BLUR = 2.0  # width of the sharpest feature of a score in errors of the outputs
_LEAST_RIDGE = 1e-9  # a block of discrete values is singular
_FINEST = 2 * cells.STEP  # detail of a score, in deviations
MOST_INFORMATION = _FINEST**-2


class Solution(NamedTuple):
    """Unmixing matrix of the white data, whose rows have unit norm.

    `information` is the Fisher information that the scores explain on held-out samples, (d,);
    `converged` tells whether the last step was below the tolerance, `rotation` whether the matrix
    was held to rotations.
    """

    unmixing: Tensor
    information: Tensor
    converged: bool
    rotation: bool = False


class _Round(NamedTuple):
    """Where a round of steps with fixed scores ended: its matrix, first and last step, success."""

    unmixing: Tensor
    first: float
    last: float
    sound: bool


def solve(x: Tensor, start: Tensor, options: Options, seed: int, progress: Progress) -> Solution:
    """Return the unmixing of white data x[d, n], n above d, from a random rotation."""
    unmixing = rotate(x, start, seed, progress)
    found = _rounds(x, unmixing, options, seed, progress)
    if not options.orthogonal and (found is None or _collapsed(found.unmixing)):
        # Rotations are the safer steps, and cannot find a source twice.
        found = _rounds(x, unmixing, options._replace(orthogonal=True), seed, progress)
    return Solution(unmixing, x.new_ones(len(x)), False) if found is None else found


def _collapsed(unmixing: Tensor) -> bool:
    """Return whether two outputs are nearly one, whose correlation should be one of chance."""
    return bool((unmixing @ unmixing.T).triu(1).abs().max() > _TWINS)


def freed(
    x: Tensor, rotation: Tensor, options: Options, seed: int, progress: Progress
) -> Tensor | None:
    """Return the free unmixing matrix near a rotation, or None if steps lead away from it."""
    found = _rounds(x, rotation, options._replace(orthogonal=False), seed, progress)
    if found is None or not found.converged:
        return None
    change = found.unmixing @ rotation.T  # the inverse of a rotation
    near = float((change - torch.eye(len(x)).to(change)).abs().max()) <= _NEAR
    return found.unmixing if near else None


def _rounds(
    x: Tensor, unmixing: Tensor, options: Options, seed: int, progress: Progress
) -> Solution | None:
    """Alternate scores and steps; None if the first round leads away."""
    kept: tuple[scores.Scores, Tensor] | None = None
    known, choice = x.new_full((len(x),), _COARSE), None
    if progress.exhausted:
        return Solution(unmixing, torch.ones_like(known), False)
    for count in range(ROUNDS):
        where = cells.locate(unmixing @ x)
        found = cells.sums(where, len(x))
        table = _features(options, found, seed)
        if choice is None or count < _CHOICES:
            choice = _choose(where, table, options, known)
        score = scores.fit(found, table, choice.ridge)
        new = _descend(x, unmixing, score, options, count == ROUNDS - 1, progress)
        if not new.sound and not progress.exhausted:
            return _finish(x, unmixing, kept, options, progress)
        unmixing, known, kept = new.unmixing, score.information, (score, choice.information)
        if new.first < _SETTLED or progress.exhausted:
            break
    assert choice is not None  # chosen in the first round
    return Solution(unmixing, choice.information, new.last < options.tol, options.orthogonal)


def _finish(
    x: Tensor,
    unmixing: Tensor,
    kept: tuple[scores.Scores, Tensor] | None,
    options: Options,
    progress: Progress,
) -> Solution | None:
    """Go on with the scores of the round before, where new ones are sharper than its error."""
    if kept is None:
        return None
    score, information = kept
    new = _descend(x, unmixing, score, options, True, progress)
    if not new.sound:
        return None
    return Solution(new.unmixing, information, new.last < options.tol, options.orthogonal)


def _features(options: Options, found: cells.Sums, seed: int) -> Tensor:
    """Tabulate the projector; a random one is the same in every round."""
    drawn = options.projector.startswith("random")
    generator = torch.Generator().manual_seed(seed) if drawn else None
    return projector.features(options.projector, options.width, found, generator)


def _choose(
    where: cells.Cells, table: Tensor, options: Options, information: Tensor
) -> scores.Choice:
    """Choose the ridges, for scores no sharper than the outputs are known.

    Scores that resolve the error of the outputs fit the remains of other sources and keep them.
    """
    d, n = len(table), where.index.numel() // len(table)
    error = ((information - 1).clamp(min=0.1) * n).rsqrt()
    blur = (_BLUR * d**0.5 * error).clamp(min=_FINEST)
    found = scores.cross_validate(where, table, blur**-2)
    found = found._replace(information=found.information.clamp(0, MOST_INFORMATION))
    if options.ridge is None:
        return found
    return found._replace(ridge=torch.full_like(found.ridge, max(options.ridge, _LEAST_RIDGE)))


def _descend(
    x: Tensor,
    unmixing: Tensor,
    score: scores.Scores,
    options: Options,
    end: bool,
    progress: Progress,
) -> _Round:
    """Solve the equations of fixed scores, roughly if the scores will change."""
    accelerate, first = Anderson(), None
    direction = steps.rotation if options.orthogonal else steps.relative
    for count in itertools.count(1):
        y = unmixing @ x
        cross = cells.evaluate(cells.locate(y), score.table) @ y.T / y.shape[1]
        step = direction(cross, score.information)
        size = float(step.abs().max())
        first = size if first is None else first
        if size > _LARGEST and size >= first:
            return _Round(unmixing, first, size, False)
        step = step * min(1.0, _LARGEST / max(size, _LARGEST))
        move = _restore(unmixing + step @ unmixing, options.orthogonal) - unmixing
        unmixing = _restore(accelerate(unmixing, move), options.orthogonal)
        final = end or first < _SETTLED
        enough = options.tol if final else max(_SETTLED, 0.1 * first)
        if progress.step(size) or size < enough or (count >= _ROUND and not final):
            break
    assert first is not None  # the size of the first step
    return _Round(unmixing, first, size, size < max(first, options.tol))


def _restore(unmixing: Tensor, orthogonal: bool) -> Tensor:
    """Return the nearest rotation, or the rows at unit norm, which is unit variance."""
    if orthogonal:
        left, _, right = torch.linalg.svd(unmixing)
        nearest: Tensor = left @ right
        return nearest
    lengths: Tensor = torch.linalg.vector_norm(unmixing, dim=1, keepdim=True)
    return unmixing / lengths
