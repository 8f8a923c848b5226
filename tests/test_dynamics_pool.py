"""Tests of the law read from a pool of features, and of the risks of few labels drawn from it.

Statistical tests compare a mean with its expectation in standard errors; at 4.5 of them they fail
by chance with probability below 1e-4.
"""

import numpy as np
import pytest

from vcreg_theory import seeding
from vcreg_theory.dynamics import ols_excess_risk, random_rotation, ridge_excess_risk
from vcreg_theory.dynamics.pool import feature_law, few_label_risks

TAU2 = 0.3
THETA = np.array([[1.0, 0.5], [0.0, -1.0], [0.3, 0.0]])
SCALE = np.array([2.0, 0.5, 0.1])


@pytest.fixture
def rng() -> np.random.Generator:
    return seeding.numpy_generator(0, "pool")


def _pool(rng, n, rotation=None):
    x = rng.standard_normal((n, 3)) * SCALE
    y = x @ THETA + np.sqrt(TAU2 / 2) * rng.standard_normal((n, 2))
    return (x if rotation is None else x @ rotation.T), y


def _near(values, expected):
    spread = np.std(values, ddof=1) / np.sqrt(len(values))
    assert np.mean(values) == pytest.approx(expected, abs=4.5 * spread)


def test_feature_law__of_a_large_pool_is_the_law(rng):
    law = feature_law(*_pool(rng, 200_000, random_rotation(3, rng)))
    order = np.argsort(SCALE)
    assert law.variances == pytest.approx(SCALE[order] ** 2, rel=0.02)  # 4.5 sqrt(2/N)
    # The axes are off by 1/sqrt(N) at most, up to the ratio of the scales.
    size = np.sqrt(np.square(THETA).sum(1))[order]
    assert law.coefficients == pytest.approx(size, abs=0.05)
    assert law.noise_variance == pytest.approx(TAU2, rel=0.02)


def test_feature_law__is_unbiased_in_a_small_pool(rng):
    noise, risks = [], []
    for _ in range(600):
        law = feature_law(*_pool(rng, 12))
        noise.append(law.noise_variance)
        squares = np.square(law.coefficients).sum() - np.square(law.errors).sum()
        risks.append(squares)
    _near(noise, TAU2)
    _near(risks, np.square(THETA).sum())


def test_feature_law__does_not_depend_on_the_basis(rng):
    x, y = _pool(rng, 50)
    one, other = feature_law(x, y), feature_law(x @ random_rotation(3, rng), y)
    for a, b in zip(one, other, strict=True):
        assert a == pytest.approx(b, rel=1e-9)


def test_feature_law__predicts_ridge_risks_without_the_noise_of_the_pool():
    law = feature_law([[2.0, 0.0], [0.0, 1.0], [-2.0, 0.0], [0.0, -1.0]], [4.0, 1.0, -4.0, -1.0])
    found = law.ridge_excess_risk(30, 0.1)  # no noise: nothing to subtract
    assert law.noise_variance == pytest.approx(0, abs=1e-30)
    assert found == pytest.approx(ridge_excess_risk(30, [0.5, 2.0], [1.0, 2.0], 0.0, 0.1))
    noisy = law._replace(errors=np.array([1.0, 2.0]), noise_variance=0.7)
    expected = ridge_excess_risk(30, [0.5, 2.0], [0.0, 0.0], 0.7, 0.1)
    assert noisy.ridge_excess_risk(30, 0.1) == pytest.approx(expected)


@pytest.mark.parametrize("penalty", [0.0, 0.2])
def test_few_label_risks__are_those_of_the_law(rng, penalty):
    x, y = _pool(rng, 40_000)  # so large that draws hardly overlap
    found = few_label_risks(x, y, 40, draws=400, generator=rng, penalty=penalty)
    if penalty == 0:
        expected = float(ols_excess_risk(40, 3, TAU2))
    else:
        expected = feature_law(x, y).ridge_excess_risk(40, penalty)
    # The noise of the pool, and for ridge regression the next order in 1/n.
    slack = 4.5 * TAU2 * np.sqrt(1 / 40_000) + (0.0 if penalty == 0 else 2 * expected / 40)
    spread = np.std(found, ddof=1) / np.sqrt(len(found))
    assert np.mean(found) == pytest.approx(TAU2 + expected, abs=4.5 * spread + slack)


def test_few_label_risks__score_rows_that_were_not_drawn(rng):
    # The rows left have other targets than any row that was drawn with its twin.
    x = np.eye(4)
    found = few_label_risks(x, np.arange(1.0, 5.0), 3, draws=50, generator=rng)
    assert set(found.round(9)) <= {1.0, 4.0, 9.0, 16.0}  # nothing known of the fourth: predict 0


def test_few_label_risks__same_generator_same_draws(rng):
    x, y = _pool(rng, 30)
    first, second = (
        few_label_risks(x, y, 9, draws=4, generator=seeding.numpy_generator(1, "draws"))
        for _ in range(2)
    )
    assert (first == second).all() and len(set(first)) == 4


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: feature_law(np.eye(3), np.ones(3)), "more rows than columns"),
        (lambda: feature_law(np.ones((5, 2)), np.ones(5)), "linearly independent"),
        (lambda: feature_law(np.ones((5, 2)), np.ones(4)), "targets must have one row"),
        (lambda: feature_law(np.ones((5, 2)), np.ones((5, 1, 1))), "targets must have one row"),
        (lambda: feature_law(np.full((5, 1), np.nan), np.ones(5)), "features"),
    ],
)
def test_feature_law__errors(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n": 5}, "n must be below the 5 rows"),
        ({"n": 0}, "n must be at least 1"),
        ({"n": 2, "draws": 0}, "draws must be at least 1"),
        ({"n": 2, "penalty": -1.0}, "penalty must not be negative"),
    ],
)
def test_few_label_risks__errors(rng, options, message):
    with pytest.raises(ValueError, match=message):
        few_label_risks(np.ones((5, 1)), np.ones(5), **{"draws": 1, "generator": rng, **options})


def test_feature_law__refuses_features_that_are_all_zero():
    with pytest.raises(ValueError, match="linearly independent"):
        feature_law(np.zeros((4, 2)), np.arange(4.0))
