"""Draw the picture of the README: the cells of a network and the exact law of its output."""

import sys

import torch

from vcreg_theory import density, models, piecewise, plotting


def main(path: str) -> None:
    """Write the picture to `path`, such as ``book/_static/law.png``."""
    network = models.mlp([2, 24, 24, 2], seed=0, slope=0.2)
    origin, plane = torch.zeros(2).double(), torch.eye(2).double()
    regions = piecewise.enumerate_regions_2d(network, origin, plane, 9.0)
    volume = torch.linalg.det(regions.maps()[0]).abs().log10()
    samples = network(torch.randn(20_000, 2, generator=torch.Generator().manual_seed(0)).double())
    low, high = torch.quantile(samples.detach(), torch.tensor([0.001, 0.999]).double(), dim=0)
    axes = [
        torch.linspace(float(a), float(b), 700).double() for a, b in zip(low, high, strict=True)
    ]
    grid = torch.cartesian_prod(*axes)
    height = density.pushforward_density_2d(regions, origin, plane, grid).reshape(700, 700)

    fig, (left, right) = plotting.figure(2, width=10.0, height=4.6)
    plotting.polygons(left, [regions.polygon(i) for i in range(len(regions))], volume)
    left.set(xlim=(-3, 3), ylim=(-3, 3), xlabel="$x_1$", ylabel="$x_2$")
    left.set_title("cells of the network, by volume change")
    extent = [float(v) for pair in zip(low, high, strict=True) for v in pair]
    shade = height.T.clamp(min=float(height.max()) * 1e-4).log()
    right.imshow(shade, origin="lower", extent=extent, aspect="auto", cmap="magma")
    right.set(xlabel="$z_1$", ylabel="$z_2$", title="exact density of its output")
    right.grid(False)
    fig.savefig(path, dpi=120)


if __name__ == "__main__":
    main(*sys.argv[1:])
