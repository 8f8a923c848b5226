"""The kinks around an input: where each unit would switch, and by how much the map would bend."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from .. import validation
from .inputs import exact_arithmetic, single
from .local import unit_vectors
from .piece import Piece, piece_at
from .program import Program, lower
from .rays import margins_along
from .steps import MaxPool, Rectifier

# Entries of the widest value in one pass of tangents: 16 MiB in float32.
_BUDGET = 2**22


class Hyperplanes(NamedTuple):
    """Boundaries of a cell, extended as the unit sees them from inside the cell."""

    distance: Tensor
    preactivation: Tensor
    gradient: Tensor


class Kinks(NamedTuple):
    """``f(x + delta) = value + map @ delta + sum_j jump_j (normal_j @ delta - distance_j)_+``."""

    distance: Tensor
    normal: Tensor
    jump: Tensor
    map: Tensor
    value: Tensor


class _Boundary(NamedTuple):
    """Margins of one step at x, their gradients, and which columns are real competitors."""

    step: Rectifier | MaxPool
    margin: Tensor  # [m]
    gradient: Tensor  # [m, D]
    real: Tensor  # bool [m]
    sign: Tensor  # [m]: preactivation = sign * margin


def hyperplanes(model: nn.Module | Program, x: Tensor) -> Hyperplanes:
    r"""Return every unit's boundary, extended from the cell of `x` to the whole space.

    .. math:: H_j = \{x + \delta : h_j(x) + \nabla h_j(x)^\top \delta = 0\}, \qquad
              d_j = \frac{|h_j(x)|}{\lVert \nabla h_j(x) \rVert}

    For a rectifier :math:`h_j` is its input; for a challenger in a pooling window, the winner
    minus the challenger.

    Parameters
    ----------
    model : nn.Module or Program
        A continuous piecewise-affine network in evaluation mode.
    x : Tensor, shape (1, ...) or (...)
        One input with D entries.

    Returns
    -------
    Hyperplanes
        ``distance`` (U,), Euclidean, infinite where the gradient is zero and the unit never
        switches; ``preactivation`` (U,) and ``gradient`` (U, D) of :math:`h_j`. Units in order of
        execution; the challengers of a window follow each other.

    Raises
    ------
    TypeError
        If a layer is not piecewise affine or is in training mode.
    ValueError
        If `x` is not finite or not one input of `model`.

    Notes
    -----
    Only the nearest hyperplane is sure to be a facet of the cell; others may lie behind it. The
    cost is D tangents carried forward, which there are seldom fewer units than.

    Claim: B2.c.

    Examples
    --------
    >>> hyperplanes(nn.Sequential(nn.ReLU()), torch.tensor([3.0, -4.0])).distance
    tensor([3., 4.])
    """
    program = lower(model)
    x = single(program, "x", x)
    with exact_arithmetic(x):
        margin, gradient, sign = _joined_boundaries(program, x)
        norm = torch.linalg.vector_norm(gradient, dim=1)
        distance = torch.where(norm > 0, margin.abs() / norm, torch.inf)
    return Hyperplanes(distance, sign * margin, sign.unsqueeze(1) * gradient)


def cell_margins(program: Program, x: Tensor) -> tuple[Tensor, Tensor]:
    """Return the margins (U,) of the cell of `x`, a batch of one, and their gradients (U, D).

    They are the preactivations and gradients of `hyperplanes` with the sign that makes them
    nonnegative throughout the cell, on its boundary too, where a preactivation is zero and has no
    sign of its own.
    """
    with exact_arithmetic(x):
        return _joined_boundaries(program, x)[:2]


def kink_expansion(model: nn.Module | Program, x: Tensor, *, pooling: str = "refuse") -> Kinks:
    r"""Return the local affine map and the kink of every unit around `x`.

    .. math:: f(x + \delta) = f(x) + A\delta + \sum_j \kappa_j (n_j^\top \delta - d_j)_+, \qquad
              \kappa_j = (1 - s_j) \lVert \nabla h_j \rVert\, \frac{\partial f}{\partial a_j}

    with :math:`a_j` the output of unit j, :math:`s_j` its slope when off, and :math:`n_j` the unit
    normal that points across its boundary.

    Parameters
    ----------
    model : nn.Module or Program
        A continuous piecewise-affine network in evaluation mode.
    x : Tensor, shape (1, ...) or (...)
        One input with D entries.
    pooling : {"refuse", "separate"}
        What to do with max-pooling windows of three entries or more. There the maximum is not a
        sum of kinks: two challengers that have both passed the winner do not add up, and the error
        is not of higher order. "refuse" raises; "separate" gives each challenger the kink it would
        have alone, right as long as at most one challenger in a window has passed the winner.

    Returns
    -------
    Kinks
        ``distance`` (J,), ``normal`` (J, D), ``jump`` (J, d), ``map`` (d, D), ``value`` (d,), in
        the order of `hyperplanes`. Units whose gradient is zero have no kink and are left out.

    Raises
    ------
    TypeError
        If a layer is not piecewise affine or is in training mode.
    ValueError
        If `x` is not finite or not one input of `model`, or for a pooling window that has no exact
        expansion unless `pooling` says otherwise.

    Notes
    -----
    With s the slope when off, a unit computes :math:`\phi(h) = sh + (1-s)(h)_+`. Off, the local
    map is sh and the rest :math:`(1-s)(h)_+`; on, it is h and the rest
    :math:`(1-s)(-h)_+`. So the jump has one sign on either side, and only the normal turns:
    :math:`n_j = \mp \nabla h_j / \lVert \nabla h_j \rVert` for a unit that is on (off).

    The expansion is exact, for every delta, with one hidden layer of (leaky) ReLU or of pools over
    two entries. In deeper networks it is exact until the first boundary, and leaves out that a
    kink changes the kinks behind it.

    Claim: B3.b.

    Examples
    --------
    >>> kinks = kink_expansion(nn.Sequential(nn.ReLU()), torch.tensor([2.0]))  # relu is on at 2
    >>> kinks.distance.item(), kinks.normal.item(), kinks.jump.item()
    (2.0, -1.0, 1.0)
    """
    validation.member("pooling", pooling, ("refuse", "separate"))
    program = lower(model)
    x = single(program, "x", x)
    with exact_arithmetic(x):
        piece = piece_at(program, x)
        if pooling == "refuse":
            _refuse_wide_pools(piece)
        found = _boundaries(program, piece, x)
        map_, sensitivities = _derivatives(piece)
        size, d = x.numel(), map_.shape[0]
        columns = [_kinks(b, s) for b, s in zip(found, sensitivities, strict=True)]
        distance, normal, jump = zip(*columns, strict=True) if columns else ((), (), ())
        value = program(x).flatten()
    return Kinks(
        _join(distance, x, ()), _join(normal, x, (size,)), _join(jump, x, (d,)), map_, value
    )


def _joined_boundaries(program: Program, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return margins (U,), gradients (U, D) and signs (U,) of all boundaries of the cell of `x`."""
    found = _boundaries(program, piece_at(program, x), x)
    margin = _join([b.margin[b.real] for b in found], x, ())
    gradient = _join([b.gradient[b.real] for b in found], x, (x.numel(),))
    return margin, gradient, _join([b.sign[b.real] for b in found], x, ())


def _kinks(boundary: _Boundary, sensitivity: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return distances, normals and jumps; `sensitivity` is df / d(output of the step), [d, O]."""
    norm = torch.linalg.vector_norm(boundary.gradient, dim=1)
    keep = boundary.real & (norm > 0)
    norm, each = norm[keep], boundary.margin.numel() // sensitivity.shape[1]
    bend = 1.0 - boundary.step.slope if isinstance(boundary.step, Rectifier) else 1.0
    jump = bend * sensitivity.repeat_interleave(each, 1)[:, keep].T * norm.unsqueeze(1)
    # Margins fall towards the boundary, whichever side x is on.
    normal = -boundary.gradient[keep] / norm.unsqueeze(1)
    return boundary.margin[keep] / norm, normal, jump


def _boundaries(program: Program, piece: Piece, x: Tensor) -> list[_Boundary]:
    """Return the margins of every step with several pieces, and their gradients."""
    steps = [(i, s) for i, s in enumerate(program.steps) if isinstance(s, Rectifier | MaxPool)]
    gradients: list[list[Tensor]] = [[] for _ in steps]
    rows = max(1, _BUDGET // max(shape.numel() for shape in piece.shapes))
    for start in range(0, x.numel(), rows):
        basis = unit_vectors(x, start, min(start + rows, x.numel()))
        passes = list(margins_along(program, x, basis))
        for into, (_, _, slope) in zip(gradients, passes, strict=True):
            into.append(slope)
    found = []
    for k, (i, step) in enumerate(steps):
        shape, pattern = piece.shapes[step.inputs[0]][1:], piece.patterns[i]
        assert pattern is not None
        margin = passes[k][1].flatten()
        real, sign = _columns(step, pattern, shape, margin)
        found.append(_Boundary(step, margin, torch.cat(gradients[k]).T, real, sign))
    return found


def _columns(
    step: Rectifier | MaxPool, pattern: Tensor, shape: torch.Size, margin: Tensor
) -> tuple[Tensor, Tensor]:
    """Return which margins belong to a boundary, and the sign that makes them preactivations."""
    if isinstance(step, Rectifier):
        on = pattern.flatten()
        return torch.ones_like(on), torch.where(on, 1.0, -1.0).to(margin)
    windows = step.windows(shape).to(margin.device)
    places = torch.arange(windows.shape[1], device=margin.device)
    winner = step.places(pattern, shape).reshape(-1, 1) == places
    return ((windows >= 0) & ~winner).flatten(), torch.ones_like(margin)


def _derivatives(piece: Piece) -> tuple[Tensor, list[Tensor]]:
    """Return the map [d, D] and df / d(output) [d, O] of every step with several pieces."""
    steps = piece.program.steps
    wanted = [i + 1 for i, step in enumerate(steps) if step.branches]
    d = piece.offset.numel()
    rows = max(1, _BUDGET // max(shape.numel() for shape in piece.shapes))
    parts: dict[int, list[Tensor]] = {value: [] for value in [0, *wanted]}
    for start in range(0, d, rows):
        basis = unit_vectors(piece.offset, start, min(start + rows, d))
        for value, g in piece.pull_back(basis):
            if value in parts:
                parts[value].append(g.flatten(1))
    return torch.cat(parts[0]), [torch.cat(parts[value]) for value in wanted]


def _refuse_wide_pools(piece: Piece) -> None:
    for step in piece.program.steps:
        if not isinstance(step, MaxPool):
            continue
        windows = step.windows(piece.shapes[step.inputs[0]][1:])
        entries = int((windows >= 0).sum(1).max())
        if entries > 2:
            raise ValueError(
                f"layer '{step.name}' (MaxPool2d) has windows of {entries} entries, whose maximum "
                "is not a sum of kinks; pass pooling='separate' to treat each challenger as if it "
                "were alone"
            )


def _join(parts: list[Tensor] | tuple[Tensor, ...], x: Tensor, tail: tuple[int, ...]) -> Tensor:
    return torch.cat([x.new_zeros((0, *tail)), *parts])
