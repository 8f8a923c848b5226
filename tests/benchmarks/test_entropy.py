"""Time and memory of the entropy estimators, beside the plain formulas and scikit-learn.

A gradient is included where the estimator is a loss.
"""

import math
from collections.abc import Callable

import measuring
import pytest
import torch
from sklearn.neighbors import NearestNeighbors

from vcreg_theory.entropy import isotropic_pairwise_entropy, knn_entropy, logdet_entropy

ROUNDS = 5


def with_gradient(
    function: Callable[[torch.Tensor], torch.Tensor], z: torch.Tensor
) -> Callable[[], tuple[torch.Tensor, ...]]:
    """Return a call of the function and its backward pass."""
    leaf = z.clone().requires_grad_()
    return lambda: torch.autograd.grad(function(leaf), leaf)


def both_bounds(z: torch.Tensor) -> torch.Tensor:
    lower, upper = isotropic_pairwise_entropy(z, 4.0)
    return lower + upper


def _plain_bounds(z: torch.Tensor) -> torch.Tensor:
    """Both bounds by matrices of n x n numbers and autograd."""
    squares = torch.cdist(z, z).square()
    sums = [torch.logsumexp(-squares / (s * 4.0), 1).mean() for s in (8, 2)]
    constant = z.shape[1] / 2 * math.log(2 * math.pi * math.e * 4.0) + math.log(len(z))
    return 2 * constant - sums[0] - sums[1]


@pytest.mark.parametrize("n", [1024, 4096])
def test_isotropic_pairwise_entropy__against_plain_autograd(found, cpu_rounds, generator, n):
    """Ours computes in float64; the plain formula in the dtype of its input, both shown."""
    z = torch.randn(n, 64, generator=generator)
    functions = {
        "own": with_gradient(both_bounds, z),
        "float32": with_gradient(_plain_bounds, z),
        "float64": with_gradient(_plain_bounds, z.double()),
    }
    times = cpu_rounds(ROUNDS, functions)
    peaks = {name: measuring.peak_mib(function) for name, function in functions.items()}
    for dtype in ("float64", "float32"):
        found.ratio(
            f"pairwise_entropy_{n}x64_{dtype}",
            f"pairwise entropy bounds and gradient, {n} x 64",
            peer=f"plain formula, autograd, {dtype}",
            own=times["own"],
            theirs=times[dtype],
            goal=1.0 if dtype == "float64" else None,
            mib=peaks["own"],
            mib_goal=peaks["float32"],
            peer_mib=peaks[dtype],
        )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_isotropic_pairwise_entropy__memory_of_ten_thousand_codes(generator, dtype):
    """A matrix of all pairs would have 763 MiB."""
    z = torch.randn(10_000, 64, generator=generator, dtype=dtype)
    peak = measuring.peak_mib(with_gradient(both_bounds, z))
    assert peak is None or peak < 128


@pytest.mark.parametrize("d", [2, 16, 64])
def test_knn_entropy__against_scikit_learn(found, cpu_rounds, generator, d):
    """The search of scikit-learn alone, by brute force and by tree."""
    z = torch.randn(10_000, d, generator=generator, dtype=torch.float64)

    def search(algorithm):
        neighbours = NearestNeighbors(n_neighbors=4, algorithm=algorithm).fit(z.numpy())
        return lambda: neighbours.kneighbors(z.numpy())

    def ours():
        return knn_entropy(z)

    peak = measuring.peak_mib(ours)
    peers = {"brute": "brute force"} | ({"kd_tree": "tree"} if d < 64 else {})
    functions = {"own": ours} | {name: search(name) for name in peers}
    times = cpu_rounds(3, functions)
    for name, words in peers.items():
        found.ratio(
            f"knn_entropy_10000x{d}_{name}",
            f"nearest-neighbour entropy, 10000 x {d}",
            peer=f"scikit-learn's search alone, {words}",
            own=times["own"],
            theirs=times[name],
            mib=peak,
            mib_goal=256.0,
        )


@pytest.mark.parametrize(("n", "d"), [(256, 2048), (2048, 256)])
def test_logdet_entropy__against_the_covariance(found, cpu_rounds, generator, n, d):
    z = torch.randn(n, d, generator=generator, dtype=torch.float64)
    identity = 1e-3 * torch.eye(d, dtype=z.dtype)
    ours = with_gradient(lambda x: logdet_entropy(x, 1e-3), z)
    plain = with_gradient(lambda x: torch.logdet(torch.cov(x.T) + identity) / 2, z)
    times = cpu_rounds(ROUNDS, {"own": ours, "plain": plain})
    found.ratio(
        f"logdet_entropy_{n}x{d}",
        f"LogDet entropy and gradient, {n} x {d}",
        peer="plain formula, autograd, float64",
        own=times["own"],
        theirs=times["plain"],
        goal=5.0 if n < d else 0.8,
    )
    difference = (ours()[0] - plain()[0]).abs().max() / plain()[0].abs().max()
    assert difference.item() < 1e-8  # 2048 roundings times the condition number, about 1e4
