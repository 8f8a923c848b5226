"""Networks of the book, built from piecewise-affine layers."""

import hashlib
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import nn

from . import seeding, validation


def mlp(
    widths: Sequence[int], *, seed: int, slope: float = 0.0, dtype: torch.dtype = torch.float64
) -> nn.Sequential:
    """Return a (leaky) ReLU multilayer perceptron with torch's default initialisation.

    Parameters
    ----------
    widths : sequence of int
        Input width, hidden widths, output width; at least two numbers.
    seed : int
        Seed of the weights, which `slope` does not change.
    slope : float
        Slope of the units when off, not negative; zero is ReLU.
    dtype : torch.dtype
        float32 or float64.

    Returns
    -------
    nn.Sequential
        Linear layers with the units between them, in evaluation mode.

    Raises
    ------
    ValueError
        If fewer than two widths are given, one is below 1, or `slope` is negative.

    Examples
    --------
    >>> len(mlp([2, 16, 16, 2], seed=0))
    5
    """
    if len(widths) < 2:
        raise ValueError(f"widths must hold at least two numbers, got {list(widths)}")
    for width in widths:
        validation.integer("widths", width, at_least=1)
    validation.nonnegative("slope", slope)
    layers: list[nn.Module] = []
    with seeding.initialisation(seed):
        for before, after in pairwise(widths):
            layers += [nn.Linear(before, after), nn.LeakyReLU(slope) if slope else nn.ReLU()]
    return nn.Sequential(*layers[:-1]).to(dtype).eval()


def digits_encoder(
    dim: int = 16, *, seed: int, dtype: torch.dtype = torch.float64
) -> nn.Sequential:
    """Return a small convolutional encoder of 8 x 8 images, without max-pooling.

    Two 3 x 3 convolutions (16 and 32 channels, the second with stride 2), a hidden layer of 64
    units and a linear output, with ReLU between.

    Parameters
    ----------
    dim : int
        Number of outputs.
    seed : int
        Seed of the weights.
    dtype : torch.dtype
        float32 or float64.

    Returns
    -------
    nn.Sequential

    Raises
    ------
    ValueError
        If `dim` is below 1.

    Examples
    --------
    >>> digits_encoder(seed=0)(torch.zeros(2, 1, 8, 8, dtype=torch.float64)).shape
    torch.Size([2, 16])
    """
    validation.integer("dim", dim, at_least=1)
    with seeding.initialisation(seed):
        network = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(16, 32, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(512, 64),
            nn.ReLU(),
            nn.Linear(64, dim),
        )
    return network.to(dtype).eval()


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
    >>> fingerprint(mlp([2, 3, 1], seed=0)) == fingerprint(mlp([2, 3, 1], seed=0))
    True
    """
    digest = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        array = value.detach().cpu().contiguous()
        digest.update(f"{name} {array.dtype} {tuple(array.shape)}\n".encode())
        digest.update(array.flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
