"""Tests of the proved risk bound: every term, no violation, and what breaks without a term."""

import math

import numpy as np
import pytest
import torch
from bounds_cases import Case, by_loops, cases
from scipy import stats as scipy_stats
from torch import nn

from vcreg_theory import bounds, seeding

# Small enough that no violation of a theorem is to be expected in a thousand cases: the proofs
# allow each with probability delta at most, so 1,200 fail with probability below 1e-3 all together.
CASES, DELTA = 1200, 2e-7


def _bound(case, delta=0.05, **options):
    exact = bounds.class_invariance(*case.population)
    return bounds.probe_risk_bound(
        *case.sample,
        float(exact),
        case.rho,
        delta,
        radius=case.radius,
        test=case.population,
        allow_missing=True,
        **options,
    )


def test_hoeffding_deviation__by_hand():
    expected = 3 * math.sqrt(0.02 * math.log(20) / 2)
    assert float(bounds.hoeffding_deviation(3.0, 0.02, 0.05)) == pytest.approx(expected, rel=1e-15)


def test_hoeffding_deviation__holds_exactly_and_half_of_it_does_not():
    broken = 0
    for n in (1, 2, 5, 20):
        for p in (0.05, 0.2, 0.5):
            for delta in (0.001, 0.02, 0.1):
                deviation = float(bounds.hoeffding_deviation(1.0, 1 / n, delta))
                for factor in (1.0, 0.5):  # the binomial law of a mean of n zeros and ones
                    limit = math.floor(n * (p + factor * deviation) + 1e-12)
                    tail = scipy_stats.binom.sf(limit, n, p)
                    if factor == 1:
                        assert tail <= delta
                    else:
                        broken += tail > delta
    assert broken >= 5


def test_probe_risk_bound__terms_are_those_of_the_proof(generator):
    for case in cases(generator, 60):
        found = _bound(case)
        probe = bounds.minimum_norm_probe(
            case.sample.features, bounds.one_hot(case.sample.labels, len(case.rho))
        )
        expected = by_loops(case, probe.numpy(), 0.05)
        for name in ("invariance", "deviation", "residual", "missing", "training_risk", "risk"):
            value = float(getattr(found, name))
            # Sums of a few thousand terms, at a condition number that the probe's norm shows.
            assert value == pytest.approx(expected[name], rel=1e-9, abs=1e-12), name
        assert float(found.bound) == pytest.approx(sum(float(term) for term in found[1:6]))
        assert float(found.pair_deviation) == 0 and found.confidence == 0.95
        assert float(found.training_risk) <= float(found.residual) * (1 + 1e-12)


def test_probe_risk_bound__step_one_holds_for_every_probe(generator):
    checked = 0
    for case in cases(generator, CASES):
        if len(torch.unique(case.sample.labels)) < len(case.rho):
            continue
        scale = 1 / case.radius
        probe = scale * torch.randn(
            case.population.features.shape[1],
            len(case.rho),
            generator=generator,
            dtype=torch.float64,
        )
        step = by_loops(case, probe.numpy(), 0.5)
        # Without randomness: the risk is at most the weighted errors plus the weighted distances.
        middle = step["training_risk"] + step["norm"] * step["phi"]
        assert step["risk"] <= middle * (1 + 1e-12)
        checked += 1
    assert checked >= 900


def test_probe_risk_bound__step_one_can_be_an_equality():
    population, rho = _outlier(), torch.ones(1, dtype=torch.float64)
    case = Case(population, torch.tensor([0]), rho, 1.0)
    step = by_loops(case, np.array([[-1.0]]), 0.5)  # fits the outlier, and errs by 2 elsewhere
    assert step["training_risk"] == 0 and step["risk"] == pytest.approx(1.6)
    assert step["norm"] * step["phi"] == pytest.approx(1.6)


def test_probe_risk_bound__has_no_violation(generator):
    worst = max(
        float(f.risk / f.bound) for f in (_bound(c, DELTA) for c in cases(generator, CASES))
    )
    assert 0 < worst <= 1


def test_probe_risk_bound__holds_for_a_probe_chosen_after_the_sample(generator):
    for case in cases(generator, 50):
        for factor in (0.0, 0.3, 5.0):
            probe = bounds.minimum_norm_probe(
                case.population.features, bounds.one_hot(case.population.labels, len(case.rho))
            )
            found = _bound(case, DELTA, probe=factor * probe)
            assert float(found.risk) <= float(found.bound)
            assert float(found.probe_norm) == pytest.approx(
                factor * float(torch.linalg.matrix_norm(probe, 2)), rel=1e-12, abs=1e-14
            )


def _outlier(p=0.2, images=10):
    """One class in one dimension, of which a share of the images has the opposite feature."""
    features = torch.ones(images, 1, dtype=torch.float64)
    features[: round(p * images)] = -1
    return bounds.Population(features, torch.zeros(images, dtype=torch.int64))


def test_probe_risk_bound__without_its_deviation_is_false():
    population, rho = _outlier(), torch.ones(1, dtype=torch.float64)
    exact = float(bounds.class_invariance(*population))
    assert exact == pytest.approx(4 * 0.2 * 0.8)
    violations = 0
    for row in range(10):  # every sample of size one, equally likely
        sample = (part[row : row + 1] for part in population)
        found = bounds.probe_risk_bound(*sample, exact, rho, 0.05, radius=1.0, test=population)
        assert float(found.risk) <= float(found.bound)
        violations += float(found.risk) > float(found.bound - found.deviation)
    assert violations == 2 > 0.05 * 10


def test_probe_risk_bound__pays_for_missing_classes():
    features = torch.eye(2, dtype=torch.float64)[[0] * 50 + [1] * 50]
    population = bounds.Population(features, torch.tensor([0] * 50 + [1] * 50))
    rho = torch.tensor([0.5, 0.5], dtype=torch.float64)
    sample = (features[:50].repeat(20, 1), population.labels[:50].repeat(20))
    options = {"radius": 1.0, "test": population}
    with pytest.raises(ValueError, match=r"\[1\] are missing; allow_missing=True"):
        bounds.probe_risk_bound(*sample, 0.0, rho, 0.05, **options)
    found = bounds.probe_risk_bound(*sample, 0.0, rho, 0.05, **options, allow_missing=True)
    assert float(found.missing) == pytest.approx(0.5 * 2)
    assert float(found.bound - found.missing) < float(found.risk) == pytest.approx(0.5)
    assert float(found.risk) <= float(found.bound)


def test_probe_risk_bound__with_sampled_pairs(generator):
    population = bounds.clusters(3, 40, 5, spread=1.0, generator=generator)
    rho = bounds.label_frequencies(population.labels, 3)
    rows = bounds.draw(population, 60, generator=generator)
    firsts = bounds.draw(population, 30, generator=generator)
    seconds = 40 * population.labels[firsts] + torch.randint(40, (30,), generator=generator)
    classes = population.labels[firsts]
    pairs = (population.features[firsts], population.features[seconds], classes)
    found = bounds.probe_risk_bound(
        population.features[rows], population.labels[rows], pairs, rho, 0.05, radius=1.0
    )
    counts = torch.bincount(classes, minlength=3).double()
    distance = (pairs[0] - pairs[1]).norm(dim=1)
    expected = sum(float(rho[y] * distance[classes == y].mean()) for y in range(3))
    assert float(found.mean_distance) == pytest.approx(expected)
    spread = float((rho.square() / counts).sum())
    width = float(found.probe_norm) * 2 * math.sqrt(spread * math.log(20) / 2)
    assert float(found.pair_deviation) == pytest.approx(width)
    assert found.confidence == pytest.approx(0.9)
    alone = [part[classes > 0] for part in pairs]
    short = bounds.probe_risk_bound(
        population.features[rows],
        population.labels[rows],
        tuple(alone),
        rho,
        0.05,
        radius=1.0,
        allow_missing=True,
    )
    assert float(short.missing) == pytest.approx(float(short.probe_norm) * 2 * float(rho[0]))


def test_probe_risk_bound__does_not_depend_on_the_scale_of_features(generator):
    case = next(cases(generator, 1))
    scaled = case._replace(
        population=bounds.Population(1e-3 * case.population.features, case.population.labels),
        radius=1e-3 * case.radius,
    )
    for name, value in _bound(scaled)._asdict().items():
        if name not in ("probe_norm", "mean_distance"):
            assert float(value) == pytest.approx(float(getattr(_bound(case), name)), rel=1e-9)


def test_probe_risk_bound__with_a_model_is_that_of_its_features(generator):
    with seeding.initialisation(0):
        model = nn.Sequential(nn.Flatten(), nn.Linear(12, 4), nn.ReLU())
    images = torch.rand(40, 3, 2, 2, generator=generator)
    labels = torch.arange(2).repeat(20)
    rho = torch.tensor([0.5, 0.5])
    parts = (images[:20], labels[:20], (images[20:30], images[30:], labels[:10]))
    encoded = bounds.probe_risk_bound(
        *parts, rho, 0.05, radius=4.0, model=model, test=(images, labels)
    )
    h = model(images).detach()
    plain = bounds.probe_risk_bound(
        h[:20],
        labels[:20],
        (h[20:30], h[30:], labels[:10]),
        rho,
        0.05,
        radius=4.0,
        test=(h, labels),
    )
    for one, other in zip(encoded, plain, strict=True):
        assert float(one) == pytest.approx(float(other), rel=1e-5)


# --- invariance terms -------------------------------------------------------------------------


def test_class_invariance__by_hand_and_by_blocks(monkeypatch, generator):
    z = torch.tensor([[0.0], [3.0], [1.0]], dtype=torch.float64)
    labels = torch.tensor([0, 0, 1])
    rho = torch.tensor([0.25, 0.75], dtype=torch.float64)
    assert float(bounds.class_invariance(z, labels, rho)) == pytest.approx(0.25 * 1.5)
    many = torch.randn(50, 3, generator=generator, dtype=torch.float64)
    whole = bounds.class_invariance(many, torch.arange(50) % 3)
    monkeypatch.setattr("vcreg_theory.bounds.invariance._BLOCK", 4)
    torch.testing.assert_close(bounds.class_invariance(many, torch.arange(50) % 3), whole)


def test_pair_invariance__estimates_the_class_invariance(generator):
    population = bounds.clusters(4, 30, 6, spread=0.7, generator=generator)
    exact = float(bounds.class_invariance(*population))
    firsts = bounds.draw(population, 20_000, generator=generator)
    seconds = 30 * population.labels[firsts] + torch.randint(30, (20_000,), generator=generator)
    distances = (population.features[firsts] - population.features[seconds]).norm(dim=1)
    found = bounds.pair_invariance(population.features[firsts], population.features[seconds])
    assert float(found) == pytest.approx(float(distances.mean()))
    standard_error = float(distances.std()) / math.sqrt(20_000)
    assert abs(float(found) - exact) < 3.5 * standard_error  # two-sided probability 5e-4


def test_readout_invariance__is_at_most_norm_times_invariance(generator):
    for case in cases(generator, 100):
        probe = torch.randn(
            case.population.features.shape[1], 3, generator=generator, dtype=torch.float64
        )
        left = bounds.readout_invariance(probe, *case.population, case.rho)
        right = torch.linalg.matrix_norm(probe, 2) * bounds.class_invariance(*case.population)
        assert float(left) <= float(right) * (1 + 1e-12)
    z, y = case.population
    one = bounds.readout_invariance(torch.eye(z.shape[1], dtype=torch.float64), z, y)
    torch.testing.assert_close(one, bounds.class_invariance(z, y))


# --- dtype, device, gradient, errors ----------------------------------------------------------


def test_probe_risk_bound__gradient(generator):
    rho = torch.tensor([0.6, 0.4], dtype=torch.float64)
    labels = torch.tensor([0, 1, 0, 1, 1])
    z, a, b = (torch.randn(5, 3, generator=generator, dtype=torch.float64) for _ in range(3))

    def bound(z, a, b):
        return bounds.probe_risk_bound(z, labels, (a, b, labels), rho, 0.1, radius=9.0)[:10]

    assert torch.autograd.gradcheck(bound, [part.requires_grad_() for part in (z, a, b)])
    assert torch.autograd.gradcheck(lambda z: bounds.class_invariance(z, labels), z)


@pytest.mark.parametrize("device", ["cpu"] + ["cuda"] * torch.cuda.is_available())
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_bounds__keep_dtype_and_device(device, dtype, generator):
    z = torch.randn(12, 3, generator=generator, dtype=torch.float64).to(dtype)
    labels, rho = torch.arange(2).repeat(6), torch.tensor([0.5, 0.5])
    wanted = torch.float32 if dtype == torch.float16 else dtype

    def everything(z, labels, rho):
        pairs = (z[:6], z[6:], labels[:6])
        options = {"radius": 9.0, "allow_missing": True}
        first = bounds.probe_risk_bound(z, labels, pairs, rho, 0.1, **options, test=(z, labels))
        probe = bounds.minimum_norm_probe(z, bounds.one_hot(labels, 2))
        hidden = bounds.hidden_label_bound(
            z, labels, pairs, rho, 0.1, reference=probe, reference_risk=0.5, **options
        )
        readout = bounds.readout_bound(z, labels, pairs, rho, 0.1, **options)
        complexity = bounds.rademacher_bound(z, labels, 0.1, radius=9.0, n_classes=2)
        informal = bounds.informal_bound(z, labels, z, labels, 0.2, n_classes=2)
        numbers = (*first[:11], *hidden[:9], *readout[:8], *complexity[:4], *informal)
        norm = bounds.probe_norm_bound(z, bounds.one_hot(labels, 2))
        return [*numbers, *norm, probe, bounds.residual_projector(z)]

    with torch.autocast(device, dtype=torch.bfloat16):
        found = everything(z.to(device), labels.to(device), rho.to(device))
    exact = everything(z.double(), labels, rho.double())
    for value, expected in zip(found, exact, strict=True):
        assert value.dtype == wanted and value.device.type == device
        # Computed in float64 from inputs that are the same: only the result is rounded.
        torch.testing.assert_close(
            value.cpu().double(), expected, rtol=8 * torch.finfo(wanted).eps, atol=1e-7
        )


def _call(**changes):
    rho = torch.tensor([0.5, 0.5])
    arguments = {
        "features": torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]),
        "labels": torch.tensor([0, 1, 1]),
        "pairs": (torch.ones(2, 2), torch.zeros(2, 2), torch.tensor([0, 1])),
        "rho": rho,
        "delta": 0.05,
        "radius": 2.0,
    } | changes
    return bounds.probe_risk_bound(**arguments)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"delta": 0.0}, "delta must lie strictly between 0 and 1"),
        ({"delta": 1.0}, "delta must lie strictly between 0 and 1"),
        ({"radius": 1.2}, "radius must be at least .* features has a row of norm 1.41"),
        ({"radius": -1.0}, "radius must be positive"),
        ({"rho": torch.tensor([0.5, 0.4])}, "rho must be probabilities with sum 1"),
        ({"rho": torch.tensor([0.5, math.nan])}, "rho must be finite"),
        ({"rho": torch.tensor([[0.5, 0.5]])}, "rho must have 1 dimensions"),
        ({"rho": torch.tensor([0.5, 0.3, 0.2])}, r"classes \[2\] are missing"),
        ({"labels": torch.tensor([0, 1])}, r"labels must have shape \(3,\)"),
        ({"labels": torch.tensor([0, 1, 2])}, "labels must lie in 0 to 1"),
        ({"features": torch.full((3, 2), math.inf)}, "features must be finite"),
        ({"features": torch.ones(3)}, "features must have 2 dimensions"),
        ({"pairs": -1.0}, "pairs must not be negative"),
        ({"pairs": math.nan}, "pairs must be finite"),
        ({"pairs": (torch.ones(2, 2), torch.ones(2, 2))}, "got 2 parts"),
        ({"pairs": (torch.ones(2, 3),) * 2 + (torch.tensor([0, 1]),)}, "must have 2 columns"),
        ({"pairs": (torch.ones(2, 2),) * 2 + (torch.tensor([0, 0]),)}, "are missing"),
        ({"probe": torch.ones(3, 2)}, "probe must have 2 rows"),
        ({"probe": torch.ones(2, 3)}, "probe must have 2 columns"),
        ({"test": (torch.ones(4, 3), torch.zeros(4))}, "test must have 2 columns"),
    ],
)
def test_probe_risk_bound__refuses_bad_input(changes, message):
    with pytest.raises(ValueError, match=message):
        _call(**changes)


@pytest.mark.parametrize(
    "changes", [{"delta": "0.1"}, {"features": np.ones((3, 2))}, {"labels": torch.ones(3)}]
)
def test_probe_risk_bound__refuses_wrong_types(changes):
    with pytest.raises(TypeError):
        _call(**changes)
