"""Kernels and dependence measures against scikit-learn and hyppo.

hyppo's Hsic is not tr(KHLH)/n^2 but a ratio: its default is the unbiased estimator divided by the
geometric mean of the two self-HSICs, and with ``bias=True`` it is the square root of the biased
ratio. It takes the median distance of the first variable as the bandwidth of both.
"""

import math

import pytest
import torch
from hyppo.d_variate import dHsic
from hyppo.independence import Hsic
from sklearn.metrics.pairwise import rbf_kernel

from vcreg_theory import kernels
from vcreg_theory.independence import dhsic, hsic, hsic_test, pairwise_hsic

DOUBLE = {"dtype": torch.float64}
BANDWIDTH = 0.9
GAMMA = 1 / (2 * BANDWIDTH**2)


@pytest.fixture(params=[(1, 1), (3, 1), (6, 2)], ids=str)
def pair(request, generator):
    p, q = request.param
    x = torch.randn(60, p, generator=generator, **DOUBLE)
    y = x[:, :1].square() + 0.5 * torch.randn(60, q, generator=generator, **DOUBLE)
    return x, y


def _ratio(x, y, bandwidth, estimator):
    selves = [hsic(v, v, bandwidth=bandwidth, estimator=estimator) for v in (x, y)]
    value = hsic(x, y, bandwidth=bandwidth, estimator=estimator)
    return (value / (selves[0] * selves[1]).sqrt()).item()


def test_gaussian_kernel__is_scikit_learns_rbf_kernel(pair):
    x, _ = pair
    expected = rbf_kernel(x.numpy(), gamma=GAMMA)
    found = kernels.gaussian_kernel(x, bandwidth=BANDWIDTH)
    torch.testing.assert_close(found, torch.from_numpy(expected), rtol=0, atol=1e-14)


def test_hsic__unbiased_ratio_is_hyppos_statistic(pair):
    expected = Hsic(gamma=GAMMA).statistic(*(v.numpy() for v in pair))
    assert _ratio(*pair, BANDWIDTH, "unbiased") == pytest.approx(expected, rel=1e-12)


def test_hsic__biased_ratio_is_hyppos_biased_statistic_squared(pair):
    expected = Hsic(bias=True, gamma=GAMMA).statistic(*(v.numpy() for v in pair))
    assert _ratio(*pair, BANDWIDTH, "biased") == pytest.approx(expected**2, rel=1e-12)


def test_pairwise_hsic__normalized_is_hyppos_statistic(generator):
    z = torch.randn(80, 4, generator=generator, **DOUBLE)
    z[:, 1] += z[:, 0].square()
    options = {"bandwidth": BANDWIDTH, "estimator": "unbiased", "normalize": True}
    found = pairwise_hsic(z, method="exact", **options)
    for i in range(4):
        for j in range(i):
            expected = Hsic(gamma=GAMMA).statistic(z[:, [i]].numpy(), z[:, [j]].numpy())
            assert found[i, j].item() == pytest.approx(expected, rel=1e-12, abs=1e-14)


@pytest.mark.parametrize("d", [2, 3, 5])
def test_dhsic__is_hyppos_statistic(generator, d):
    variables = [torch.randn(40, 1 + i % 2, generator=generator, **DOUBLE) for i in range(d)]
    expected = dHsic(gamma=GAMMA).statistic(*(v.numpy() for v in variables))
    # The statistic is a difference of terms of order 1.
    assert dhsic(*variables, bandwidth=BANDWIDTH).item() == pytest.approx(expected, abs=1e-14)


def test_median_bandwidth__is_hyppos_for_the_first_variable_only(pair):
    x, y = pair
    median = kernels.median_bandwidth(x).item()
    expected = Hsic().statistic(x.numpy(), y.numpy())
    assert _ratio(x, y, median, "unbiased") == pytest.approx(expected, rel=1e-12)
    # So hyppo's value depends on the order and on the scale of the second variable, ours does not.
    scaled = 100 * y
    assert abs(Hsic().statistic(x.numpy(), scaled.numpy()) - expected) > 1e-6
    torch.testing.assert_close(hsic(x, scaled), hsic(x, y), rtol=1e-11, atol=0)


def test_hsic_test__pvalue_agrees_with_hyppos_permutations(generator):
    x = torch.randn(25, 1, generator=generator, **DOUBLE)
    y = x + 3 * torch.randn(25, 1, generator=generator, **DOUBLE)
    _, expected = Hsic(gamma=GAMMA).test(x.numpy(), y.numpy(), reps=1000, auto=False)
    found = hsic_test(
        x, y, n_permutations=1000, generator=generator, bandwidth=BANDWIDTH, estimator="unbiased"
    ).pvalue
    # Two counts of 1000 permutations each: a difference of 4 standard deviations, 6e-5.
    middle = (found + expected) / 2
    assert abs(found - expected) <= 4 * math.sqrt(2 * middle * (1 - middle) / 1000)
