"""Small convolutional encoders that keep the position of what they see."""

from collections import OrderedDict
from collections.abc import Sequence

import torch
from torch import nn

from .. import seeding, validation
from .layers import DTYPES, Network, Normalise, kaiming


def digits_encoder(dim: int = 16, *, seed: int, dtype: torch.dtype = torch.float64) -> Network:
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
    Network

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
        network = Network(
            nn.Conv2d(1, 16, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(16, 32, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(512, 64),
            nn.ReLU(),
            nn.Linear(64, dim),
        )
    network.out_features = dim
    return network.to(dtype).eval()


def conv_encoder(
    channels: Sequence[int],
    dim: int,
    *,
    in_channels: int,
    size: int,
    seed: int,
    strides: Sequence[int] | None = None,
    batch_norm: bool = True,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    dtype: torch.dtype = torch.float32,
) -> Network:
    """Return a convolutional encoder whose last layer sees every position, not their mean.

    3 x 3 convolutions with ReLU, then a linear layer from all channels at all positions. Averaging
    over positions would discard where things are.

    Parameters
    ----------
    channels : sequence of int
        Channels of each convolution, at least one.
    dim : int
        Number of outputs.
    in_channels : int
        Channels of the images.
    size : int
        Height and width of the images.
    seed : int
        Seed of the weights: He's normal law with the fan of the inputs for the convolutions, and
        torch's default for the linear layer.
    strides : sequence of int, optional
        Stride of each convolution; 1 for the first and 2 for the others if left out.
    batch_norm : bool
        Whether each convolution is followed by BatchNorm.
    mean, std : sequence of float, optional
        What the first layer subtracts from each channel and divides it by; 0 and 1 if left out.
    dtype : torch.dtype
        float32 or float64.

    Returns
    -------
    Network
        From images in [0, 1] of shape (n, in_channels, size, size) to features (n, dim); in
        evaluation mode. `piecewise` accepts it.

    Raises
    ------
    ValueError
        If a number is out of range, or `channels` and `strides` differ in length.

    Examples
    --------
    >>> net = conv_encoder((16, 32, 64, 64), 32, in_channels=3, size=32, seed=0)
    >>> net(torch.zeros(2, 3, 32, 32)).shape, net.linear.in_features
    (torch.Size([2, 32]), 1024)
    """
    channels, strides = _stack(channels, strides)
    for name, value in (("dim", dim), ("in_channels", in_channels), ("size", size)):
        validation.integer(name, value, at_least=1)
    validation.member("dtype", dtype, DTYPES)
    layers: OrderedDict[str, nn.Module] = OrderedDict(
        normalise=Normalise(in_channels, mean=mean, std=std)
    )
    before = in_channels
    with seeding.initialisation(seed):
        for k, (after, stride) in enumerate(zip(channels, strides, strict=True), 1):
            layers[f"conv{k}"] = nn.Conv2d(before, after, 3, stride, 1, bias=not batch_norm)
            if batch_norm:
                layers[f"bn{k}"] = nn.BatchNorm2d(after)
            layers[f"relu{k}"] = nn.ReLU()
            before, size = after, -(-size // stride)
        layers["flatten"] = nn.Flatten()
        layers["linear"] = nn.Linear(before * size * size, dim)
        network = Network(layers)
        kaiming(network, mode="fan_in")
    network.out_features = dim
    return network.to(dtype).eval()


def _stack(channels: Sequence[int], strides: Sequence[int] | None) -> tuple[list[int], list[int]]:
    """Return the channels and strides of a stack of convolutions, checked."""
    channels = [validation.integer("channels", c, at_least=1) for c in channels]
    if not channels:
        raise ValueError("channels must hold at least one number, got none")
    strides = [1, *[2] * (len(channels) - 1)] if strides is None else list(strides)
    if len(strides) != len(channels):
        raise ValueError(
            f"strides must hold one number for each of {len(channels)} convolutions, got {strides}"
        )
    return channels, [validation.integer("strides", s, at_least=1) for s in strides]
