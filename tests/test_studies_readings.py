"""Tests of what is read from studies: columns, intervals, rankings and power; and of the files."""

import math

import numpy as np
import pytest
import torch
from scipy import stats as scipy_stats

from vcreg_theory import seeding, studies
from vcreg_theory.studies import factors, power, reading, transfer

CONTENT = {
    "design": {"cells": {"a": {}, "b": {}, "c": {}}},
    "rows": {
        f"{cell}-s{seed}": {"cell": cell, "seed": seed, "after": {"hsic": value + seed}}
        for cell, value in (("b", 10.0), ("a", 1.0))
        for seed in (11, 2, 30)
    },
}


def test_column__is_in_the_order_of_the_seeds():
    assert studies.column(CONTENT, "a", "after.hsic").tolist() == [3.0, 12.0, 31.0]
    assert list(studies.means(CONTENT, "after.hsic")) == ["a", "b"]
    assert studies.means(CONTENT, "after.hsic")["b"] == pytest.approx(10 + 43 / 3)


@pytest.mark.parametrize(
    ("cell", "path", "message"),
    [
        ("d", "after.hsic", "cell must be one of"),
        ("c", "after.hsic", "no finished row"),
        ("a", "after.none", "a-s2 has no figure 'after.none'"),
        ("a", "after.hsic.x", "has no figure"),
    ],
)
def test_column__names_what_is_missing(cell, path, message):
    with pytest.raises(ValueError, match=message):
        studies.column(CONTENT, cell, path)


def test_intervals__of_differences_and_ratios_are_students():
    x, y = np.array([2.0, 3.0, 7.0, 4.0]), np.array([1.0, 2.5, 3.0, 5.0])
    found = studies.difference_interval(x, y, 0.9)
    peer = scipy_stats.ttest_rel(x, y).confidence_interval(0.9)
    assert (found.low, found.high) == pytest.approx((peer.low, peer.high))
    found = studies.ratio_interval(x, y, 0.9)
    peer = scipy_stats.ttest_rel(np.log(x), np.log(y)).confidence_interval(0.9)
    assert (found.low, found.high) == pytest.approx((math.exp(peer.low), math.exp(peer.high)))
    assert studies.ratio_interval(5 * x, y).estimate == pytest.approx(
        5 * studies.ratio_interval(x, y).estimate
    )


def test_intervals__reject_bad_pairs():
    with pytest.raises(ValueError, match="same size"):
        studies.difference_interval([1.0, 2.0], [1.0, 2.0, 3.0])
    with pytest.raises(ValueError, match="y must be positive"):
        studies.ratio_interval([1.0, 2.0], [1.0, 0.0])
    with pytest.raises(ValueError, match="x must be positive"):
        studies.prediction_interval([1.0, -2.0])
    with pytest.raises(ValueError, match="at least 2"):
        studies.prediction_interval([1.0])


def test_prediction_interval__covers_the_next_draw_as_often_as_it_says():
    rng = seeding.numpy_generator(0, "prediction")
    draws = np.exp(0.3 * rng.normal(size=(1500, 6)))
    inside = sum(
        found.low <= row[5] <= found.high
        for row in draws
        for found in [studies.prediction_interval(row[:5], 0.9)]
    )
    # exact for normal logarithms, so the count is binomial; fails once in a thousand fresh seeds
    assert scipy_stats.binomtest(inside, 1500, 0.9).pvalue > 1e-3


def test_ranking__is_scipys_and_its_test_is_exact_in_size():
    rng = seeding.numpy_generator(1, "ranking")
    x, y = rng.normal(size=(2, 18))
    found = studies.ranking(x, y, n_resamples=999)
    assert found.interval.estimate == pytest.approx(scipy_stats.spearmanr(x, y).statistic)
    exact = scipy_stats.spearmanr(x, y).pvalue  # the t approximation, good at 18 pairs
    assert found.pvalue == pytest.approx(exact, abs=0.06)  # 4 binomial deviations at most, .016
    assert studies.ranking(x, x, n_resamples=999).pvalue == 1 / 1000
    pvalues = [studies.ranking(x, v, n_resamples=99).pvalue for v in rng.normal(size=(200, 18))]
    rejected = int((np.array(pvalues) <= 0.1).sum())
    assert scipy_stats.binomtest(rejected, 200, 0.1).pvalue > 1e-3  # a valid size


def test_ranking__does_not_change_under_monotone_maps():
    rng = seeding.numpy_generator(2, "ranking")
    x, y = rng.normal(size=(2, 18))
    assert studies.ranking(x, y, n_resamples=99) == studies.ranking(np.exp(x), y**3, n_resamples=99)


def test_partial_ranking__is_the_correlation_of_residual_ranks():
    rng = seeding.numpy_generator(3, "partial")
    z = rng.normal(size=40)
    x, y = z + rng.normal(size=40), -z + rng.normal(size=40)
    ranks = [scipy_stats.rankdata(v) for v in (x, y, z)]
    design = np.column_stack([np.ones(40), ranks[2]])
    residual = [v - design @ np.linalg.lstsq(design, v, rcond=None)[0] for v in ranks[:2]]
    wanted = np.corrcoef(*residual)[0, 1]
    found = studies.partial_ranking(x, y, z, n_resamples=199)
    assert found.estimate == pytest.approx(wanted, abs=1e-12)
    assert found.low < found.estimate < found.high
    with pytest.raises(ValueError, match="in one way"):
        studies.partial_ranking(x, y, np.exp(x))


def test_rank_difference__signs_and_errors():
    rng = seeding.numpy_generator(4, "difference")
    y = rng.normal(size=60)
    weak, strong = y + 3 * rng.normal(size=60), -y + 0.1 * rng.normal(size=60)
    found = studies.rank_difference(weak, strong, y, n_resamples=499)
    wanted = [abs(scipy_stats.spearmanr(v, y).statistic) for v in (weak, strong)]
    assert found.estimate == pytest.approx(wanted[1] - wanted[0])
    assert 0 < found.low < found.high
    with pytest.raises(ValueError, match="same size"):
        studies.rank_difference(weak[:-1], strong, y)
    with pytest.raises(ValueError, match="must vary"):
        studies.rank_difference(weak, strong, np.ones(60))


def test_models_needed__inverts_the_detectable_correlation():
    for n in (5, 18, 31, 200):
        edge = studies.detectable_correlation(n)
        assert studies.models_needed(edge * (1 + 1e-9)) == n
        assert studies.models_needed(edge * (1 - 1e-6)) == n + 1
        assert studies.models_needed(-edge * (1 + 1e-9)) == n
    assert studies.models_needed(0.5) == 31 and round(studies.detectable_correlation(18), 2) == 0.63
    assert studies.models_needed(0.5, power=0.9) > 31 > studies.models_needed(0.5, level=0.1)


def test_rank_test_power__is_the_level_without_correlation_and_matches_scipy():
    rng = seeding.numpy_generator(5, "power")
    rejected, draws = studies.rank_test_power(31, 0.0, generator=rng, draws=4000)
    assert scipy_stats.binomtest(rejected, draws, 0.05).pvalue > 1e-3
    state = np.random.default_rng(9)
    rejected, draws = studies.rank_test_power(12, 0.6, generator=state, draws=150)
    x, e = np.random.default_rng(9).standard_normal((2, 150, 12))
    r = 2 * math.sin(math.pi * 0.1)
    pairs = zip(x, r * x + math.sqrt(1 - r * r) * e, strict=True)
    assert rejected == sum(scipy_stats.spearmanr(*pair).pvalue <= 0.05 for pair in pairs)


def test_power__rejects_bad_options():
    for value in (0.0, 1.0, -1.0):
        with pytest.raises(ValueError, match="correlation must"):
            studies.models_needed(value)
    with pytest.raises(ValueError, match="above half the level"):
        studies.models_needed(0.5, power=0.02)
    with pytest.raises(ValueError, match="models must be"):
        studies.detectable_correlation(3)
    assert power.SPREAD == 1.06


# --- the two studies -----------------------------------------------------------------------------


def test_factors__the_mixture_has_one_scale_and_streams():
    x, y = factors.mixed_factors(4000, seed=1), factors.mixed_factors(4000, seed=1, stream="fresh")
    assert x.dtype == torch.float32 and x.shape == (4000, 32) and not torch.equal(x, y)
    assert torch.equal(x, factors.mixed_factors(4000, seed=1))
    # means and deviations of 4,000 draws against those of 4,096 others: 5 standard errors
    assert float(x.mean(0).abs().max()) < 5 * (2 / 4000) ** 0.5
    assert float((x.std(0) - 1).abs().max()) < 0.08
    values = torch.linalg.eigvalsh(torch.cov(x.double().T))
    assert float(values[:20].sum() / values.sum()) < 0.05  # eight factors, mildly bent


def test_studies__cells_have_unique_names_and_equal_weighted_widths():
    for made in studies.STUDIES.values():
        assert len({cell.name for cell in made.cells}) == len(made.cells)
        assert made.keys()[0][1] == made.seeds[0] == 100
    by_name = {cell.name: cell for cell in factors.CELLS}
    matched = ("random-16-matched", "random-64-matched", "random-512")
    assert {by_name[name].weighted_width for name in matched} == {512}
    assert by_name["random-512-weak"].weighted_width == by_name["random-16"].weighted_width == 16
    assert len(transfer.CELLS) == 18


def test_transfer__parts_are_disjoint_in_class_and_views_keep_the_shape():
    seen, unseen = transfer.digit_parts()
    assert set(seen.train.labels.tolist()) == set(range(5)) == set(seen.test.labels.tolist())
    assert set(unseen.train.labels.tolist()) == set(range(5, 10))
    assert sum(len(part.images) for group in (seen, unseen) for part in group) == 1797
    images = seen.train.images[:4]
    view = transfer.views(images, generator=seeding.torch_generator(0, "view"))
    assert view.shape == images.shape and not torch.equal(view, images)


def test_transfer__measures_an_encoder_with_or_without_mnist(monkeypatch):
    monkeypatch.setattr(transfer, "small_mnist", lambda: None)
    found = transfer.measure(transfer.encoder(0), seed=0)
    assert found == transfer.measure(transfer.encoder(0), seed=0)
    assert found["accuracy"].pop("mnist") is None
    assert set(found["accuracy"]) == set(transfer.PROBES) - {"mnist"}
    assert all(0.4 < value <= 1 for value in found["accuracy"].values())
    assert found["accuracy"]["noise"] < found["accuracy"]["in_domain"]
    _, unseen = transfer.digit_parts()
    monkeypatch.setattr(transfer, "small_mnist", lambda: unseen)
    again = transfer.measure(transfer.encoder(0), seed=0)["accuracy"]
    assert again["mnist"] == again["unseen"]


def test_stored_studies__are_whole_and_of_the_design():
    for name, made in studies.STUDIES.items():
        content = studies.read(name)
        assert content["design"] == made.design
        for cell in made.cells:
            stored = reading.rows(content, cell.name)
            assert [row["seed"] for row in stored] == list(made.seeds)
            assert len(studies.digest(stored)) == 64
