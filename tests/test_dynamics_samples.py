"""Tests of the sample laws: linear response of the limit, its mean square, enough samples."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vcreg_theory import seeding
from vcreg_theory.dynamics import (
    DirectSet,
    block_moments,
    collapse_threshold,
    descend,
    fixed_points,
    leakage_factor,
    nuisance_bound,
    nuisance_bound_limit,
    projection_error,
    sample_thresholds,
    simulate,
    view_moments,
    view_sampler,
)

SIGMA2, ETA = 2.0, 0.2
MODEL = {"sigma2": SIGMA2, "weight_decay": ETA}


@pytest.fixture
def rng() -> np.random.Generator:
    return seeding.numpy_generator(0, "samples")


def _limit(X, Sigma, alpha, steps=400):
    """W^T W where DirectSet settles on given moments, started well above p_-."""
    W = 0.95 * np.eye(len(X))
    rule = DirectSet(alpha, clip=True)
    options = {"step": 0.4, "steps": steps, "weight_decay": ETA, "predictor": rule}
    return descend(W, X, Sigma, **options).gram[-1]


def _limit_of_noise(E_SS, E_SB, alpha, size):
    """The limit where the moments carry noise, equal in X and Sigma as the views agree on S."""
    r, d = E_SS.shape[0], E_SS.shape[0] + E_SB.shape[1]
    X, Sigma, _ = block_moments(d, r, SIGMA2)
    noise = np.zeros((d, d))
    noise[:r, :r], noise[:r, r:], noise[r:, :r] = E_SS, E_SB, E_SB.T
    return _limit(X + size * noise, Sigma + size * noise, alpha, steps=1200)


@pytest.mark.parametrize("alpha", [0.5, 1.0, 2.0])
def test_leakage_and_slope__are_the_linear_response_of_the_limit(rng, alpha):
    r, d, h = 2, 5, 1e-3
    E_SS, E_SB = rng.standard_normal((r, r)), rng.standard_normal((r, d - r))
    E_SS = (E_SS + E_SS.T) / 2
    up, down = (_limit_of_noise(E_SS, E_SB, alpha, sign * h) for sign in (1, -1))
    response = (up - down) / (2 * h)
    s = fixed_points(alpha, 0.0, ETA).upper_weight
    # Central differences: h^2 times third derivatives, of order 10 times cubes of the noise.
    leak = s * leakage_factor(SIGMA2, ETA, alpha) * E_SB
    np.testing.assert_allclose(response[:r, r:], leak, atol=1e-3)
    slope2 = projection_error(1, d, r, alpha=alpha, **MODEL).invariant / (r * (r + 1))
    np.testing.assert_allclose(np.abs(response[:r, :r]), np.sqrt(slope2) * np.abs(E_SS), atol=1e-3)


def test_projection_error__closed_forms():
    # eta = 3/16: p = 3/4, sqrt(1 - 4 eta) = 1/2; alpha = 1: g = 3/4 (1/2 - 1).
    found = projection_error(10, 5, 2, 2.0, 3 / 16, 1.0)
    assert found.invariant == pytest.approx((3 / 8) ** 2 * 6 / 10, rel=1e-14)
    leak = 2 * (3 / 4) ** 2 * (1 / 3) ** 2 * 2 * 6 / (4 * 10)
    assert found.leakage == pytest.approx(leak, rel=1e-14)
    assert found.rms == pytest.approx(np.sqrt(found.invariant + leak), rel=1e-14)
    assert leakage_factor(2.0, 3 / 16, 1.0) == pytest.approx(np.sqrt(3 / 4) / 6, rel=1e-14)
    assert projection_error(40, 5, 2, 2.0, 3 / 16, 1.0).rms == pytest.approx(found.rms / 2)


def test_projection_error__entries_of_the_noise_have_the_stated_variance(rng):
    X, Sigma, _ = block_moments(12, 4, SIGMA2)
    n, draws = 50, 400
    draw = view_sampler(X, Sigma, n)
    noise = np.stack([view_moments(*draw(rng)).X[:4, 4:] for _ in range(draws)])
    variance = noise.var(axis=0, mean=np.zeros((1, 4, 8)))
    # 32 uncorrelated entries, each a mean of 400 squares of kurtosis near 3: 3 + 6 / n.
    spread = np.sqrt(2.2 / (draws * 32))
    assert variance.mean() / ((1 + SIGMA2 / 2) / n) == pytest.approx(1, abs=4 * spread)


@pytest.mark.parametrize("alpha", [1.0, 2.0])
def test_projection_error__is_the_mean_over_samples(rng, alpha):
    n, d, r, repeats = 20_000, 5, 2, 80
    X, Sigma, P = block_moments(d, r, SIGMA2)
    draw, target = view_sampler(X, Sigma, n), fixed_points(alpha, 0.0, ETA).upper_weight ** 2 * P
    found = []
    for _ in range(repeats):
        error = _limit(*view_moments(*draw(rng)), alpha) - target
        found.append((np.square(error[:r, :r]).sum(), 2 * np.square(error[:r, r:]).sum()))
    expected = projection_error(n, d, r, alpha=alpha, **MODEL)
    for values, value in zip(np.transpose(found), expected, strict=True):
        # 4.5 standard errors of a skewed mean of 80: chance below 3e-4; the next order is d / n.
        spread = values.std(ddof=1) / np.sqrt(repeats)
        assert values.mean() == pytest.approx(value, abs=4.5 * spread)


# --- enough samples ---------------------------------------------------------------------------


def test_sample_thresholds__closed_form_and_rotation(rng):
    x = np.array([1.0, 0.8, 1.2, 0.9])
    c = x + np.array([0, 0, 2.0, 3.0])
    P = np.diag([1.0, 1, 0, 0])
    found = sample_thresholds(np.diag(x), np.diag(c), P)
    assert found.nuisance == pytest.approx(max(1.44 / 3.2, 0.81 / 3.9) / 4, rel=1e-11)
    assert found.invariant == pytest.approx(0.2, rel=1e-13)
    Q = np.linalg.qr(rng.standard_normal((4, 4)))[0]
    moved = sample_thresholds(*(Q @ m @ Q.T for m in (np.diag(x), np.diag(c), P)))
    np.testing.assert_allclose(moved, found, rtol=1e-11)


def test_sample_thresholds__predict_the_rank_away_from_both_edges(rng):
    d, r = 12, 3
    X, Sigma, P = block_moments(d, r, SIGMA2)
    verdicts = set()
    for n in (40, 120, 400, 1500):
        X_n, Sigma_n = view_moments(*view_sampler(X, Sigma, n)(rng))
        nuisance, invariant = sample_thresholds(X_n, Sigma_n, P)
        if abs(np.log(ETA / nuisance)) < 0.1:
            continue  # the coupling of the blocks moves the edge by about half of that
        # The flow: a first step of descent may leave the basin of what it should keep. Times are
        # long against ghosts, 50 at this margin.
        options = {"times": [300.0], "weight_decay": ETA, "rtol": 1e-7, "atol": 1e-10}
        rule = DirectSet(1.0, clip=True)
        gram = simulate(0.95 * np.eye(d), X_n, Sigma_n, predictor=rule, **options).gram[0]
        # A live direction v has p_+ > v^T X v / 2 v^T Sigma v, hence s^2 > 1 / 2 v^T Sigma v. Half
        # of that tells it from leakage, of order 1/n.
        outside = np.linalg.norm((np.eye(d) - P) @ gram @ (np.eye(d) - P), 2)
        leaks = outside > 1 / (4 * np.linalg.norm(Sigma_n, 2))
        assert leaks == (nuisance > ETA)
        if invariant > 1.1 * ETA and not leaks:
            assert (np.linalg.eigvalsh(gram) > 0.05).sum() == r
        verdicts.add(leaks)
    assert True in verdicts  # 40 pairs are never enough: thresholds near 0.5


@given(st.integers(0, 10**6), st.integers(1, 5), st.integers(1, 12), st.floats(0, 3))
def test_nuisance_bound__is_above_the_threshold_of_every_sample(seed, d, n, noise):
    rng = np.random.default_rng(seed)
    mean = rng.standard_normal((n, d))
    views = mean + noise * rng.standard_normal((2, n, d))
    X, Sigma = view_moments(*views)
    bound = nuisance_bound(X, Sigma)
    assert collapse_threshold(X, Sigma).weight_decay <= bound * (1 + 1e-10) + 1e-15


def test_nuisance_bound__is_attained_where_both_parts_are_isotropic():
    for c in (1.0, 1.5, 4.0):
        level = collapse_threshold(np.eye(3), c * np.eye(3)).weight_decay
        assert nuisance_bound(np.eye(3), c * np.eye(3)) == pytest.approx(level, rel=1e-11)
    assert nuisance_bound(-0.5 * np.eye(2), np.eye(2)) == 0


def test_nuisance_bound_limit__is_that_of_large_samples(rng):
    n, k = 2000, 200
    views = view_sampler(np.eye(k), (1 + SIGMA2) * np.eye(k), n)(rng)
    found = nuisance_bound(*view_moments(*views))
    # Extreme eigenvalues fluctuate by n^(-2/3) of the edge, 1 %, and lie inside by as much.
    assert found == pytest.approx(nuisance_bound_limit(n, k, SIGMA2), rel=0.06)
    assert nuisance_bound_limit(10**14, 1, SIGMA2) == pytest.approx(1 / 12, rel=1e-5)


ONE = np.eye(2)
HALF = np.diag([1.0, 0.0])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: leakage_factor(0.0, 0.2, 1.0), "sigma2 must be positive"),
        (lambda: leakage_factor(2.0, 0.2, 0.0), "alpha must be positive"),
        (lambda: leakage_factor(2.0, 0.25, 1.0), "weight_decay must lie between 0.0833333 and"),
        (lambda: leakage_factor(2.0, 0.08, 1.0), "weight_decay must lie between"),
        (lambda: projection_error(0, 2, 1, 2.0, 0.2, 1.0), "n must be at least 1"),
        (lambda: projection_error(1, 2, 3, 2.0, 0.2, 1.0), "rank must be at most d = 2"),
        (lambda: sample_thresholds(ONE, ONE, ONE), "P_S must be an orthogonal projection"),
        (lambda: sample_thresholds(ONE, ONE, 0 * ONE), "P_S must be an orthogonal projection"),
        (lambda: sample_thresholds(ONE, ONE, 0.9 * HALF), "P_S must be an orthogonal projection"),
        (lambda: sample_thresholds(ONE, 0.5 * ONE, HALF), "covariance of the augmentation"),
        (lambda: nuisance_bound(0 * ONE, 0 * ONE), "must not be zero"),
        (lambda: nuisance_bound_limit(3, 3, 1.0), "n must be at least 4"),
        (lambda: nuisance_bound_limit(3, 1, -1.0), "sigma2 must not be negative"),
    ],
)
def test_samples__errors(call, message):
    with pytest.raises(ValueError, match=message):
        call()
