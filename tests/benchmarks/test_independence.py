"""Time of all pairwise HSICs and of the permutation test, against hyppo and a loop over NumPy.

Run with ``pytest tests/benchmarks/test_independence.py --benchmark-enable -s``. The loops over all
pairs are timed on a few pairs and scaled up: their time a pair does not depend on the number of
pairs. hyppo's statistic is the ratio of `tests/peers/test_independence_peers.py`; both sides find
their own bandwidths. The NumPy loop keeps every centred Gram matrix in memory (2 GB in float32 for
512 variables of 1000 samples) and is given the bandwidths, as are we when compared with it.
"""

import itertools
import math
import warnings
from collections.abc import Callable

import measuring
import numpy as np
import pytest
import torch

from vcreg_theory import kernels
from vcreg_theory.independence import (
    hsic_test,
    lancaster_interaction,
    mean_pairwise_hsic,
    pairwise_hsic,
)

with warnings.catch_warnings():  # the import of a name that SciPy has moved
    warnings.filterwarnings("ignore", "Please import `random`", DeprecationWarning)
    from hyppo.independence import Hsic

ROUNDS, CACHED, PERMUTATIONS = 3, 24, 1000


def _laplace(n: int, number: int) -> torch.Tensor:
    """Mixtures of Laplace variables: neighbouring columns are dependent, the others not."""
    sources = np.random.default_rng(0).laplace(size=(n, number)).astype(np.float32)
    return torch.from_numpy(sources + 0.3 * np.roll(sources, 1, axis=1))


def _cached_loop(z: torch.Tensor, widths: torch.Tensor, dtype: type) -> tuple[Callable, Callable]:
    """Return a function that centres one Gram matrix, and one that multiplies all cached pairs."""
    columns = z.numpy().astype(dtype).T[:CACHED]
    scales = widths.numpy().astype(dtype)

    def build(k: int = 0) -> np.ndarray:
        u = columns[k] / scales[k]
        gram = np.exp(-0.5 * np.square(u[:, None] - u))
        means = gram.mean(0)
        return (gram - means - means[:, None] + means.mean()).ravel()

    cache = [build(k) for k in range(CACHED)]

    def multiply() -> list[float]:
        return [float(np.dot(a, b)) for a, b in itertools.combinations(cache, 2)]

    return build, multiply


@pytest.mark.parametrize(("number", "n"), [(512, 1000)])
def test_pairwise_hsic__all_pairs(benchmark, number, n):
    z = _laplace(n, number)
    widths = kernels.median_bandwidths(z)
    x, y = (z[:, [k]].double().numpy() for k in (0, 1))
    build32, multiply32 = _cached_loop(z, widths, np.float32)
    build64, multiply64 = _cached_loop(z, widths, np.float64)
    benchmark.pedantic(lambda: pairwise_hsic(z, method="fourier"), rounds=1, warmup_rounds=1)
    flat = torch.rand(128, 4096)
    times = measuring.named_cpu_seconds(
        ROUNDS,
        exact=lambda: pairwise_hsic(z, method="exact"),
        fourier=lambda: pairwise_hsic(z, method="fourier"),
        exact_given=lambda: pairwise_hsic(z, method="exact", bandwidth=widths),
        fourier_given=lambda: pairwise_hsic(z, method="fourier", bandwidth=widths),
        mean=lambda: mean_pairwise_hsic(z, bandwidth=widths),
        lancaster=lambda: lancaster_interaction(z, bandwidth=widths),
        hyppo=lambda: [Hsic().statistic(x, y) for _ in range(5)],
        build32=build32,
        build64=build64,
        multiply32=multiply32,
        multiply64=multiply64,
        product=lambda: [flat @ flat.T for _ in range(50)],
    )
    pairs, cached = math.comb(number, 2), math.comb(CACHED, 2)
    hyppo = times["hyppo"] / 5 * pairs
    loops = {
        bits: number * times[f"build{bits}"] + pairs * times[f"multiply{bits}"] / cached
        for bits in (32, 64)
    }
    rate = 50 * 2 * 128**2 * 4096 / times["product"]
    exact = pairwise_hsic(z[:, :64].double(), method="exact")
    off = ~torch.eye(64, dtype=torch.bool)
    errors = {
        method: ((pairwise_hsic(z, method=method)[:64, :64] - exact) / exact)
        .abs()[off]
        .max()
        .item()
        for method in ("exact", "fourier")
    }
    info = {
        "seconds": times,
        "hyppo_seconds_a_pair": times["hyppo"] / 5,
        "exact_ratio_to_hyppo": hyppo / times["exact"],
        "fourier_ratio_to_hyppo": hyppo / times["fourier"],
        "exact_ratio_to_numpy_float64": loops[64] / times["exact_given"],
        "exact_ratio_to_numpy_float32": loops[32] / times["exact_given"],
        "fourier_ratio_to_numpy_float32": loops[32] / times["fourier_given"],
        "floor_fraction_of_exact": number**2 * n**2 / rate / times["exact_given"],
        "relative_errors": errors,
    }
    benchmark.extra_info.update(info)
    assert info["exact_ratio_to_hyppo"] >= 1000
    assert info["fourier_ratio_to_hyppo"] >= 2500
    assert info["exact_ratio_to_numpy_float64"] >= 10
    assert info["fourier_ratio_to_numpy_float32"] >= 10
    assert max(errors.values()) <= 1e-4


def test_pairwise_hsic__memory(benchmark):
    z = _laplace(5000, 512)
    peaks = []
    benchmark.pedantic(
        lambda: peaks.append(
            measuring.peak_mib(lambda: pairwise_hsic(z, method="fourier"), warm_up=False)
        ),
        rounds=1,
    )
    benchmark.extra_info["peak_mib"] = peaks[0]
    assert peaks[0] is None or peaks[0] <= 600


def test_hsic_test__permutations(benchmark):
    x, y = _laplace(1000, 2).T
    a, b = (v[:, None].double().numpy() for v in (x, y))
    options = {"n_permutations": PERMUTATIONS, "generator": torch.Generator().manual_seed(0)}
    benchmark.pedantic(lambda: hsic_test(x, y, **options), rounds=3, warmup_rounds=1)

    def hyppo(repetitions):
        with warnings.catch_warnings():  # that few repetitions are unreliable
            warnings.simplefilter("ignore", RuntimeWarning)
            return Hsic().test(a, b, reps=repetitions, auto=False)

    times = measuring.named_cpu_seconds(
        ROUNDS,
        ours=lambda: hsic_test(x, y, **options),
        few=lambda: hyppo(5),
        more=lambda: hyppo(25),
    )
    repetition = (times["more"] - times["few"]) / 20
    peer = times["few"] + (PERMUTATIONS - 5) * repetition
    benchmark.extra_info.update(
        {"milliseconds": 1e3 * times["ours"], "hyppo_seconds": peer, "ratio": peer / times["ours"]}
    )
    assert peer / times["ours"] >= 250
