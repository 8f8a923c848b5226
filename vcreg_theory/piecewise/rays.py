"""How far one can go along a ray before the network's affine map changes."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from .. import validation
from .inputs import batch, exact_arithmetic
from .piece import Live
from .program import Program, lower

# Entries of the widest value in one pass: 16 MiB in float32, which stays near the cache.
_BUDGET = 2**22


def exit_radius(model: nn.Module | Program, x: Tensor, u: Tensor) -> Tensor:
    r"""Return the distance, in units of `u`, at which a ray leaves the cell of `x`.

    .. math:: t^*(x, u) = \min_j \frac{m_j(x)}{(-\dot m_j)_+}, \qquad
              \dot m_j = \nabla m_j(x)^\top u,

    with :math:`m_j \ge 0` the margins of the cell: :math:`|h_j|` for the input :math:`h_j` of a
    rectifier, and winner minus challenger for each challenger in a pooling window. A cell is
    convex, so :math:`x + tu` is in it for all :math:`t < t^*` and for no :math:`t > t^*`.

    Parameters
    ----------
    model : nn.Module or Program
        A continuous piecewise-affine network in evaluation mode.
    x : Tensor, shape (B, ...) or (1, ...)
        Starting points; a single one serves every direction.
    u : Tensor, shape (B, ...)
        Directions, none of them zero. They are not normalised: t is Euclidean if u has norm 1.

    Returns
    -------
    Tensor, shape (B,)
        Exit radii; infinity where the ray meets no boundary.

    Raises
    ------
    TypeError
        If a layer is not piecewise affine or is in training mode.
    ValueError
        If `x` or `u` is not finite or not an input of `model`, if their shapes do not match, or if
        a direction is zero.

    Notes
    -----
    *Ties.* A unit that is exactly on its boundary belongs to the piece that `activation_pattern`
    reports: a rectifier at 0 is off, and the first of several equal entries wins. If u carries it
    to another piece (a rectifier's input grows, a challenger outgrows the winner) the radius is 0;
    if u moves it into its own piece, or along the boundary, it does not count. So in either case
    the map of `local_affine_map` at x is exact on the whole of [0, t*]. Real images sit on
    boundaries often, wherever constant pixels meet layers without bias; add a small jitter before
    using radii.

    One forward pass carries values and tangents together; the cost is about that of two.

    Claim: B1.b.

    Examples
    --------
    >>> x, u = torch.tensor([[2.0]]), torch.tensor([[-1.0], [-4.0], [1.0]])
    >>> exit_radius(nn.Sequential(nn.ReLU()), x, u)
    tensor([2.0000, 0.5000,    inf])
    """
    program = lower(model)
    x, u = batch(program, "x", x), _directions(x, u)
    with exact_arithmetic(x):
        rows = max(1, _BUDGET // max(v[0].numel() for v in program.values(x[:1])))
        starts = x.split(rows) if x.shape[0] > 1 else [x] * -(-u.shape[0] // rows)
        parts = [_exit(program, a, b) for a, b in zip(starts, u.split(rows), strict=True)]
    return torch.cat(parts)


def margins_along(program: Program, x: Tensor, u: Tensor) -> Iterator[tuple[int, Tensor, Tensor]]:
    """Carry `x` and its tangents `u` through the program together.

    Yields, for each step with several pieces, its index, its margins at x and their derivatives
    along u. A batch of one in `x` is carried once, whatever the number of tangents.
    """
    values, tangents = Live(program, x), Live(program, u)
    last = max((i for i, step in enumerate(program.steps) if step.branches), default=-1)
    for index, step in enumerate(program.steps):
        read, moved = values.read(step), tangents.read(step)
        pattern = step.pattern(*read)
        if step.branches:
            margins, slopes = step.margins(pattern, *read), step.margins(pattern, *moved)
            assert margins is not None and slopes is not None
            yield index, margins, slopes
        if index >= last:
            return
        values.append(step.affine(pattern, *read))
        tangents.append(step.linear(pattern, *moved))


def _exit(program: Program, x: Tensor, u: Tensor) -> Tensor:
    radius = u.new_full((u.shape[0],), torch.inf)
    for _, margin, slope in margins_along(program, x, u):
        times = torch.where(slope < 0, margin / -slope, torch.inf)
        radius = torch.minimum(radius, times.amin(1))
    return radius


def _directions(x: Tensor, u: Tensor) -> Tensor:
    """Return `u` if it holds one nonzero direction for each input, or many for a single one."""
    u = validation.tensor("u", u, min_rows=1).detach()
    if u.shape[1:] != x.shape[1:] or x.shape[0] not in (1, u.shape[0]):
        raise ValueError(
            "u must have the shape of x (or x a batch of one), "
            f"got u of shape {tuple(u.shape)} and x of shape {tuple(x.shape)}"
        )
    if u.dtype != x.dtype or u.device != x.device:
        raise ValueError(
            f"u and x must share dtype and device, got {u.dtype} on {u.device} "
            f"and {x.dtype} on {x.device}"
        )
    zero = (u.flatten(1) == 0).all(1).nonzero().flatten().tolist()
    if zero:
        raise ValueError(f"u must hold nonzero directions, but row {zero[0]} is all zero")
    return u
