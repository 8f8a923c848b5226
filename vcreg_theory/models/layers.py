"""Parts that the networks share: a sequence that knows its width, input normalisation, units."""

from collections.abc import Callable, Sequence
from typing import Literal, cast

import torch
from torch import Tensor, nn

from .. import validation

DTYPES = (torch.float32, torch.float64)
LEAK = 0.2
UNITS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "leaky_relu": lambda: nn.LeakyReLU(LEAK),
    "tanh": nn.Tanh,
}


class Network(nn.Sequential):
    """Layers in sequence, with the number of outputs as `out_features`.

    A slice of a network is a network without that number, since only its builder knows it.
    """

    out_features: int


class Normalise(nn.Module):
    r"""Subtract a mean from each channel of images and divide by a standard deviation.

    .. math:: x_c \mapsto (x_c - m_c) / s_c

    Both are buffers: they travel with the weights, and no optimiser changes them.

    Parameters
    ----------
    channels : int
        Number of channels.
    mean, std : sequence of float, optional
        One number a channel, in the unit of the images; 0 and 1 if left out.

    Raises
    ------
    ValueError
        If there is not one finite number a channel, or a deviation is not positive; in use, if the
        images have another number of channels, which broadcasting would hide.
    TypeError
        In use, if the images are integers, since those do not lie in [0, 1].

    Examples
    --------
    >>> Normalise(2, mean=[0.5, 0.5], std=[0.5, 0.25])(torch.ones(1, 2, 1, 1)).flatten()
    tensor([1., 2.])
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        channels: int,
        *,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
    ):
        super().__init__()
        mean = _by_channel("mean", mean, channels, 0.0)
        std = _by_channel("std", std, channels, 1.0)
        for value in std:
            validation.positive("std", value)
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32).reshape(-1, 1, 1))
        self.register_buffer("std", torch.tensor(std, dtype=torch.float32).reshape(-1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Return the images `x` of shape (n, channels, height, width), normalised."""
        if isinstance(x, Tensor):  # not so while a tracer reads the network
            if not x.is_floating_point():
                raise TypeError(f"images must be floating point in [0, 1], got {x.dtype}")
            if x.ndim != 4 or x.shape[1] != len(self.mean):
                wanted = f"(n, {len(self.mean)}, height, width)"
                raise ValueError(f"images must have shape {wanted}, got {tuple(x.shape)}")
        return (x - self.mean) / self.std


def _by_channel(
    name: str, values: Sequence[float] | None, channels: int, default: float
) -> list[float]:
    """Return one finite number a channel."""
    if values is None:
        return [default] * channels
    if len(values) != channels:
        raise ValueError(
            f"{name} must hold one number for each of {channels} channels, got {list(values)}"
        )
    return [validation.real(name, value) for value in values]


def unit(activation: str) -> nn.Module:
    """Return the layer of units called `activation`."""
    return UNITS[validation.member("activation", activation, UNITS)]()


def gain(activation: str) -> float:
    """Return the factor on weights of deviation 1 / sqrt(fan-in) that keeps the size of units."""
    name = cast(Literal["relu", "leaky_relu", "tanh"], activation)
    return nn.init.calculate_gain(name, LEAK if activation == "leaky_relu" else None)


def kaiming(network: nn.Module, *, mode: Literal["fan_in", "fan_out"]) -> None:
    """Draw the convolutions of a ReLU network with variance 2 / fan, `mode` naming the fan."""
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode=mode, nonlinearity="relu")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
