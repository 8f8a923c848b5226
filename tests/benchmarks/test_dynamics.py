"""Steps of DirectSet in the common eigenbasis, against the best dense loop over matrices.

Run with ``pytest tests/benchmarks/test_dynamics.py --benchmark-enable -s``. All take the same Euler
steps of DirectCopy, d = 64, on commuting moments with X = I; the unit is a case-step, one step of
one start. The dense loops are written for speed: products into memory that is there already, the
correlation without the factor X = I, in NumPy and torch, one case after the other and, in torch, in
batches, in float64 and float32. The eigenbasis computes in float64. Batches in place of a loop, or
float32, may be best on other machines.
"""

from collections.abc import Callable
from functools import partial

import measuring
import numpy as np
import pytest
import torch

from vcreg_theory import seeding
from vcreg_theory.dynamics import (
    align,
    commuting_moments,
    descend,
    simulate_modes,
    weight_trajectory,
)

D, CASES, ROUNDS = 64, 256, 9
STEP, DECAY = 0.05, 0.1
STEPS = 200  # of the eigenbasis in a round; a dense loop takes as many steps of one case


def _numpy_loop(W: np.ndarray, Sigma: np.ndarray, steps: int) -> np.ndarray:
    """Take the steps of one case, W <- W + step (F (W - F W Sigma) - decay W), F = W W^T."""
    W, F, A, B = W.copy(), np.empty_like(W), np.empty_like(W), np.empty_like(W)
    for _ in range(steps):
        np.matmul(W, W.T, out=F)
        np.matmul(F, W, out=A)
        np.matmul(A, Sigma, out=B)
        np.subtract(W, B, out=B)
        np.matmul(F, B, out=A)
        A *= STEP
        W *= 1 - STEP * DECAY
        W += A
    return W


def _torch_loop(W: torch.Tensor, Sigma: torch.Tensor, steps: int) -> torch.Tensor:
    """Take the same steps on one case, shape (d, d), or on a batch of them."""
    product = torch.mm if W.ndim == 2 else torch.bmm
    W, F, A, B = W.clone(), torch.empty_like(W), torch.empty_like(W), torch.empty_like(W)
    for _ in range(steps):
        product(W, W.mT, out=F)
        product(F, W, out=A)
        torch.matmul(A, Sigma, out=B) if W.ndim == 2 else product(A, Sigma.expand_as(A), out=B)
        torch.sub(W, B, out=B)
        product(F, B, out=A)
        W.mul_(1 - STEP * DECAY).add_(A, alpha=STEP)
    return W


def _case() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Moments in a random basis, X = I, and an aligned start."""
    rng = seeding.numpy_generator(0, "benchmark")
    X, Sigma = commuting_moments(np.ones(D), rng.uniform(1, 4, D), generator=rng)
    return 0.9 * np.eye(D), X, Sigma


def test_simulate_modes__against_dense_loops(benchmark):
    W, X, Sigma = _case()
    start = align(W, X, Sigma)
    starts = start.s * np.linspace(0.8, 1.0, CASES)[:, None]
    options = {"weight_decay": DECAY, "step": STEP, "steps": STEPS}

    def own():
        return simulate_modes(starts, start.x, start.c, **options)

    functions: dict[str, Callable[[], object]] = {"own": own}
    per = {"own": CASES * STEPS}
    for dtype in (np.float64, np.float32):
        w, second = W.astype(dtype), Sigma.astype(dtype)
        t, t_second = torch.tensor(w), torch.tensor(second)
        batch, name = t.expand(16, D, D).contiguous(), np.dtype(dtype).name
        functions[f"numpy {name}"] = partial(_numpy_loop, w, second, STEPS)
        functions[f"torch {name}"] = partial(_torch_loop, t, t_second, STEPS)
        functions[f"torch batch {name}"] = partial(_torch_loop, batch, t_second, STEPS // 10)
        per |= {f"numpy {name}": STEPS, f"torch {name}": STEPS}
        per[f"torch batch {name}"] = 16 * (STEPS // 10)

    benchmark.pedantic(own, rounds=3, warmup_rounds=1)
    seconds = {
        name: s / per[name] for name, s in measuring.named_cpu_seconds(ROUNDS, **functions).items()
    }
    own_seconds = seconds.pop("own")
    doubles = min(s for name, s in seconds.items() if name.endswith("64"))
    dense = _numpy_loop(W, Sigma, STEPS)
    by_torch = _torch_loop(torch.tensor(W), torch.tensor(Sigma), STEPS).numpy()
    info = {
        "case_steps_a_second": 1 / own_seconds,
        "dense_case_steps_a_second": {name: 1 / s for name, s in seconds.items()},
        "ratio_to_best_float64": doubles / own_seconds,
        "ratio_to_best": min(seconds.values()) / own_seconds,
        "error": float(np.abs(start.weights(own()[-1]) - dense).max()),
        "library_error": float(np.abs(_library(W, X, Sigma) - dense).max()),
        "torch_error": float(np.abs(by_torch - dense).max()),
        "torch": torch.__version__,
        "numpy": np.__version__,
    }
    benchmark.extra_info.update(info)
    assert max(info["error"], info["library_error"], info["torch_error"]) < 1e-11
    assert info["ratio_to_best_float64"] >= 250


def _library(W: np.ndarray, X: np.ndarray, Sigma: np.ndarray) -> np.ndarray:
    """The same steps by the package's own dense descent."""
    return descend(W, X, Sigma, step=STEP, steps=STEPS, weight_decay=DECAY).W[-1]


@pytest.mark.parametrize("modes", [64])
def test_weight_trajectory__time_of_the_exact_solution(benchmark, modes):
    c = np.linspace(1, 4, modes)
    found = benchmark.pedantic(
        lambda: weight_trajectory(20.0, 0.9, 1.0, c, DECAY, 1.0), rounds=20, warmup_rounds=2
    )
    small = simulate_modes(0.9, 1.0, c, weight_decay=DECAY, step=0.01, steps=2000, method="rk4")
    benchmark.extra_info["error"] = float(np.abs(found - small).max())
    assert benchmark.extra_info["error"] < 1e-7  # the error of the steps of 0.01, of fourth order
