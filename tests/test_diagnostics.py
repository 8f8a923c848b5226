"""Tests of the description of a representation: each entry on its own, invariances, collapse."""

import json
import math

import numpy as np
import pytest
import torch

from vcreg_theory import entropy, independence
from vcreg_theory.diagnostics import describe

DEVICES = ["cpu"] + ["cuda"] * torch.cuda.is_available()
SHAPE = {
    "logdet",
    "pairdist_lower",
    "pairdist_upper",
    "knn_entropy",
    "effective_rank",
    "spectrum",
}
PAIRS = {"mean_squared_correlation", "mean_hsic", "mean_hsic_normalised"}
WHITENED = {"mean_hsic_whitened", "mean_hsic_normalised_whitened"}
JOINT = {"dhsic", "dhsic_excess", "dhsic8", "dhsic8_excess"}
COUNTS = {"samples", "features", "live_features", "hsic_features"}
ALL = SHAPE | PAIRS | WHITENED | JOINT | {"lancaster"}


def _features(generator, n=150, d=6, dtype=torch.float64):
    """Correlated, curved features of unequal scales."""
    x = torch.randn(n, d, generator=generator, dtype=torch.float64)
    mixed = x @ torch.randn(d, d, generator=generator, dtype=torch.float64)
    scales = torch.logspace(0, 1, d, dtype=torch.float64)
    return ((mixed + 0.3 * mixed**2) * scales + 2).to(dtype)


def _is_sound(found):
    """Check that a description is JSON without NaN, and that exactly the reasons are None."""
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert set(found) == ALL | COUNTS | {"reasons"}
    missing = {name for name in ALL if found[name] is None}
    assert missing == set(found["reasons"]) and all(found["reasons"].values())
    return missing


# --- every entry against its definition -------------------------------------------------------


def test_describe__healthy_features_have_every_entry(generator):
    found = describe(_features(generator))
    assert _is_sound(found) == set()
    assert [found[name] for name in sorted(COUNTS)] == [6, 6, 6, 150]


def test_describe__shape_by_numpy(generator):
    z = _features(generator)
    found = describe(z)
    covariance = np.cov(z.numpy().T)
    covariance *= 6 / np.trace(covariance)
    values = np.linalg.eigvalsh(covariance)[::-1]
    np.testing.assert_allclose(found["spectrum"], values, rtol=1e-10)
    shrunk = 0.5 * np.log(2 * np.pi * np.e * (values + 1e-3)).sum()
    assert found["logdet"] == pytest.approx(shrunk, rel=1e-10)
    shares = values / values.sum()
    assert found["effective_rank"] == pytest.approx(np.exp(-(shares * np.log(shares)).sum()))
    correlations = np.corrcoef(z.numpy().T)[~np.eye(6, dtype=bool)]
    assert found["mean_squared_correlation"] == pytest.approx((correlations**2).mean())


def test_describe__pairwise_bounds_by_all_pairs(generator):
    z = _features(generator, n=60)
    found = describe(z)
    x = (z - z.mean(0)).numpy()
    x *= math.sqrt(6 / (x**2).sum() * 59)
    squares = ((x[:, None] - x) ** 2).sum(2)
    variance = 6 / 8
    own = 3 * math.log(2 * math.pi * math.e * variance)
    for name, factor in (("pairdist_lower", 8), ("pairdist_upper", 2)):
        overlap = np.log(np.exp(-squares / (factor * variance)).mean(1)).mean()
        assert found[name] == pytest.approx(own - overlap, rel=1e-10)
    assert found["pairdist_lower"] < found["pairdist_upper"]
    assert found["knn_entropy"] == pytest.approx(entropy.knn_entropy(torch.from_numpy(x)).item())


def _loops(u):
    """Mean HSIC, normalised or not, and Lancaster statistic, by loops over pairs and triples."""
    d = u.shape[1]
    options = {"bandwidth": 1.0, "estimator": "unbiased"}
    own = [independence.hsic(u[:, k], u[:, k], **options).item() for k in range(d)]
    pairs = [(k, m) for k in range(d) for m in range(k)]
    plain = [independence.hsic(u[:, k], u[:, m], **options).item() for k, m in pairs]
    normal = [v / math.sqrt(own[k] * own[m]) for v, (k, m) in zip(plain, pairs, strict=True)]
    triples = [(k, m, p) for k, m in pairs for p in range(m)]
    threes = [
        independence.lancaster(*u[:, list(triple)].T, bandwidth=1.0).item() for triple in triples
    ]
    return np.mean(plain), np.mean(normal), np.mean(threes)


def test_describe__dependence_by_loops(generator):
    z = _features(generator, n=80, d=5)
    found = describe(z)
    u = (z - z.mean(0)) / z.std(0)
    plain, normal, three = _loops(u)
    # The matrix of all pairs is allowed an error of 1e-9 in the biased HSIC.
    assert found["mean_hsic"] == pytest.approx(plain, abs=1e-8)
    assert found["mean_hsic_normalised"] == pytest.approx(normal, abs=1e-6)
    assert found["lancaster"] == pytest.approx(three, abs=1e-12)
    plain, normal, _ = _loops(entropy.whiten(u))
    assert found["mean_hsic_whitened"] == pytest.approx(plain, abs=1e-8)
    assert found["mean_hsic_normalised_whitened"] == pytest.approx(normal, abs=1e-6)
    joint = independence.dhsic(*u.T, bandwidth=1.0).item()
    excess = independence.dhsic_excess(*u.T, bandwidth=1.0).item()
    # Row sums are allowed 1e-12 an entry, in products of five.
    assert found["dhsic"] == found["dhsic8"] == pytest.approx(joint, abs=2e-11)
    assert found["dhsic_excess"] == found["dhsic8_excess"] == pytest.approx(excess, abs=2e-11)


def test_describe__subset_of_features_at_equal_steps(generator):
    z = _features(generator, d=20)
    found = describe(z, max_features=10)
    assert found["hsic_features"] == 10 and found["live_features"] == 20
    ten, eight = z[:, ::2], z[:, [0, 2, 5, 7, 10, 12, 15, 17]]
    direct = describe(ten)
    for name in PAIRS - {"mean_squared_correlation"} | WHITENED | {"dhsic", "lancaster"}:
        assert found[name] == pytest.approx(direct[name], rel=1e-9, abs=1e-15), name
    u = (eight - eight.mean(0)) / eight.std(0)
    assert found["dhsic8"] == pytest.approx(
        independence.dhsic(*u.T, bandwidth=1.0).item(), abs=2e-11
    )


def test_describe__xor_has_three_way_dependence_only(generator):
    # Three signs, the third the product of the others: independent in pairs, not together.
    bits = torch.randint(2, (400, 2), generator=generator).double() * 2 - 1
    z = torch.cat([bits, bits[:, :1] * bits[:, 1:]], 1)
    found, free = describe(z), describe(torch.randint(2, (400, 3), generator=generator).double())
    # Normalised HSIC of independent signs is a squared correlation less its mean, of order 1/n.
    assert abs(found["mean_hsic_normalised"]) < 0.02
    # With kernels a, b on equal and different signs the statistic is ((a - b)/2)^3 = 0.0808 for a
    # balanced sample (bandwidth one, a = 1, b = exp(-2)), and of order 1/n without interaction.
    assert found["lancaster"] == pytest.approx(((1 - math.exp(-2)) / 2) ** 3, abs=0.01)
    assert found["dhsic8_excess"] > 0.05 and abs(free["lancaster"]) < 0.01
    assert _is_sound(found) == {"knn_entropy"}  # eight distinct rows


# --- invariances ------------------------------------------------------------------------------


def _close(found, expected, names, rel=1e-8):
    for name in names:
        assert found[name] == pytest.approx(expected[name], rel=rel, abs=1e-9), name


def test_describe__forgets_position_and_scale(generator):
    z = _features(generator)
    _close(describe(100 * z - 7), describe(z), ALL)


def test_describe__dependence_forgets_the_scale_of_each_feature(generator):
    z = _features(generator)
    scale = torch.tensor([1e-3, 1.0, 5.0, -1.0, 100.0, 2.0], dtype=torch.float64)
    found, expected = describe(z * scale), describe(z)
    _close(found, expected, ALL - SHAPE - WHITENED)
    assert found["logdet"] < expected["logdet"], "unequal variances have less entropy"


def test_describe__shape_forgets_a_rotation_and_the_order_of_rows(generator):
    z = _features(generator)
    q = torch.linalg.qr(torch.randn(6, 6, generator=generator, dtype=torch.float64)).Q
    order = torch.randperm(150, generator=generator)
    _close(describe((z @ q)[order]), describe(z), SHAPE)
    _close(describe(z[order]), describe(z), ALL)


def test_describe__constant_features_add_nothing_to_dependence(generator):
    z = _features(generator, dtype=torch.float32)
    dead = torch.full((150, 3), 0.1)
    dead[::2, 1] += 1e-8  # one rounding of 0.1
    found = describe(torch.cat([z, dead], 1))
    assert (found["live_features"], found["features"]) == (6, 9)
    _close(found, describe(z), ALL - SHAPE)
    assert found["spectrum"][6:] == [0.0, 0.0, 0.0]
    # Rescaled by 9/6, three variances of 0.001: what the closed form of the determinant says.
    values = np.array(describe(z)["spectrum"]) * 9 / 6
    expected = 0.5 * np.log(2 * np.pi * np.e * (np.append(values, [0, 0, 0]) + 1e-3)).sum()
    assert found["logdet"] == pytest.approx(expected, rel=1e-9)


# --- sizes, devices ---------------------------------------------------------------------------


def test_describe__takes_a_fixed_subset_of_rows(generator):
    z = _features(generator, n=300)
    found = describe(z, max_samples=100)
    assert found["samples"] == 100 and found == describe(z, max_samples=100)
    assert found != describe(z, max_samples=100, seed=1)
    assert describe(z, seed=1) == describe(z), "all rows: nothing to draw"


def test_describe__keeps_64_eigenvalues(generator):
    z = torch.randn(120, 100, generator=generator)
    assert len(describe(z)["spectrum"]) == 64
    assert len(describe(z[:5])["spectrum"]) == 5


@pytest.mark.parametrize("device", DEVICES)
def test_describe__on_every_device_and_in_half_precision(generator, device):
    z = _features(generator, dtype=torch.float32)
    expected = describe(z)
    with torch.autocast(device, torch.bfloat16):
        _close(describe(z.to(device).requires_grad_()), expected, ALL, rel=1e-6)
    half = describe(z.to(device).half())
    assert half["effective_rank"] == pytest.approx(expected["effective_rank"], rel=1e-2)


# --- collapse ---------------------------------------------------------------------------------


def test_describe__complete_collapse():
    for z in (torch.zeros(20, 4), torch.full((20, 4), 0.1), 1e4 + 1e-4 * torch.rand(20, 4)):
        found = describe(z)
        assert _is_sound(found) == ALL and found["live_features"] == 0
        assert found["reasons"]["spectrum"] == "all features are constant"
        assert found["reasons"]["dhsic"] == "2 features must vary, but 0 do"


def test_describe__one_or_two_live_features(generator):
    z = torch.zeros(50, 5)
    z[:, 3] = torch.randn(50, generator=generator)
    found = describe(z)
    assert _is_sound(found) == PAIRS | WHITENED | JOINT | {"lancaster"}
    assert found["effective_rank"] == pytest.approx(1) and found["spectrum"][0] == pytest.approx(5)
    z[:, 1] = torch.randn(50, generator=generator)
    assert _is_sound(describe(z)) == {"lancaster"}


def test_describe__rank_one(generator):
    z = torch.randn(60, 1, generator=generator) @ torch.ones(1, 8)
    found = describe(z)
    assert _is_sound(found) == WHITENED
    assert "full rank, got rank 1" in found["reasons"]["mean_hsic_whitened"]
    assert found["effective_rank"] == pytest.approx(1, abs=1e-5)
    assert found["mean_squared_correlation"] == pytest.approx(1, abs=1e-5)
    assert found["mean_hsic_normalised"] == pytest.approx(1, abs=1e-4)


def test_describe__duplicated_rows(generator):
    z = torch.randn(10, 3, generator=generator).repeat(6, 1)
    found = describe(z)
    assert _is_sound(found) == {"knn_entropy"}
    assert "at most 3 equal rows" in found["reasons"]["knn_entropy"]


def test_describe__fewer_rows_than_features(generator):
    z = torch.randn(20, 40, generator=generator)
    found = describe(z)
    assert _is_sound(found) == WHITENED
    assert found["effective_rank"] < 20
    assert _is_sound(describe(z, max_features=10)) == set()


@pytest.mark.parametrize("n", [2, 3])
def test_describe__very_few_rows(generator, n):
    found = describe(torch.randn(n, 5, generator=generator))
    expected = {"knn_entropy", "mean_hsic", "mean_hsic_normalised"} | WHITENED
    assert _is_sound(found) == expected


def test_describe__rectified_features_that_are_mostly_off(generator):
    # The median distance of such a feature is zero, the standard deviation is not.
    z = torch.relu(torch.randn(300, 12, generator=generator) - 1.5)
    z[:, 0] = 0
    z[7, 0] = 1.0  # on in one sample only: its unbiased self-HSIC is zero
    found = describe(z)
    assert found["live_features"] == 12 and _is_sound(found) <= {"knn_entropy"}
    others = describe(z[:, 1:])
    assert found["mean_hsic_normalised"] == pytest.approx(others["mean_hsic_normalised"])
    alone = torch.zeros(300, 2)
    alone[3, 0] = alone[9, 1] = 1.0
    assert "mean_hsic_normalised" in _is_sound(describe(alone))


def test_describe__entropy_falls_on_the_way_to_collapse(generator):
    z = torch.randn(200, 8, generator=generator, dtype=torch.float64)
    path = [describe(z * torch.logspace(0, -p, 8, dtype=torch.float64)) for p in (0, 1, 2, 4)]
    for name in ("logdet", "pairdist_lower", "pairdist_upper", "knn_entropy", "effective_rank"):
        values = [found[name] for found in path]
        assert values == sorted(values, reverse=True), name


@pytest.mark.parametrize(
    ("z", "options", "error", "message"),
    [
        (torch.zeros(1, 3), {}, ValueError, "at least 2 rows"),
        (torch.zeros(4, 0), {}, ValueError, "at least 1 column"),
        (torch.zeros(4), {}, ValueError, "2 dimensions"),
        (torch.full((4, 2), math.nan), {}, ValueError, "finite"),
        (torch.zeros(4, 2, dtype=torch.int64), {}, TypeError, "float32 or float64"),
        (torch.zeros(4, 2), {"max_samples": 3}, ValueError, "max_samples must be at least 4"),
        (torch.zeros(4, 2), {"max_features": 2}, ValueError, "max_features must be at least 3"),
        (torch.zeros(9, 2), {"max_samples": 4, "seed": -1}, ValueError, "seed"),
    ],
)
def test_describe__refuses_bad_input(z, options, error, message):
    with pytest.raises(error, match=message):
        describe(z, **options)
