"""Tests of thresholds for moments of any kind, and of what every predictor discards."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import linalg, optimize

from vcreg_theory import seeding
from vcreg_theory.dynamics import (
    DirectSet,
    Equations,
    collapse_threshold,
    commuting_moments,
    discarding_bound,
    random_rotation,
    rank_one_fixed_point,
    simulate,
    universal_threshold,
    view_moments,
)


@pytest.fixture
def rng() -> np.random.Generator:
    return seeding.numpy_generator(0, "thresholds")


def _generic(rng, d=4):
    """Moments that do not commute."""
    a, b = rng.standard_normal((2, d, d + 2))
    return a @ a.T / d, (a @ a.T + b @ b.T) / d


# --- collapse threshold -----------------------------------------------------------------------


@given(
    st.lists(st.tuples(st.floats(0.01, 50), st.floats(1, 40)), min_size=1, max_size=6),
    st.integers(0, 10**6),
)
def test_collapse_threshold__of_commuting_moments_is_that_of_the_best_mode(pairs, seed):
    # Each mode is a local maximum of the objective: a local search would be caught here.
    x, ratio = np.array(pairs).T
    X, Sigma = commuting_moments(x, x * ratio, generator=np.random.default_rng(seed))
    found = collapse_threshold(X, Sigma)
    values = x / ratio / 4
    assert found.weight_decay == pytest.approx(values.max(), rel=1e-11)
    best = np.isclose(1 / (2 * ratio), found.p, atol=1e-5)
    assert values[best].max() == pytest.approx(values.max(), rel=1e-9)


def test_collapse_threshold__is_the_largest_quotient(rng):
    X, Sigma = _generic(rng)
    found = collapse_threshold(X, Sigma)

    def negative(v):
        return -((v @ X @ v) ** 2) / (4 * (v @ v) * (v @ Sigma @ v))

    starts = rng.standard_normal((10, 4))
    best = min(optimize.minimize(negative, v, tol=1e-14).fun for v in starts)
    assert found.weight_decay == pytest.approx(-best, rel=1e-11)
    assert negative(found.v) == pytest.approx(best, rel=1e-11)
    grid = max(
        np.linalg.eigvalsh(p * X - p**2 * Sigma)[-1] for p in found.p + np.linspace(-0.1, 0.1, 201)
    )
    assert grid <= found.weight_decay * (1 + 1e-12)
    np.testing.assert_allclose(np.linalg.norm(found.v), 1)


def test_collapse_threshold__follows_rotation_and_scale(rng):
    X, Sigma = _generic(rng)
    Q = random_rotation(4, rng)
    one = collapse_threshold(X, Sigma)
    moved = collapse_threshold(3 * Q @ X @ Q.T, 3 * Q @ Sigma @ Q.T)
    assert moved.weight_decay == pytest.approx(3 * one.weight_decay, rel=1e-11)
    assert moved.p == pytest.approx(one.p, abs=1e-5)  # a flat maximum: half the digits


def test_collapse_threshold__of_samples_and_of_nothing(rng):
    X, Sigma = view_moments(*rng.standard_normal((2, 3, 5)))  # three pairs: Sigma may be singular
    found = collapse_threshold(X, Sigma)
    grid = [np.linalg.eigvalsh(p * X - p**2 * Sigma)[-1] for p in np.linspace(0, 1, 2001)]
    assert max(grid) <= found.weight_decay * (1 + 1e-12)
    assert found.weight_decay == pytest.approx(max(grid), rel=1e-4)
    assert collapse_threshold(-np.eye(2), np.eye(2)).weight_decay == 0
    assert collapse_threshold(0 * np.eye(2), np.eye(2)).weight_decay == 0


def test_universal_threshold__is_above_and_equal_where_moments_commute(rng):
    X, Sigma = _generic(rng)
    found = universal_threshold(X, Sigma)
    by_inverse = np.linalg.eigvalsh(X @ np.linalg.inv(Sigma) @ X)[-1] / 4
    assert found == pytest.approx(by_inverse, rel=1e-11)
    assert found > collapse_threshold(X, Sigma).weight_decay * (1 + 1e-6)
    X, Sigma = commuting_moments([1.0, 2.0], [3.0, 5.0], generator=rng)
    assert universal_threshold(X, Sigma) == pytest.approx(0.2, rel=1e-13)
    assert collapse_threshold(X, Sigma).weight_decay == pytest.approx(0.2, rel=1e-12)


@pytest.mark.parametrize("symmetric", [True, False])
def test_thresholds__bound_the_norm_under_wild_predictors(rng, symmetric):
    X, Sigma = _generic(rng)
    A, B = 0.3 * rng.standard_normal((2, 3, 3)) + 0.3 * np.eye(3)
    if symmetric:
        A, B = A + A.T, B + B.T
    level = (
        collapse_threshold(X, Sigma).weight_decay if symmetric else universal_threshold(X, Sigma)
    )
    W, times = rng.standard_normal((3, 4)), np.linspace(0.1, 5, 6)

    def path(t, _):
        return A * np.sin(2 * t) + B

    run = simulate(W, X, Sigma, times=times, predictor=path, weight_decay=0.2)
    size = np.linalg.norm(run.W, axis=(1, 2)) / np.linalg.norm(W)
    assert (size <= np.exp(-(0.2 - level) * times) * (1 + 1e-8)).all()


@pytest.mark.parametrize("correlation", ["clean", "augmented", "gram"])
@pytest.mark.parametrize("alpha", [0.5, 1.0, 2.0])
def test_rank_one_fixed_point__stands_still(rng, alpha, correlation):
    X, Sigma = _generic(rng)
    eta = 0.8 * collapse_threshold(X, Sigma).weight_decay
    W = rank_one_fixed_point(X, Sigma, eta, alpha, correlation=correlation)
    system = Equations(eta, DirectSet(alpha, correlation=correlation))
    speed = system.velocity(0.0, system.start(W, X, Sigma), X, Sigma).W
    assert np.abs(speed).max() < 1e-12 * np.abs(W).max()
    assert np.linalg.norm(W) > 0.1 and W.shape == (1, 4) and W.sum() > 0


def test_rank_one_fixed_point__ends_at_the_threshold(rng):
    X, Sigma = _generic(rng)
    top = collapse_threshold(X, Sigma)
    W = rank_one_fixed_point(X, Sigma, top.weight_decay * (1 - 1e-9), 1.0)
    assert (W @ X @ W.T).item() == pytest.approx(top.p, rel=1e-3)  # p - p_c is a root of 1e-9
    with pytest.raises(ValueError, match="weight_decay must be below the threshold"):
        rank_one_fixed_point(X, Sigma, top.weight_decay * 1.01, 1.0)


# --- what every predictor discards ------------------------------------------------------------


def _mode_run(P, eta, times, **options):
    """The norm of one mode, x = 1 and c = 2, under a predictor path of two rows."""
    W = np.array([[1.0], [0.5]])
    options |= {"rtol": 1e-12, "atol": 1e-14}
    run = simulate(W, [[1.0]], [[2.0]], times=times, predictor=P, weight_decay=eta, **options)
    return np.linalg.norm(run.W, axis=(1, 2)) / np.linalg.norm(W)


def test_discarding_bound__holds_for_predictors_that_are_not_symmetric(rng):
    times = np.linspace(0.5, 10, 5)
    A, B = rng.standard_normal((2, 2, 2))
    for beta in (None, 0.5):
        bound = discarding_bound(times, 1.0, 2.0, 0.2, target_rate=beta)
        size = _mode_run(lambda t, W: A * np.cos(t) + B, 0.2, times, target_rate=beta)
        assert (size <= bound * (1 + 1e-9)).all()


def test_discarding_bound__is_attained_by_the_best_predictor():
    times = np.linspace(0.5, 10, 5)
    bound = discarding_bound(times, 1.0, 2.0, 0.2)
    np.testing.assert_allclose(_mode_run(0.25 * np.eye(2), 0.2, times), bound, rtol=1e-9)
    other = _mode_run(0.3 * np.eye(2), 0.2, times)
    assert (other < bound * 0.999).all()  # control: any other loses more


@pytest.mark.parametrize("beta", [0.05, 0.4, 5.0])
@pytest.mark.parametrize("eta", [0.0, 0.1, 0.2, 0.9])
def test_discarding_bound__solves_its_linear_system(eta, beta):
    level = 1 / 8
    system = np.array([[-2 * eta, 2 * level], [beta, -beta]])
    for t in (0.0, 0.7, 20.0):
        expected = np.sqrt((linalg.expm(system * t) @ [1, 1])[0])
        found = discarding_bound(t, 1.0, 2.0, eta, target_rate=beta)
        assert found == pytest.approx(expected, rel=1e-11)


def test_discarding_bound__threshold_does_not_depend_on_the_target():
    for beta in (None, 0.05, 5.0):
        above, at, below = (
            discarding_bound(3e4, 1.0, 2.0, eta, target_rate=beta) for eta in (0.13, 0.125, 0.12)
        )
        assert above < 1e-2 and below > 1e2 and at == pytest.approx(1, rel=1e-9)


def test_discarding_bound__a_step_of_descent_can_violate_it():
    # One step of 0.1 with W_p = 5 I: a statement about the flow, not about large steps.
    W = 1 + 0.1 * (5 * (1 - 5 * 2) - 0.2)
    assert abs(W) > discarding_bound(0.1, 1.0, 2.0, 0.2)


ONE = np.eye(2)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: collapse_threshold(ONE, 0.5 * ONE), "covariance of the augmentation"),
        (lambda: collapse_threshold(ONE, ONE, rtol=0.0), "rtol must be positive"),
        (lambda: collapse_threshold([[1.0, 2.0], [0.0, 1.0]], 9 * ONE), "X must be symmetric"),
        (lambda: universal_threshold(0 * ONE, np.diag([1.0, 0.0])), "Sigma must be positive def"),
        (lambda: rank_one_fixed_point(ONE, ONE, 0.0, 1.0), "weight_decay must be positive"),
        (lambda: rank_one_fixed_point(ONE, ONE, 0.1, 0.0), "alpha must be positive"),
        (lambda: rank_one_fixed_point(ONE, ONE, 0.1, 1.0, correlation="x"), "correlation must"),
        (lambda: discarding_bound(-1.0, 1.0, 1.0, 0.1), "t must be at least 0"),
        (lambda: discarding_bound(1.0, 2.0, 1.0, 0.1), "c must be at least x"),
        (lambda: discarding_bound(1.0, 1.0, 1.0, 0.1, target_rate=0.0), "target_rate must be"),
    ],
)
def test_thresholds__errors(call, message):
    with pytest.raises(ValueError, match=message):
        call()
