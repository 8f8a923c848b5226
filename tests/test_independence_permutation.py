"""Tests of the permutation tests: exact p-values of small samples, level, ties, power, errors.

A test of level is passed by right code with probability at least 0.999 for a fresh seed.
"""

import itertools
import math

import pytest
import torch

from vcreg_theory import stats
from vcreg_theory.independence import _permuted, dhsic, dhsic_test, hsic, hsic_test, permutation

DEVICES = ["cpu"] + ["cuda"] * torch.cuda.is_available()
ESTIMATORS = ["biased", "unbiased"]
DOUBLE = {"dtype": torch.float64}


def _sample(generator, *shape, dtype=torch.float64):
    return torch.randn(shape, generator=generator, dtype=dtype)


def _exact_pvalue(statistic, x, y):
    """The share of all permutations of y that reach the observed statistic."""
    observed = statistic(x, y) - 1e-12  # ties up to rounding count
    orders = [list(order) for order in itertools.permutations(range(len(y)))]
    return sum(bool(statistic(x, y[order]) >= observed) for order in orders) / len(orders)


def _count(pvalue, permutations):
    return round(pvalue * (1 + permutations)) - 1


# ---------------------------------------------------------------------------- exact p-values


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("shape", [(5,), (5, 6)])
def test_hsic_test__counts_agree_with_all_permutations(generator, estimator, shape):
    # Of 2000 drawn permutations a binomial number reaches the observed value.
    x, y = _sample(generator, *shape), _sample(generator, 5)
    exact = _exact_pvalue(lambda a, b: hsic(a, b, bandwidth=1.0, estimator=estimator), x, y)
    found = hsic_test(
        x, y, n_permutations=2000, generator=generator, bandwidth=1.0, estimator=estimator
    )
    reached = _count(found.pvalue, 2000)
    assert stats.binomial_test(reached, 2000, exact).pvalue > 1e-4
    assert torch.equal(found.statistic, hsic(x, y, bandwidth=1.0, estimator=estimator))


def test_dhsic_test__counts_agree_with_all_permutations(generator):
    variables = _sample(generator, 3, 4)
    observed = dhsic(*variables, bandwidth=1.0) - 1e-12
    orders = [list(order) for order in itertools.permutations(range(4))]
    reached = [
        bool(dhsic(variables[0], variables[1][a], variables[2][b], bandwidth=1.0) >= observed)
        for a in orders
        for b in orders
    ]
    found = dhsic_test(*variables, n_permutations=2000, generator=generator, bandwidth=1.0)
    exact = sum(reached) / len(reached)
    assert stats.binomial_test(_count(found.pvalue, 2000), 2000, exact).pvalue > 1e-4
    assert torch.equal(found.statistic, dhsic(*variables, bandwidth=1.0))


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_hsic_test__low_rank_statistic_is_hsic_of_the_permuted_samples(generator, estimator, dtype):
    # The function that permutations are counted with, against n^2 HSIC of moved samples.
    n = 60
    x = _sample(generator, n, dtype=dtype)
    y = x.square() + _sample(generator, n, dtype=dtype)
    compared = _permuted.from_factors([x[:, None], y[:, None]], [1.0, 0.7], estimator)
    orders = torch.stack([torch.randperm(n, generator=generator) for _ in range(7)])
    found = compared.function(orders[:, None])
    factor = n**2 if estimator == "biased" else n * (n - 3)
    expected = factor * torch.stack(
        [
            hsic(x.double(), y[order].double(), bandwidth=(1.0, 0.7), estimator=estimator)
            for order in orders
        ]
    )
    # The unbiased one leaves out a term that no permutation changes: compare differences.
    differences = (found - found[0]) - (expected - expected[0])
    assert differences.abs().max() <= 2 * compared.slack
    assert (expected - expected[0]).abs().max() > 100 * compared.slack
    if estimator == "biased":
        assert (found - expected).abs().max() <= compared.slack


def test_hsic_test__gram_statistic_is_hsic_of_the_permuted_samples(generator):
    x, y = _sample(generator, 9, 2), _sample(generator, 9)
    orders = torch.stack([torch.randperm(9, generator=generator) for _ in range(5)])
    for estimator, factor in (("biased", 81), ("unbiased", 54)):
        compared = _permuted.from_grams([x, y[:, None]], [1.0, 0.7], estimator)
        expected = [hsic(x, y[o], bandwidth=(1.0, 0.7), estimator=estimator) for o in orders]
        torch.testing.assert_close(
            compared.function(orders[:, None]) / factor,
            torch.stack(expected),
            rtol=1e-11,
            atol=1e-15,
        )


# ---------------------------------------------------------------------------- level


def _independent_pvalues(generator, n, test, **options):
    """The p-values of 19 permutations on 300 independent pairs of independent variables."""
    options = {"n_permutations": 19, "generator": generator, **options}
    return [
        test(_sample(generator, n), _sample(generator, n), **options).pvalue for _ in range(300)
    ]


def _uniformity(pvalues):
    """The p-value of the hypothesis that p-values are uniform on 1/20, 2/20, ..., 1."""
    counts = [sum(_count(p, 19) == k for p in pvalues) for k in range(20)]
    assert sum(counts) == len(pvalues)
    return stats.chi2_test(counts, [1 / 20] * 20).pvalue


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("n", [12, 45])  # through Gram matrices, through low-rank kernels
def test_hsic_test__pvalues_are_uniform_under_independence(generator, n, estimator):
    # Without ties the rank of the observed value among 20 is uniform, for every n: so the test of
    # any level k/20 has exactly that error of the first kind.
    bandwidth = None if n == 12 else 1.0
    options = {"estimator": estimator, "bandwidth": bandwidth}
    pvalues = _independent_pvalues(generator, n, hsic_test, **options)
    assert _uniformity(pvalues) > 1e-4
    rejected = sum(p <= 0.05 for p in pvalues)
    assert stats.binomial_test(rejected, 300, 0.05).pvalue > 2e-4


def test_dhsic_test__pvalues_are_uniform_under_independence(generator):
    def test(x, y, **options):
        return dhsic_test(x, y, _sample(generator, len(x)), **options)

    pvalues = _independent_pvalues(generator, 10, test)
    assert _uniformity(pvalues) > 1e-4
    rejected = sum(p <= 0.05 for p in pvalues)
    assert stats.binomial_test(rejected, 300, 0.05).pvalue > 2e-4


@pytest.mark.parametrize("builder", ["from_factors", "from_grams"])
def test_hsic_test__criterion_catches_a_tampered_statistic(generator, monkeypatch, builder):
    # A control: permuted values half as large, and the criterion of the test above must fail.
    original = getattr(permutation, builder)

    def tampered(*arguments):
        compared = original(*arguments)
        if compared is None:
            return None

        def function(permutations):
            values = compared.function(permutations)
            return values if len(permutations) == 1 else 0.5 * values

        return compared._replace(function=function)

    monkeypatch.setattr(permutation, builder, tampered)
    n = 12 if builder == "from_grams" else 45
    pvalues = _independent_pvalues(generator, n, hsic_test, bandwidth=1.0)
    assert _uniformity(pvalues) < 1e-4


# ---------------------------------------------------------------------------- ties


def test_hsic_test__ties_count_against_rejection(generator):
    # Two-valued variables tie often: the error of the first kind stays below the level.
    rejected = 0
    for _ in range(300):
        x, y = torch.randint(2, (2, 12), generator=generator).double()
        found = hsic_test(x, y, n_permutations=19, generator=generator, bandwidth=1.0)
        rejected += found.pvalue <= 0.05
    assert stats.binomial_test(rejected, 300, 0.05, "greater").pvalue > 1e-3


@pytest.mark.parametrize("n", [20, 90])
def test_hsic_test__equal_values_up_to_rounding_are_ties(generator, n):
    # One odd sample in each variable: a permutation that brings the two together has the largest
    # value, probability 1/n, and all others tie at the smallest.
    x, apart = torch.zeros(2, n, **DOUBLE)
    x[0], apart[1] = 1, 1
    options = {"n_permutations": 200, "generator": generator, "bandwidth": 1.0}
    for test in (hsic_test, dhsic_test):
        assert test(x, apart, **options).pvalue == 1
        reached = _count(test(x, x, **options).pvalue, 200)
        assert stats.binomial_test(reached, 200, 1 / n).pvalue > 2e-4


def test_hsic_test__constant_variable_never_rejects(generator):
    x = _sample(generator, 40)
    options = {"n_permutations": 20, "generator": generator, "bandwidth": 1.0}
    for estimator in ESTIMATORS:
        assert hsic_test(x, torch.ones_like(x), estimator=estimator, **options).pvalue == 1
    assert dhsic_test(x, torch.ones_like(x), x + 1, **options).pvalue == 1 / 21


def test_dhsic_test__saturated_statistic_never_rejects(generator):
    # 80 copies of one variable: the product of kernels is the identity, whatever is permuted.
    x = torch.linspace(0, 1, 12, **DOUBLE)
    found = dhsic_test(*x.expand(80, 12), n_permutations=30, generator=generator, bandwidth=0.01)
    assert found.pvalue == 1


# ---------------------------------------------------------------------------- power and interface


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_hsic_test__sees_dependence_without_correlation(generator, estimator, dtype):
    x = torch.linspace(-1, 1, 80, dtype=dtype)
    options = {"n_permutations": 99, "generator": generator, "estimator": estimator}
    assert hsic_test(x, x.square(), **options).pvalue == 0.01
    assert hsic_test(torch.stack([x, x.square()], 1), x.cos(), **options).pvalue == 0.01


def test_dhsic_test__sees_parity_that_no_pair_shows(generator):
    x, y = torch.randint(2, (2, 60), generator=generator) * 2.0 - 1
    options = {"n_permutations": 99, "generator": generator, "bandwidth": 1.0}
    assert dhsic_test(x, y, x * y, **options).pvalue == 0.01


def test_tests__same_generator_same_pvalue(generator):
    x, y = _sample(generator, 2, 50)
    for test in (hsic_test, dhsic_test):
        runs = [
            test(x, y, n_permutations=50, generator=torch.Generator().manual_seed(s)).pvalue
            for s in (1, 1, 2, 3, 4)
        ]
        assert runs[0] == runs[1] and len(set(runs)) > 1


@pytest.mark.parametrize("device", DEVICES)
def test_tests__statistic_keeps_dtype_and_device_and_no_gradient(generator, device):
    x, y = (v.to(device).requires_grad_() for v in _sample(generator, 2, 50, dtype=torch.float32))
    for test in (hsic_test, dhsic_test):
        found = test(x, y, n_permutations=9, generator=generator)
        assert found.statistic.dtype == torch.float32 and found.statistic.device.type == device
        assert isinstance(found.pvalue, float) and not found.statistic.requires_grad
        with torch.autocast(device, torch.bfloat16):
            again = test(x, y, n_permutations=9, generator=generator)
        assert torch.equal(again.statistic, found.statistic)


@pytest.mark.parametrize("test", [hsic_test, dhsic_test])
@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"n_permutations": 0}, ValueError, "n_permutations must be at least 1"),
        ({"n_permutations": 9.5}, TypeError, "n_permutations must be an integer"),
        ({"generator": 0}, TypeError, "generator must be a torch.Generator, got int"),
        ({"bandwidth": 0.0}, ValueError, "bandwidth must be positive"),
        ({"x": torch.arange(3.0)}, ValueError, "one number of samples"),
        ({"x": torch.ones(6)}, ValueError, "median distance 0"),
        ({"x": torch.full((6,), math.nan)}, ValueError, "must be finite"),
    ],
)
def test_tests__refuse_bad_input(test, change, error, message):
    arguments = {
        "x": torch.arange(6.0),
        "n_permutations": 9,
        "generator": torch.Generator(),
        **change,
    }
    with pytest.raises(error, match=message):
        test(arguments.pop("x"), torch.arange(6.0).square(), **arguments)


def test_hsic_test__refuses_bad_estimators():
    options = {"n_permutations": 9, "generator": torch.Generator()}
    with pytest.raises(ValueError, match="'biased', 'unbiased'"):
        hsic_test(torch.arange(6.0), torch.arange(6.0), estimator="both", **options)
    with pytest.raises(ValueError, match="at least 4 rows"):
        hsic_test(torch.arange(3.0), torch.arange(3.0), estimator="unbiased", **options)
