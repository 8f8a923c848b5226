"""Tests of the solver's parts: cells, projectors, scores, steps, gains, and their theorem."""

import warnings

import numpy as np
import pytest
import torch
from sklearn.exceptions import ConvergenceWarning

from vcreg_theory import ica, seeding
from vcreg_theory.ica import cells, coarse, dependence, projector, scores, solver, steps
from vcreg_theory.ica.anderson import Anderson
from vcreg_theory.ica.options import Options
from vcreg_theory.ica.progress import Progress

DEVICES = ["cpu"] + ["cuda"] * torch.cuda.is_available()


def _standard(sources, n, stream, device="cpu"):
    s = ica.sample_sources(sources, n, seeding.numpy_generator(0, stream)).T
    y = torch.from_numpy((s - s.mean(1, keepdims=True)) / s.std(1, keepdims=True))
    return y.to(device)


@pytest.fixture(params=DEVICES)
def tabulated(request):
    """Samples, some of them beyond the grid, their cells and sums, and tables of features."""
    y = _standard([ica.laplace(), ica.student_t(2.5), ica.uniform()], 700, "cells", request.param)
    assert (y.abs() > 4).any()
    where = cells.locate(y)
    found = cells.sums(where, 3)
    return y, where, found, projector.features("tanh", 5, found)


def _dense(y, table):
    """The tabulated features at the samples by interpolation and extrapolation, (d, k, n)."""
    u = (y - cells.LOWEST) / cells.STEP
    left = u.floor().clamp(0, cells.CELLS - 1).long()
    out = []
    for row, places, u_row in zip(table, left, u, strict=True):
        low, high = row[:, places], row[:, places + 1]
        out.append(low + (high - low) * (u_row - places))
    return torch.stack(out)


def test_moments__are_those_of_dense_features(tabulated):
    y, _, found, table = tabulated
    dense = _dense(y, table)
    n = y.shape[1]
    moment = cells.moments(found, table)
    centred = dense - dense.mean(2, keepdim=True)
    # Sums of 700 terms of order up to 100: rounding of 1e-12.
    torch.testing.assert_close(moment.mean, dense.mean(2), rtol=0, atol=1e-11)
    torch.testing.assert_close(moment.covariance, centred @ centred.mT / n, rtol=0, atol=1e-10)
    slopes = (_dense(y + 1e-7, table) - _dense(y - 1e-7, table)).mean(2) / 2e-7
    torch.testing.assert_close(moment.slope, slopes, rtol=0, atol=1e-2)  # near nodes: one of two
    torch.testing.assert_close(moment.slope[:, 0], torch.ones_like(moment.slope[:, 0]))


def test_evaluate__interpolates_and_extrapolates(tabulated):
    y, where, _, table = tabulated
    found = cells.evaluate(where, table[:, 2])
    torch.testing.assert_close(found, _dense(y, table)[:, 2], rtol=0, atol=1e-12)
    torch.testing.assert_close(cells.evaluate(where, table[:, 0]), y, rtol=0, atol=1e-12)


def test_quantiles__are_those_of_the_sample_to_a_cell(tabulated):
    y, _, found, _ = tabulated
    levels = torch.tensor([0.1, 0.5, 0.8], dtype=y.dtype, device=y.device)
    expected = torch.quantile(y, levels, dim=1).T
    error = (cells.quantiles(found, levels) - expected).abs()
    # One cell, and the uniform share of 1e-6 a cell, here less than a sample.
    assert error.max() < 2 * cells.STEP + 0.02


def test_fold_sums__add_up(tabulated):
    _, where, found, _ = tabulated
    for whole, *parts in zip(found, *cells.fold_sums(where, 3, 2), strict=True):
        torch.testing.assert_close(sum(parts), whole, rtol=1e-12, atol=1e-9)


@pytest.mark.parametrize("kind", projector.PROJECTORS)
def test_features__begin_with_the_variable(tabulated, kind):
    _, _, found, _ = tabulated
    generator = torch.Generator().manual_seed(0) if kind.startswith("random") else None
    table = projector.features(kind, 7, found, generator)
    assert table.shape == (3, 9, cells.CELLS + 1) and table.isfinite().all()
    torch.testing.assert_close(table[:, 0], cells.nodes(table).expand(3, -1))
    torch.testing.assert_close(table[:, 1], cells.nodes(table).tanh().expand(3, -1))
    if kind.endswith("tanh"):
        assert (table[:, 1:].abs() <= 1).all()
    else:
        assert (table[:, 2:] >= 0).all()


def test_scores__are_the_regression_of_theory(tabulated):
    y, where, found, table = tabulated
    score = scores.fit(found, table, y.new_zeros(3))  # no ridge
    dense, moment = _dense(y, table), cells.moments(found, table)
    weights = torch.linalg.solve(moment.covariance, moment.slope[..., None])
    psi = (weights.mT @ (dense - dense.mean(2, keepdim=True)))[:, 0]
    # Rounding times the condition number of the blocks, at most about 1e8.
    torch.testing.assert_close(cells.evaluate(where, score.table), psi, rtol=0, atol=1e-6)
    n = y.shape[1]
    torch.testing.assert_close((psi * y).sum(1) / n, torch.ones_like(psi[:, 0]))
    torch.testing.assert_close((psi**2).mean(1), score.information, rtol=1e-6, atol=0)


def test_scores__of_a_gaussian_is_the_variable():
    y = _standard([ica.gaussian()] * 2, 4000, "gaussian")
    where = cells.locate(y)
    found = cells.sums(where, 2)
    table = projector.features("tanh", 12, found)
    choice = scores.cross_validate(where, table, torch.full((2,), 1e3, dtype=y.dtype))
    psi = cells.evaluate(where, scores.fit(found, table, choice.ridge).table)
    # Either nothing but y is left, or noise of a few degrees of freedom: 20 / n is 4 deviations.
    assert ((psi - y).square().mean(1) < 20 / 4000 + 0.01).all()
    assert (choice.information < 1.02).all()


def test_scores__information_is_that_of_the_law():
    y = _standard([ica.laplace(), ica.bimodal(), ica.student_t(5)], 40000, "information")
    where = cells.locate(y)
    table = projector.features("tanh", 12, cells.sums(where, 3))
    found = scores.cross_validate(where, table, torch.full((3,), 1e3, dtype=y.dtype)).information
    expected = torch.tensor([2.0, ica.bimodal().information, 1.25], dtype=y.dtype)
    # Features explain less than all, by the width of the kink of a Laplace score at most; the
    # held-out estimate has a deviation of about sqrt(10 / n) = 0.016.
    assert (found < expected + 0.06).all() and (found > 0.9 * expected).all()


@pytest.mark.parametrize("kind", projector.PROJECTORS)
@pytest.mark.parametrize("active", [0.5, 0.02, 1 / 400])
def test_scores__of_two_values_are_finite(kind, active):
    # The variable and its tanh are one feature here; with one sample on, constant in one half.
    g = seeding.numpy_generator(0, "two values")
    for _ in range(5):
        y = np.zeros(400)
        y[g.choice(400, round(400 * active), replace=False)] = 1.0
        y = torch.from_numpy((y - y.mean()) / y.std())[None]
        where = cells.locate(y)
        found = cells.sums(where, 1)
        generator = torch.Generator().manual_seed(0) if kind.startswith("random") else None
        table = projector.features(kind, 12, found, generator)
        choice = scores.cross_validate(where, table, torch.full((1,), 1024.0, dtype=y.dtype))
        score = scores.fit(found, table, choice.ridge)
        assert choice.information.isfinite().all() and score.table.isfinite().all()
        # The score of a block with y in it has slope one on y, whatever the ridge on the others.
        assert (cells.evaluate(where, score.table) @ y.T / 400).item() == pytest.approx(1, rel=1e-6)


def test_scores__of_almost_two_values_have_no_free_tanh():
    kinds = [ica.gaussian_mixture([-1, 1], [1e-3, 1e-3], [1, 1]), ica.laplace()]
    y = _standard(kinds, 4000, "almost two")
    found = cells.sums(cells.locate(y), 2)
    table = projector.features("tanh", 12, found)
    ridge = torch.full((2,), 1e3, dtype=y.dtype)
    free, held = (scores.fit(found, table, ridge, free=k).information for k in (2, 1))
    # Next to y an unpenalised tanh would make an information of 1e6 at every ridge.
    assert free[0] == held[0] < 100 and free[1] > held[1] + 0.1


def test_scores__well_posed_ones_are_the_plain_ridge_regression(tabulated):
    y, _, found, table = tabulated
    block = cells.moments(found, table)
    scale = block.covariance.diagonal(dim1=1, dim2=2).sqrt()
    system = block.covariance / (scale[:, :, None] * scale[:, None])
    system[:, range(2, 7), range(2, 7)] += 0.1
    weights = torch.linalg.solve(system, (block.slope / scale)[..., None])[..., 0] / scale
    expected = (weights * block.slope).sum(1)
    score = scores.fit(found, table, torch.full((3,), 0.1, dtype=y.dtype))
    torch.testing.assert_close(score.information, expected, rtol=1e-9, atol=0)


def _blocks(n, stream):
    """White outputs and their features y, tanh(2 y), y^2 with slopes, (n, d) and (n, d, 3)."""
    y = _standard([ica.uniform(), ica.laplace(), ica.gamma(1)], n, stream).T
    y = torch.linalg.qr(y - y.mean(0)).Q * n**0.5
    features = torch.stack([y, (2 * y).tanh(), y**2], 2)
    slopes = torch.stack([torch.ones_like(y), 2 / (2 * y).cosh() ** 2, 2 * y], 2)
    return y, features, slopes


@pytest.mark.parametrize("orthogonal", [True, False])
def test_pair_steps__gauss_newton_is_fisher_scoring(orthogonal):
    y, features, slopes = _blocks(200, "steps")
    if not orthogonal:  # free steps need no white outputs, only variance one
        y = y @ torch.tensor([[1, 0.2, 0], [0, 1, -0.1], [0.3, 0, 1]], dtype=y.dtype)
        y = (y - y.mean(0)) / y.std(0, correction=0)
        features = torch.stack([y, (2 * y).tanh(), y**2], 2)
        slopes = torch.stack([torch.ones_like(y), 2 / (2 * y).cosh() ** 2, 2 * y], 2)
    found = ica.pair_steps(y, features, slopes, orthogonal=orthogonal)
    torch.testing.assert_close(found.gauss_newton, found.scoring, rtol=0, atol=1e-11)
    assert found.scoring.abs().max() > 1e-3
    if orthogonal:
        torch.testing.assert_close(found.scoring, -found.scoring.T)


def test_pair_steps__differ_without_their_hypotheses():
    y, features, slopes = _blocks(200, "steps")
    found = ica.pair_steps(y, features[..., 1:], slopes[..., 1:])  # no identity feature
    assert (found.gauss_newton - found.scoring).abs().max() > 1e-3


def test_pair_steps__are_those_of_the_solver():
    y, features, slopes = _blocks(200, "steps")
    centred = features - features.mean(0)
    own = torch.einsum("nik,nil->ikl", centred, centred) / len(y)
    weights = torch.linalg.solve(own, slopes.mean(0)[..., None])[..., 0]
    cross = torch.einsum("nik,ik->in", centred, weights) @ y / len(y)
    information = (weights * slopes.mean(0)).sum(1)
    for orthogonal, step in ((True, steps.rotation), (False, steps.relative)):
        expected = ica.pair_steps(y, features, slopes, orthogonal=orthogonal).scoring
        torch.testing.assert_close(step(cross, information), expected, rtol=0, atol=1e-12)


def test_pair_steps__rejects_bad_input():
    y, features, slopes = _blocks(20, "steps")
    with pytest.raises(ValueError, match="features must have shape"):
        ica.pair_steps(y[:, :2], features, slopes)
    with pytest.raises(ValueError, match="nonsingular"):
        ica.pair_steps(y, features[..., [0, 0]], slopes[..., [0, 0]])
    with pytest.raises(ValueError, match="same shape"):
        ica.pair_steps(y, features, slopes[..., :2])


def _oracle(sources, y):
    """The true scores of Gaussian mixtures of two components as tables, and their information."""
    grid = cells.nodes(y)
    tables = []
    for a, unit in sources:  # an even mixture at +-a of deviation 1, scaled by unit
        z = grid * unit
        tables.append((z - a * (a * z).tanh()) * unit)
    return torch.stack(tables)


@pytest.mark.parametrize("orthogonal", [True, False])
def test_gain_variance__is_that_of_the_solution(orthogonal):
    n, repetitions = 2000, 500
    kinds = [(2.0, 5**0.5), (1.0, 2**0.5)]
    laws = [ica.bimodal(2.0), ica.bimodal(1.0)]
    information = torch.tensor([law.information for law in laws], dtype=torch.float64)
    rng = seeding.numpy_generator(0, "gains")
    options = Options(orthogonal=orthogonal, tol=1e-6)
    gains = []
    for _ in range(repetitions):
        s = torch.from_numpy(ica.sample_sources(laws, n, rng).T)
        centred = s - s.mean(1, keepdim=True)
        values, vectors = torch.linalg.eigh(centred @ centred.T / n)
        white = vectors @ torch.diag(values.rsqrt()) @ vectors.T
        score = scores.Scores(_oracle(kinds, s), information)
        with Progress(100, False) as progress:
            start = torch.eye(2, dtype=s.dtype)
            found = solver._descend(white @ centred, start, score, options, True, progress)
        gain = found.unmixing @ white
        gains.append([gain[0, 1].item(), gain[1, 0].item()])
    measured = n * np.var(gains, axis=0)
    formula = ica.ica_gain_variance if orthogonal else ica.cramer_rao_gain_variance
    j0, j1 = information.tolist()
    expected = [formula(j0, j1), formula(j1, j0)]
    # A variance from 500 samples has a relative deviation of sqrt(2 / 500); 4 of them are 0.25.
    np.testing.assert_allclose(measured, expected, rtol=0.25)


def test_gain_variance__closed_forms():
    assert ica.ica_gain_variance(2.0, 2.0) == pytest.approx(3 / 4)
    assert ica.ica_gain_variance(1.25, 1.25) == pytest.approx(9 / 4)
    assert ica.ica_gain_variance(3.943, 1.25) == pytest.approx(0.3193, abs=1e-4)
    assert ica.ica_gain_variance(1.25, 3.943) == pytest.approx(1.1627, abs=1e-4)
    assert ica.cramer_rao_gain_variance(2.0, 2.0) == pytest.approx(2 / 3)
    j = np.linspace(1.1, 30, 40)
    a, b = np.meshgrid(j, j)
    assert (ica.ica_gain_variance(a, b) >= ica.cramer_rao_gain_variance(a, b)).all()
    for formula in (ica.ica_gain_variance, ica.cramer_rao_gain_variance):
        tensor = formula(torch.tensor([2.0, 3.0]), torch.tensor([1.0, 1.5]))
        assert tensor.tolist() == pytest.approx([formula(2.0, 1.0), formula(3.0, 1.5)])
        for bad in ((1.0, 1.0), (0.5, 2.0), (2.0, np.inf), (2.0, np.nan)):
            with pytest.raises(ValueError, match="information"):
                formula(*bad)


def test_rotate__leaves_false_ones():
    # Sums and differences of pairs of signs are uncorrelated, symmetric and stationary.
    x = _standard([ica.levels(2)] * 4, 1000, "pairs of signs")
    values, vectors = torch.linalg.eigh(x @ x.T / 1000)
    x = vectors @ torch.diag(values.rsqrt()) @ vectors.T @ x  # white, near the sources
    half = torch.tensor([[1.0, 1.0], [1.0, -1.0]], dtype=x.dtype) / 2**0.5
    false = torch.block_diag(half, half)
    with Progress(200, False) as progress:
        stuck = coarse._descend(x, false, progress)
        found = coarse.rotate(x, false, 0, progress)
    assert ica.amari_index(stuck, np.eye(4)) > 0.2 > 0.05 > ica.amari_index(found, np.eye(4))
    # One turn of both pairs is enough: no other start was needed.
    turn = coarse._turn(dependence.dependence(stuck @ x))
    torch.testing.assert_close(turn @ turn.T, torch.eye(4, dtype=x.dtype))
    assert ica.amari_index(turn @ stuck, np.eye(4)) < 0.1


def test_Anderson__solves_linear_equations_in_few_steps(generator):
    matrix = 0.9 * torch.linalg.qr(torch.randn(4, 4, generator=generator, dtype=torch.float64)).Q
    target = torch.randn(4, 1, generator=generator, dtype=torch.float64)
    accelerate, point = Anderson(memory=5), torch.zeros(4, 1, dtype=torch.float64)
    for _ in range(9):  # plain iteration would leave 0.9^9 = 0.39
        point = accelerate(point, matrix @ point + target - point)
    expected = torch.linalg.solve(torch.eye(4, dtype=torch.float64) - matrix, target)
    torch.testing.assert_close(point, expected, rtol=0, atol=1e-6)


def test_score__is_held_beyond_the_samples():
    y = _standard([ica.uniform()], 500, "held")
    found = cells.sums(cells.locate(y), 1)
    table = projector.features("relu", 8, found)
    score = scores.fit(found, table, torch.full((1,), 1e-9, dtype=y.dtype)).table[0]
    low, high = (score[side] for side in (cells.nodes(y) < -2, cells.nodes(y) > 2))
    assert (low == low[0]).all() and (high == high[0]).all() and (low[0] < -1 < 1 < high[0])


@pytest.mark.parametrize("orthogonal", [False, True])
def test_fit__takes_sources_with_a_handful_of_ones(orthogonal):
    model = ica.VCRegICA(random_state=0, orthogonal=orthogonal)
    fitted = 0
    for seed in range(12):
        g = seeding.numpy_generator(seed, "a handful")
        x = np.c_[g.normal(size=(400, 2)), (g.uniform(size=400) < 0.005) * 1.0]
        if x[:, 2].any():
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ConvergenceWarning)  # two Gaussians
                model.fit(x)
            fitted += 1
            assert np.isfinite(model.components_).all() and not model.reliable_
            assert (model.information_ >= 0).all() and (model.information_ <= 1024).all()
    assert fitted >= 3  # a column is zero with probability 0.13


def test_solve__finds_no_source_twice():
    # Free steps of these sources, each on for one sample in twenty, end with two equal rows now and
    # then, which have no inverse.
    for seed in range(8):
        g = seeding.numpy_generator(seed, "twice")
        x = (g.uniform(size=(2000, 3)) < 0.05) @ g.normal(size=(3, 3))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # it may fail, but not so
            model = ica.VCRegICA(random_state=seed).fit(x)
        y = model.transform(x)
        assert np.abs(np.corrcoef(y.T) - np.eye(3)).max() < 0.5 + 1e-6
    twins = torch.tensor([[1.0, 0.0], [0.8, 0.6]], dtype=torch.float64)
    assert solver._collapsed(twins) and not solver._collapsed(torch.eye(2).double())
    assert not solver._collapsed(torch.ones(1, 1).double())


def test_fit__of_sources_without_moments_ends():
    g = np.random.default_rng(5)
    x = g.standard_cauchy((200, 3)) @ g.normal(size=(3, 3))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it need not converge, only end
        assert np.isfinite(ica.VCRegICA(random_state=0).fit(x).components_).all()
