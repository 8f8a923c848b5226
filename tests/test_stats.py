"""Intervals and tests: closed forms, coverage and calibration, errors."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from vcreg_theory import stats
from vcreg_theory.seeding import numpy_generator


def rng(name):
    return numpy_generator(0, f"test_stats {name}")


def test_mean_interval__closed_form():
    interval = stats.mean_interval([0.0, 2.0], level=0.5)
    # One degree of freedom is the Cauchy law, with upper quartile 1; s / sqrt(2) = 1.
    assert interval == pytest.approx((1.0, 0.0, 2.0, 0.5), abs=1e-12)


def test_mean_interval__coverage():
    draws = rng("mean").normal(3.0, 2.0, size=(2000, 5))
    hits = sum(low <= 3 <= high for _, low, high, _ in map(stats.mean_interval, draws))
    assert stats.binomial_test(hits, 2000, 0.95).pvalue > 1e-3


def test_proportion_interval__closed_form():
    # No success in n: the upper end solves (1 - p)^n = (1 - level) / 2.
    assert stats.proportion_interval(0, 10).low == 0
    assert stats.proportion_interval(0, 10).high == pytest.approx(1 - 0.025**0.1, rel=1e-9)


@given(n=st.integers(1, 200), data=st.data())
@settings(deadline=None, max_examples=30)
def test_proportion_interval__inverts_the_binomial_tails(n, data):
    k = data.draw(st.integers(0, n))
    _, low, high, _ = stats.proportion_interval(k, n, level=0.9)
    if k > 0:
        assert scipy_stats.binom.sf(k - 1, n, low) == pytest.approx(0.05, rel=1e-6)
    if k < n:
        assert scipy_stats.binom.cdf(k, n, high) == pytest.approx(0.05, rel=1e-6)


@pytest.mark.parametrize("method", ["pearson", "spearman"])
def test_correlation_interval__estimate_agrees_with_scipy(method):
    x, y = rng("correlation").normal(size=(2, 40)).round(1)  # ties on purpose
    peer = {"pearson": scipy_stats.pearsonr, "spearman": scipy_stats.spearmanr}[method]
    result = stats.correlation_interval(x, y, method=method, n_resamples=99)
    assert result.estimate == pytest.approx(peer(x, y).statistic, abs=1e-12)
    assert result.low <= result.estimate <= result.high


def test_correlation_interval__coverage_without_normality():
    generator = rng("coverage")
    hits = 0
    for _ in range(300):
        scale = np.sqrt(generator.chisquare(6, 100) / 6)
        a, b = generator.normal(size=(2, 100)) / scale
        result = stats.correlation_interval(a, 0.6 * a + 0.8 * b, n_resamples=499)
        hits += result.low <= 0.6 <= result.high
    # A percentile bootstrap falls a little short at n = 100; Fisher's z covers about 0.86 here.
    assert stats.binomial_test(hits, 300, 0.9, "less").pvalue > 1e-3


def test_correlation_interval__seed_decides_and_rank_method_ignores_monotone_maps():
    x, y = rng("seed").normal(size=(2, 30))
    spearman = stats.correlation_interval(x, y, method="spearman", seed=3, n_resamples=199)
    mapped = stats.correlation_interval(np.exp(x), y**3, method="spearman", seed=3, n_resamples=199)
    assert spearman == pytest.approx(mapped, abs=1e-12)
    assert spearman != stats.correlation_interval(x, y, method="spearman", n_resamples=199)


def test_correlation_interval__refuses_constant_resamples():
    x = np.zeros(30)
    x[0] = 1.0
    with pytest.raises(ValueError, match="too few distinct values"):
        stats.correlation_interval(x, np.arange(30.0), n_resamples=199)


def test_slope_interval__coverage_and_width():
    generator = rng("slope")
    x = np.array([0.0, 1.0, 2.0, 5.0])
    fits = [stats.slope_interval(x, 2 * x + generator.normal(size=4)) for _ in range(2000)]
    hits = sum(low <= 2 <= high for _, low, high, _ in fits)
    assert stats.binomial_test(hits, 2000, 0.95).pvalue > 1e-3


def test_slope_interval__power_law_and_torch_input():
    x = torch.logspace(-2, 1, 7, dtype=torch.float64, requires_grad=True)
    estimate, low, high, _ = stats.slope_interval(x, 3 * x**-1.5, log=True)
    assert (estimate, low, high) == pytest.approx((-1.5, -1.5, -1.5), abs=1e-10)


def test_uniform_pvalues_test__calibrated_and_sharp():
    draws = rng("uniform").uniform(size=(300, 50))
    inner = [stats.uniform_pvalues_test(row).pvalue for row in draws]
    assert stats.uniform_pvalues_test(inner).pvalue > 1e-3
    assert stats.uniform_pvalues_test(draws.ravel() ** 1.2).pvalue < 1e-6


def test_chi2_test__closed_form():
    # Two bins of expectation 10 with deviations of 4: 16/10 + 16/10.
    result = stats.chi2_test([14, 6], [0.5, 0.5])
    assert result.statistic == pytest.approx(3.2, abs=1e-12)
    assert result.pvalue == pytest.approx(2 * scipy_stats.norm.sf(3.2**0.5), rel=1e-9)
    assert result.dof == 1


def test_chi2_test__merges_by_expectation_alone():
    probabilities = np.array([0.5, 0.44, 0.03, 0.02, 0.01])  # of 100: 3, 2 and 1 become 6
    a = stats.chi2_test([50, 44, 6, 0, 0], probabilities)
    b = stats.chi2_test([50, 44, 0, 0, 6], probabilities)
    assert a == b
    assert (a.dof, a.statistic) == (2, pytest.approx(0, abs=1e-12))
    upside_down = stats.chi2_test([2, 5, 60, 20, 13], probabilities)
    expected = 48**2 / 50 + 39**2 / 44 + 87**2 / 6
    assert upside_down.statistic == pytest.approx(expected, rel=1e-12)
    # A pool that falls short takes in the smallest of the other bins: 3 + 10.
    assert stats.chi2_test([60, 27, 10, 3], [0.6, 0.27, 0.1, 0.03]).dof == 2


def test_chi2_test__calibrated_sharp_and_final_on_the_impossible():
    probabilities = np.geomspace(1, 0.002, 20)
    probabilities /= probabilities.sum()
    draws = rng("chi2").multinomial(3000, probabilities, size=300)
    pvalues = [stats.chi2_test(row, probabilities).pvalue for row in draws]
    assert stats.uniform_pvalues_test(pvalues).pvalue > 1e-3
    tilted = probabilities * np.linspace(0.8, 1.2, 20)
    assert stats.chi2_test(draws.sum(0), tilted / tilted.sum()).pvalue < 1e-6
    assert stats.chi2_test([50, 49, 1], [0.5, 0.5, 0.0]).pvalue == 0


def test_binomial_test__closed_form():
    assert stats.binomial_test(10, 10, 0.5, "greater").pvalue == pytest.approx(2**-10)
    assert stats.binomial_test(5, 10, 0.5) == pytest.approx((0.5, 1.0))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: stats.mean_interval([1.0]), ValueError, "x must have at least 2 entries"),
        (lambda: stats.mean_interval([1.0, np.nan]), ValueError, "x must be finite"),
        (lambda: stats.mean_interval(["a", "b"]), TypeError, "x must hold real numbers"),
        (lambda: stats.mean_interval(np.ones((2, 2))), ValueError, "1 dimension"),
        (lambda: stats.mean_interval([1.0, 2.0], 95), ValueError, "level"),
        (lambda: stats.proportion_interval(3, 2), ValueError, "successes must be at most n"),
        (lambda: stats.proportion_interval(1.0, 2), TypeError, "successes must be an integer"),
        (lambda: stats.correlation_interval(range(8), [1] * 8), ValueError, "y must vary"),
        (lambda: stats.correlation_interval(range(8), range(9)), ValueError, "same size"),
        (
            lambda: stats.correlation_interval(range(8), range(8), method="kendall"),
            ValueError,
            "method",
        ),
        (lambda: stats.slope_interval([1, 1, 1], [1, 2, 3]), ValueError, "x must vary"),
        (lambda: stats.slope_interval([0, 1, 2], [1, 2, 3], log=True), ValueError, "positive"),
        (lambda: stats.uniform_pvalues_test([0.5] * 4 + [1.5]), ValueError, "pvalues"),
        (lambda: stats.chi2_test([1.5, 2], [0.5, 0.5]), ValueError, "whole"),
        (lambda: stats.chi2_test([10, 20], [0.5, 0.6]), ValueError, "sum 1"),
        (lambda: stats.chi2_test([2, 2], [0.5, 0.5]), ValueError, "at least 2 bins"),
        (lambda: stats.chi2_test([2, 2, 3], [0.5, 0.5]), ValueError, "same size"),
        (lambda: stats.binomial_test(1, 2, 1.5), ValueError, "probability"),
        (lambda: stats.binomial_test(1, 2, 0.5, "both"), ValueError, "alternative"),
    ],
)
def test_errors__name_the_argument(call, error, message):
    with pytest.raises(error, match=message):
        call()
