"""Tests of the bounds of the paper's form, of the complexity terms, and of what is no bound."""

import itertools
import math

import numpy as np
import pytest
import torch
from bounds_cases import cases

from vcreg_theory import bounds

# As in test_bounds_risk: three theorems with at most three samples each, failing together with
# probability below 600 x 6 x 2e-7 < 1e-3.
CASES, DELTA = 600, 2e-7


def _exact(case):
    """Return the class invariance, the sample and the least-norm probe of a case."""
    sample = case.sample
    probe = bounds.minimum_norm_probe(sample.features, bounds.one_hot(sample.labels, len(case.rho)))
    return float(bounds.class_invariance(*case.population)), sample, probe


def test_bounds__have_no_violation(generator):
    smallest = {"hidden": math.inf, "complexity": math.inf, "readout": math.inf}
    for case in cases(generator, CASES):
        distance, sample, probe = _exact(case)
        k, size = len(case.rho), len(case.rows)
        risk = float(bounds.probe_risk(probe, *case.population))
        rows = bounds.draw(case.population, 2 * size, generator=generator)
        other = bounds.Population(*(part[rows] for part in case.population))
        reference = bounds.minimum_norm_probe(other.features, bounds.one_hot(other.labels, k))
        second = bounds.rademacher_bound(*other, DELTA, radius=case.radius, n_classes=k)
        assert float(bounds.probe_risk(reference, *case.population)) <= float(second.bound)
        common = {"radius": case.radius, "probe": probe, "allow_missing": True}
        found = {
            "hidden": bounds.hidden_label_bound(
                *sample,
                distance,
                case.rho,
                DELTA,
                reference=reference,
                reference_risk=bounds.probe_risk(reference, *case.population),
                **common,
            ),
            "complexity": bounds.rademacher_bound(
                *sample, DELTA, radius=case.radius, n_classes=k, probe=probe
            ),
            "readout": bounds.readout_bound(
                *sample,
                bounds.readout_invariance(probe, *case.population),
                case.rho,
                DELTA,
                **common,
            ),
        }
        for name, bound in found.items():
            assert risk <= float(bound.bound), name
            smallest[name] = min(smallest[name], float(bound.bound) / risk)
    assert all(1 <= ratio < 100 for ratio in smallest.values())


# --- complexity -------------------------------------------------------------------------------


def test_probe_rademacher__bounds_the_linear_part_by_all_signs(generator):
    features = torch.randn(4, 2, generator=generator, dtype=torch.float64)
    signs = torch.tensor(list(itertools.product((-1.0, 1.0), repeat=8)), dtype=torch.float64)
    sums = torch.einsum("id,sik->sdk", features, signs.reshape(-1, 4, 2))
    exact = 3.0 * float(sums.flatten(1).norm(dim=1).mean()) / 4  # sup over the Frobenius ball
    moment = float(features.square().sum(1).mean())
    found = bounds.probe_rademacher(3.0, 2, moment, 4)
    assert exact * math.sqrt(2) <= found
    # Jensen's inequality is all that is lost: the mean square is met exactly.
    square = 9 * float(sums.square().sum((1, 2)).mean()) / 16
    assert 2 * square == pytest.approx(found**2, rel=1e-12)


def test_probe_rademacher__bounds_the_losses_by_all_signs(generator):
    for _ in range(20):
        features = torch.randn(6, generator=generator, dtype=torch.float64).numpy()
        labels = torch.randn(6, generator=generator, dtype=torch.float64).numpy()
        norm = 2.0
        # |w f - y| is linear in w between its kinks: the largest value is at a kink or an end.
        kinks = np.clip(labels / features, -norm, norm)
        losses = np.abs(np.outer([-norm, norm, *kinks], features) - labels)
        signs = np.array(list(itertools.product((-1, 1), repeat=6)))
        exact = (losses @ signs.T).max(0).mean() / 6
        assert exact <= bounds.probe_rademacher(norm, 1, float((features**2).mean()), 6)


def test_norm_level__shares_out_the_probability():
    levels = [bounds.norm_level(2.0**j * 0.3, 0.05, base=0.3) for j in range(40)]
    assert [level.norm for level in levels] == pytest.approx([0.3 * 2.0**j for j in range(40)])
    total = sum(level.delta for level in levels)
    assert total == pytest.approx(0.05 * (1 - 1 / 41))
    assert bounds.norm_level(0.0, 0.05, base=0.3) == levels[0]
    assert bounds.norm_level(0.31, 0.05, base=0.3) == levels[1]


def test_rademacher_bound__by_hand():
    z = torch.tensor([[2.0], [2.0], [1.0], [1.0]], dtype=torch.float64)
    labels = torch.tensor([0, 0, 1, 1])
    probe = torch.tensor([[0.5, 0.0]], dtype=torch.float64)
    found = bounds.rademacher_bound(
        z, labels, 0.1, radius=2.0, n_classes=2, probe=probe, norm=3.0, second_moment=2.5
    )
    wrong = 0.5**2 + 1
    expected = (
        math.sqrt(2 * wrong) / 2,
        2 * 3 * math.sqrt(2 * 2 * 2.5 / 4),
        (3 * 2 + 1) * math.sqrt(math.log(10) / 8),
    )
    assert [float(value) for value in found[1:4]] == pytest.approx(expected)
    assert float(found.bound) == pytest.approx(sum(expected))
    assert found.norm == 3 and found.confidence == 0.9
    with pytest.raises(ValueError, match=r"norm must be at least that of the probe, 0\.5, got 0"):
        bounds.rademacher_bound(z, labels, 0.1, radius=2.0, n_classes=2, probe=probe, norm=0.4)
    grid = bounds.rademacher_bound(z, labels, 0.1, radius=2.0, n_classes=2, probe=3 * probe)
    assert grid.norm == 2.0  # levels 1/2, 1, 2: the third, with a twelfth of the probability
    assert float(grid.deviation) == pytest.approx(5 * math.sqrt(math.log(120) / 8))
    assert float(grid.complexity) == pytest.approx(2 * 2 * math.sqrt(2 * 2 * 4 / 4))


# --- the bound with a reference probe ---------------------------------------------------------


def _hidden(case, reference, risk, pairs, probe, **options):
    return bounds.hidden_label_bound(
        *case.sample,
        pairs,
        case.rho,
        0.05,
        radius=case.radius,
        reference=reference,
        reference_risk=risk,
        probe=probe,
        allow_missing=True,
        **options,
    )


def test_hidden_label_bound__terms_by_hand(generator):
    for case in cases(generator, 40):
        distance, sample, probe = _exact(case)
        reference = 0.5 * probe + 0.1 / case.radius
        found = _hidden(case, reference, 0.7, distance, probe)
        direct = bounds.probe_risk_bound(
            *sample, distance, case.rho, 0.05, radius=case.radius, allow_missing=True
        )
        apart = float(np.linalg.norm((probe - reference).numpy(), 2))
        hoeffding = math.sqrt(float(direct.spread) * math.log(20) / 2)
        lost = float(bounds.label_weights(sample.labels, case.rho, allow_missing=True).missing)
        largest = float(np.linalg.norm(reference.numpy(), 2)) * case.radius + 1
        expected = {
            "distance": apart,
            "invariance": apart * distance,
            "deviation": apart * 2 * case.radius * hoeffding,
            "pair_deviation": 0.0,
            "residual": float(direct.residual),
            "hidden": 1.4,
            "hidden_deviation": largest * hoeffding,
            "missing": apart * case.radius * lost,
        }
        for name, value in expected.items():
            assert float(getattr(found, name)) == pytest.approx(value, rel=1e-9, abs=1e-11), name
        assert float(found.bound) == pytest.approx(sum(float(term) for term in found[1:8]))


def test_hidden_label_bound__counts_every_probability(generator):
    case = next(iter(cases(generator, 1)))
    distance, _, probe = _exact(case)
    risk = bounds.rademacher_bound(
        *case.sample, 0.01, radius=case.radius, n_classes=len(case.rho), probe=probe
    )
    first = torch.arange(len(case.population.labels))
    pairs = (*[case.population.features[first]] * 2, case.population.labels)
    for given, extra in ((distance, 0.0), (pairs, 0.05)):
        assert _hidden(case, probe, 0.5, given, probe).confidence == pytest.approx(0.9 - extra)
        found = _hidden(case, probe, risk, given, probe)
        assert found.confidence == pytest.approx(0.89 - extra)
        assert float(found.hidden) == pytest.approx(2 * float(risk.bound))
        assert float(found.distance) == 0 == float(found.pair_deviation)


# --- invariance of predictions ----------------------------------------------------------------


def test_readout_bound__terms_by_hand(generator):
    case = next(iter(cases(generator, 1)))
    _, sample, probe = _exact(case)
    norm = 2 * float(probe.norm())
    options = {"radius": case.radius, "allow_missing": True}
    found = bounds.readout_bound(*sample, 0.3, case.rho, 0.05, norm=norm, **options)
    direct = bounds.probe_risk_bound(*sample, 0.3, case.rho, 0.05, **options)
    v, k = float(direct.spread), len(case.rho)
    expected = (
        0.3,
        float(direct.residual),
        4 * math.sqrt(2) * norm * case.radius * math.sqrt(k * v),
        2 * norm * case.radius * math.sqrt(v * math.log(20) / 2),
        0.0,
        float(direct.missing),
    )
    assert [float(value) for value in found[2:8]] == pytest.approx(expected)
    assert float(found.bound) == pytest.approx(sum(expected))
    assert float(found.proxy) == pytest.approx(sum(expected[:2]))
    z, y = case.population
    pairs = (z, z.roll(1, 0), y)
    sampled = bounds.readout_bound(*sample, pairs, case.rho, 0.05, norm=norm, **options)
    own = bounds.pair_invariance(z @ probe, z.roll(1, 0) @ probe, y, case.rho)
    assert float(sampled.invariance) == pytest.approx(float(own))
    spread = float(bounds.label_weights(y, case.rho).spread)
    width = 2 * float(direct.probe_norm) * case.radius * math.sqrt(spread * math.log(20) / 2)
    assert float(sampled.pair_deviation) == pytest.approx(width)
    assert sampled.confidence == pytest.approx(0.9) and found.confidence == 0.95


def test_readout_proxy__is_no_bound(generator):
    violations = 0
    for _ in range(20):
        population = bounds.clusters(4, 60, 64, spread=4.0, generator=generator)
        rho = bounds.label_frequencies(population.labels, 4)
        rows = torch.cat([60 * y + torch.randperm(60, generator=generator)[:3] for y in range(4)])
        sample = (population.features[rows], population.labels[rows])  # K = 4, n = 12, d = 64
        probe = bounds.minimum_norm_probe(sample[0], bounds.one_hot(sample[1], 4))
        own = bounds.readout_invariance(probe, *population)
        found = bounds.readout_bound(*sample, own, rho, 0.05, radius=1.0, probe=probe)
        risk = float(bounds.probe_risk(probe, *population))
        violations += risk > float(found.proxy)
        assert risk <= float(found.bound)
    assert violations == 20


# --- the informal form and the memoriser ------------------------------------------------------


def test_informal_bound__without_its_constant_is_false(generator):
    population = bounds.clusters(5, 60, 400, spread=3.0, generator=generator)
    hidden = bounds.draw(population, 150, generator=generator)
    rows = bounds.draw(population, 40, generator=generator)
    for scale in (1.0, 1e-3):
        z, y = scale * population.features, population.labels
        distance = bounds.class_invariance(z, y)
        found = bounds.informal_bound(z[rows], y[rows], z[hidden], y[hidden], distance, n_classes=5)
        probe = bounds.minimum_norm_probe(z[rows], bounds.one_hot(y[rows], 5))
        risk = float(bounds.probe_risk(probe, z, y))
        assert float(found.hidden) + float(found.residual) < 1e-9  # more features than images
        # The first case holds and the second is the same probe in other units: no theorem.
        assert (risk <= float(found.total)) == (scale == 1)
        rho = bounds.label_frequencies(y, 5)
        direct = bounds.probe_risk_bound(
            z[rows], y[rows], float(distance), rho, 0.05, radius=scale, allow_missing=True
        )
        assert risk <= float(direct.bound)


@pytest.mark.parametrize(("classes", "images"), [(20, 3), (60, 5), (100, 4)])
def test_memoriser__refutes_pairs_of_views(classes, images):
    population, rows = bounds.memoriser(classes, images)
    rho = torch.full((classes,), 1 / classes, dtype=torch.float64)
    sample = (population.features[rows], population.labels[rows])
    limits = bounds.memoriser_limits(classes, images, 0.05)
    options = {"radius": 1.0, "test": population}
    views = bounds.probe_risk_bound(*sample, 0.0, rho, 0.05, **options)
    assert float(views.probe_norm) == pytest.approx(1) and float(views.residual) < 1e-12
    assert float(views.bound) == pytest.approx(limits.view_bound)
    assert float(views.risk) == pytest.approx(limits.risk) == 1 - 1 / images
    assert float(views.risk) > float(views.bound)
    distance = bounds.class_invariance(*population)
    assert float(distance) == pytest.approx(limits.class_invariance)
    pairs = bounds.probe_risk_bound(*sample, distance, rho, 0.05, **options)
    assert float(pairs.risk) <= float(pairs.bound)
    complexity = bounds.rademacher_bound(*sample, 0.05, radius=1.0, n_classes=classes)
    assert complexity.norm >= math.sqrt(classes) * (1 - 1e-12)
    assert float(pairs.risk) <= float(complexity.bound)  # a bound that no invariance enters


def test_memoriser__with_few_classes_refutes_nothing():
    population, _ = bounds.memoriser(2, 100)
    rows = torch.cat([torch.arange(10), 100 + torch.arange(10)])
    rho = torch.tensor([0.5, 0.5], dtype=torch.float64)
    found = bounds.probe_risk_bound(
        population.features[rows],
        population.labels[rows],
        0.0,
        rho,
        0.05,
        radius=1.0,
        test=population,
    )
    assert float(found.probe_norm) == pytest.approx(math.sqrt(10))  # the root of a class's labels
    assert float(found.bound) == pytest.approx(2 * math.sqrt(math.log(20) / 4))
    assert float(found.risk) == pytest.approx(0.9) and float(found.risk) < float(found.bound)


def test_clusters__have_classes_on_the_sphere(generator):
    found = bounds.clusters(3, 7, 5, spread=0.0, generator=generator)
    assert found.labels.tolist() == [0] * 7 + [1] * 7 + [2] * 7
    assert float(bounds.class_invariance(*found)) < 1e-15
    rows = bounds.draw(found, 5000, generator=generator)
    assert int(rows.min()) >= 0 and int(rows.max()) < 21 and len(torch.unique(rows)) == 21


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: bounds.memoriser(0, 2), "classes must be at least 1"),
        (lambda: bounds.memoriser(2, 2, dtype=torch.float16), "dtype must be one of"),
        (lambda: bounds.memoriser_limits(2, 2, 1.5), "delta must lie"),
        (lambda: bounds.clusters(2, 2, 2, spread=-1, generator=None), "spread must not"),
        (lambda: bounds.draw(bounds.memoriser(1, 1)[0], 0, generator=None), "size must be"),
        (lambda: bounds.norm_level(1.0, 0.1, base=0.0), "base must be positive"),
        (lambda: bounds.norm_level(1.0, 2.0, base=1.0), "delta must lie"),
        (lambda: bounds.probe_rademacher(1.0, 0, 1.0, 5), "outputs must be at least 1"),
        (lambda: bounds.hoeffding_deviation(-1.0, 0.1, 0.1), "width must not be negative"),
        (lambda: bounds.pair_invariance(torch.ones(2, 2), torch.ones(3, 2)), "same shape"),
        (
            lambda: bounds.pair_invariance(torch.ones(1, 2), torch.ones(1, 2), torch.tensor([0])),
            "given together",
        ),
    ],
)
def test_bounds__refuse_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_hidden_label_bound__refuses_a_reference_of_another_shape():
    z, y, rho = torch.eye(2), torch.tensor([0, 1]), torch.tensor([0.5, 0.5])
    options = {"radius": 1.0, "reference_risk": 0.5}
    with pytest.raises(ValueError, match="reference must have 2 rows"):
        bounds.hidden_label_bound(z, y, 0.1, rho, 0.1, reference=torch.ones(3, 2), **options)
    with pytest.raises(ValueError, match="reference and probe must have the same shape"):
        bounds.hidden_label_bound(z, y, 0.1, rho, 0.1, reference=torch.ones(2, 3), **options)
    with pytest.raises(ValueError, match="reference_risk must not be negative"):
        bounds.hidden_label_bound(
            z, y, 0.1, rho, 0.1, radius=1.0, reference=torch.eye(2), reference_risk=-0.1
        )


def test_rademacher_bound__names_the_number_of_classes_with_label_vectors_too():
    with pytest.raises(ValueError, match="n_classes must be at least 1, got 0"):
        bounds.rademacher_bound(torch.eye(2), torch.eye(2), 0.1, radius=2.0, n_classes=0)


def test_readout_bound__misses_no_class_unless_told_so():
    z, labels, rho = torch.eye(2), torch.zeros(2, dtype=torch.int64), torch.tensor([0.5, 0.5])
    with pytest.raises(ValueError, match=r"classes \[1\] are missing"):
        bounds.readout_bound(z, labels, 0.1, rho, 0.1, radius=1.0)
    found = bounds.readout_bound(z, labels, 0.1, rho, 0.1, radius=1.0, allow_missing=True)
    # The probe of labels (1, 0) is [[1, 0], [1, 0]], of operator norm sqrt(2): half the mass.
    assert float(found.missing) == pytest.approx(0.5 * (math.sqrt(2) + 1), rel=1e-6)
