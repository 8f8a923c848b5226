"""The affine map that a network is near an input, and the pattern that selects it."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from .. import validation
from .inputs import batch, exact_arithmetic
from .piece import Piece, piece_at
from .program import Program, lower
from .steps import MaxPool


class LocalMap(NamedTuple):
    """The affine maps ``z = map @ x.flatten() + offset`` of a batch of inputs; callable on one."""

    map: Tensor
    offset: Tensor

    def __call__(self, x: Tensor) -> Tensor:
        """Return ``map @ x + offset`` for a batch ``x[B, ...]``, shape (B, d)."""
        return (self.map @ x.flatten(1).unsqueeze(-1)).squeeze(-1) + self.offset


def local_affine_map(model: nn.Module | Program, x: Tensor, *, chunk: int = 32) -> LocalMap:
    r"""Return the affine map that acts on the activation cell of each input.

    .. math:: f(x + \delta) = A_{\omega(x)} (x + \delta) + b_{\omega(x)}
              \quad\text{while } x + \delta \in \omega(x)

    Where no unit is exactly at its boundary, :math:`A` is the Jacobian. On a boundary it is the
    map of the pattern that `activation_pattern` reports, one element of the generalised Jacobian.

    Parameters
    ----------
    model : nn.Module or Program
        A continuous piecewise-affine network in evaluation mode.
    x : Tensor, shape (B, ...)
        Inputs with D entries each, float32 or float64.
    chunk : int
        Rows of the map computed at once. More rows cost memory and, past about 32, gain little.

    Returns
    -------
    LocalMap
        ``map`` of shape (B, d, D) and ``offset`` of shape (B, d), in the dtype of `x`; inputs and
        outputs of several dimensions are flattened. The offset is the frozen pattern's value at
        the origin, computed on its own and not as ``f(x) - map @ x``.

    Raises
    ------
    TypeError
        If a layer is not piecewise affine or is in training mode.
    ValueError
        If `x` is not finite or not a batch of inputs of `model`.

    Notes
    -----
    One input costs min(d, D) passes through the linear part of the network, batched by `chunk`;
    cotangents if d <= D, else tangents. Inputs are taken one after another.

    Claim: B1.a.

    Examples
    --------
    >>> net = nn.Sequential(nn.Linear(1, 2, bias=False), nn.ReLU(), nn.Linear(2, 1, bias=False))
    >>> _ = net[0].weight.data.copy_(torch.tensor([[1.0], [-1.0]])), net[2].weight.data.fill_(1.0)
    >>> local_affine_map(net, torch.tensor([[3.0], [-2.0]])).map.flatten()  # this is |x|
    tensor([ 1., -1.])
    """
    chunk = validation.integer("chunk", chunk, at_least=1)
    program = lower(model)
    x = batch(program, "x", x)
    with exact_arithmetic(x):
        pieces = (piece_at(program, row) for row in x.split(1))
        maps, offsets = zip(*[(_matrix(p, chunk), p.offset.flatten()) for p in pieces], strict=True)
    return LocalMap(torch.stack(maps), torch.stack(offsets))


def _matrix(piece: Piece, chunk: int) -> Tensor:
    """Return the (d, D) matrix of a piece."""
    d, size = piece.offset.numel(), piece.shapes[0].numel()
    matrix = piece.offset.new_empty((d, size))
    reverse = d <= size
    origin = piece.offset if reverse else piece.offset.new_zeros(piece.shapes[0])
    for start in range(0, min(d, size), chunk):
        rows = slice(start, min(start + chunk, d, size))
        basis = unit_vectors(origin, rows.start, rows.stop)
        if reverse:
            for value, g in piece.pull_back(basis):
                if value == 0:
                    matrix[rows] = g.flatten(1)
        else:
            matrix[:, rows] = piece.push_forward(basis).flatten(1).T
    return matrix


def unit_vectors(like: Tensor, start: int, stop: int) -> Tensor:
    """Return the unit vectors numbered `start` to `stop`, shaped like `like`, a batch of one."""
    basis = like.new_zeros((stop - start, like.numel()))
    basis.diagonal(start).fill_(1.0)
    return basis.reshape(-1, *like.shape[1:])


def activation_pattern(model: nn.Module | Program, x: Tensor) -> Tensor:
    r"""Return the activation pattern of each input: which piece of every unit acts.

    Two inputs with one pattern lie in one activation cell and share one affine map. The converse
    fails: different cells may carry the same map.

    Parameters
    ----------
    model : nn.Module or Program
        A continuous piecewise-affine network in evaluation mode.
    x : Tensor, shape (B, ...)
        Inputs, float32 or float64.

    Returns
    -------
    Tensor of int16, shape (B, U)
        Units in the order of execution. A rectifier is 1 if its input is positive and 0 otherwise,
        zero included; a pooling window gives the place of its winner, the first one if several tie.

    Raises
    ------
    TypeError
        If a layer is not piecewise affine or is in training mode.
    ValueError
        If `x` is not finite or not a batch of inputs of `model`.

    Notes
    -----
    Claim: B1.a.

    Examples
    --------
    >>> net = nn.Sequential(nn.Flatten(), nn.ReLU())
    >>> activation_pattern(net, torch.tensor([[0.5, 0.0, -1.0]]))
    tensor([[1, 0, 0]], dtype=torch.int16)
    """
    program = lower(model)
    x = batch(program, "x", x)
    with exact_arithmetic(x):
        values = program.values(x)
        columns = [x.new_zeros((x.shape[0], 0), dtype=torch.int16)]
        for step in program.steps:
            read = program.reads(step, values)
            pattern = step.pattern(*read)
            if pattern is None:
                continue
            if isinstance(step, MaxPool):
                pattern = step.places(pattern, read[0].shape[1:])
            columns.append(pattern.flatten(1).to(torch.int16))
    return torch.cat(columns, 1)
