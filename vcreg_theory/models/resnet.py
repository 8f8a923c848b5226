"""The residual network of 18 layers for small images."""

from collections import OrderedDict
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from .. import seeding, validation
from .layers import DTYPES, Network, Normalise, kaiming


class BasicBlock(nn.Module):
    """Two 3 x 3 convolutions added to the input, or to a projection where the shape changes.

    Parameters
    ----------
    inputs, outputs : int
        Numbers of channels.
    stride : int
        Stride of the first convolution.

    Examples
    --------
    >>> BasicBlock(4, 8, stride=2)(torch.zeros(2, 4, 6, 6)).shape
    torch.Size([2, 8, 3, 3])
    """

    def __init__(self, inputs: int, outputs: int, *, stride: int = 1):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.relu2 = nn.ReLU()
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, x: Tensor) -> Tensor:
        """Return the units after the sum, shape (n, outputs, height / stride, width / stride)."""
        residual = self.bn2(self.conv2(self.relu1(self.bn1(self.conv1(x)))))
        units: Tensor = self.relu2(residual + self.shortcut(x))
        return units


def resnet18(
    width: int = 64,
    *,
    seed: int,
    in_channels: int = 3,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    zero_init_residual: bool = False,
    dtype: torch.dtype = torch.float32,
) -> Network:
    """Return a ResNet-18 for images of about 32 x 32 pixels, without a classifier.

    The stem is one 3 x 3 convolution of stride 1 and no pooling. Four stages of two basic blocks
    follow, with `width`, 2, 4 and 8 times `width` channels, each stage after the first halving the
    image, then the mean over positions. At width 64 it has 11,168,832 parameters and takes
    1.11 GFLOP for a forward pass of a 3 x 32 x 32 image.

    Parameters
    ----------
    width : int
        Channels of the first stage.
    seed : int
        Seed of the weights: He's normal law with the fan of the outputs.
    in_channels : int
        Channels of the images.
    mean, std : sequence of float, optional
        What the first layer subtracts from each channel and divides it by; 0 and 1 if left out.
    zero_init_residual : bool
        Whether the last scale of each block starts at zero, so that each block starts as its
        shortcut.
    dtype : torch.dtype
        float32 or float64.

    Returns
    -------
    Network
        From images in [0, 1] of shape (n, in_channels, h, w) to features (n, 8 width), not
        negative; in evaluation mode.

    Raises
    ------
    ValueError
        If a number is out of range or `dtype` is not allowed.

    Notes
    -----
    The architecture is that of He, Zhang, Ren and Sun, "Deep residual learning for image
    recognition" (2016), with the stem usual for small images. In evaluation mode the network is
    continuous and piecewise affine, and `piecewise` accepts it.

    Examples
    --------
    >>> net = resnet18(8, seed=0)
    >>> net(torch.zeros(2, 3, 32, 32)).shape, net.out_features
    (torch.Size([2, 64]), 64)
    """
    validation.integer("width", width, at_least=1)
    validation.integer("in_channels", in_channels, at_least=1)
    validation.member("dtype", dtype, DTYPES)
    layers: OrderedDict[str, nn.Module] = OrderedDict(
        normalise=Normalise(in_channels, mean=mean, std=std)
    )
    with seeding.initialisation(seed):
        layers["conv"] = nn.Conv2d(in_channels, width, 3, 1, 1, bias=False)
        layers["bn"] = nn.BatchNorm2d(width)
        layers["relu"] = nn.ReLU()
        for stage in range(4):
            layers[f"stage{stage + 1}"] = _stage(width << max(stage - 1, 0), width << stage)
        layers["pool"] = nn.AdaptiveAvgPool2d(1)
        layers["flatten"] = nn.Flatten()
        network = Network(layers)
        kaiming(network, mode="fan_out")
    if zero_init_residual:
        for block in network.modules():
            if isinstance(block, BasicBlock):
                nn.init.zeros_(block.bn2.weight)
    network.out_features = 8 * width
    return network.to(dtype).eval()


def _stage(inputs: int, outputs: int) -> nn.Sequential:
    """Return two blocks; the first halves the image where the number of channels grows."""
    stride = 1 if inputs == outputs else 2
    return nn.Sequential(BasicBlock(inputs, outputs, stride=stride), BasicBlock(outputs, outputs))
