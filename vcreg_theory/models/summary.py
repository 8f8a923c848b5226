"""What a network is and costs: a hash of its weights, and the work of a forward pass."""

import copy
import hashlib
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from .. import validation


def fingerprint(model: nn.Module) -> str:
    """Return the sha256 of a model's weights and buffers, names and shapes included.

    Parameters
    ----------
    model : nn.Module

    Returns
    -------
    str
        64 hexadecimal digits; equal for equal state dictionaries only.

    Examples
    --------
    >>> from vcreg_theory.models import mlp
    >>> fingerprint(mlp([2, 3, 1], seed=0)) == fingerprint(mlp([2, 3, 1], seed=0))
    True
    """
    return tensors_fingerprint(model.state_dict())


def tensors_fingerprint(tensors: Mapping[str, Tensor]) -> str:
    """Return the sha256 of named tensors: names, dtypes, shapes and entries, in order of name."""
    digest = hashlib.sha256()
    for name, value in sorted(tensors.items()):
        array = value.detach().cpu().contiguous()
        digest.update(f"{name} {array.dtype} {tuple(array.shape)}\n".encode())
        digest.update(array.flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def forward_flops(model: nn.Module, input_shape: Sequence[int]) -> int:
    """Return the floating-point operations of one input's forward pass in evaluation mode.

    Convolutions and matrix products count, a multiplication with an addition as two operations;
    biases, normalisation, units and pooling do not. Training costs about three times as much.

    Parameters
    ----------
    model : nn.Module
        Left unchanged: the count is that of a copy without data.
    input_shape : sequence of int
        Shape of one input, without the batch dimension.

    Returns
    -------
    int

    Raises
    ------
    ValueError
        If a size is below 1, or the model does not take inputs of this shape.

    Examples
    --------
    >>> forward_flops(nn.Sequential(nn.Linear(10, 20), nn.ReLU(), nn.Linear(20, 5)), [10])
    600
    """
    from torch.utils.flop_counter import FlopCounterMode

    shape = [validation.integer("input_shape", n, at_least=1) for n in input_shape]
    tensors = [*model.parameters(), *model.buffers()]
    dtype = next((t.dtype for t in tensors if t.is_floating_point()), torch.float32)
    twin = copy.deepcopy(model).to("meta").eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        try:
            twin(torch.empty(1, *shape, dtype=dtype, device="meta"))
        except (RuntimeError, ValueError) as error:
            raise ValueError(
                f"input_shape {tuple(shape)} is not that of an input of this model: {error}"
            ) from error
    return int(counter.get_total_flops())
