"""Regions a second and peak memory of the exact enumeration (run with ``--benchmark-enable``)."""

import resource
from itertools import pairwise

import pytest
import torch
from torch import nn

from vcreg_theory.piecewise.regions import enumerate_regions_2d


@pytest.mark.parametrize(
    ("widths", "half_width"),
    [
        ((2, 64, 64, 64, 2), 1.0),
        ((2, 64, 64, 64, 2), 4.0),
        ((2, 256, 256, 256, 2), 1.0),
        ((2, 256, 256, 256, 2), 4.0),
    ],
)
def test_enumerate_regions_2d(benchmark, widths, half_width):
    """Time includes tracing the model, the float64 copy, the corners and the codes of all cells."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layers = [nn.Linear(a, b) for a, b in pairwise(widths)]
    model = nn.Sequential(*[part for layer in layers for part in (layer, nn.ReLU())][:-1])
    arguments = (model, torch.zeros(2), torch.eye(2), half_width)
    regions = benchmark.pedantic(
        enumerate_regions_2d, arguments, rounds=5, warmup_rounds=1, iterations=1
    )
    torch.set_num_threads(threads)
    info = benchmark.extra_info
    info["regions"] = len(regions)
    info["peak_mib_of_the_process"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    if benchmark.stats is not None:
        info["regions_per_second"] = len(regions) / benchmark.stats.stats.median
