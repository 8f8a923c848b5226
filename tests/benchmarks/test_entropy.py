"""Time and memory of the entropy estimators, beside the plain formulas and scikit-learn.

Run with ``pytest tests/benchmarks/test_entropy.py --benchmark-enable -s``. Times are medians of CPU
time at one thread, rounds interleaved; a gradient is included where the estimator is a loss.
"""

import math
import time
from collections.abc import Callable

import measuring
import pytest
import torch
from sklearn.neighbors import NearestNeighbors

from vcreg_theory.entropy import isotropic_pairwise_entropy, knn_entropy, logdet_entropy

ROUNDS = 5


def _with_gradient(
    function: Callable[[torch.Tensor], torch.Tensor], z: torch.Tensor
) -> Callable[[], object]:
    """Return a call of the function and its backward pass."""
    leaf = z.clone().requires_grad_()
    return lambda: torch.autograd.grad(function(leaf), leaf)


def _both_bounds(z: torch.Tensor) -> torch.Tensor:
    lower, upper = isotropic_pairwise_entropy(z, 4.0)
    return lower + upper


def _plain_bounds(z: torch.Tensor) -> torch.Tensor:
    """Both bounds by matrices of n x n numbers and autograd."""
    squares = torch.cdist(z, z).square()
    sums = [torch.logsumexp(-squares / (s * 4.0), 1).mean() for s in (8, 2)]
    constant = z.shape[1] / 2 * math.log(2 * math.pi * math.e * 4.0) + math.log(len(z))
    return 2 * constant - sums[0] - sums[1]


@pytest.mark.parametrize("n", [1024, 4096])
def test_isotropic_pairwise_entropy__against_plain_autograd(benchmark, generator, n):
    """Ours computes in float64; the plain formula in the dtype of its input, both shown."""
    z = torch.randn(n, 64, generator=generator)
    ours = _with_gradient(_both_bounds, z)
    plain32, plain64 = _with_gradient(_plain_bounds, z), _with_gradient(_plain_bounds, z.double())
    benchmark.pedantic(ours, rounds=3, warmup_rounds=1)
    own, single, double = measuring.cpu_seconds(ROUNDS, ours, plain32, plain64)
    peaks = [measuring.peak_mib(f) for f in (ours, plain32, plain64)]
    info = {
        "seconds": own,
        "ratio_to_plain_float32": single / own,
        "ratio_to_plain_float64": double / own,
        "peak_mib": peaks[0],
        "plain_float32_peak_mib": peaks[1],
        "plain_float64_peak_mib": peaks[2],
        "gradient_difference": (ours()[0] - plain64()[0]).abs().max().item(),
    }
    benchmark.extra_info.update(info)
    assert info["ratio_to_plain_float64"] > 1
    assert info["peak_mib"] is None or info["peak_mib"] < info["plain_float32_peak_mib"]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_isotropic_pairwise_entropy__ten_thousand_codes(benchmark, generator, dtype):
    z = torch.randn(10_000, 64, generator=generator, dtype=dtype)
    ours = _with_gradient(_both_bounds, z)
    peak = measuring.peak_mib(ours)
    benchmark.pedantic(ours, rounds=1)
    benchmark.extra_info.update({"peak_mib": peak, "plain_matrix_mib": 1e8 * 8 / 2**20})
    assert peak is None or peak < 128


@pytest.mark.parametrize("d", [2, 16, 64])
def test_knn_entropy__against_scikit_learn(benchmark, generator, d):
    """The search of scikit-learn alone, by brute force and by tree."""
    z = torch.randn(10_000, d, generator=generator, dtype=torch.float64)

    def search(algorithm):
        found = NearestNeighbors(n_neighbors=4, algorithm=algorithm).fit(z.numpy())
        return lambda: found.kneighbors(z.numpy())

    def ours():
        return knn_entropy(z)

    peak = measuring.peak_mib(ours)
    benchmark.pedantic(ours, rounds=3, warmup_rounds=1)
    own, brute = measuring.cpu_seconds(ROUNDS, ours, search("brute"))
    start = time.process_time()
    search("kd_tree")()
    tree = time.process_time() - start
    info = {"seconds": own, "peak_mib": peak}
    info |= {"ratio_to_brute": brute / own, "ratio_to_kd_tree": tree / own}
    benchmark.extra_info.update(info)
    assert peak is None or peak < 256


@pytest.mark.parametrize(("n", "d"), [(256, 2048), (2048, 256)])
def test_logdet_entropy__against_the_covariance(benchmark, generator, n, d):
    z = torch.randn(n, d, generator=generator, dtype=torch.float64)
    identity = 1e-3 * torch.eye(d, dtype=z.dtype)
    ours = _with_gradient(lambda x: logdet_entropy(x, 1e-3), z)
    plain = _with_gradient(lambda x: torch.logdet(torch.cov(x.T) + identity) / 2, z)
    benchmark.pedantic(ours, rounds=3, warmup_rounds=1)
    own, peer = measuring.cpu_seconds(ROUNDS, ours, plain)
    difference = (ours()[0] - plain()[0]).abs().max() / plain()[0].abs().max()
    info = {"seconds": own, "ratio": peer / own, "difference": difference.item()}
    benchmark.extra_info.update(info)
    assert info["difference"] < 1e-8  # 2048 roundings times the condition number, about 1e4
    assert info["ratio"] > (5 if n < d else 0.8)
