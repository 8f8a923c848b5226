"""Steps of DirectSet in the common eigenbasis, against the best dense loop over matrices.

All take the same Euler steps of DirectCopy on commuting moments with X = I; the unit is a
case-step, one step of one start. The dense loops are written for speed: products into memory that
is there already, the correlation without the factor X = I, in NumPy and torch, one case after the
other and, in torch, in batches, in float64 and float32. The eigenbasis computes in float64. The
exact solution is set against SciPy's integrator.
"""

from collections.abc import Callable
from functools import partial

import measuring
import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp

from vcreg_theory import seeding
from vcreg_theory.dynamics import (
    align,
    commuting_moments,
    descend,
    simulate_modes,
    weight_trajectory,
)

CASES, ROUNDS, BATCH = 256, 7, 16
STEP, DECAY = 0.05, 0.1
STEPS = {64: 200, 128: 60}  # of the eigenbasis in a round; a dense loop takes as many of one case


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


def _case(d: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Moments in a random basis, X = I, and an aligned start."""
    rng = seeding.numpy_generator(0, "benchmark")
    X, Sigma = commuting_moments(np.ones(d), rng.uniform(1, 4, d), generator=rng)
    return 0.9 * np.eye(d), X, Sigma


def _dense_loops(
    W: np.ndarray, Sigma: np.ndarray, steps: int
) -> dict[str, tuple[Callable[[], object], int]]:
    """Return the loops, each with the number of its case-steps."""
    loops = {}
    for dtype in (np.float64, np.float32):
        w, second = W.astype(dtype), Sigma.astype(dtype)
        t, t_second = torch.tensor(w), torch.tensor(second)
        batch, few = t.expand(BATCH, *t.shape).contiguous(), steps // 10
        name = np.dtype(dtype).name
        loops[f"numpy {name}"] = partial(_numpy_loop, w, second, steps), steps
        loops[f"torch {name}"] = partial(_torch_loop, t, t_second, steps), steps
        loops[f"batch {name}"] = partial(_torch_loop, batch, t_second, few), BATCH * few
    return loops


@pytest.mark.parametrize(("d", "goal"), [(64, 250.0), (128, 900.0)])
def test_simulate_modes__against_dense_loops(found, cpu_rounds, d, goal):
    W, X, Sigma = _case(d)
    start, steps = align(W, X, Sigma), STEPS[d]
    starts = start.s * np.linspace(0.8, 1.0, CASES)[:, None]
    options = {"weight_decay": DECAY, "step": STEP, "steps": steps}

    def own():
        return simulate_modes(starts, start.x, start.c, **options)

    loops = _dense_loops(W, Sigma, steps)
    times = cpu_rounds(ROUNDS, {"own": own} | {name: call for name, (call, _) in loops.items()})
    each = {name: measuring.scaled(times[name], 1 / number) for name, (_, number) in loops.items()}
    doubles = {name: samples for name, samples in each.items() if name.endswith("64")}
    for name, among, words in (("float64", doubles, "in float64"), ("any", each, "of all")):
        best = measuring.quickest(among)
        found.ratio(
            f"eigenbasis_{d}_{name}",
            f"a step of linear dynamics, d = {d}, in the eigenbasis",
            peer=f"the best of {len(among)} dense loops {words}",
            own=measuring.scaled(times["own"], 1 / (CASES * steps)),
            theirs=each[best],
            goal=goal if name == "float64" else None,
        )
    dense = _numpy_loop(W, Sigma, steps)
    library = descend(W, X, Sigma, step=STEP, steps=steps, weight_decay=DECAY).W[-1]
    by_torch = _torch_loop(torch.tensor(W), torch.tensor(Sigma), steps).numpy()
    for other in (start.weights(own()[-1]), library, by_torch):
        assert np.abs(other - dense).max() < 1e-11


def test_weight_trajectory__against_an_integrator(found, cpu_rounds):
    """Both to 1e-9: an integrator that is asked for less is quicker."""
    modes, end, alpha = 64, 20.0, 1.0
    c = np.linspace(1, 4, modes)

    def velocity(_, s):
        p = (s * s) ** alpha
        return s * (p - c * p * p - DECAY)

    def exact():
        return weight_trajectory(end, 0.9, 1.0, c, DECAY, alpha)

    def integrated():
        options = {"method": "DOP853", "rtol": 1e-10, "atol": 1e-12}
        return solve_ivp(velocity, (0, end), np.full(modes, 0.9), **options).y[:, -1]

    times = cpu_rounds(15, {"own": lambda: [exact() for _ in range(10)], "peer": integrated})
    found.ratio(
        f"weight_trajectory_{modes}",
        f"weights of {modes} modes at one time, exactly",
        peer="SciPy's DOP853, tolerance 1e-10",
        own=measuring.scaled(times["own"], 1 / 10),
        theirs=times["peer"],
    )
    assert np.abs(exact() - integrated()).max() < 1e-8
