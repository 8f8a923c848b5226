"""Tests of linear VICReg, its covariances, and the cosine loss."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, optimize

from vcreg_theory import losses, seeding
from vcreg_theory.dynamics import (
    cosine_drive,
    cosine_fixed_point,
    cosine_limit,
    cosine_threshold,
    diagonal_margin,
    diagonal_variances,
    equal_variances,
    linear_vicreg_loss,
    logdet_spectrum,
    tilted_covariance,
    vicreg_optimum,
    vicreg_spectrum,
    water_level,
)


@pytest.fixture
def rng() -> np.random.Generator:
    return seeding.numpy_generator(0, "linear vicreg")


def _generic(rng, d=5):
    a, b = rng.standard_normal((2, d, d + 2))
    return a @ a.T / d, (a @ a.T + rng.uniform(0.1, 1) * b @ b.T) / d


def _search(m, k, rng, lam=25.0, mu=25.0, nu=1.0, gamma=1.0, eps=1e-4):
    """Minimise k times the loss over rows A and slacks t of the hinges, whose kinks they remove."""
    d = len(m)

    def value(v):
        A, t = v[: k * d].reshape(k, d), v[k * d :]
        off = A @ A.T - np.diag((A * A).sum(1))
        gradient = 4 * lam * A * m + 8 * nu * off @ A
        total = 2 * lam * np.sum(A * A * m) + mu * t.sum() + 2 * nu * np.sum(off**2)
        return total, np.concatenate([gradient.ravel(), np.full(k, mu)])

    def slack(v):
        A = v[: k * d].reshape(k, d)
        return v[k * d :] - gamma + np.sqrt((A * A).sum(1) + eps)

    A = rng.standard_normal((k, d))
    start = np.concatenate([A.ravel(), np.maximum(gamma - np.linalg.norm(A, axis=1), 0)])
    bounds = [(None, None)] * (k * d) + [(0, None)] * k
    found = optimize.minimize(
        value, start, jac=True, method="SLSQP", bounds=bounds,
        constraints={"type": "ineq", "fun": slack}, options={"maxiter": 1000, "ftol": 1e-14},
    )  # fmt: skip
    return found.x[: k * d].reshape(k, d)


# --- the population loss ----------------------------------------------------------------------


def test_linear_vicreg_loss__is_the_official_loss_of_many_samples(rng):
    # With second moments of the sample in place of the population's, the two are one formula.
    x1, x2 = rng.standard_normal((2, 50, 3))
    x1, x2 = np.vstack([x1, x2]), np.vstack([x2, x1])  # both views then have one covariance
    x1, x2 = x1 - x1.mean(0), x2 - x2.mean(0)
    W, n = rng.standard_normal((4, 3)) * 0.3, len(x1)
    Sigma, cross = x1.T @ x1 / (n - 1), (x1.T @ x2 + x2.T @ x1) / (2 * (n - 1))
    X = Sigma - (Sigma - cross) * (n - 1) / n  # the invariance term is a mean over n
    wanted = losses.vicreg_loss(*(torch.tensor(x @ W.T) for x in (x1, x2)), covariance=3.0).loss
    assert linear_vicreg_loss(W, X, Sigma, covariance=3.0) == pytest.approx(
        float(wanted), rel=1e-12
    )


def test_linear_vicreg_loss__of_rotated_outputs_differs(rng):
    X, Sigma = _generic(rng)
    W = rng.standard_normal((2, 5))
    turn = np.array([[0.6, -0.8], [0.8, 0.6]])
    assert linear_vicreg_loss(turn @ W, X, Sigma) != pytest.approx(
        linear_vicreg_loss(W, X, Sigma), rel=1e-6
    )


# --- water-filling ----------------------------------------------------------------------------


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8), st.floats(0, 20))
def test_water_level__holds_the_volume(m, volume):
    level = water_level(m, volume)
    assert np.clip(level - np.array(m), 0, None).sum() == pytest.approx(volume, abs=1e-12)
    assert level >= min(m)


def test_vicreg_spectrum__known_values():
    found = vicreg_spectrum([0.0, 0.1], 2)
    np.testing.assert_allclose(found.spectrum, [1.6249, 0.3749], atol=1e-12)
    assert found.capped and found.proved
    narrow, wide = (vicreg_spectrum([0.0, 0.5, 0.5], k) for k in (3, 8))
    np.testing.assert_allclose(narrow.spectrum.sum(), 3 * 0.9999, rtol=1e-13)
    assert not wide.capped and (wide.spectrum[1:] == 0).all()  # below the cap: no nuisance
    assert wide.level == pytest.approx(0.3738, abs=5e-5)
    s = np.sqrt(wide.trace / 8 + 1e-4)
    assert 25 * wide.level == pytest.approx(2 * wide.trace / 8 + 25 / (4 * s), rel=1e-12)


def test_vicreg_spectrum__collapses_where_nothing_is_worth_its_noise():
    edge = 0.01 * 25 / (4 * 25 * 1e-2)  # mu / 4 lambda sqrt(eps), for mu = 0.25
    kept, lost = (vicreg_spectrum([edge * f, 1.0], 2, variance=0.25) for f in (0.98, 1.02))
    assert kept.trace > 0 and lost.trace == 0 and lost.proved
    assert lost.loss == pytest.approx(0.25 * 0.99, rel=1e-12)


@given(
    st.lists(st.floats(0, 1), min_size=1, max_size=7),
    st.integers(1, 9),
    st.floats(1, 60),
    st.floats(0.1, 3),
)
def test_vicreg_spectrum__no_other_trace_or_spectrum_is_lower(m, k, lam, nu):
    options = {"invariance": lam, "covariance": nu}
    best = vicreg_spectrum(m, k, **options)
    cap = k * (1 - 1e-4)
    for share in (0.0, 0.3, 0.9, 0.999):
        other = vicreg_spectrum(m, k, trace=share * cap, **options)
        assert other.loss >= best.loss - 1e-10 * max(1, abs(best.loss))
    assert best.spectrum.sum() == pytest.approx(best.trace, abs=1e-10)


@pytest.mark.parametrize(("k", "d"), [(2, 2), (3, 5), (5, 3)])
def test_vicreg_optimum__attains_the_loss_and_no_search_is_lower(rng, k, d):
    X, Sigma = _generic(rng, d)
    W = vicreg_optimum(X, Sigma, k)
    C = W @ Sigma @ W.T
    np.testing.assert_allclose(C.diagonal(), C.trace() / k, rtol=1e-10)
    rho = np.linalg.eigvals(np.linalg.solve(Sigma, X)).real
    found = vicreg_spectrum(1 - rho, k)
    np.testing.assert_allclose(np.linalg.eigvalsh(C)[::-1], found.spectrum, atol=1e-10)
    assert linear_vicreg_loss(W, X, Sigma) == pytest.approx(found.loss, rel=1e-11)
    m, eye = np.sort(1 - rho), np.eye(d)
    for _ in range(3):
        A = _search(m, k, rng)
        loss = linear_vicreg_loss(A, np.diag(1 - m), eye)
        assert loss >= found.loss * (1 - 1e-11)
        assert loss == pytest.approx(found.loss, rel=1e-6)


def test_vicreg_spectrum__is_not_the_minimum_for_a_small_variance_weight(rng):
    m = np.array([0.0, 0.2, 0.3, 0.4])
    found = vicreg_spectrum(m, 4, covariance=5.0)
    assert not found.proved
    rows = [_search(m, 4, rng, nu=5.0) for _ in range(8)]
    best = min(linear_vicreg_loss(A, np.diag(1 - m), np.eye(4), covariance=5.0) for A in rows)
    assert best < found.loss - 0.05


@given(st.lists(st.floats(0, 5), min_size=1, max_size=9))
def test_equal_variances__is_a_rotation_that_does_it(c):
    Q = equal_variances(c)
    np.testing.assert_allclose(Q @ Q.T, np.eye(len(c)), atol=1e-12)
    C = Q @ np.diag(c) @ Q.T
    np.testing.assert_allclose(C.diagonal(), np.mean(c), atol=1e-11 * (1 + max(c)))


def test_logdet_spectrum__is_found_by_an_optimiser_of_the_loss(rng):
    m = np.array([0.1, 0.3, 0.45, 0.9])

    def value(v):
        A = torch.tensor(v.reshape(3, 4), requires_grad=True)
        C = A @ A.T
        total = 2 * 5.0 / 3 * (A * A * torch.tensor(m)).sum()
        total = total - 0.7 / 2 * torch.logdet(C + 0.25 * torch.eye(3, dtype=torch.float64))
        total.backward()
        return float(total.detach()), A.grad.numpy().ravel()

    found = optimize.minimize(value, rng.standard_normal(12), jac=True, method="BFGS", tol=1e-10)
    A = found.x.reshape(3, 4)
    wanted = logdet_spectrum(m, 3, invariance=5.0, entropy=0.7, eps=0.25)
    np.testing.assert_allclose(np.linalg.eigvalsh(A @ A.T)[::-1], wanted, atol=1e-6)
    assert wanted[1] > 0 == wanted[2]
    assert np.isinf(logdet_spectrum([0.0, 0.5], 2)[0])
    assert (logdet_spectrum([0.5], 3)[1:] == 0).all()


# --- tilt -------------------------------------------------------------------------------------


@given(st.floats(0, 0.2), st.floats(0, 0.3), st.floats(0.2, 5))
def test_tilted_covariance__is_least_and_agrees_with_water(m1, gap, nu):
    m = [m1, m1 + gap]
    C = tilted_covariance(m, covariance=nu)
    grid = np.linspace(-1, 1, 2001) * C[0, 0]
    cost = 2 * 25 * ((C[0, 0] + abs(grid)) * m[0] + (C[0, 0] - abs(grid)) * m[1])
    cost += 4 * nu * grid**2
    assert abs(abs(grid[cost.argmin()]) - C[0, 1]) <= 1.01e-3
    by_water = vicreg_spectrum(m, 2, covariance=nu, trace=2 * C[0, 0]).spectrum
    np.testing.assert_allclose(np.linalg.eigvalsh(C)[::-1], by_water, atol=1e-12)


def _second_differences(m, v, nu, h=1e-3):
    """Least eigenvalue of the loss's Hessian at the diagonal covariance, in the two tilts."""

    def loss(a, b):
        A = np.array([[np.sqrt(v[0]), a], [b, np.sqrt(v[1])]])
        return 2 * linear_vicreg_loss(A, np.diag(1 - np.array(m)), np.eye(2), covariance=nu)

    aa = (loss(h, 0) + loss(-h, 0) - 2 * loss(0, 0)) / h**2
    bb = (loss(0, h) + loss(0, -h) - 2 * loss(0, 0)) / h**2
    ab = (loss(h, h) + loss(-h, -h) - loss(h, -h) - loss(-h, h)) / (4 * h**2)
    return np.linalg.eigvalsh([[aa, ab], [ab, bb]])[0]


@pytest.mark.parametrize("nu", [0.5, 5.0, 50.0, 500.0])
def test_diagonal_margin__has_the_sign_of_the_curvature_below_the_cap(nu):
    m = [0.3, 0.5]
    v = diagonal_variances(m)
    assert (v < 0.9999).all()
    margin = diagonal_margin(m, v, covariance=nu)
    assert (_second_differences(m, v, nu) < 0) == (margin < 0)


@given(st.floats(0.01, 1), st.floats(0.01, 1))
def test_diagonal_margin__is_negative_for_the_official_weights(m1, m2):
    v = diagonal_variances([m1, m2])
    if abs(m1 - m2) > 1e-9 and v.min() > 0:
        assert diagonal_margin([m1, m2], v) < 0
    assert diagonal_margin([m1, m1], [1.0, 1.0]) == np.inf


# --- cosine -----------------------------------------------------------------------------------


def test_cosine_drive__is_the_mean_of_samples(rng):
    F, p, rho = np.array([1.0, 0.4, 0.1]), np.array([1.1, 0.5, 0.2]), np.array([1.0, 0.6, 0.3])
    n, wide = 200_000, [0, 0, 1, 2, 2]
    F_, p_, r_ = F[wide], p[wide], rho[wide]
    z, e1, e2 = rng.standard_normal((3, n, 5))
    u = p_ * np.sqrt(F_) * (np.sqrt(r_) * z + np.sqrt(1 - r_) * e1)
    v = np.sqrt(F_) * (np.sqrt(r_) * z + np.sqrt(1 - r_) * e2)
    u, v = (w / np.linalg.norm(w, axis=1)[:, None] for w in (u, v))
    cos = (u * v).sum(1)
    draws = (u * v - cos[:, None] * u * u) / (p_ * F_)
    found = cosine_drive(F, p, rho, [2, 1, 2])
    assert abs(cos.mean() - found.cosine) < 4.5 * cos.std() / n**0.5
    gaps = np.abs(draws.mean(0) - found.drive[wide])
    assert (gaps < 5 * draws.std(0) / n**0.5).all()


@pytest.mark.parametrize("counts", [[1, 1], [3, 40], [500, 2000]])
def test_cosine_drive__balances_and_ignores_scale(counts):
    F, p, rho = np.array([1.0, 0.3]), np.array([1.2, 0.7]), np.array([0.9, 0.4])
    found = cosine_drive(F, p, rho, counts)
    force = np.array(counts) * p * F * found.drive
    assert abs(force.sum()) < 1e-11 * np.abs(force).max()
    bigger = cosine_drive(7 * F, 3 * p, rho, counts)
    assert bigger.cosine == pytest.approx(found.cosine, rel=1e-11)
    np.testing.assert_allclose(bigger.drive * 21, found.drive, rtol=1e-9)


def test_cosine_fixed_point__is_where_the_flow_ends_with_any_weight_decay():
    rho, n = np.array([1.0, 0.6, 0.25]), np.array([6, 8, 6])
    wanted = cosine_fixed_point(rho, n, 1.0, 0.1)
    for eta in (0.0, 0.05):

        def speed(t, logs, eta=eta):
            F = np.exp(logs)
            p = F / F.max() + 0.1
            return 2 * p * cosine_drive(F, p, rho, n).drive - 2 * eta

        run = integrate.solve_ivp(
            speed, (0, 20), np.log(0.1 * wanted + [0, 0, 0.002]), rtol=1e-6, atol=1e-8
        )
        F = np.exp(run.y[:, -1])
        size = np.exp(run.y[:, [0, -1]]).T @ n
        assert size[1] / size[0] == pytest.approx(np.exp(-2 * eta * run.t[-1]), rel=1e-5)
        if eta > 0:  # time runs faster as the weights shrink
            np.testing.assert_allclose(F / F.max(), wanted, atol=2e-3)


def test_cosine_fixed_point__nears_the_mean_field_as_one_over_the_dimension():
    rho = np.array([1.0, 1 / 3])
    for alpha, eps in ((1.0, 0.0), (1.0, 0.2), (0.5, 0.0)):
        limit = cosine_limit(rho, alpha, eps)[1]
        gaps = [
            limit - cosine_fixed_point(rho, [d // 5, d - d // 5], alpha, eps)[1]
            for d in (800, 3200)
        ]
        # The next order is about 7 over the smaller dimension.
        assert gaps[0] / gaps[1] == pytest.approx(4, rel=0.02)
    assert cosine_fixed_point(rho, [10, 40], 1.0, 0.6)[1] == 0  # threshold 3/8


def test_cosine_limit__vanishes_at_the_threshold():
    eps = 0.3
    share = float(cosine_threshold(eps))
    found = cosine_limit([0.8, 0.8 * share * 1.001, 0.8 * share * 0.999], 2.0, eps)
    assert found[0] == 1 and found[1] > 0 and found[2] == 0


def test_linear_vicreg__refuses_what_is_not_allowed():
    eye = np.eye(2)
    for call, name in (
        (lambda: linear_vicreg_loss(np.eye(3), eye, eye), "W"),
        (lambda: linear_vicreg_loss(eye, eye, eye, eps=1.0), "eps"),
        (lambda: vicreg_spectrum([0.5, 1.1], 2), "m must"),
        (lambda: vicreg_spectrum([], 2), "m must"),
        (lambda: vicreg_spectrum([0.5], 0), "k must"),
        (lambda: vicreg_spectrum([0.5], 2, trace=2.1), "trace"),
        (lambda: vicreg_spectrum([0.5], 2, covariance=0.0), "covariance"),
        (lambda: water_level([], 1.0), "m must"),
        (lambda: water_level([0.1], -1.0), "volume"),
        (lambda: vicreg_optimum(eye, np.diag([1.0, 0.0]), 2), "Sigma"),
        (lambda: equal_variances([-1.0]), "spectrum"),
        (lambda: equal_variances([]), "spectrum"),
        (lambda: logdet_spectrum([2.0], 1), "m must"),
        (lambda: logdet_spectrum([0.5], 1, entropy=0.0), "entropy"),
        (lambda: tilted_covariance([0.1]), "m must"),
        (lambda: diagonal_variances([[0.1]]), "m must"),
        (lambda: diagonal_margin([0.1, 0.2], [1.0, 0.0]), "variances"),
        (lambda: diagonal_margin([0.1, 0.2], [1.0]), "variances"),
        (lambda: cosine_threshold(-0.1), "eps"),
        (lambda: cosine_limit([0.0], 1.0), "rho"),
        (lambda: cosine_limit([0.5], 0.0), "alpha"),
        (lambda: cosine_drive([0.0], [1.0], [0.5]), "F"),
        (lambda: cosine_drive([1.0], [1.0], [1.5]), "rho"),
        (lambda: cosine_drive([1.0], [1.0], [0.5], [0]), "counts"),
        (lambda: cosine_fixed_point([0.5], [1.5], 1.0), "counts"),
    ):
        with pytest.raises(ValueError, match=name):
            call()
