"""Tests of the potentials behind IsoLoss and DirectSet, and of IsoLoss in closed form."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, optimize

from vcreg_theory import seeding
from vcreg_theory.dynamics import (
    DirectSet,
    commuting_moments,
    contrastive_gradient,
    contrastive_potential,
    contrastive_spectrum,
    decay_potential,
    isoloss_fixed_point,
    isoloss_trajectory,
    metastable_weight_decay,
    mode_critical_weight_decay,
    mode_fixed_points,
    mode_potential,
    random_rotation,
    semi_gradient,
    simulate,
)

ALPHAS = (0.5, 1.0, 2.0)


@pytest.fixture
def rng() -> np.random.Generator:
    return seeding.numpy_generator(0, "potentials")


def _generic(rng, d=4):
    """Moments that do not commute."""
    a, b = rng.standard_normal((2, d, d + 2))
    return a @ a.T / d, (a @ a.T + b @ b.T) / d


def _field(W, X, Sigma, alpha, eta=0.0):
    """Velocity of DirectSet, from the semi-gradient of the loss."""
    rule = DirectSet(alpha, correlation="augmented")
    W_p = rule.predictor(0.0, W, rule.start(W, X, Sigma), X, Sigma)
    return -semi_gradient(W, W_p, W, X, Sigma).W - eta * W, W_p


def _slope(function, W, at=1e-5):
    """Central differences of a function of a matrix."""
    found = np.zeros_like(W)
    for place in np.ndindex(W.shape):
        step = np.zeros_like(W)
        step[place] = at
        found[place] = (function(W + step) - function(W - step)) / (2 * at)
    return found


# --- potentials -------------------------------------------------------------------------------


@pytest.mark.parametrize("alpha", ALPHAS)
def test_contrastive_potential__has_the_gradient_by_automatic_differentiation(rng, alpha):
    X, Sigma = _generic(rng)
    W = torch.tensor(rng.standard_normal((3, 4)), requires_grad=True)
    F = W @ torch.tensor(Sigma) @ W.T
    values = torch.linalg.eigvalsh(F)
    value = -torch.trace(W @ torch.tensor(X) @ W.T) / 2
    value = value + values.pow(alpha + 1).sum() / (2 * (alpha + 1))
    value.backward()
    value = float(value.detach())
    plain = W.detach().numpy()
    assert contrastive_potential(plain, X, Sigma, alpha=alpha) == pytest.approx(value, 1e-12)
    found = contrastive_gradient(plain, X, Sigma, alpha=alpha)
    np.testing.assert_allclose(found, W.grad.numpy(), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("alpha", ALPHAS)
def test_contrastive_gradient__times_the_predictor_is_the_field_of_directset(rng, alpha):
    X, Sigma = _generic(rng)
    W = rng.standard_normal((3, 4))
    field, W_p = _field(W, X, Sigma, alpha, eta=0.3)
    wanted = -W_p @ contrastive_gradient(W, X, Sigma, alpha=alpha) - 0.3 * W
    np.testing.assert_allclose(field, wanted, rtol=1e-11, atol=1e-11)


def test_contrastive_potential__is_a_quarter_of_the_sampled_contrastive_loss(rng):
    X, Sigma = _generic(rng)
    W, n = 0.5 * rng.standard_normal((3, 4)), 200_000
    mean = rng.multivariate_normal(np.zeros(4), X, n, method="eigh")
    z1, z2 = (
        (mean + rng.multivariate_normal(np.zeros(4), Sigma - X, n, method="eigh")) @ W.T
        for _ in range(2)
    )
    other = np.roll(z2, 1, 0)  # a view of the next input, which is independent
    draws = -2 * (z1 * z2).sum(1) + ((z1 * other).sum(1)) ** 2
    half = 4.5 * draws.std() / n**0.5 * 2  # twice: neighbours in the roll share an input
    assert abs(draws.mean() - 4 * contrastive_potential(W, X, Sigma)) < half


@pytest.mark.parametrize("alpha", ALPHAS)
def test_decay_potential__times_the_predictor_is_directset_with_weight_decay(rng, alpha):
    X, c = _generic(rng)[0] / 8, 1.7
    W = rng.standard_normal((3, 4))
    field, W_p = _field(W, X, c * np.eye(4), alpha, eta=0.2)
    slope = _slope(lambda V: decay_potential(V, X, c, 0.2, alpha=alpha), W)
    np.testing.assert_allclose(-W_p @ slope, field, rtol=1e-6, atol=1e-7)


def test_decay_potential__is_the_sum_over_modes(rng):
    c, s = 1.3, np.array([0.5, 0.8])
    x = np.array([1.1, 0.7])
    W = random_rotation(2, rng) @ np.diag(s)
    for alpha in ALPHAS:
        modes = mode_potential(c * s**2, x, c, 0.1, alpha).sum()
        assert decay_potential(W, np.diag(x), c, 0.1, alpha=alpha) == pytest.approx(
            modes, rel=1e-12
        )


def test_decay_potential__has_no_floor_at_collapse_from_alpha_1_on():
    for alpha, floor in ((0.5, 0.0), (1.0, -np.inf), (2.0, -np.inf)):
        assert decay_potential(np.zeros((2, 2)), np.eye(2), 1.0, 0.1, alpha=alpha) == floor
        assert decay_potential(np.zeros((2, 2)), np.eye(2), 1.0, 0.0, alpha=alpha) == 0.0


@given(st.floats(0.1, 5), st.floats(1, 6), st.floats(0.02, 0.98), st.sampled_from(ALPHAS))
def test_mode_potential__is_stationary_at_the_fixed_points(x, ratio, share, alpha):
    c = x * ratio
    eta = share * float(mode_critical_weight_decay(x, c))
    for p in mode_fixed_points(x, c, eta):
        F, h = p ** (1 / alpha), 1e-4
        sides = mode_potential([F * (1 - h), F * (1 + h)], x, c, eta, alpha)
        scale = mode_potential(F, x, c, 0.0, alpha) * 0 + x / c * F
        assert abs(sides[1] - sides[0]) / (2 * h) < 1e-6 * scale


@given(st.floats(0.1, 5), st.floats(1, 6), st.floats(0.1, 0.95))
def test_metastable_weight_decay__is_where_the_kept_mode_has_potential_zero(x, ratio, alpha):
    c = x * ratio
    eta = float(metastable_weight_decay(x, c, alpha))
    upper = mode_fixed_points(x, c, eta).upper ** (1 / alpha)
    assert mode_potential(upper, x, c, eta, alpha) == pytest.approx(0, abs=1e-10 * x / c * upper)
    assert mode_potential(upper, x, c, eta * 0.99, alpha) < 0
    assert eta == pytest.approx((1 - alpha**2) * x**2 / (4 * c), rel=1e-12)


# --- IsoLoss ----------------------------------------------------------------------------------


@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0, 1.4])
def test_isoloss_trajectory__solves_its_equation(eta):
    times = np.linspace(0, 6, 13)
    found = isoloss_trajectory(times, 0.2, 1.0, 2.5, eta, 0.5)
    run = integrate.solve_ivp(
        lambda t, p: p * (1.0 - eta - 2.5 * p), (0, 6), [0.2], t_eval=times, rtol=1e-12, atol=1e-14
    )
    np.testing.assert_allclose(found, run.y[0], rtol=1e-9, atol=1e-13)


def test_isoloss_trajectory__has_its_limits_and_does_not_overflow():
    found = isoloss_trajectory(1e6, [0.0, 1e-300, 3.0], 1.0, 2.0, 0.5, 2.0)
    np.testing.assert_allclose(found, [0.0, 0.25, 0.25])
    assert isoloss_trajectory(1e6, 3.0, 1.0, 2.0, 1.5, 2.0) == 0.0
    near = isoloss_trajectory(2.0, 0.3, 1.0, 2.0, 1 - 1e-12, 1.0)
    assert near == pytest.approx(isoloss_trajectory(2.0, 0.3, 1.0, 2.0, 1.0, 1.0), rel=1e-11)


@pytest.mark.parametrize("alpha", ALPHAS)
def test_isoloss__matrices_end_at_the_fixed_point(rng, alpha):
    x, c = np.array([1.0, 2.0, 0.1]), np.array([1.0, 9.0, 0.1])
    X, Sigma = commuting_moments(x, c, generator=rng)
    V = np.linalg.eigh(X)[1][:, [1, 2, 0]]  # x in ascending order is 0.1, 1, 2
    run = simulate(
        0.4 * V.T, X, Sigma, times=[150.0], weight_decay=0.2, loss="iso",
        predictor=DirectSet(alpha, correlation="augmented"),
    )  # fmt: skip
    p = isoloss_fixed_point(x, c, 0.2)
    F = np.einsum("ij,jk,ik->i", run.W[0], Sigma, run.W[0])
    np.testing.assert_allclose(F, p ** (1 / alpha), atol=1e-8)


@pytest.mark.parametrize("alpha", ALPHAS)
@pytest.mark.parametrize("eta", [0.0, 0.3])
def test_contrastive_spectrum__is_found_by_an_optimiser(rng, alpha, eta):
    X, Sigma = _generic(rng)

    def value(v):
        W = v.reshape(3, 4)
        gradient = contrastive_gradient(W, X, Sigma, alpha=alpha) + eta * W
        return contrastive_potential(W, X, Sigma, alpha=alpha) + eta / 2 * np.sum(
            W * W
        ), gradient.ravel()

    best = min(
        (optimize.minimize(value, rng.standard_normal(12), jac=True, method="BFGS", tol=1e-10)
         for _ in range(3)), key=lambda r: r.fun,
    )  # fmt: skip
    W = best.x.reshape(3, 4)
    F = np.linalg.eigvalsh(W @ Sigma @ W.T)[::-1]
    np.testing.assert_allclose(
        F, contrastive_spectrum(X, Sigma, 3, weight_decay=eta, alpha=alpha), atol=2e-5
    )


@given(st.integers(0, 10**6), st.floats(0.05, 3))
def test_contrastive_spectrum__keeps_as_many_as_x_has_eigenvalues_above(seed, eta):
    X, Sigma = _generic(np.random.default_rng(seed))
    found = contrastive_spectrum(X, Sigma, 6, weight_decay=eta)
    assert (found > 0).sum() == (np.linalg.eigvalsh(X) > eta).sum()
    assert (np.diff(found) <= 0).all()


def test_bridge__refuses_what_is_not_allowed():
    eye = np.eye(2)
    for call, name in (
        (lambda: contrastive_potential(eye, eye, eye, alpha=0), "alpha"),
        (lambda: contrastive_gradient(np.eye(3), eye, eye), "W"),
        (lambda: decay_potential(eye, -eye, 1.0, 0.1), "X"),
        (lambda: decay_potential(eye, eye, 0.0, 0.1), "c must"),
        (lambda: mode_potential(-1.0, 1.0, 1.0, 0.0, 1.0), "F"),
        (lambda: metastable_weight_decay(1.0, 1.0, -1.0), "alpha"),
        (lambda: isoloss_fixed_point(1.0, 0.5, 0.0), "c must"),
        (lambda: isoloss_trajectory(-1.0, 0.5, 1.0, 1.0, 0.0, 1.0), "t must"),
        (lambda: contrastive_spectrum(eye, np.diag([1.0, 0.0]), 1), "Sigma"),
        (lambda: contrastive_spectrum(eye, eye, 0), "k must"),
    ):
        with pytest.raises(ValueError, match=name):
            call()
