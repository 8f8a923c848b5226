"""Tests of the dynamics in the common eigenbasis, and of the phase diagram."""

import numpy as np
import pytest

from vcreg_theory import seeding
from vcreg_theory.dynamics import (
    DirectSet,
    Diverged,
    align,
    basin_boundary,
    block_moments,
    commuting_moments,
    critical_weight_decay,
    descend,
    eigenbasis,
    fixed_points,
    mode_limit,
    phase_diagram,
    random_rotation,
    simulate_modes,
    solve_commuting,
    weight_trajectory,
)

X_MODES = np.array([1.0, 2.0, 0.6, 1.4])
C_MODES = np.array([1.0, 3.0, 1.2, 4.0])
S_MODES = np.array([0.9, 0.4, 1.1, 0.05])


@pytest.fixture
def rng() -> np.random.Generator:
    return seeding.numpy_generator(0, "eigenbasis")


def _aligned(rng, rows=4):
    """Moments in a random basis, and weights aligned with them."""
    V, U = random_rotation(4, rng), random_rotation(rows, rng)[:, :4]
    X, Sigma = ((V * values) @ V.T for values in (X_MODES, C_MODES))
    return (U * S_MODES[: U.shape[1]]) @ V.T[: U.shape[1]], X, Sigma


# --- alignment --------------------------------------------------------------------------------


@pytest.mark.parametrize("rows", [2, 4, 6])
def test_align__puts_weights_back_together(rng, rows):
    W, X, Sigma = _aligned(rng, rows)
    found = align(W, X, Sigma)
    np.testing.assert_allclose(found.weights(found.s), W, atol=1e-14)
    np.testing.assert_allclose((found.V * found.x) @ found.V.T, X, atol=1e-13)
    kept = found.s > 0
    assert kept.sum() == min(rows, 4)
    norms = np.linalg.norm(found.U, axis=0)
    np.testing.assert_allclose(norms, kept, atol=1e-14)
    stacked = found.weights(np.stack([found.s, 2 * found.s]))
    np.testing.assert_allclose(stacked, [W, 2 * W], atol=1e-13)


def test_align__any_weights_on_directions_that_are_all_alike(rng):
    X, Sigma, P = block_moments(6, 4, 2.0, generator=rng)
    W = rng.standard_normal((3, 6)) @ P
    singular = np.linalg.svd(W)[1]
    np.testing.assert_allclose(np.sort(align(W, X, Sigma).s)[::-1][:3], singular, rtol=1e-12)


def test_align__refuses_weights_that_are_not_aligned(rng):
    _, X, Sigma = _aligned(rng)
    with pytest.raises(ValueError, match=r"X, Sigma and W\^T W must commute"):
        align(rng.standard_normal((4, 4)), X, Sigma)


# --- the same steps as the dense loop ---------------------------------------------------------


@pytest.mark.parametrize("correlation", ["clean", "augmented", "gram"])
@pytest.mark.parametrize("alpha", [0.5, 1.0, 1.5, 2.0])
@pytest.mark.parametrize("method", ["euler", "rk4"])
def test_simulate_modes__takes_the_steps_of_the_dense_loop(rng, method, alpha, correlation):
    W, X, Sigma = _aligned(rng)
    rule = DirectSet(alpha, eps=0.05, correlation=correlation)
    options = {"step": 0.2, "steps": 50, "weight_decay": 0.1, "method": method}
    dense = descend(W, X, Sigma, predictor=rule, **options).W[-1]
    start = align(W, X, Sigma)
    s = simulate_modes(
        start.s, start.x, start.c, alpha=alpha, eps=0.05, correlation=correlation, **options
    )
    # Roundings of 50 steps, and of eigendecompositions where alpha is fractional.
    np.testing.assert_allclose(start.weights(s), dense, atol=1e-12)


def test_simulate_modes__keeps_signs_that_a_step_turns():
    # A step so large that the weight overshoots through zero, and comes back.
    options = {"step": 1.0, "steps": 3, "weight_decay": 0.1}
    dense = descend([[-1.5]], [[1.0]], [[1.0]], every=1, **options).W[:, 0, 0]
    assert (dense > 0).any()
    for steps in (1, 2, 3):
        s = simulate_modes(-1.5, 1.0, 1.0, **{**options, "steps": steps})
        assert s == pytest.approx(dense[steps], rel=1e-12)


def test_simulate_modes__broadcasts_and_does_not_depend_on_its_blocks(monkeypatch):
    eta = np.array([0.05, 0.1, 0.3])[:, None, None]
    s = np.array([0.2, 0.9])[:, None]
    options = {"weight_decay": eta, "step": 0.1, "steps": 20}
    whole = simulate_modes(s, X_MODES, C_MODES, **options)
    assert whole.shape == (3, 2, 4)
    one = simulate_modes(0.9, 0.6, 1.2, weight_decay=0.3, step=0.1, steps=20)
    assert whole[2, 1, 2] == one and np.ndim(one) == 0
    monkeypatch.setattr(eigenbasis, "_CHUNK", 5)
    np.testing.assert_array_equal(simulate_modes(s, X_MODES, C_MODES, **options), whole)


def test_simulate_modes__leaves_its_arguments_alone():
    s = S_MODES.copy()
    simulate_modes(s, X_MODES, C_MODES, weight_decay=0.1, step=0.1, steps=5)
    np.testing.assert_array_equal(s, S_MODES)


@pytest.mark.parametrize(("method", "order"), [("euler", 1), ("rk4", 4)])
@pytest.mark.parametrize("alpha", [0.5, 1.0, 2.0])
def test_simulate_modes__approaches_the_exact_flow_at_its_order(method, order, alpha):
    exact = weight_trajectory(3.0, S_MODES, X_MODES, C_MODES, 0.1, alpha)
    errors = []
    for steps in (240, 480):
        options = {"weight_decay": 0.1, "alpha": alpha, "step": 3 / steps, "steps": steps}
        found = simulate_modes(S_MODES, X_MODES, C_MODES, method=method, **options)
        errors.append(np.abs(found - exact).max())
    # The next order is the step, .0125, times rates of order 5, relative to it.
    assert np.log2(errors[0] / errors[1]) == pytest.approx(order, abs=0.2)


def test_simulate_modes__reports_divergence():
    with pytest.raises(Diverged, match="had diverged by step 50"):
        simulate_modes([0.5, 9.0], 1.0, 1.0, weight_decay=0.1, step=2.0, steps=50)


def test_solve_commuting__at_time_zero_and_far(rng):
    W, X, Sigma = _aligned(rng)
    found = solve_commuting(W, X, Sigma, times=[0.0, 1e6], weight_decay=0.15, alpha=2.0)
    np.testing.assert_allclose(found[0], W, atol=1e-13)
    limit = mode_limit(S_MODES, X_MODES, C_MODES, 0.15, 2.0)
    np.testing.assert_allclose(np.linalg.svd(found[1])[1], np.sort(limit.weight)[::-1], atol=1e-12)


# --- phases -----------------------------------------------------------------------------------


def test_phase_diagram__every_cell_ends_where_it_says():
    eta, sigma2 = np.array([0.02, 0.08, 0.15, 0.24, 0.3]), np.linspace(0, 5, 11)
    alpha, scale = [0.5, 1.0, 2.0], [0.2, 0.5, 0.9]
    found = phase_diagram(eta, sigma2, alpha, scale)
    assert found.kept.shape == (5, 11, 3, 3)
    # Times to 2000, against 1 / (2 alpha p sqrt D) and ghosts below 200 at a margin of 2 %. Steps
    # small enough that no start overshoots the basin boundary at once.
    clear = found.margin > 0.02
    for index, power in enumerate(alpha):
        end = simulate_modes(
            scale,
            1.0,
            1 + sigma2[None, :, None],
            weight_decay=eta[:, None, None],
            alpha=power,
            step=0.1,
            steps=20_000,
        )
        cell = np.s_[:, :, index]
        np.testing.assert_allclose(end[clear[cell]], found.weight[cell][clear[cell]], atol=1e-6)
    assert clear.mean() > 0.9 and 0.2 < found.kept.mean() < 0.8  # neither verdict is rare


def test_phase_diagram__thresholds_on_variance_times_invariance_and_not_on_invariance():
    # Equal ratios of 1/2: only the variance differs.
    kept = [phase_diagram(0.3, x, 1.0, 0.9, x=x).kept.item() for x in (1.0, 3.0)]
    assert kept == [False, True]


def test_mode_limit__is_the_block_models():
    sigma2, eta, alpha = 2.0, 0.15, 0.5
    assert critical_weight_decay(sigma2) < eta
    found = mode_limit(0.9, 1.0, [1.0, 1 + sigma2], eta, alpha)
    expected = fixed_points(alpha, 0.0, eta).upper_weight
    np.testing.assert_allclose(found.weight, [expected, 0.0], rtol=1e-14)


@pytest.mark.parametrize("correlation", ["clean", "augmented", "gram"])
def test_mode_limit__changes_at_the_basin_boundary(correlation):
    edge = basin_boundary(2.0, 3.0, 0.1, 1.0, correlation=correlation)
    found = mode_limit(
        [edge * 0.99, edge, -edge * 1.01], 2.0, 3.0, 0.1, 1.0, correlation=correlation
    )
    assert found.kept.tolist() == [False, False, True] and found.weight[2] < 0
    np.testing.assert_allclose(found.margin, [-np.log(0.99), 0, np.log(1.01)], atol=1e-12)


def test_mode_limit__margins_of_the_ends():
    # Above the threshold the start does not matter; without weight decay any start is kept.
    found = mode_limit([5.0, 0.0, 1e-9, 0.0], 1.0, 1.0, [0.5, 0.1, 0.0, 0.0], 1.0)
    assert found.kept.tolist() == [False, False, True, False]
    np.testing.assert_allclose(found.margin, [np.log(2), np.log(2.5), np.inf, 0])
    assert found.weight.tolist() == [0, 0, 1, 0]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: simulate_modes(1, 1, 0.5, weight_decay=0, step=1, steps=1), "c must be at least"),
        (lambda: simulate_modes(1, -1, 1, weight_decay=0, step=1, steps=1), "x must be at least 0"),
        (lambda: simulate_modes(1, 1, 1, weight_decay=-1, step=1, steps=1), "weight_decay must"),
        (lambda: simulate_modes(1, 1, 1, weight_decay=0, step=0, steps=1), "step must be positive"),
        (lambda: simulate_modes(1, 1, 1, weight_decay=0, step=1, steps=0), "steps must be at lea"),
        (
            lambda: simulate_modes(1, 1, 1, weight_decay=0, step=1, steps=1, alpha=0),
            "alpha must be positive",
        ),
        (
            lambda: simulate_modes(1, 1, 1, weight_decay=0, step=1, steps=1, eps=-1),
            "eps must not be negative",
        ),
        (
            lambda: simulate_modes(1, 1, 1, weight_decay=0, step=1, steps=1, method="heun"),
            "method must be one of",
        ),
        (
            lambda: simulate_modes(1, 1, 1, weight_decay=0, step=1, steps=1, correlation="no"),
            "correlation must be one of",
        ),
        (
            lambda: solve_commuting(np.eye(1), [[0.0]], np.eye(1), times=[1.0], weight_decay=0.1),
            "X must be positive definite",
        ),
        (
            lambda: solve_commuting(np.eye(1), np.eye(1), np.eye(1), times=1.0, weight_decay=0.1),
            "times must be a vector",
        ),
        (lambda: phase_diagram(0.1, -1.0, 1.0, 1.0), "sigma2 must be at least 0"),
        (lambda: phase_diagram(0.1, 1.0, 0.0, 1.0), "alpha must be above 0"),
        (lambda: phase_diagram(0.1, 1.0, 1.0, 1.0, x=0.0), "x must be positive"),
        (lambda: mode_limit(np.nan, 1.0, 1.0, 0.1, 1.0), "s0 must be finite"),
    ],
)
def test_eigenbasis__errors(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_commuting_moments__are_what_align_reads(rng):
    X, Sigma = commuting_moments(X_MODES, C_MODES, generator=rng)
    found = align(np.eye(4), X, Sigma)
    np.testing.assert_allclose(np.sort(found.x * found.c), np.sort(X_MODES * C_MODES), rtol=1e-12)
