"""Translation of torch layers into steps: one small builder a kind of layer.

Whatever is not listed in `LAYERS`, `FUNCTIONS` or `BINARY` is refused, by name.
"""

import operator
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .steps import Affine, MaxPool, Rectifier, Step

ALLOWED = (
    "Linear, Conv1d/2d/3d, BatchNorm1d/2d/3d (evaluation mode), ReLU, LeakyReLU, MaxPool2d, "
    "AvgPool, AdaptiveAvgPool, Flatten, Identity, Dropout (evaluation mode), sums, and scaling by "
    "constants"
)


def not_affine(name: str, kind: str) -> TypeError:
    """Return the error for a layer that has no affine pieces."""
    return TypeError(f"layer '{name}' ({kind}) is not piecewise affine; allowed are {ALLOWED}")


def scaling(name: str, source: int, scale: Tensor | float, shift: Tensor | float) -> Affine:
    """Return the step ``scale * x + shift`` with constants that broadcast."""

    def apply(x: Tensor) -> Tensor:
        return x * _like(scale, x) + _like(shift, x)

    def apply_linear(x: Tensor) -> Tensor:
        out = x * _like(scale, x)
        # A constant with more entries than the value enlarges the value too.
        return out.expand(torch.broadcast_shapes(out.shape, torch.as_tensor(shift).shape))

    return Affine(name, (source,), apply, apply_linear)


def _like(constant: Tensor | float, x: Tensor) -> Tensor | float:
    return constant.to(x) if isinstance(constant, Tensor) else constant


def with_constant(kind: str, name: str, a: Any, b: Any, *, first: bool) -> Affine:
    """Return the step ``a kind b`` where one operand is a constant; `first` if `a` is the value."""
    source, constant = (a, b) if first else (b, a)
    if kind == "add":
        return scaling(name, source, 1.0, constant)
    if kind == "sub":
        return scaling(name, source, *((1.0, -constant) if first else (-1.0, constant)))
    if kind == "div" and not first:
        raise not_affine(name, "division by a value")
    return scaling(name, source, constant if kind == "mul" else 1 / constant, 0.0)


def _linear(name: str, inputs: tuple[int, ...], layer: nn.Linear) -> Affine:
    weight, bias = layer.weight.detach(), None if layer.bias is None else layer.bias.detach()
    return Affine(
        name,
        inputs,
        lambda x: F.linear(x, weight, bias),
        lambda x: F.linear(x, weight),
        lambda g, shape: g @ weight,
        layer,
    )


def _convolution(name: str, inputs: tuple[int, ...], layer: nn.modules.conv._ConvNd) -> Affine:
    weight, bias = layer.weight.detach(), None if layer.bias is None else layer.bias.detach()
    return Affine(
        name,
        inputs,
        lambda x: layer._conv_forward(x, weight, bias),
        lambda x: layer._conv_forward(x, weight, None),
        _transposed_convolution(layer, weight),
        layer,
    )


def _transposed_convolution(
    layer: nn.modules.conv._ConvNd, weight: Tensor
) -> Callable[[Tensor, torch.Size], Tensor] | None:
    """Return the adjoint, or None where padding is not a number of zeros."""
    if layer.padding_mode != "zeros" or isinstance(layer.padding, str):
        return None
    dimensions = len(layer.kernel_size)
    transpose = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}[dimensions]
    stride, padding, dilation = layer.stride, layer.padding, layer.dilation

    def adjoint(g: Tensor, shape: torch.Size) -> Tensor:
        if dimensions == 2:  # up to twice as fast as the default layout
            g = g.contiguous(memory_format=torch.channels_last)
        # Rows at the far edge that the strided convolution never read.
        unread = [
            size - ((out - 1) * s - 2 * p + d * (k - 1) + 1)
            for size, out, s, p, d, k in zip(
                shape[1:], g.shape[2:], stride, padding, dilation, layer.kernel_size, strict=True
            )
        ]
        return transpose(g, weight, None, stride, padding, unread, layer.groups, dilation)

    return adjoint


def _batch_norm(
    name: str, inputs: tuple[int, ...], layer: nn.modules.batchnorm._BatchNorm
) -> Affine:
    if layer.training or layer.running_mean is None or layer.running_var is None:
        raise TypeError(
            f"layer '{name}' ({type(layer).__name__}) normalises by batch statistics, so one "
            "sample's output depends on the others; call model.eval() and keep running statistics"
        )
    scale = torch.rsqrt(layer.running_var + layer.eps)
    if layer.weight is not None:
        scale = scale * layer.weight.detach()
    shift = -layer.running_mean * scale
    if layer.bias is not None:
        shift = shift + layer.bias.detach()

    def channels(v: Tensor, x: Tensor) -> Tensor:
        return v.reshape(-1, *[1] * (x.ndim - 2))

    return Affine(
        name,
        inputs,
        lambda x: x * channels(scale, x) + channels(shift, x),
        lambda x: x * channels(scale, x),
        lambda g, shape: g * channels(scale, g),
        layer,
    )


def _everywhere_linear(name: str, inputs: tuple[int, ...], layer: nn.Module) -> Affine:
    return Affine(name, inputs, layer, layer, None, layer)


def _flatten(name: str, inputs: tuple[int, ...], layer: nn.Flatten) -> Affine:
    if layer.start_dim != 1 or layer.end_dim != -1:
        raise TypeError(
            f"layer '{name}' (Flatten) must keep the batch dimension and flatten the rest"
        )
    return Affine(name, inputs, layer, layer, lambda g, shape: g.unflatten(1, shape), layer)


def _rectifier(
    name: str, inputs: tuple[int, ...], layer: nn.ReLU | nn.LeakyReLU
) -> Rectifier | None:
    slope = float(getattr(layer, "negative_slope", 0.0))
    # With slope 1 on both sides the layer is the identity and has no boundary.
    return None if slope == 1.0 else Rectifier(name, inputs, slope)


def _max_pool(name: str, inputs: tuple[int, ...], layer: nn.MaxPool2d) -> MaxPool:
    keys = ("kernel_size", "stride", "padding", "dilation")
    if layer.ceil_mode:
        raise TypeError(f"layer '{name}' (MaxPool2d) with ceil_mode=True is not supported")
    return MaxPool(name, inputs, {key: getattr(layer, key) for key in keys})


def _nothing(name: str, inputs: tuple[int, ...], layer: nn.Module) -> None:
    if isinstance(layer, nn.modules.dropout._DropoutNd) and layer.training and layer.p > 0:
        raise TypeError(
            f"layer '{name}' ({type(layer).__name__}) is random in training mode; call model.eval()"
        )


class _Mean(nn.Module):
    """Mean over trailing dimensions: global average pooling written as a tensor method."""

    def __init__(self, dim: object = None, keepdim: bool = False):
        super().__init__()
        self.dims = tuple(dim) if isinstance(dim, Sequence) else (dim,)
        self.keepdim = keepdim
        if None in self.dims or 0 in self.dims:
            raise TypeError("mean must keep the batch dimension: name trailing dimensions")

    def forward(self, x: Tensor) -> Tensor:
        return x.mean(self.dims, keepdim=self.keepdim)


def _relu(inplace: bool = False) -> nn.ReLU:
    return nn.ReLU(inplace)


def _leaky_relu(negative_slope: float = 0.01, inplace: bool = False) -> nn.LeakyReLU:
    return nn.LeakyReLU(negative_slope, inplace)


def _dropout(p: float = 0.5, training: bool = True, inplace: bool = False) -> nn.Dropout:
    return nn.Dropout(p).train(training)


def _flatten_call(start_dim: int = 0, end_dim: int = -1) -> nn.Flatten:
    return nn.Flatten(start_dim, end_dim)


LAYERS: tuple[tuple[tuple[type, ...], Callable[..., Step | None]], ...] = (
    ((nn.Linear,), _linear),
    ((nn.Conv1d, nn.Conv2d, nn.Conv3d), _convolution),
    ((nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d), _batch_norm),
    ((nn.ReLU, nn.LeakyReLU), _rectifier),
    ((nn.MaxPool2d,), _max_pool),
    (
        (nn.AvgPool1d, nn.AvgPool2d, nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, _Mean),
        _everywhere_linear,
    ),
    ((nn.Flatten,), _flatten),
    ((nn.Identity, nn.modules.dropout._DropoutNd), _nothing),
)


FUNCTIONS: dict[str, Callable[..., nn.Module]] = {
    "relu": _relu,
    "leaky_relu": _leaky_relu,
    "dropout": _dropout,
    "flatten": _flatten_call,
    "mean": _Mean,
    "max_pool2d": nn.MaxPool2d,
    "avg_pool2d": nn.AvgPool2d,
    "adaptive_avg_pool2d": nn.AdaptiveAvgPool2d,
}

BINARY = {
    operator.add: "add",
    torch.add: "add",
    operator.sub: "sub",
    torch.sub: "sub",
    operator.mul: "mul",
    torch.mul: "mul",
    operator.truediv: "div",
    torch.div: "div",
    operator.neg: "neg",
    torch.neg: "neg",
    operator.iadd: "add",
    operator.isub: "sub",
    operator.imul: "mul",
    operator.itruediv: "div",
}
