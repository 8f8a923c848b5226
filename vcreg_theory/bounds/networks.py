"""Networks as matrices with units between them."""

import copy
import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from .. import validation
from ..models.layers import Normalise

_AFFINE = (
    nn.Linear,
    nn.Conv2d,
    nn.BatchNorm1d,
    nn.BatchNorm2d,
    nn.AvgPool2d,
    nn.AdaptiveAvgPool2d,
    nn.Flatten,
    nn.Identity,
    nn.Dropout,
    Normalise,
)
_UNITS = (nn.ReLU, nn.LeakyReLU)


def layer_matrices(
    network: nn.Module, input_shape: Sequence[int], probe: Tensor | None = None
) -> list[Tensor]:
    r"""Return a ReLU network as matrices with units between them, biases included.

    .. math:: \begin{pmatrix} f(x) \end{pmatrix} = A_L\, \sigma(A_{L-1} \cdots
        \sigma(A_1 (x, 1)^\top)), \qquad A_l = \begin{pmatrix} M_l & b_l \\ 0 & 1 \end{pmatrix}

    Parameters
    ----------
    network : nn.Sequential
        Linear layers, convolutions, batch normalisation (its evaluation mode), flattening, and
        ReLU or leaky ReLU of slope at most one; nested sequences are allowed.
    input_shape : sequence of int
        Shape of one input.
    probe : Tensor, shape (d, K), optional
        A linear probe that follows, as one more matrix.

    Returns
    -------
    list of Tensor
        Matrices (out, in) in float64, layer by layer; the last has no row for the constant unless a
        probe follows.

    Raises
    ------
    ValueError
        If a layer is of another kind or the input does not fit.

    Examples
    --------
    >>> net = nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 2))
    >>> [tuple(matrix.shape) for matrix in layer_matrices(net, [3])]
    [(6, 4), (2, 6)]
    """
    shape = tuple(validation.integer("input_shape", size, at_least=1) for size in input_shape)
    segments = _segments(network)
    matrices = []
    for segment in segments:
        matrix, shape = _matrix(segment, shape)
        constant = matrix.new_zeros(1, matrix.shape[1])
        constant[0, -1] = 1
        matrices.append(torch.cat([matrix, constant]))
    if probe is None:
        matrices[-1] = matrices[-1][:-1]
    else:
        last = validation.tensor("probe", probe, ndim=2).detach().to(matrices[-1]).T
        if last.shape[1] != len(matrices[-1]) - 1:
            wanted = f"{len(matrices[-1]) - 1} rows, one a feature"
            raise ValueError(f"probe must have {wanted}, got shape {tuple(probe.shape)}")
        matrices.append(torch.cat([last, last.new_zeros(len(last), 1)], 1))
    return matrices


def _segments(network: nn.Module) -> list[nn.Sequential]:
    """Return the affine parts of a network, cut at its units."""
    parts: list[list[nn.Module]] = [[]]
    for layer in _leaves(network):
        if isinstance(layer, _UNITS):
            if not 0 <= getattr(layer, "negative_slope", 0.0) <= 1:
                raise ValueError(f"network must have units of slope in [0, 1], got {layer}")
            parts.append([])
        elif isinstance(layer, _AFFINE):
            if getattr(layer, "running_mean", 0) is None:
                raise ValueError(
                    f"network must have batch normalisation with running statistics, got {layer}"
                )
            parts[-1].append(layer)
        else:
            raise ValueError(f"network must hold linear layers and (leaky) ReLU, got {layer}")
    return [nn.Sequential(*part) for part in parts]


def _leaves(network: nn.Module) -> list[nn.Module]:
    """Return the layers of nested sequences in order."""
    if isinstance(network, nn.Sequential):
        return [leaf for part in network for leaf in _leaves(part)]
    return [network]


def _matrix(segment: nn.Sequential, shape: tuple[int, ...]) -> tuple[Tensor, tuple[int, ...]]:
    """Return the matrix of an affine part with its offset as last column, and its output shape."""
    twin = copy.deepcopy(segment).eval().double()
    size = math.prod(shape)
    device = next((p.device for p in [*twin.parameters(), *twin.buffers()]), None)
    points = torch.cat([torch.zeros(1, size), torch.eye(size)]).to(device, torch.float64)
    with torch.no_grad():
        try:
            values = twin(points.reshape(-1, *shape))
        except (RuntimeError, ValueError) as error:
            raise ValueError(f"input_shape {shape} does not fit the network: {error}") from error
    flat = values.flatten(1)
    return torch.cat([flat[1:] - flat[0], flat[:1]]).T, tuple(values.shape[1:])
