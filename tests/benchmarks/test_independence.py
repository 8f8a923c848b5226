"""Time of all pairwise HSICs and of the permutation test, against hyppo and a loop over NumPy.

The loops over all pairs are timed on a few pairs and scaled up: their time a pair does not depend
on the number of pairs. hyppo's statistic is the ratio that ``tests/peers`` explains; both sides
find their own bandwidths. The NumPy loop keeps every centred Gram matrix in memory (2 GB
in float32 for 512 variables of 1000 samples) and is given the bandwidths, as are we when compared
with it. The floor of the exact method is one product of the flattened Gram matrices.
"""

import itertools
import math
import warnings
from collections.abc import Callable

import measuring
import numpy as np
import torch

from vcreg_theory import kernels
from vcreg_theory.independence import hsic_test, mean_pairwise_hsic, pairwise_hsic

with warnings.catch_warnings():  # the import of a name that SciPy has moved
    warnings.filterwarnings("ignore", "Please import `random`", DeprecationWarning)
    from hyppo.independence import Hsic

NUMBER, CACHED, PERMUTATIONS = 512, 24, 1000
PAIRS = math.comb(NUMBER, 2)


def laplace(n: int, number: int) -> torch.Tensor:
    """Mixtures of Laplace variables: neighbouring columns are dependent, the others not."""
    sources = np.random.default_rng(0).laplace(size=(n, number)).astype(np.float32)
    return torch.from_numpy(sources + 0.3 * np.roll(sources, 1, axis=1))


def _hyppo_pair(z: torch.Tensor) -> Callable[[], float]:
    """Return hyppo's statistic of the first two columns as a call."""
    x, y = (z[:, [k]].double().numpy() for k in (0, 1))
    return lambda: Hsic().statistic(x, y)


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


def _largest_errors(z: torch.Tensor) -> list[float]:
    """Return the largest relative error of an HSIC by either method in float32."""
    exact = pairwise_hsic(z[:, :64].double(), method="exact")
    off = ~torch.eye(64, dtype=torch.bool)
    found = (pairwise_hsic(z, method=method)[:64, :64] for method in ("exact", "fourier"))
    return [((matrix - exact) / exact).abs()[off].max().item() for matrix in found]


def test_pairwise_hsic__against_hyppo(found, cpu_rounds):
    n, z = 1000, laplace(1000, NUMBER)
    flat = torch.rand(128, 4096)
    functions = {
        "exact": lambda: pairwise_hsic(z, method="exact"),
        "fourier": lambda: pairwise_hsic(z, method="fourier"),
        "mean": lambda: mean_pairwise_hsic(z),
        "hyppo": _hyppo_pair(z),
        "product": lambda: [flat @ flat.T for _ in range(50)],
    }
    times = cpu_rounds(3, functions)
    share = NUMBER**2 * n**2 / (50 * 2 * 128**2 * 4096)
    floor = "one product of all Gram matrices", measuring.scaled(times["product"], share)
    for name, title, goal in (
        ("exact", "all pairs, exact", 1000.0),
        ("fourier", "all pairs, Fourier", 2500.0),
        ("mean", "mean over pairs", None),
    ):
        found.ratio(
            f"hsic_{NUMBER}x{n}_{name}",
            f"HSIC of {NUMBER} variables, {n} samples: {title}",
            peer="hyppo, pair by pair",
            own=times[name],
            theirs=measuring.scaled(times["hyppo"], PAIRS),
            goal=goal,
            floor=floor if name == "exact" else None,
            floor_goal=0.6 if name == "exact" else None,
            extrapolated=f"one pair, times {PAIRS}",
        )
    assert max(_largest_errors(z)) <= 1e-4


def test_pairwise_hsic__against_a_loop_over_numpy(found, cpu_rounds):
    n, z = 1000, laplace(1000, NUMBER)
    widths = kernels.median_bandwidths(z)
    functions = {
        "exact": lambda: pairwise_hsic(z, method="exact", bandwidth=widths),
        "fourier": lambda: pairwise_hsic(z, method="fourier", bandwidth=widths),
    }
    for name, dtype in (("32", np.float32), ("64", np.float64)):
        functions[f"build{name}"], functions[f"multiply{name}"] = _cached_loop(z, widths, dtype)
    times = cpu_rounds(3, functions)

    def loop(bits: str) -> measuring.Samples:
        parts = zip(times[f"build{bits}"], times[f"multiply{bits}"], strict=True)
        return [NUMBER * a + PAIRS / math.comb(CACHED, 2) * b for a, b in parts]

    for method, bits in (("exact", "64"), ("exact", "32"), ("fourier", "32")):
        found.ratio(
            f"hsic_{NUMBER}x{n}_{method}_numpy{bits}",
            f"HSIC of {NUMBER} variables, {n} samples: {method}, bandwidths given",
            peer=f"NumPy, all Gram matrices kept, float{bits}",
            own=times[method],
            theirs=loop(bits),
            goal=10.0 if (method, bits) != ("exact", "32") else None,
            extrapolated=f"{CACHED} variables, scaled to {NUMBER}",
        )


def test_pairwise_hsic__five_thousand_samples(found, cpu_rounds):
    z = laplace(5000, NUMBER)

    def ours():
        return pairwise_hsic(z, method="fourier")

    peak = measuring.peak_mib(ours, warm_up=False)
    times = cpu_rounds(3, {"own": ours, "hyppo": _hyppo_pair(z)})
    found.ratio(
        f"hsic_{NUMBER}x5000_fourier",
        f"HSIC of {NUMBER} variables, 5000 samples: all pairs, Fourier",
        peer="hyppo, pair by pair",
        own=times["own"],
        theirs=measuring.scaled(times["hyppo"], PAIRS),
        goal=20_000.0,
        mib=peak,
        mib_goal=600.0,
        extrapolated=f"one pair, times {PAIRS}",
    )


def test_hsic_test__permutations(found, cpu_rounds):
    x, y = laplace(1000, 2).T
    a, b = (v[:, None].double().numpy() for v in (x, y))
    options = {"n_permutations": PERMUTATIONS, "generator": torch.Generator().manual_seed(0)}

    def hyppo(repetitions):
        with warnings.catch_warnings():  # that few repetitions are unreliable
            warnings.simplefilter("ignore", RuntimeWarning)
            return Hsic().test(a, b, reps=repetitions, auto=False)

    functions = {
        "own": lambda: hsic_test(x, y, **options),
        "few": lambda: hyppo(5),
        "more": lambda: hyppo(25),
    }
    times = cpu_rounds(3, functions)
    parts = zip(times["few"], times["more"], strict=True)
    found.ratio(
        f"hsic_test_1000_{PERMUTATIONS}",
        f"HSIC test, 1000 samples, {PERMUTATIONS} permutations",
        peer="hyppo",
        own=times["own"],
        theirs=[few + (PERMUTATIONS - 5) * (more - few) / 20 for few, more in parts],
        goal=250.0,
        extrapolated=f"5 and 25 permutations, to {PERMUTATIONS}",
    )
