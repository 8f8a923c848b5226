"""Multilayer perceptrons."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import nn

from .. import seeding, validation
from .layers import Network


def mlp(
    widths: Sequence[int], *, seed: int, slope: float = 0.0, dtype: torch.dtype = torch.float64
) -> Network:
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
    Network
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
    widths = layer_widths(widths)
    validation.nonnegative("slope", slope)
    layers: list[nn.Module] = []
    with seeding.initialisation(seed):
        for before, after in pairwise(widths):
            layers += [nn.Linear(before, after), nn.LeakyReLU(slope) if slope else nn.ReLU()]
    network = Network(*layers[:-1])
    network.out_features = widths[-1]
    return network.to(dtype).eval()


def layer_widths(widths: Sequence[int]) -> list[int]:
    """Return the widths of the layers if there are at least two, each at least 1."""
    if len(widths) < 2:
        raise ValueError(f"widths must hold at least two numbers, got {list(widths)}")
    return [validation.integer("widths", width, at_least=1) for width in widths]
