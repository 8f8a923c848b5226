"""Tests of the study: its quantities on made encoders and recorded ones, and its intervals."""

import math

import numpy as np
import pytest
import torch
from scipy import stats as scipy_stats

from vcreg_theory import bounds, models, seeding
from vcreg_theory.bounds import study
from vcreg_theory.bounds.study.correlation import _weighted


def _encoder(method, seed, spread):
    """Return an untrained perceptron on clusters, with all that the study needs."""
    network = models.mlp([6, 12, 4], seed=seed)
    generator = seeding.torch_generator(7, "bounds inputs")
    inputs = bounds.clusters(3, 60, 6, spread=spread, generator=generator)
    with torch.no_grad():
        features = network(inputs.features)
        views = [network(inputs.features + 0.1 * (k - 0.5)) for k in range(2)]
    population = bounds.Population(features[::2], inputs.labels[::2])
    hidden = bounds.Population(features[1::2], inputs.labels[1::2])
    return study.Encoder(
        method,
        seed,
        population,
        hidden,
        tuple(view[1::2] for view in views),
        bounds.layer_matrices(network, [6]),
        math.sqrt(2),
        "0" * 64,
        "cpu",
    )


@pytest.fixture(scope="module")
def made():
    return [_encoder(f"m{k // 2}", k, 0.7) for k in range(16)]


@pytest.fixture(scope="module")
def found(made):
    return study.evaluate(made, sizes=(10, 40), draws=2, delta=0.05, seed=0)


def test_evaluate__quantities_are_those_of_the_functions(made, found):
    generator = seeding.torch_generator(0, "bounds samples")
    rows = bounds.draw(made[3].population, 10, generator=generator)  # the first sample of all
    z, y = (part[rows] for part in made[3].population)
    rho = bounds.label_frequencies(made[3].population.labels, 3)
    values = {name: float(array[3, 0, 0]) for name, array in found.values.items()}
    distance = float(bounds.class_invariance(*made[3].population))
    radius = float(made[3].population.features.norm(dim=1).max())
    direct = bounds.probe_risk_bound(
        z, y, distance, rho, 0.05, radius=radius, test=made[3].population, allow_missing=True
    )
    for name in ("bound", "invariance", "deviation", "residual", "missing", "risk", "probe_norm"):
        assert values[name] == pytest.approx(float(getattr(direct, name)), rel=1e-12)
    informal = bounds.informal_bound(z, y, *made[3].hidden, distance, n_classes=3)
    assert values["informal_class"] == pytest.approx(float(informal.total))
    assert values["hidden_residual"] == pytest.approx(float(informal.hidden))
    by_views = bounds.pair_invariance(*made[3].views)
    assert values["informal_view"] - values["informal_class"] == pytest.approx(
        float(by_views) - distance
    )
    probe = bounds.minimum_norm_probe(z, bounds.one_hot(y, 3))
    unseen = torch.tensor([k not in rows for k in range(90)])
    risk = bounds.probe_risk(probe, *(part[unseen] for part in made[3].population))
    assert values["unseen_risk"] == pytest.approx(float(risk))
    assert values["gap"] == pytest.approx(float(risk - bounds.probe_risk(probe, z, y)))
    whole = bounds.network_norms([*made[3].matrices, probe.T])
    assert values["path_2"] == pytest.approx(math.sqrt(2 / 10) * whole.path_2)
    lipschitz = whole.lipschitz
    assert values["path_1"] == pytest.approx(whole.path_1 / math.sqrt(10))
    # The encoder hands on its constant input, which the probe then leaves out.
    kept = torch.zeros(1, made[3].matrices[-1].shape[1]).double()
    kept[0, -1] = 1
    top = torch.cat([probe, torch.zeros(1, 3)]).T
    whole = bounds.network_norms(
        [*made[3].matrices[:-1], torch.cat([made[3].matrices[-1], kept]), top]
    )
    assert values["spectral"] == pytest.approx(math.sqrt(2 / 10) * whole.spectral)
    peeled = 2 * math.sqrt(2) * 3 * (math.sqrt(2 * math.log(2) * whole.depth) + 1)
    assert values["frobenius"] == pytest.approx(peeled * math.sqrt(2 / 10) * whole.frobenius)
    assert values["network_lipschitz"] >= lipschitz * (1 - 1e-12)


def test_evaluate__proved_bounds_hold(found):
    # Clusters with 3 classes: the terms leave so much room that chance plays no part, and the
    # theorems allow at most a twentieth of the cases.
    for name in study.PROVED:
        assert found.violations(name) == (0, 64)
    assert all(np.isfinite(values).all() for values in found.values.values())


def test_evaluate__is_the_same_again_and_shares_samples(made, found):
    again = study.evaluate(made[:2], sizes=(10, 40), draws=2)
    for name, values in again.values.items():
        np.testing.assert_array_equal(values, found.values[name][:2])
    other = study.evaluate(made[:1], sizes=(10,), draws=1, seed=1)
    assert other.values["risk"][0, 0, 0] != found.values["risk"][0, 0, 0]


def test_evaluate__refuses_bad_input(made):
    with pytest.raises(ValueError, match="at least 1 entry"):
        study.evaluate([])
    with pytest.raises(ValueError, match="draws must be at least 1"):
        study.evaluate(made, draws=0)
    other = made[0]._replace(population=bounds.Population(torch.eye(3), torch.arange(3)))
    with pytest.raises(ValueError, match="share one population"):
        study.evaluate([made[0], other])


def test_recorded_encoders__on_the_digits():
    encoders = study.recorded_encoders(methods=("random", "vicreg"))
    assert [encoder.method for encoder in encoders] == ["random"] * 3 + ["vicreg"] * 3
    assert [tuple(a.shape) for a in encoders[0].matrices] == [(1025, 65), (513, 1025), (64, 513)]
    assert encoders[0].hidden.features.shape == (1000, 64)
    found = study.evaluate(encoders, sizes=(200,), draws=2)
    assert all(found.violations(name) == (0, 12) for name in study.PROVED)
    # A probe that answers zero has risk one: on these features the theorem says nothing yet.
    assert found.values["bound"].min() > 1 > found.values["risk"].max()
    with pytest.raises(ValueError, match="no record of suite 'digits'"):
        study.recorded_encoders(methods=("nothing",))


# --- correlations -----------------------------------------------------------------------------


def test_weighted__are_correlations_of_repeated_pairs():
    rng = seeding.numpy_generator(0, "bounds correlations")
    x, y = rng.integers(0, 8, 20).astype(float), rng.normal(size=20)
    times = rng.integers(0, 4, size=(5, 20))
    for method, peer in (("pearson", scipy_stats.pearsonr), ("spearman", scipy_stats.spearmanr)):
        expected = [peer(np.repeat(x, t), np.repeat(y, t)).statistic for t in times]
        np.testing.assert_allclose(_weighted(x, y, times, method), expected, rtol=1e-12)


def test_clustered_correlation__does_not_gain_from_copies():
    rng = seeding.numpy_generator(1, "bounds correlations")
    x = rng.normal(size=17)
    y = x + rng.normal(size=17)
    single = study.clustered_correlation(x, y, np.arange(17))
    copies = study.clustered_correlation(*(np.repeat(part, 3) for part in (x, y, np.arange(17))))
    np.testing.assert_allclose(copies, single, rtol=1e-12)
    naive = study.clustered_correlation(np.repeat(x, 3), np.repeat(y, 3), np.arange(51))
    assert naive.high - naive.low < 0.8 * (single.high - single.low)


def test_correlations__at_one_size(found):
    rows = study.correlations(found, ("bound", "readout_proxy"), "gap", size=40)
    x, y = (found.values[name][:, 1].mean(1) for name in ("bound", "gap"))
    assert [row.quantity for row in rows] == ["bound", "readout_proxy"]
    assert rows[0].pearson.estimate == pytest.approx(scipy_stats.pearsonr(x, y).statistic)
    assert rows[0].spearman.estimate == pytest.approx(scipy_stats.spearmanr(x, y).statistic)
    for row in rows:
        assert row.pearson.low <= row.pearson.estimate <= row.pearson.high
    for arguments in ((("nothing",), "gap"), (("bound",), "nothing")):
        with pytest.raises(ValueError, match="quantities must be one of"):
            study.correlations(found, *arguments, size=40)
    with pytest.raises(ValueError, match="size must be one of 10, 40"):
        study.correlations(found, ("bound",), size=41)
    with pytest.raises(ValueError, match="x must vary"):
        study.correlations(found, ("label_rate",), size=40)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"groups": np.zeros(9)}, "at least 8 groups, got 1"),
        ({"groups": np.arange(8)}, "must agree"),
        ({"y": np.ones(9)}, "y must vary"),
        ({"level": 1.0}, "level must lie"),
        ({"method": "kendall"}, "method must be one of"),
        ({"n_resamples": 10}, "n_resamples must be at least 99"),
    ],
)
def test_clustered_correlation__refuses_bad_input(changes, message):
    arguments = {"x": np.arange(9.0), "y": np.arange(9.0) ** 2, "groups": np.arange(9)} | changes
    with pytest.raises(ValueError, match=message):
        study.clustered_correlation(**arguments)


@pytest.mark.parametrize("method", ["pearson", "spearman"])
def test_clustered_correlation__of_single_samples_is_the_plain_bootstrap(method):
    rng = seeding.numpy_generator(2, "bounds correlations")
    x = rng.normal(size=25)
    y = x + rng.normal(size=25)
    ranks = scipy_stats.rankdata if method == "spearman" else np.asarray
    draws = [
        np.corrcoef(ranks(x[rows]), ranks(y[rows]))[0, 1]
        for rows in rng.integers(25, size=(2000, 25))
    ]
    low, high = np.quantile(draws, [0.025, 0.975])
    found = study.clustered_correlation(x, y, np.arange(25), method=method, n_resamples=2000)
    # The quantiles of 2,000 resamples differ by 3 % of the interval (standard error): 5 of them.
    assert abs(found.low - low) < 0.15 * (high - low)
    assert abs(found.high - high) < 0.15 * (high - low)
    assert found.estimate == pytest.approx(np.corrcoef(ranks(x), ranks(y))[0, 1], rel=1e-12)


def test_evaluate__refuses_a_size_of_zero(made):
    with pytest.raises(ValueError, match="sizes must be at least 1, got 0"):
        study.evaluate(made[:1], sizes=[10, 0], draws=1)
