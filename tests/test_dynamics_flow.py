"""Tests of the flow of matrices: exact cases, second implementations, invariances, errors."""

import numpy as np
import pytest
from scipy import integrate, linalg

from vcreg_theory import seeding
from vcreg_theory.dynamics import (
    DirectSet,
    Diverged,
    Given,
    Learned,
    Optimal,
    commuting_moments,
    full_gradient,
    imbalance,
    no_predictor_flow,
    no_predictor_rates,
    no_stop_gradient_bound,
    no_stop_gradient_flow,
    optimal_predictor,
    random_rotation,
    simulate,
    solve_commuting,
    trace_objective,
)

# Ten to a hundred steps of relative error 1e-12, carried along by flows that mostly contract, and
# the interpolation between steps, which is of a lower order.
TIGHT = {"rtol": 1e-12, "atol": 1e-14}
CLOSE = {"rtol": 1e-8, "atol": 1e-9}
TIMES = np.array([0.0, 0.4, 1.5, 4.0])


@pytest.fixture
def rng() -> np.random.Generator:
    return seeding.numpy_generator(0, "flow")


def _generic(rng, d=4):
    """Moments that do not commute."""
    a, b = rng.standard_normal((2, d, d + 2))
    return a @ a.T / d, (a @ a.T + b @ b.T) / d


def _run(W, X, Sigma, predictor, times=TIMES, **options):
    return simulate(W, X, Sigma, times=times, predictor=predictor, **{**TIGHT, **options})


# --- DirectSet --------------------------------------------------------------------------------


@pytest.mark.parametrize("correlation", ["clean", "augmented", "gram"])
@pytest.mark.parametrize("alpha", [0.5, 1.0, 1.5, 2.0])
def test_simulate__is_the_exact_solution_from_an_aligned_start(rng, alpha, correlation):
    X, Sigma = commuting_moments([1.0, 2.0, 0.6, 1.4], [1.0, 3.0, 1.2, 4.0], generator=rng)
    W = 0.8 * random_rotation(4, rng) @ np.eye(4)  # singular values are equal: aligned
    rule = DirectSet(alpha, correlation=correlation)
    found = _run(W, X, Sigma, rule, weight_decay=0.1)
    options = {"times": TIMES, "weight_decay": 0.1, "alpha": alpha, "correlation": correlation}
    np.testing.assert_allclose(found.W, solve_commuting(W, X, Sigma, **options), **CLOSE)


def test_simulate__control_a_start_that_is_not_aligned_is_not_the_scalar_solution(rng):
    X, Sigma = commuting_moments([1.0, 3.0], [1.5, 3.0])
    W = 0.8 * np.eye(2) + [[0, 0.3], [-0.1, 0]]
    found = _run(W, X, Sigma, DirectSet(1.0), weight_decay=0.1).W
    scalar = solve_commuting(np.diag(W.diagonal()), X, Sigma, times=TIMES, weight_decay=0.1)
    assert np.abs(found - scalar)[-1].max() > 1e-2


@pytest.mark.parametrize("loss", ["l2", "iso"])
def test_simulate__follows_rotations_of_inputs_and_outputs(rng, loss):
    X, Sigma = _generic(rng)
    W, Q, R = 0.5 * rng.standard_normal((3, 4)), random_rotation(3, rng), random_rotation(4, rng)
    rule = DirectSet(0.5, eps=0.1, correlation="augmented")
    one = _run(W, X, Sigma, rule, weight_decay=0.05, loss=loss)
    moved = _run(Q @ W @ R.T, R @ X @ R.T, R @ Sigma @ R.T, rule, weight_decay=0.05, loss=loss)
    np.testing.assert_allclose(moved.W, Q @ one.W @ R.T, **CLOSE)
    np.testing.assert_allclose(moved.W_p, Q @ one.W_p @ Q.T, **CLOSE)
    np.testing.assert_allclose(moved.gram, R @ one.gram @ R.T, **CLOSE)


def _scalar(slope, start, times=TIMES):
    """A second implementation for one row and one column, by another integrator."""
    options = {"method": "Radau", "rtol": 1e-11, "atol": 1e-13, "t_eval": times}
    return integrate.solve_ivp(slope, (0, times[-1]), start, **options).y


def test_simulate__offset_and_average_of_one_mode():
    x, c, eta, eps, tau = 1.2, 2.0, 0.05, 0.2, 3.0

    def slope(_, y):
        s, f = y
        p = np.sqrt(f) + eps
        return [s * (x * p - c * p**2 - eta), (x * s**2 - f) / tau]

    rule = DirectSet(0.5, eps=eps, averaging=tau)
    found = _run([[0.3]], [[x]], [[c]], rule, weight_decay=eta)
    s, f = _scalar(slope, [0.3, x * 0.09])
    np.testing.assert_allclose(found.W[:, 0, 0], s, **CLOSE)
    np.testing.assert_allclose(found.W_p[:, 0, 0], np.sqrt(f) + eps, **CLOSE)


def test_simulate__normalised_predictor_has_no_threshold():
    # The top mode has an augmentation as well: the others end at (x + sqrt(x^2 + 4 c x1')) / 2c.
    x, c = np.array([1.0, 1.0]), np.array([1.2, 3.0])
    expected = (1 + np.sqrt(1 + 4 * 3 * 0.2)) / 6
    for eta in (0.0, 0.3):
        found = _run(
            0.5 * np.eye(2),
            *(np.diag(v) for v in (x, c)),
            DirectSet(1.0, normalize=True),
            times=[15.0, 18.0],  # the ratio settles at the rate 1.7, to exp(-26)
            weight_decay=eta,
            atol=1e-25,  # W itself shrinks to 1e-4
        )
        np.testing.assert_allclose(found.W_p[1].diagonal(), [1, expected], rtol=1e-8)
        fall = np.log(found.W[1, 0, 0] / found.W[0, 0, 0]) / 3
        assert fall == pytest.approx(-(eta + 0.2), rel=1e-8)


def test_simulate__isoloss_is_logistic():
    x, c, eta, alpha, s0 = 1.2, 2.0, 0.3, 0.5, 0.1
    found = _run([[s0]], [[x]], [[c]], DirectSet(alpha), loss="iso", weight_decay=eta)
    p0, growth = np.sqrt(x) * s0, np.exp(2 * alpha * (x - eta) * TIMES)
    p = (x - eta) * p0 * growth / (x - eta + c * p0 * (growth - 1))
    np.testing.assert_allclose(found.W_p[:, 0, 0], p, **CLOSE)


def test_simulate__a_scaled_target_is_a_scaled_cross_moment(rng):
    X, Sigma = _generic(rng)
    W, rule = 0.5 * rng.standard_normal((3, 4)), DirectSet(1.0, correlation="gram")
    one = _run(W, X, Sigma, rule, target_scale=0.7)
    np.testing.assert_allclose(one.W, _run(W, 0.7 * X, Sigma, rule).W, **CLOSE)
    np.testing.assert_allclose(one.W_a, 0.7 * one.W, atol=1e-15)


def test_simulate__clips_an_indefinite_moment_only_if_told(rng):
    X, Sigma, W = np.diag([1.0, -0.2]), np.eye(2), 0.8 * np.eye(2)
    with pytest.raises(ValueError, match=r"X \(with clip=False\) must be positive semi-definite"):
        _run(W, X, Sigma, DirectSet(1.0))
    found = _run(W, X, Sigma, DirectSet(1.0, clip=True), weight_decay=0.1)
    np.testing.assert_allclose(found.W[:, 1, 1], 0.8 * np.exp(-0.1 * TIMES), **CLOSE)
    assert (found.W_p[:, 1, 1] == 0).all()
    _run(W, X, Sigma, DirectSet(1.0, correlation="augmented"))  # Sigma is definite: allowed


# --- no predictor, no stop-gradient -----------------------------------------------------------


def test_simulate__without_predictor_is_the_matrix_exponential(rng):
    X, Sigma = _generic(rng)
    W = rng.standard_normal((2, 4))
    exact = no_predictor_flow(W, X, Sigma, times=TIMES, weight_decay=0.1)
    for t, value in zip(TIMES, exact, strict=True):
        by_scipy = W @ linalg.expm(-(Sigma - X + 0.1 * np.eye(4)) * t)
        np.testing.assert_allclose(value, by_scipy, atol=1e-13)
    found = _run(W, X, Sigma, None, weight_decay=0.1)
    np.testing.assert_allclose(found.W, exact, **CLOSE)
    np.testing.assert_array_equal(found.W_p, np.broadcast_to(np.eye(2), (4, 2, 2)))


def test_simulate__without_predictor_and_a_target_that_follows(rng):
    x, c, eta, beta = 1.3, 2.0, 0.1, 0.6
    system = np.array([[-(c + eta), x], [beta, -beta]])
    found = _run([[1.0]], [[x]], [[c]], None, weight_decay=eta, target_rate=beta, target=[[0.5]])
    for t, w, w_a in zip(TIMES, found.W, found.W_a, strict=True):
        expected = linalg.expm(system * t) @ [1.0, 0.5]
        np.testing.assert_allclose([w[0, 0], w_a[0, 0]], expected, **CLOSE)
    rates = no_predictor_rates(x, c, eta, beta)
    np.testing.assert_allclose([rates.fast, rates.slow], np.sort(-np.linalg.eigvals(system))[::-1])


def test_no_predictor_rates__keep_small_rates_to_rounding():
    assert no_predictor_rates(1.0, 1.0, 1e-14, 0.5).slow == pytest.approx(1e-14 / 3, rel=1e-12)
    assert no_predictor_rates(1.0, 1.0, 0.0, 0.5).slow == 0


def test_simulate__without_stop_gradient_is_the_gradient_flow(rng):
    X, Sigma = _generic(rng)
    W = rng.standard_normal((3, 4))
    for p in (0.0, 0.4, 1.0):
        exact = no_stop_gradient_flow(W, X, Sigma, p, times=TIMES, weight_decay=0.1)
        found = _run(W, X, Sigma, p * np.eye(3), weight_decay=0.1, stop_gradient=False)
        np.testing.assert_allclose(found.W, exact, **CLOSE)
    P = rng.standard_normal((3, 3))
    step = _run(W, X, Sigma, P, times=[1e-5], stop_gradient=False).W[0] - W
    # A step of 1e-5 leaves second-order terms of 1e-5 relative to the first.
    gradient = full_gradient(W, P, X, Sigma)
    np.testing.assert_allclose(step / 1e-5, -gradient, atol=1e-3 * np.abs(gradient).max())


def test_no_stop_gradient_bound__holds_for_a_wild_predictor_and_needs_its_hypothesis(rng):
    X, Sigma = _generic(rng)
    A, B = rng.standard_normal((2, 3, 3))
    W = rng.standard_normal((3, 4))

    def path(t, _):
        return A * np.sin(3 * t) + B

    bound = no_stop_gradient_bound(TIMES, X, Sigma, weight_decay=0.1)
    norms = {}
    for stop in (False, True):
        run = _run(W, X, Sigma, path, weight_decay=0.1, stop_gradient=stop)
        norms[stop] = np.linalg.norm(run.W, axis=(1, 2)) / np.linalg.norm(W)
    assert (norms[False] <= bound * (1 + 1e-8)).all()
    # Control: with stop-gradient a predictor may keep W, here x = c = 1 at p = 1/2.
    kept = _run(np.eye(1), np.eye(1), [[1.2]], [[0.4]], weight_decay=0.1)
    limit = no_stop_gradient_bound(TIMES, np.eye(1), [[1.2]], weight_decay=0.1)
    assert kept.W[-1, 0, 0] > limit[-1] * 1.1


# --- learned, optimal and given predictors ----------------------------------------------------


def test_simulate__learned_predictor_keeps_the_balance(rng):
    X, Sigma = _generic(rng)
    W, W_p = 0.5 * rng.standard_normal((3, 4)), 0.5 * rng.standard_normal((3, 3))

    def drift(decay):
        rule = Learned(W_p, rate=2.0, weight_decay=decay)
        run = _run(W, X, Sigma, rule, weight_decay=0.1, target_rate=0.5)
        found = np.stack([imbalance(*pair, rate=2.0) for pair in zip(run.W, run.W_p, strict=True)])
        return np.abs(found - np.exp(-0.2 * TIMES)[:, None, None] * found[0]).max()

    assert drift(None) < 1e-9 and drift(0.1) < 1e-9
    assert drift(0.0) > 1e-2  # control: unequal weight decay


def test_simulate__learned_predictor_of_one_mode():
    x, c, eta, decay, rate = 1.2, 2.0, 0.05, 0.02, 1.7

    def slope(_, y):
        w, p = y
        return [p * (x - p * c) * w - eta * w, rate * (x - p * c) * w**2 - decay * p]

    rule = Learned([[0.2]], rate=rate, weight_decay=decay)
    found = _run([[0.6]], [[x]], [[c]], rule, weight_decay=eta)
    both = np.stack([found.W[:, 0, 0], found.W_p[:, 0, 0]])
    np.testing.assert_allclose(both, _scalar(slope, [0.6, 0.2]), **CLOSE)


def test_simulate__symmetric_learning_keeps_symmetry(rng):
    X, Sigma = _generic(rng)
    W, start = rng.standard_normal((3, 4)), np.eye(3)
    free, tied = (
        _run(W, X, Sigma, Learned(start, symmetric=symmetric)).W_p for symmetric in (False, True)
    )
    assert np.abs(tied - tied.swapaxes(1, 2)).max() < 1e-12
    assert np.abs(free - free.swapaxes(1, 2)).max() > 1e-2


def test_simulate__optimal_predictor_keeps_the_gram_matrix_up_to_weight_decay(rng):
    X, Sigma = _generic(rng)
    W = rng.standard_normal((3, 4))
    found = _run(W, X, Sigma, Optimal(), weight_decay=0.1)
    gram = found.W @ found.W.swapaxes(1, 2)
    expected = np.exp(-0.2 * TIMES)[:, None, None] * (W @ W.T)
    np.testing.assert_allclose(gram, expected, **CLOSE)
    np.testing.assert_allclose(found.W_p[-1], optimal_predictor(found.W[-1], X, Sigma), **CLOSE)
    off = _run(W, X, Sigma, lambda t, V: 0.9 * optimal_predictor(V, X, Sigma), weight_decay=0.1)
    assert np.trace(off.gram[-1]) > 1.05 * np.trace(found.gram[-1])  # control: off by a tenth


@pytest.mark.parametrize("orthonormal", [True, False])
def test_trace_objective__is_the_speed_of_the_flow(rng, orthonormal):
    X, Sigma = _generic(rng)[0], 2.5 * np.eye(4)
    X = 2.0 * X / np.linalg.norm(X, 2)  # at most Sigma
    W = random_rotation(4, rng)[:2]
    if not orthonormal:
        W = np.array([[1.3, 0.0], [0.5, 0.8]]) @ W
    step = 1e-3
    run = _run(W, X, Sigma, Optimal(), times=[step, 2 * step])
    values = [np.square(V @ X @ V.T).sum() / 2 for V in run.W]
    found = trace_objective(W, X, Sigma)
    # One-sided differences with an error of step^2 relative to the third derivative, of order 10.
    slope = (4 * values[0] - values[1] - 3 * found.value) / (2 * step)
    assert found.speed == pytest.approx(slope, abs=1e-4) and found.speed > 1e-2
    assert trace_objective(W, np.eye(4), Sigma).speed == pytest.approx(0, abs=1e-15)
    Q = np.eye(4) - np.linalg.pinv(W) @ W
    short = 2 * 2.5 * np.square(optimal_predictor(W, X, Sigma) @ W @ X @ Q).sum()
    agrees = found.speed == pytest.approx(short, rel=1e-12)
    assert agrees == orthonormal  # the short form needs orthonormal rows


def test_simulate__a_constant_matrix_makes_a_linear_system(rng):
    X, Sigma = _generic(rng)
    W, P = rng.standard_normal((2, 4)), rng.standard_normal((2, 2))
    # Row-major: vec(A W B) = (A kron B^T) vec(W).
    system = np.kron(P.T, X) - np.kron(P.T @ P, Sigma) - 0.1 * np.eye(8)
    runs = [_run(W, X, Sigma, P, weight_decay=0.1), _run(W, X, Sigma, Given(lambda t, V: P))]
    found = runs[0]
    for t, value in zip(TIMES, found.W, strict=True):
        np.testing.assert_allclose(value.ravel(), linalg.expm(system * t) @ W.ravel(), **CLOSE)
    factor = np.exp(-0.1 * TIMES)[:, None, None]
    np.testing.assert_allclose(found.W, factor * runs[1].W, **CLOSE)


# --- divergence and errors --------------------------------------------------------------------


def test_simulate__reports_divergence():
    # p x - p^2 c = 1/4: exp(t / 4) passes 1e29 at t = 267.
    with pytest.raises(Diverged, match="had diverged by time 26") as caught:
        _run(np.eye(1), np.eye(1), np.eye(1), [[0.5]], times=[1000.0])
    assert caught.value.time == pytest.approx(4 * 29 * np.log(10), rel=1e-6)
    assert isinstance(caught.value, ArithmeticError) and caught.value.steps is None


def test_simulate__reports_divergence_before_the_first_record():
    with pytest.raises(Diverged) as caught:
        _run(1e20 * np.eye(2), np.eye(2), np.eye(2), DirectSet(2.0), times=[1.0])
    assert caught.value.time == 0.0


def test_simulate__a_wild_start_raises_no_warning():
    found = _run(1e8 * np.eye(2), np.eye(2), np.eye(2), DirectSet(2.0), times=[1e-3, 60.0])
    np.testing.assert_allclose(found.gram[-1], np.eye(2), atol=1e-6)


ONE = np.eye(2)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: simulate(ONE, ONE, ONE, times=[]), "times must be a strictly ascending"),
        (lambda: simulate(ONE, ONE, ONE, times=[1.0, 1.0]), "times must be a strictly ascending"),
        (lambda: simulate(ONE, ONE, ONE, times=[-1.0]), "times must be at least 0"),
        (lambda: simulate(ONE, ONE, ONE, times=1.0), "times must be a strictly ascending"),
        (lambda: simulate([[1.0]], ONE, ONE, times=[1.0]), "W must have shape"),
        (lambda: simulate(ONE, 2 * ONE, ONE, times=[1.0]), "covariance of the augmentation"),
        (lambda: _run(ONE, ONE, ONE, None, weight_decay=-1.0), "weight_decay must not be neg"),
        (lambda: _run(ONE, ONE, ONE, None, target_rate=0.0), "target_rate must be positive"),
        (lambda: _run(ONE, ONE, ONE, None, target=ONE), "target must be None where it is tied"),
        (lambda: _run(ONE, ONE, ONE, None, target_rate=1.0, target=[[1.0]]), "target must have"),
        (lambda: _run(ONE, ONE, ONE, None, target_rate=1.0, target_scale=2.0), "must be 1 where"),
        (lambda: _run(ONE, ONE, ONE, None, loss="l1"), "loss must be one of 'l2', 'iso'"),
        (
            lambda: _run(ONE, ONE, ONE, None, stop_gradient=False, target_rate=1.0),
            "stop_gradient=False needs",
        ),
        (lambda: _run(ONE, ONE, ONE, None, stop_gradient=False, loss="iso"), "needs the l2"),
        (lambda: _run(ONE, ONE, ONE, np.eye(3)), r"path\(t, W\) must have shape \(2, 2\)"),
        (lambda: _run(ONE, ONE, ONE, lambda t, W: W * np.nan), "must be finite, got 4 NaN"),
        (lambda: _run(np.ones((2, 2)), ONE, ONE, Optimal()), "must be invertible"),
        (lambda: _run(0 * ONE, ONE, ONE, DirectSet(normalize=True)), "W must not be zero"),
        (lambda: _run(ONE, ONE, ONE, Learned(np.eye(3))), "start_at must have shape"),
        (lambda: _run(ONE, ONE, ONE, None, rtol=0.0), "rtol must be positive"),
        (lambda: DirectSet(0.0), "alpha must be positive"),
        (lambda: DirectSet(eps=-1.0), "eps must not be negative"),
        (lambda: DirectSet(averaging=0.0), "averaging must be positive"),
        (lambda: DirectSet(correlation="x"), "correlation must be one of"),
        (lambda: Learned(ONE, rate=0.0), "rate must be positive"),
        (lambda: Learned(ONE, weight_decay=-1.0), "weight_decay must not be negative"),
        (lambda: Learned([[0.0, 1.0], [0, 0]], symmetric=True), "start_at must be symmetric"),
        (lambda: no_predictor_flow(ONE, ONE, ONE, times=1.0), "times must be a vector"),
        (lambda: no_predictor_rates(1.0, 1.0, 0.0, 0.0), "target_rate must be above 0"),
        (lambda: trace_objective(np.ones((2, 2)), ONE, ONE), "must be invertible"),
        (lambda: trace_objective(ONE, ONE, np.diag([1.0, 2.0])), "multiple of the identity"),
    ],
)
def test_flow__errors(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_simulate__at_time_zero_only_is_the_start(rng):
    X, Sigma = _generic(rng)
    W = rng.standard_normal((3, 4))
    found = simulate(W, X, Sigma, times=[0.0], weight_decay=0.1, predictor=DirectSet())
    assert found.W.shape == (1, 3, 4)
    assert np.array_equal(found.W[0], W)


def test_no_stop_gradient_bound__decays_at_the_least_eigenvalue_and_from_time_zero_on():
    X, Sigma = np.eye(2), np.diag([1.5, 3.0])
    found = no_stop_gradient_bound([0.0, 2.0], X, Sigma, weight_decay=0.25)
    np.testing.assert_allclose(found, [1.0, np.exp(-1.5)], rtol=1e-15)
    with pytest.raises(ValueError, match="t must"):
        no_stop_gradient_bound(-0.5, X, Sigma)
    with pytest.raises(ValueError, match="weight_decay must not be negative"):
        no_stop_gradient_bound(1.0, X, Sigma, weight_decay=-0.5)
