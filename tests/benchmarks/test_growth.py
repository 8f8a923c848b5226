"""How time grows with size: the slope of its logarithm, beside the exponent of the leading cost.

All sizes take turns in one round. A slope may be below the exponent where lower orders still
count, and above it where a larger size leaves a cache. It fails the run by half a power.
"""

from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch
from test_entropy import both_bounds, with_gradient
from test_independence import laplace
from test_regions import network

from vcreg_theory import ica, losses
from vcreg_theory.dynamics import directcopy_predictor, directpred_predictor
from vcreg_theory.ica import VCRegICA
from vcreg_theory.independence import mean_pairwise_hsic, pairwise_hsic
from vcreg_theory.piecewise.regions import enumerate_regions_2d

Call = Callable[[], object]


def _vicreg(n: int, d: int) -> Call:
    views = torch.randn(2, n, d, generator=torch.Generator().manual_seed(0)).requires_grad_()
    return lambda: torch.autograd.grad(losses.vicreg_loss(*views).loss, views)


def _pairs(method: str, n: int, number: int) -> Call:
    z = laplace(n, number)
    if method == "mean":
        return lambda: mean_pairwise_hsic(z)
    return lambda: pairwise_hsic(z, method=method)


def _predictor(rule: Callable, k: int) -> Call:
    z = torch.randn(2 * k, k, generator=torch.Generator().manual_seed(0))
    corr = z.T @ z / len(z)
    return lambda: [rule(corr, eps=0.1) for _ in range(10 if rule is directcopy_predictor else 1)]


def _entropy(n: int) -> Call:
    return with_gradient(both_bounds, torch.randn(n, 64))


def _ica(n: int, d: int) -> Call:
    rng = np.random.default_rng(0)
    x = ica.sample_sources([ica.laplace()] * d, n, rng) @ ica.mixing_matrix(d, rng).T
    return lambda: VCRegICA(random_state=0).fit(x)


# name: title, variable, exponent, sizes, call of a size
CASES: dict[str, tuple[str, str, float, Sequence[int], Callable[[int], Call]]] = {
    "vicreg_n_below_d": (
        "VICReg loss and gradient, n < d = 4096",
        "n",
        2,
        (256, 512, 1024, 2048),
        lambda n: _vicreg(n, 4096),
    ),
    "vicreg_n_above_d": (
        "VICReg loss and gradient, n > d = 256",
        "n",
        1,
        (1024, 2048, 4096, 8192),
        lambda n: _vicreg(n, 256),
    ),
    "hsic_exact_variables": (
        "all pairwise HSICs, exact, 250 samples",
        "K",
        2,
        (256, 512, 1024, 2048),
        lambda number: _pairs("exact", 250, number),
    ),
    "hsic_exact_samples": (
        "all pairwise HSICs, exact, 16 variables",
        "n",
        2,
        (1000, 2000, 4000, 8000),
        lambda n: _pairs("exact", n, 16),
    ),
    "hsic_fourier_variables": (
        "all pairwise HSICs, Fourier, 500 samples",
        "K",
        2,
        (256, 512, 1024, 2048),
        lambda number: _pairs("fourier", 500, number),
    ),
    "hsic_fourier_samples": (
        "all pairwise HSICs, Fourier, 64 variables",
        "n",
        1,
        (1000, 2000, 4000, 8000),
        lambda n: _pairs("fourier", n, 64),
    ),
    "hsic_mean_variables": (
        "mean pairwise HSIC, 1000 samples",
        "K",
        1,
        (32, 64, 128, 256),
        lambda number: _pairs("mean", 1000, number),
    ),
    "hsic_mean_samples": (
        "mean pairwise HSIC, 16 variables",
        "n",
        2,
        (1000, 2000, 4000, 8000),
        lambda n: _pairs("mean", n, 16),
    ),
    "directcopy": (
        "DirectCopy's predictor",
        "d",
        2,
        (256, 512, 1024),  # 2048 leaves the cache
        lambda k: _predictor(directcopy_predictor, k),
    ),
    "directpred": (
        "DirectPred's predictor",
        "d",
        3,
        (512, 1024, 2048),
        lambda k: _predictor(directpred_predictor, k),
    ),
    "pairwise_entropy": (
        "pairwise entropy bounds and gradient, d = 64",
        "n",
        2,
        (1024, 2048, 4096, 8192),
        _entropy,
    ),
    "ica_samples": (
        "VCRegICA, 8 Laplace sources",
        "n",
        1,
        (5000, 10_000, 20_000, 40_000),
        lambda n: _ica(n, 8),
    ),
    "ica_sources": (
        "VCRegICA, 8000 samples of Laplace sources",
        "d",
        2,
        (8, 16, 32, 64),
        lambda d: _ica(8000, d),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_growth(found, cpu_rounds, name):
    title, variable, exponent, sizes, build = CASES[name]
    times = cpu_rounds(3, {str(size): build(size) for size in sizes})
    found.growth(
        name, title, variable=variable, sizes=sizes, times=[*times.values()], exponent=exponent
    )


def test_growth__cells_of_a_plane(found, cpu_rounds):
    """The size is the number of cells, not chosen but found."""
    model = network(128)

    def cells(half_width):
        return lambda: enumerate_regions_2d(model, torch.zeros(2), torch.eye(2), half_width)

    functions = {str(width): cells(width) for width in (0.5, 1.0, 2.0, 4.0)}
    times = cpu_rounds(5, functions)
    found.growth(
        "regions",
        "enumeration of the cells of a 2-128-128-128-2 network",
        variable="cells",
        sizes=[len(call()) for call in functions.values()],
        times=[*times.values()],
        exponent=1,
    )
