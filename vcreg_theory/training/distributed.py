"""Several processes that train one network, as ``torchrun`` starts them."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import nn


@dataclass(frozen=True)
class World:
    """This process among those that train together.

    Examples
    --------
    >>> World().slice(8)
    slice(0, 8, None)
    >>> World(rank=1, size=2).slice(8)
    slice(4, 8, None)
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0

    @property
    def is_main(self) -> bool:
        """Whether this process writes files and shows progress."""
        return self.rank == 0

    def slice(self, batch_size: int) -> slice:
        """Return this process's rows of a batch."""
        share = batch_size // self.size
        return slice(self.rank * share, (self.rank + 1) * share)

    def agree(self, flag: bool, device: torch.device) -> bool:
        """Return the main process's answer to a question of time, in every process."""
        if self.size == 1:
            return flag
        answer = torch.tensor(flag, dtype=torch.int32, device=device)
        dist.broadcast(answer, 0)
        return bool(answer)


def environment() -> World:
    """Return this process's place as ``torchrun`` describes it in the environment."""
    rank, size, local = (
        int(os.environ.get(name, default))
        for name, default in (("RANK", 0), ("WORLD_SIZE", 1), ("LOCAL_RANK", 0))
    )
    return World(rank, size, local)


@contextmanager
def group(device: torch.device) -> Iterator[World]:
    """Join the processes that train together, and leave them at the end.

    Parameters
    ----------
    device : torch.device
        CUDA communicates by NCCL, the CPU by gloo.

    Raises
    ------
    ValueError
        If processes were joined already, in another number than the environment says: losses
        would gather from processes whose gradients are not averaged.
    """
    world = environment()
    if dist.is_initialized() and dist.get_world_size() != world.size:
        raise ValueError(
            f"WORLD_SIZE is {world.size}, but torch.distributed has {dist.get_world_size()} "
            "processes: start them with torchrun"
        )
    if world.size == 1 or dist.is_initialized():
        yield world
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield world
    finally:
        dist.destroy_process_group()


def wrap(module: nn.Module, world: World, device: torch.device) -> nn.Module:
    """Return a module whose gradients are averaged over the processes.

    Raises
    ------
    ValueError
        If a network on the CPU normalises batches: torch shares batch statistics on CUDA only, and
        statistics of parts of a batch would train another network than one process does.
    """
    if world.size == 1:
        return module
    if device.type == "cuda":
        module = nn.SyncBatchNorm.convert_sync_batchnorm(module)
    elif any(isinstance(layer, nn.modules.batchnorm._BatchNorm) for layer in module.modules()):
        raise ValueError("a network with batch normalisation needs CUDA for several processes")
    ids = [device.index] if device.type == "cuda" else None
    return nn.parallel.DistributedDataParallel(
        module, device_ids=ids, broadcast_buffers=False, gradient_as_bucket_view=True
    )
