"""Tests of the risks of regression on features, against the exact law given the inputs.

Given the inputs, risks are averaged over the labels' noise and over new inputs by algebra, so that
only the inputs are sampled. Mean over draws and formula are compared in standard errors of the
mean; with 400 draws and 4.5 of them a test fails by chance with probability below 1e-4.
"""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from vcreg_theory import seeding
from vcreg_theory.dynamics import (
    labels_needed,
    min_norm_excess_risk,
    ols_excess_risk,
    ridge_excess_risk,
)
from vcreg_theory.dynamics.downstream import vanishing_nuisance_excess_risk

DRAWS, TAU2 = 400, 0.25


@pytest.fixture
def rng() -> np.random.Generator:
    return seeding.numpy_generator(0, "downstream")


def _near(values, expected, bias=0.0):
    spread = np.std(values, ddof=1) / np.sqrt(len(values))
    assert np.mean(values) == pytest.approx(expected, abs=4.5 * spread + bias)


def _ridge_risk(x, variances, theta, tau2, penalty):
    """Excess risk of ridge regression given features of unit variance, scaled by `variances`."""
    features, n = x * np.sqrt(variances), len(x)
    inverse = np.linalg.inv(features.T @ features / n + penalty * np.eye(len(theta)))
    bias = penalty * inverse @ theta
    noise = inverse @ (features.T @ features / n) @ inverse * variances
    return bias @ (variances * bias) + tau2 * np.trace(noise) / n


def test_ols_excess_risk__of_one_feature_is_a_mean_of_inverse_chi_squares():
    for n in (4, 9, 100):
        by_law = TAU2 * stats.chi2(n).expect(lambda v: 1 / v)
        assert ols_excess_risk(n, 1, TAU2) == pytest.approx(by_law, rel=1e-7)  # by quadrature


@pytest.mark.parametrize(("n", "rank"), [(12, 3), (40, 10)])
def test_ols_excess_risk__is_the_mean_over_inputs(rng, n, rank):
    found = []
    for _ in range(DRAWS):
        z = rng.standard_normal((n, rank))
        found.append(TAU2 * np.trace(np.linalg.inv(z.T @ z)))
    _near(found, ols_excess_risk(n, rank, TAU2))
    assert ols_excess_risk(n, rank, TAU2) > TAU2 * rank / n  # control: the naive law


def test_ols_excess_risk__with_a_projection_that_loses_signal(rng):
    n, d, r = 30, 8, 4
    beta, W = rng.standard_normal(d), rng.standard_normal((r, d))
    Q = np.linalg.qr(W.T)[0]
    lost = float(beta @ beta - np.square(Q.T @ beta).sum())
    found = []
    for _ in range(DRAWS):
        x = rng.standard_normal((n, d))
        fit = np.linalg.pinv(x @ W.T) @ (x @ beta)  # without noise
        z = x @ Q
        risk = np.square(W.T @ fit - beta).sum() + TAU2 * np.trace(np.linalg.inv(z.T @ z))
        found.append(risk)
    _near(found, ols_excess_risk(n, r, TAU2, lost_signal=lost))
    assert abs(np.mean(found) / (lost + ols_excess_risk(n, r, TAU2)) - 1) > 0.05  # not additive


def test_min_norm_excess_risk__is_the_mean_over_inputs(rng):
    n, d = 15, 40
    beta = rng.standard_normal(d)
    bias, noise = [], []
    for _ in range(DRAWS):
        x = rng.standard_normal((n, d))
        gap = np.linalg.pinv(x) @ (x @ beta) - beta
        bias.append(gap @ gap)
        noise.append(TAU2 * np.trace(np.linalg.inv(x @ x.T)))
    _near(bias, min_norm_excess_risk(n, d, beta @ beta, 0.0))
    _near(noise, min_norm_excess_risk(n, d, 0.0, TAU2))


def test_min_norm_excess_risk__of_one_label_is_a_mean_of_inverse_chi_squares():
    for d in (4, 9, 100):
        by_law = TAU2 * stats.chi2(d).expect(lambda v: 1 / v)  # by quadrature
        assert min_norm_excess_risk(1, d, 0.0, TAU2) == pytest.approx(by_law, rel=1e-7)


def test_min_norm_excess_risk__without_labels_is_the_signal():
    assert min_norm_excess_risk(0, 7, 3.0, TAU2) == 3.0


@pytest.mark.parametrize(("n", "d", "r"), [(15, 40, 3), (30, 45, 10)])
def test_vanishing_nuisance_excess_risk__is_the_mean_over_samples(rng, n, d, r):
    scale = np.r_[np.ones(r), np.full(d - r, 1e-5)]
    found = []
    for _ in range(2 * DRAWS):
        x = rng.standard_normal((n, d)) * scale
        fit = np.linalg.pinv(x, rcond=1e-13) @ rng.standard_normal(n) * np.sqrt(TAU2)
        found.append(np.square(fit * scale).sum())  # the solution is linear in labels: no signal
    _near(found, vanishing_nuisance_excess_risk(n, d, r, TAU2))
    assert np.mean(found) > 1.5 * ols_excess_risk(n, r, TAU2)  # control: scale zero


def test_vanishing_nuisance_excess_risk__without_kept_features_or_with_many_labels():
    assert vanishing_nuisance_excess_risk(20, 60, 0, TAU2) == pytest.approx(
        min_norm_excess_risk(20, 60, 0.0, TAU2)
    )
    assert vanishing_nuisance_excess_risk(99, 60, 7, TAU2) == ols_excess_risk(99, 60, TAU2)


@given(st.integers(0, 200), st.floats(1e-3, 10), st.floats(1e-3, 10))
def test_labels_needed__inverts_the_risk(rank, excess, tau2):
    n = labels_needed(excess, rank, tau2)
    assert n == pytest.approx(rank + 1 + tau2 * rank / excess)
    if rank:
        whole = np.ceil(n * (1 + 1e-12))  # enough, and one label fewer is not
        assert ols_excess_risk(whole, rank, tau2) <= excess * (1 + 1e-9)
        if whole - 1 > rank + 1:
            assert ols_excess_risk(whole - 1, rank, tau2) > excess * (1 - 1e-9)


@pytest.mark.parametrize("penalty", [1e-3, 0.1, 2.0])
@pytest.mark.parametrize("n", [35, 150])
def test_ridge_excess_risk__approaches_the_mean_over_inputs(rng, n, penalty):
    variances, theta = np.repeat([1.0, 0.2], 30), np.tile([1.0, 0.0, 0.0], 20) / 4
    found = [
        _ridge_risk(rng.standard_normal((n, 60)), variances, theta, TAU2, penalty)
        for _ in range(40)
    ]
    expected = ridge_excess_risk(n, variances, theta, TAU2, penalty)
    _near(found, expected, bias=2 * expected / n)  # the next order


def test_ridge_excess_risk__closed_form_of_isotropic_features():
    # One variance v: kappa solves a quadratic equation.
    n, d, v, penalty = 50, 80, 1.7, 0.3
    b = penalty + d * v / n - v
    kappa = (b + np.sqrt(b * b + 4 * penalty * v)) / 2
    assert kappa == pytest.approx(penalty + kappa * d * v / (v + kappa) / n, rel=1e-13)
    d2 = d * (v / (v + kappa)) ** 2
    theta = np.linspace(-1, 1, d)
    bias = theta @ theta * v * (kappa / (v + kappa)) ** 2 / (1 - d2 / n)
    expected = bias + TAU2 * d2 / (n - d2)
    found = ridge_excess_risk(n, np.full(d, v), theta, TAU2, penalty)
    assert found == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("penalty", [1e-6, 1e-12, 1e-14, 1e-20, 1e-60, 1e-200])
def test_ridge_excess_risk__as_many_samples_as_features_and_a_tiny_penalty(penalty):
    # kappa^2 = penalty (v + kappa), and n - d_2 = n (1 - s) (1 + s) with s = v / (v + kappa).
    n, v = 30, 1.7
    kappa = (penalty + np.sqrt(penalty * penalty + 4 * penalty * v)) / 2
    missing, share = kappa / (v + kappa), v / (v + kappa)
    left = missing * (1 + share)
    expected = v * n * missing**2 / left + TAU2 * share**2 / left
    found = ridge_excess_risk(n, np.full(n, v), np.ones(n), TAU2, penalty)
    assert found == pytest.approx(expected, rel=1e-12)
    # More features than samples, two variances: continuous down to the ridgeless limit.
    wide = [ridge_excess_risk(n, [*[v] * 40, 0.0], np.ones(41), TAU2, p) for p in (penalty, 1e-7)]
    assert wide[0] == pytest.approx(wide[1], rel=1e-4)


def test_ridge_excess_risk__limits():
    variances, theta = np.array([1.0, 0.5, 2.0]), np.array([1.0, -1.0, 0.5])
    signal = float(theta**2 @ variances)
    assert ridge_excess_risk(50, variances, theta, 1.0, 1e9) == pytest.approx(signal, rel=1e-8)
    # No penalty: d / (n - d), where the exact law has d / (n - d - 1).
    assert ridge_excess_risk(50, variances, theta, 1.0, 1e-14) == pytest.approx(3 / 47, rel=1e-9)
    # Features without variance carry nothing.
    assert ridge_excess_risk(50, [0.0], [1.0], 1.0, 0.1) == 0


def test_ridge_excess_risk__scale_of_features_matters_and_least_squares_ignores_it():
    n, d, r, beta = 60, 40, 4, np.r_[np.ones(4), np.zeros(36)]
    risks = {}
    for scale in (1.0, 1e-3):
        s = np.r_[np.ones(r), np.full(d - r, scale)]
        risks[scale] = ridge_excess_risk(n, s**2, beta / s, TAU2, 1e-4)
    ideal, raw = ols_excess_risk(n, r, TAU2), ols_excess_risk(n, d, TAU2)
    assert risks[1e-3] == pytest.approx(ideal, rel=0.05) and risks[1.0] > 0.9 * raw > 10 * ideal


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ols_excess_risk(11, 10, 1.0), r"n must be above rank \+ 1, got 11"),
        (lambda: ols_excess_risk(20, [3, 30], 1.0), r"n must be above rank \+ 1, got 20"),
        (lambda: ols_excess_risk(20.5, 3, 1.0), "n must be whole, got 20.5"),
        (lambda: ols_excess_risk(20, 3, -1.0), "noise_variance must be at least 0"),
        (lambda: ols_excess_risk(20, 3, 1.0, lost_signal=-1.0), "lost_signal must be at least 0"),
        (lambda: labels_needed(0.0, 3, 1.0), "excess_risk must be above 0"),
        (lambda: min_norm_excess_risk(9, 10, 1.0, 1.0), "n must be below d - 1, got 9"),
        (lambda: min_norm_excess_risk(3, 10, -1.0, 1.0), "signal must be at least 0"),
        (lambda: vanishing_nuisance_excess_risk(9, 40, 8, 1.0), "n must lie between rank"),
        (lambda: vanishing_nuisance_excess_risk(40, 40, 8, 1.0), "n must lie between rank"),
        (lambda: vanishing_nuisance_excess_risk(20, 8, 8, 1.0), "rank must be below d = 8"),
        (lambda: ridge_excess_risk(0, [1.0], [1.0], 1.0, 1.0), "n must be at least 1"),
        (lambda: ridge_excess_risk(5, [1.0], [1.0], 1.0, 0.0), "penalty must be positive"),
        (lambda: ridge_excess_risk(5, [-1.0], [1.0], 1.0, 1.0), "variances must be at least 0"),
        (lambda: ridge_excess_risk(5, [1.0], [1.0, 2.0], 1.0, 1.0), "vectors of one size"),
    ],
)
def test_downstream__errors(call, message):
    with pytest.raises(ValueError, match=message):
        call()
