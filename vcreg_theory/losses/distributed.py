"""One batch out of the batches of all processes, for losses whose statistics need all of it."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, distributed
from torch.autograd import Function


def gather(z: Tensor) -> Tensor:
    r"""Return the batches of all processes in the order of their ranks, with gradients.

    Gather both views, then take the loss: every process computes the loss L of the whole batch.

    Parameters
    ----------
    z : Tensor, shape (n, ...)
        The batch of this process; the shape is the same in all W processes.

    Returns
    -------
    Tensor, shape (W n, ...)
        The rows of rank 0, then those of rank 1, and so on; `z` itself if there is one process.

    Notes
    -----
    The gradient passed back to `z` is the sum over the processes of the gradients of their losses
    with respect to its rows. All of them computed the same loss, so this is :math:`W\, \partial L /
    \partial z`. DistributedDataParallel then averages the gradients of the parameters over the
    processes, each of which has carried only its own rows, and the average

    .. math::
        \frac1W \sum_r J_r^\top \Bigl(W \frac{\partial L}{\partial z_r}\Bigr)
        = \sum_r J_r^\top \frac{\partial L}{\partial z_r}

    is the gradient of one process with the whole batch. Passing back only the own process's part
    would make it W times too small. Where gradients are summed and not averaged, divide by W.

    Batch normalisation inside the encoder has statistics of its own to share: convert it with
    ``torch.nn.SyncBatchNorm.convert_sync_batchnorm``.

    Examples
    --------
    >>> z = torch.zeros(2, 3)
    >>> gather(z) is z  # torch.distributed is not in use
    True
    """
    if not isinstance(z, Tensor):
        raise TypeError(f"z must be a torch.Tensor, got {type(z).__name__}")
    if z.ndim == 0:
        raise ValueError("z must have at least 1 dimension, got shape ()")
    if not (distributed.is_available() and distributed.is_initialized()):
        return z
    gathered: Callable[[Tensor], Tensor] = _Gather.apply
    return gathered(z) if distributed.get_world_size() > 1 else z


class _Gather(Function):
    """Concatenate over the processes; the adjoint of `_SumOwnRows`."""

    @staticmethod
    def forward(ctx: Any, z: Tensor) -> Tensor:
        z = z.contiguous()
        parts = [torch.empty_like(z) for _ in range(distributed.get_world_size())]
        distributed.all_gather(parts, z)
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        own_rows: Callable[[Tensor], Tensor] = _SumOwnRows.apply
        return own_rows(gradient)


class _SumOwnRows(Function):
    """Sum over the processes and keep this one's rows; the adjoint of `_Gather`."""

    @staticmethod
    def forward(ctx: Any, gradient: Tensor) -> Tensor:
        total = gradient.clone(memory_format=torch.contiguous_format)
        distributed.all_reduce(total)
        return total.chunk(distributed.get_world_size())[distributed.get_rank()]

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        gathered: Callable[[Tensor], Tensor] = _Gather.apply
        return gathered(gradient)
