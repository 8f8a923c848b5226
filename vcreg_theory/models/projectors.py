"""Projectors: what stands between a representation and the loss, learned or random."""

import math
from collections import OrderedDict
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from .. import seeding, validation
from .layers import DTYPES, UNITS, Network, gain, unit
from .perceptron import layer_widths

FINALS = ("linear", "activation")


def projector(
    widths: Sequence[int],
    *,
    seed: int,
    batch_norm: bool = True,
    activation: str = "relu",
    final: str = "linear",
    frozen: bool = False,
    bias: float | None = None,
    dtype: torch.dtype = torch.float32,
) -> Network:
    r"""Return a multilayer projector, learned or random.

    .. math:: h \mapsto \sigma(\mathrm{BN}(W h) + b)

    in each layer, and :math:`h \mapsto W h` in the last. Weights start normal with variance
    :math:`g^2` / fan-in, where the gain :math:`g` of the activation keeps the size of the units.

    Parameters
    ----------
    widths : sequence of int
        Input width, hidden widths, output width; at least two numbers.
    seed : int
        Seed of the weights; they are independent of those of an encoder of the same seed.
    batch_norm : bool
        Whether BatchNorm precedes the units.
    activation : {"relu", "leaky_relu", "tanh"}
        The units; leaky ReLU has slope 0.2.
    final : {"linear", "activation"}
        Whether the last layer is linear, or like the others: with one layer the outputs are then
        the random features :math:`\sigma(w_a^\top x + b_a)`.
    frozen : bool
        Whether the projector is random: no parameter requires a gradient, those of BatchNorm
        included. In training mode BatchNorm still normalises by the batch, and the gradient with
        respect to the input passes through its mean and variance.
    bias : float, optional
        Standard deviation of the offsets b at the start; 0 for a learned projector and 1 for a
        random one if left out. Units whose thresholds all lie at the mean respond to fewer
        dependences.
    dtype : torch.dtype
        float32 or float64.

    Returns
    -------
    Network
        From (n, widths[0]) to (n, widths[-1]), in evaluation mode. `piecewise` accepts it unless
        the units are tanh.

    Raises
    ------
    ValueError
        If fewer than two widths are given, or an option is out of range.

    Notes
    -----
    Claim A7. The law of the first layer's rows does not change under rotation of the input.

    Examples
    --------
    >>> net = projector([8, 32, 16], seed=0, frozen=True)
    >>> net(torch.zeros(4, 8)).shape, any(p.requires_grad for p in net.parameters())
    (torch.Size([4, 16]), False)
    """
    widths = layer_widths(widths)
    validation.member("activation", activation, UNITS)
    validation.member("final", final, FINALS)
    validation.member("dtype", dtype, DTYPES)
    spread = float(frozen) if bias is None else validation.nonnegative("bias", bias)
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    with seeding.initialisation(seed, "projector"):
        for k, (before, after) in enumerate(pairwise(widths), 1):
            if k == len(widths) - 1 and final == "linear":
                layers[f"linear{k}"] = _linear(before, after, 1.0, offset=False)
                continue
            linear = _linear(before, after, gain(activation), offset=not batch_norm)
            layers[f"linear{k}"] = linear
            shifted: nn.Linear | nn.BatchNorm1d = linear
            if batch_norm:
                shifted = layers[f"bn{k}"] = nn.BatchNorm1d(after)
            nn.init.normal_(shifted.bias, 0.0, spread)
            layers[f"unit{k}"] = unit(activation)
    network = Network(layers)
    network.out_features = widths[-1]
    return network.requires_grad_(not frozen).to(dtype).eval()


def _linear(before: int, after: int, gain: float, *, offset: bool) -> nn.Linear:
    """Return a linear layer with normal weights of variance gain^2 / fan-in."""
    layer = nn.Linear(before, after, bias=offset)
    nn.init.normal_(layer.weight, 0.0, gain / math.sqrt(before))
    return layer


class Cosine(nn.Module):
    r"""Return :math:`\sqrt 2 \cos x`, the unit of random Fourier features."""

    def forward(self, x: Tensor) -> Tensor:
        """Return the units, in the shape of `x`."""
        return math.sqrt(2) * x.cos()


class ElementwiseProjector(nn.Module):
    r"""Random features of each coordinate on its own; made by `elementwise_projector`.

    .. math:: z_{im + a} = \sigma(w_{ia} x_i + b_{ia}), \qquad i < d,\ a < m

    The weights are buffers: nothing trains them.

    Examples
    --------
    >>> net = elementwise_projector(2, 3, seed=0, activation="tanh")
    >>> net.weight.shape, net.out_features, list(net.parameters())
    (torch.Size([2, 3]), 6, [])
    """

    weight: Tensor
    bias: Tensor

    def __init__(self, dim: int, features: int, *, activation: str, bandwidth: float):
        super().__init__()
        self.activation, self.bandwidth = activation, bandwidth
        self.out_features = dim * features
        self.unit = Cosine() if activation == "cosine" else unit(activation)
        self.register_buffer("weight", torch.empty(dim, features))
        self.register_buffer("bias", torch.empty(dim, features))

    def forward(self, x: Tensor) -> Tensor:
        """Return the features of `x`, shape (n, d m): those of coordinate 0 first."""
        if isinstance(x, Tensor) and (x.ndim != 2 or x.shape[1] != len(self.weight)):
            raise ValueError(f"x must have shape (n, {len(self.weight)}), got {tuple(x.shape)}")
        units: Tensor = self.unit(x.unsqueeze(2) * self.weight + self.bias)
        return units.flatten(1)

    def resample(self, generator: torch.Generator) -> None:
        """Draw all weights anew, for instance at every step.

        Parameters
        ----------
        generator : torch.Generator
            On any device; the numbers depend on its type.
        """
        shape, cosine = self.weight.shape, self.activation == "cosine"
        device, dtype = generator.device, torch.float64
        weight = torch.randn(shape, generator=generator, device=device, dtype=dtype)
        self.weight.copy_(weight / self.bandwidth)
        law = torch.rand if cosine else torch.randn
        b = law(shape, generator=generator, device=device, dtype=dtype)
        self.bias.copy_(2 * math.pi * b if cosine else b)

    def dense(self) -> nn.Sequential:
        """Return the same map as a linear layer with units, mostly zeros: what `piecewise` reads.

        Returns
        -------
        nn.Sequential
            A copy: it does not follow later draws.
        """
        linear = nn.Linear(len(self.weight), self.out_features).to(self.weight)
        with torch.no_grad():
            linear.weight.copy_(torch.block_diag(*self.weight.unsqueeze(2)))
            linear.bias.copy_(self.bias.flatten())
        return nn.Sequential(linear, self.unit).requires_grad_(False).eval()


def elementwise_projector(
    dim: int,
    features: int,
    *,
    seed: int,
    activation: str = "relu",
    bandwidth: float = 1.0,
    dtype: torch.dtype = torch.float32,
) -> ElementwiseProjector:
    r"""Return a random projector that sees each coordinate alone.

    .. math:: z_{im + a} = \varphi_{ia}(x_i) = \sigma(w_{ia} x_i + b_{ia})

    with weights independent over coordinates and features. The mean over the draws of
    :math:`\frac1{m^2} \lVert \mathrm{Cov}(z_i, z_j) \rVert_F^2`, for the blocks of two coordinates,
    is the HSIC of :math:`x_i` and :math:`x_j` for the kernel
    :math:`k(x, x') = \mathbb E\, \varphi(x) \varphi(x')`.

    Parameters
    ----------
    dim : int
        Number of coordinates d.
    features : int
        Features m of each coordinate.
    seed : int
        Seed of the weights.
    activation : {"relu", "leaky_relu", "tanh", "cosine"}
        The units; cosine is :math:`\sqrt 2 \cos`, whose kernel is the Gaussian
        :math:`\exp(-(x - x')^2 / (2 \cdot \mathrm{bandwidth}^2))`.
    bandwidth : float
        Scale of the inputs, positive: w is normal with deviation 1 / `bandwidth`. The offset b is
        standard normal, or uniform on :math:`[0, 2\pi)` for cosine; without it the features would
        be blind to some dependences.
    dtype : torch.dtype
        float32 or float64.

    Returns
    -------
    ElementwiseProjector
        From (n, d) to (n, d m), without parameters, in evaluation mode.

    Raises
    ------
    ValueError
        If a number is out of range or an option is not allowed.

    Notes
    -----
    Claims A2 and A7. Weights shared between coordinates would bias the mean by a term of order 1/m.

    Examples
    --------
    >>> elementwise_projector(3, 4, seed=0)(torch.zeros(5, 3)).shape
    torch.Size([5, 12])
    """
    validation.integer("dim", dim, at_least=1)
    validation.integer("features", features, at_least=1)
    validation.positive("bandwidth", bandwidth)
    validation.member("activation", activation, (*UNITS, "cosine"))
    validation.member("dtype", dtype, DTYPES)
    network = ElementwiseProjector(dim, features, activation=activation, bandwidth=bandwidth)
    network.to(dtype).resample(seeding.torch_generator(seed, "elementwise projector"))
    return network.eval()
