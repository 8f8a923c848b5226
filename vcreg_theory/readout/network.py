"""Features of images: one pass of a network that leaves no trace in it."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from .. import validation
from ..datasets import to_float


def features(model: nn.Module, images: Tensor, *, batch_size: int = 512) -> Tensor:
    r"""Return what a network makes of images in evaluation mode.

    .. math:: h_i = f_\theta(x_i), \qquad x_i = \text{image}_i / 255 \;\text{ for bytes}

    Parameters
    ----------
    model : nn.Module
        The network. Its parameters, its buffers (running statistics of batch normalisation among
        them) and the mode of each of its modules are the same afterwards, also after an error.
    images : Tensor, shape (n, ...)
        Bytes, or floats in [0, 1]; on any device.
    batch_size : int
        Images that pass at once, at least 1. The result does not depend on it beyond rounding.

    Returns
    -------
    Tensor of float32, shape (n, d)
        On the device of the network, without gradient; outputs of more dimensions are flattened.

    Raises
    ------
    TypeError
        If `images` is no tensor of bytes or floats, or the network does not return a tensor.
    ValueError
        If there is no image, or `batch_size` is below 1.

    Examples
    --------
    >>> net = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(4)).train()
    >>> features(net, torch.full((3, 1, 2, 2), 255, dtype=torch.uint8)).shape
    torch.Size([3, 4])
    >>> net.training, int(net[1].num_batches_tracked)
    (True, 0)
    """
    batch_size = validation.integer("batch_size", batch_size, at_least=1)
    if isinstance(images, Tensor) and (images.ndim < 2 or not len(images)):
        raise ValueError(
            f"images must have 2 dimensions or more and a row, got shape {tuple(images.shape)}"
        )
    like: Tensor | None = next(model.parameters(), None)
    if like is None:
        like = to_float(images[:1])
    with torch.no_grad(), _evaluating(model), torch.autocast(like.device.type, enabled=False):
        parts = [_outputs(model, to_float(part).to(like)) for part in images.split(batch_size)]
    return torch.cat(parts)


def _outputs(model: nn.Module, batch: Tensor) -> Tensor:
    """Return the outputs for one batch as rows of float32."""
    found = model(batch)
    if not isinstance(found, Tensor):
        raise TypeError(f"model must return a tensor, got {type(found).__name__}")
    return found.reshape(len(batch), -1).float()


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    """Hold all modules in evaluation mode, and give each its own mode back."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode
