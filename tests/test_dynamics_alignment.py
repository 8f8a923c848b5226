"""Tests of balance and alignment of a learned predictor on isotropic data."""

import numpy as np
import pytest
from scipy import integrate

from vcreg_theory import seeding
from vcreg_theory.dynamics import (
    DirectSet,
    Equations,
    Learned,
    alignment_threshold,
    balanced_predictor,
    block_moments,
    commutator_bound,
    commutator_damping,
    commutator_integral_bound,
    commutator_norm,
    imbalance,
    random_rotation,
    ridge_predictor,
    simulate,
)

K, C, RATE, TAU = 4, 1.5, 0.7, 0.9
X, SIGMA = np.eye(K), C * np.eye(K)
TIGHT = {"rtol": 1e-12, "atol": 1e-14}


@pytest.fixture
def rng() -> np.random.Generator:
    return seeding.numpy_generator(0, "alignment")


def _start(rng, scale=0.6):
    """Weights, and a symmetric predictor that does not commute with their correlation."""
    W, W_p = scale * rng.standard_normal((2, K, K))
    return W, (W_p + W_p.T) / 2


def _commute(A, B):
    return A @ B - B @ A


def _speeds(W, W_p, eta, symmetric=True):
    """Time derivatives of F and of the predictor, from the equations of motion."""
    rule = Learned(W_p, rate=RATE, symmetric=symmetric)
    system = Equations(eta, rule, target_scale=TAU)
    speed = system.velocity(0.0, system.start(W, X, SIGMA), X, SIGMA)
    return speed.W @ W.T + W @ speed.W.T, speed.memory


def _learn(W, W_p, eta, times, symmetric=True, **options):
    rule = Learned(W_p, rate=RATE, symmetric=symmetric)
    options = {"weight_decay": eta, "target_scale": TAU, **TIGHT, **options}
    return simulate(W, X, SIGMA, times=times, predictor=rule, **options)


# --- commutator -------------------------------------------------------------------------------


def test_commutator_norm__closed_form_and_invariance(rng):
    A, B = np.diag([1.0, -1.0]), np.array([[0.0, 1.0], [1.0, 0.0]])
    assert commutator_norm(A, B, relative=False) == pytest.approx(np.sqrt(8), rel=1e-15)
    assert commutator_norm(A, B) == pytest.approx(np.sqrt(2), rel=1e-15)
    Q = random_rotation(2, rng)
    moved = commutator_norm(3 * Q @ A @ Q.T, -5 * Q @ B @ Q.T)
    assert moved == pytest.approx(np.sqrt(2), rel=1e-13)
    assert commutator_norm(A, A) == 0 and commutator_norm(0 * A, B) == 0


def test_commutator_damping__is_the_law_of_the_flow(rng):
    W, W_p = _start(rng)
    F, L = W @ W.T, _commute(W @ W.T, W_p)
    for eta in (0.0, 0.2):
        F_speed, P_speed = _speeds(W, W_p, eta)
        damping = commutator_damping(F, W_p, C, eta, rate=RATE, target_scale=TAU)
        found = _commute(F_speed, W_p) + _commute(F, P_speed)
        np.testing.assert_allclose(found, -(damping @ L + L @ damping), atol=1e-13)
    F_speed, P_speed = _speeds(W, W_p, 0.2, symmetric=False)
    found = _commute(F_speed, W_p) + _commute(F, P_speed)
    assert np.abs(found + damping @ L + L @ damping).max() > 1e-2  # control: not symmetrised


def test_alignment_threshold__is_where_the_damping_is_definite(rng):
    level = alignment_threshold(C, target_scale=TAU)
    worst = TAU / (2 * C) * np.eye(K)  # with F = 0

    def least(F, W_p, eta):
        return np.linalg.eigvalsh(commutator_damping(F, W_p, C, eta, target_scale=TAU))[0]

    assert least(0 * X, worst, level) == pytest.approx(0, abs=1e-15)
    assert least(0 * X, worst, 0.99 * level) < 0 < least(0 * X, worst, 1.01 * level)
    for _ in range(50):
        W, W_p = _start(rng, scale=rng.uniform(0, 1))
        assert least(W @ W.T, W_p, level) > -1e-14
    assert level == pytest.approx(TAU**2 / (6 * C), rel=1e-15)


@pytest.mark.parametrize("eta", [0.0, 0.05, 0.12])
def test_commutator_bounds__hold_along_trajectories(rng, eta):
    W, W_p = _start(rng)
    times = np.linspace(0, 60, 6001)
    run = _learn(W, W_p, eta, times)
    L = [commutator_norm(w @ w.T, p, relative=False) for w, p in zip(run.W, run.W_p, strict=True)]
    M = [np.linalg.norm(imbalance(*pair, rate=RATE)) for pair in zip(run.W, run.W_p, strict=True)]
    integral, lost = (integrate.simpson(np.square(v), x=times) for v in (L, M))
    bound = commutator_integral_bound(W, W_p, C, rate=RATE)
    assert integral <= bound
    # What is missing is known: (d/dt) |M|^2 = -4 eta |M|^2 - c |L|^2. Simpson's rule at 0.01.
    missing = (4 * eta * lost + M[-1] ** 2) / C
    assert integral + missing == pytest.approx(bound, rel=1e-4)
    first = imbalance(W, W_p, rate=RATE)
    for t, p, norm in zip(times[::500], run.W_p[::500], L[::500], strict=True):
        assert norm <= commutator_bound(t, p, first, weight_decay=eta) * (1 + 1e-9)
    assert L[-1] < 1e-3 * L[0]  # also without weight decay


def test_commutator_integral_bound__follows_from_the_law_of_the_imbalance(rng):
    W, W_p = _start(rng)
    F, M = W @ W.T, imbalance(W, W_p, rate=RATE)
    for eta in (0.0, 0.2):
        F_speed, P_speed = _speeds(W, W_p, eta)
        found = F_speed - (P_speed @ W_p + W_p @ P_speed) / RATE
        expected = -2 * eta * M - C / 2 * _commute(W_p, _commute(W_p, F))
        np.testing.assert_allclose(found, expected, atol=1e-13)
    bound = commutator_integral_bound(W, W_p, C, rate=RATE)
    assert bound == pytest.approx(np.square(M).sum() / C, rel=1e-14)


def test_learned_predictor__control_without_symmetry_and_weight_decay_it_stays_apart(rng):
    # W of rank 2 near its live fixed point: the predictor is free where W has no range.
    U, N = random_rotation(K, rng), 0.1 * rng.standard_normal((K, K))
    W = 0.9 * U * [1, 1, 0, 0]
    for eta, aligned in ((0.0, False), (0.05, True)):
        run = _learn(W, 0.54 * np.eye(K) + N, eta, [600.0], symmetric=False)
        F = run.W[0] @ run.W[0].T
        assert np.linalg.norm(F, 2) > 0.1  # alive
        assert (commutator_norm(F, run.W_p[0]) < 1e-6) == aligned


# --- balance and stationary predictors --------------------------------------------------------


def test_imbalance__closed_form(rng):
    W, P = rng.standard_normal((3, 5)), rng.standard_normal((3, 3))
    found = imbalance(W, P, rate=2.0)
    assert found[0, 1] == pytest.approx(W[0] @ W[1] - P[:, 0] @ P[:, 1] / 2, rel=1e-13)


def test_balanced_predictor__is_in_balance_and_semidefinite(rng):
    for shape in ((3, 5), (5, 3)):
        W = rng.standard_normal(shape)
        P = balanced_predictor(W, rate=2.0)
        np.testing.assert_allclose(imbalance(W, P, rate=2.0), 0, atol=1e-13)
        np.testing.assert_allclose(P, P.T, atol=1e-15)
        assert np.linalg.eigvalsh(P)[0] > -1e-14


def test_balanced_predictor__stays_in_balance_and_is_directpred(rng):
    W, times = 0.6 * rng.standard_normal((3, K)), [1.0, 10.0]
    options = {"times": times, "weight_decay": 0.1, **TIGHT}

    def gap(X_, Sigma):
        learned = simulate(W, X_, Sigma, predictor=Learned(balanced_predictor(W)), **options)
        rule = DirectSet(0.5, correlation="gram")
        return np.abs(learned.W - simulate(W, X_, Sigma, predictor=rule, **options).W).max()

    A = rng.standard_normal((K, K))
    any_X = A @ A.T / np.linalg.norm(A, 2) ** 2
    assert gap(any_X, SIGMA) < 1e-9  # any X, as long as Sigma is isotropic
    assert gap(*block_moments(K, 2, 2.0)[:2]) > 1e-3  # control


def test_ridge_predictor__stands_still_and_nothing_else_does(rng):
    W, _ = _start(rng)
    found = ridge_predictor(W @ W.T, C, 0.1, rate=RATE, target_scale=TAU)
    _, speed = _speeds(W, found, 0.1, symmetric=False)
    assert np.abs(speed).max() < 1e-14
    np.testing.assert_allclose(found, found.T, atol=1e-15)
    assert commutator_norm(W @ W.T, found) < 1e-14
    # The speed is linear in the predictor with a definite matrix: it has one root.
    other = found + 0.1 * rng.standard_normal((K, K))
    assert np.abs(_speeds(W, other, 0.1, symmetric=False)[1]).max() > 1e-3


ONE = np.eye(2)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: commutator_norm(ONE, np.eye(3)), r"B must have shape \(2, 2\)"),
        (lambda: commutator_norm(np.ones((2, 3)), ONE), r"A must have shape \(2, 2\)"),
        (lambda: imbalance(ONE, np.eye(3)), "W_p must have shape"),
        (lambda: imbalance(ONE, ONE, rate=0.0), "rate must be positive"),
        (lambda: balanced_predictor(ONE, rate=-1.0), "rate must be positive"),
        (lambda: ridge_predictor(-ONE, 1.0, 0.1), "F must be positive semi-definite"),
        (lambda: ridge_predictor(ONE, 1.0, 0.0), "weight_decay must be positive"),
        (lambda: ridge_predictor(ONE, 0.0, 0.1), "c must be positive"),
        (lambda: commutator_damping(ONE, [[0, 1], [0, 0]], 1.0, 0.1), "W_p must be symmetric"),
        (lambda: commutator_damping(ONE, ONE, 1.0, -0.1), "weight_decay must not be negative"),
        (lambda: alignment_threshold(0.0), "c must be positive"),
        (lambda: commutator_integral_bound(ONE, ONE, 0.0), "c must be positive"),
        (lambda: commutator_bound(-1.0, ONE, ONE), "t must not be negative"),
        (lambda: commutator_bound(1.0, ONE, np.eye(3)), "imbalance_at_start must have shape"),
    ],
)
def test_alignment__errors(call, message):
    with pytest.raises(ValueError, match=message):
        call()
