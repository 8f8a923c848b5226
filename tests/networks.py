"""Networks that several tests use."""

from torch import Tensor, nn

from vcreg_theory import models, seeding


class Residual(nn.Module):
    """A body added to its input, or to a projection of it."""

    def __init__(self, body: nn.Module, shortcut: nn.Module | None = None):
        super().__init__()
        self.body, self.shortcut = body, shortcut or nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x) + self.shortcut(x)


def redraw(model: nn.Module, seed: int, gain: float = 2.0) -> nn.Module:
    """Draw every parameter and running statistic anew, and switch to evaluation mode.

    Weights have variance gain / fan-in (2 keeps the size of a ReLU net's units); biases,
    means and scales are far from 0 and 1, so that no term of a formula goes missing unnoticed.
    """
    generator = seeding.torch_generator(seed, "networks")
    for module in model.modules():
        for name, value in [*module.named_parameters(recurse=False)]:
            fan_in = value[0].numel() if value.ndim > 1 else 10
            value.data.normal_(0, (gain / fan_in) ** 0.5, generator=generator)
            if isinstance(module, nn.modules.batchnorm._BatchNorm) and name == "weight":
                value.data.add_(1.0)
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.running_mean.normal_(0, 0.3, generator=generator)
            module.running_var.uniform_(0.5, 1.5, generator=generator)
    return model.eval()


def resnet18(outputs: int = 128) -> nn.Module:
    """Return a ResNet-18 for images of 32 x 32 with a linear layer on top, drawn anew."""
    encoder = models.resnet18(seed=0, mean=(0.1, -0.2, 0.0), std=(0.9, 1.0, 1.2))
    model = nn.Sequential(encoder, nn.Linear(encoder.out_features, outputs))
    # With gain 2 the eight sums reach outputs of about 170, far from a trained net's.
    return redraw(model, seed=0, gain=1.0)


def mixed_net() -> nn.Module:
    """Return a small double-precision net with every kind of layer, for inputs (B, 2, 9, 9)."""
    model = nn.Sequential(
        nn.Conv2d(2, 4, 3, stride=2, padding=1),  # 5 x 5
        nn.BatchNorm2d(4),
        nn.ReLU(),
        Residual(nn.Sequential(nn.Conv2d(4, 4, 3, padding=1, groups=2), nn.LeakyReLU(0.1))),
        nn.MaxPool2d(3, stride=2, padding=1),  # 3 x 3, overlapping windows
        nn.Conv2d(4, 6, 3, padding=2, dilation=2),
        nn.BatchNorm2d(6, affine=False),
        nn.LeakyReLU(0.2),
        nn.AvgPool2d(2),
        nn.Flatten(),
        nn.Linear(6, 5),
        nn.BatchNorm1d(5),
        nn.ReLU(),
        nn.Linear(5, 3),
    )
    return redraw(model, seed=1).double()
