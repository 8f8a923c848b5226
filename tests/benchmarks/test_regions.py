"""Exact enumeration of the cells of a network on a plane, against a plain loop over polygons.

Time includes tracing the model, the float64 copy, the corners and the codes of all cells.
"""

from itertools import pairwise

import measuring
import numpy as np
import polygons
import pytest
import torch
from torch import nn

from vcreg_theory import seeding
from vcreg_theory.piecewise.regions import enumerate_regions_2d

SQUARE = np.array([[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]])


def network(width: int) -> nn.Sequential:
    """Return a network 2-width-width-width-2 as torch draws it."""
    with seeding.initialisation(0, "benchmark"):
        layers = [nn.Linear(a, b) for a, b in pairwise((2, width, width, width, 2))]
    return nn.Sequential(*[part for layer in layers for part in (layer, nn.ReLU())][:-1])


@pytest.mark.parametrize(("width", "half_width"), [(64, 1.0), (256, 0.25)])
def test_enumerate_regions_2d__against_a_plain_loop(found, cpu_rounds, width, half_width):
    model = network(width)

    def ours():
        return enumerate_regions_2d(model, torch.zeros(2), torch.eye(2), half_width)

    def loop():
        return polygons.cells(model, half_width * SQUARE)

    regions = ours()
    functions = {"own": ours, "loop": loop}
    times = cpu_rounds(3, functions)
    found.ratio(
        f"regions_2d_{width}",
        f"{len(regions)} cells of a network 2-{width}-{width}-{width}-2",
        peer="a plain loop over polygons",
        own=times["own"],
        theirs=times["loop"],
    )
    assert len(loop()) == len(regions)


@pytest.mark.parametrize(("width", "goal"), [(64, 400e3), (256, 90e3)])
def test_enumerate_regions_2d__rate_and_memory(found, cpu_rounds, width, goal):
    """Half-width 4: 16 thousand cells at width 64, more than 200 thousand at width 256."""
    model = network(width)

    def ours():
        return enumerate_regions_2d(model, torch.zeros(2), torch.eye(2), 4.0)

    peak = measuring.peak_mib(ours, warm_up=False)
    regions = ours()
    times = cpu_rounds(3, {"own": ours})
    rates = [len(regions) / seconds for seconds in times["own"]]
    found.note(
        f"regions_2d_{width}_rate",
        title=f"{len(regions)} cells of a network 2-{width}-{width}-{width}-2",
        peer="none: cells a second",
        ratio=measuring.median(rates),
        least=min(rates),
        most=max(rates),
        rounds=len(rates),
        own=measuring.median(times["own"]),
        theirs=float(len(regions)),  # at one a second
        goal=goal,
        mib=peak,
        mib_goal=1024.0,
    )
    assert abs(regions.areas().sum().item() / 64 - 1) < 1e-12
