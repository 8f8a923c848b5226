"""Tests of the recorded studies: signals, cells, resumable runs, readings, rankings, power."""

import itertools
import math

import numpy as np
import pytest
import torch

from vcreg_theory import cli, entropy, independence, models, seeding, studies

CELL = studies.Cell("random-16", "random", 16)


def sample(n=200, d=4, seed=0):
    g = seeding.torch_generator(seed, "tests of studies")
    z = torch.randn(n, d, generator=g, dtype=torch.float64)
    return z @ torch.randn(d, d, generator=g, dtype=torch.float64) + z.square()


def toy(calls=None, figure=1.0):
    def row(cell, *, seed):
        if calls is not None:
            calls.append((cell.name, seed))
        return {"figure": figure * (seed + 1), "weights": "ab"}

    cells = (studies.Cell("a", "none"), studies.Cell("b", "none", coefficient=2.0))
    return studies.Study("toy", cells, (0, 1, 2), row, {"epochs": 1})


# --- signals -------------------------------------------------------------------------------------


def test_dependence__agrees_with_a_loop_over_pairs_and_triples():
    x, other = sample(seed=1), sample(seed=2)
    found = studies.dependence(x, other)
    u = (x - x.mean(0)) / x.std(0)
    pairs = list(itertools.combinations(range(4), 2))
    options = {"bandwidth": 1.0, "estimator": "unbiased"}

    def of(i, j):
        return float(independence.hsic(u[:, i], u[:, j], **options))

    plain = [of(i, j) for i, j in pairs]
    normalised = [of(i, j) / math.sqrt(of(i, i) * of(j, j)) for i, j in pairs]
    correlations = [float(torch.corrcoef(u.T)[i, j]) ** 2 for i, j in pairs]
    triples = [
        float(independence.lancaster(*u.T[list(c)], bandwidth=1.0))
        for c in itertools.combinations(range(4), 3)
    ]
    wanted = [np.mean(values) for values in (plain, normalised, correlations)]
    assert found[:3] == pytest.approx(wanted, rel=1e-10)
    assert found.lancaster == pytest.approx(np.mean(triples), rel=1e-10)


def test_dependence__whitening_is_the_symmetric_root_fitted_to_the_reference():
    x = sample(400, seed=3)
    u = (x - x.mean(0)) / x.std(0)
    # fitted to the sample itself it must be the package's ZCA of the scaled features
    white = entropy.whiten(u)
    wanted = independence.mean_pairwise_hsic(
        white, bandwidth=1.0, estimator="unbiased", normalize=True
    )
    assert studies.dependence(x, x).hsic_whitened == pytest.approx(float(wanted), rel=1e-8)
    assert studies.dependence(x, sample(400, seed=4)).hsic_whitened != float(wanted)


def test_dependence__does_not_change_with_the_units_of_features():
    x, other = sample(seed=5), sample(seed=6)
    units = torch.tensor([1e-3, 5.0, 1.0, 200.0], dtype=torch.float64)
    shifted = studies.dependence(x * units + 3, other * units + 3)
    assert shifted == pytest.approx(studies.dependence(x, other), rel=1e-8)


def test_dependence__rejects_what_it_cannot_read():
    x = sample()
    with pytest.raises(ValueError, match="more than 4 rows"):
        studies.dependence(x, x[:4])
    with pytest.raises(ValueError, match=r"columns \[2\] are constant"):
        studies.dependence(torch.cat([x[:, :2], torch.ones(len(x), 1), x[:, 3:]], 1).double(), x)
    with pytest.raises(ValueError, match="reference must vary"):
        studies.dependence(x, torch.ones_like(x))


# --- cells ---------------------------------------------------------------------------------------


def test_cell__random_and_learned_start_as_the_same_network():
    random, learned = (
        studies.Cell("x", kind, 12, depth=2).projector(5, seed=3) for kind in ("random", "learned")
    )
    assert models.fingerprint(random) == models.fingerprint(learned)
    assert not any(p.requires_grad for p in random.parameters())
    assert all(p.requires_grad for p in learned.parameters())
    assert random.out_features == 12 and len(random) == 6


def test_cell__kinds():
    assert isinstance(studies.Cell("x", "none").projector(5, seed=0), torch.nn.Identity)
    spread = studies.Cell("x", "elementwise", 20, activation="tanh").projector(5, seed=0)
    assert isinstance(spread, models.ElementwiseProjector) and spread.out_features == 20
    plain = studies.Cell("x", "random", 6, batch_norm=False).projector(5, seed=0)
    assert not any(isinstance(m, torch.nn.BatchNorm1d) for m in plain)
    with pytest.raises(ValueError, match="multiple of 5"):
        studies.Cell("x", "elementwise", 16).projector(5, seed=0)
    with pytest.raises(ValueError, match="kind must be one of"):
        studies.Cell("x", "dense", 16).projector(5, seed=0)


def small(cell, seed=0, **options):
    x = torch.randn(64, 3, generator=seeding.torch_generator(1, "x"))
    schedule = {"epochs": 3, "batch_size": 32, **options}
    return studies.train(
        cell,
        lambda s: models.projector((3, 8, 4), seed=s),
        x,
        lambda v, generator: v + 0.1 * torch.randn(v.shape, generator=generator),
        seed=seed,
        **schedule,
    )


def test_train__is_deterministic_and_leaves_a_random_projector_as_it_was():
    first, again, other = small(CELL), small(CELL), small(CELL, seed=1)
    assert first.fingerprint == again.fingerprint != other.fingerprint
    assert len(first.history) == 3 and not first.encoder.training
    before = CELL.projector(4, seed=0)
    kept = {k: v for k, v in before.state_dict().items() if "running" not in k and "num" not in k}
    after = first.projector.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in kept.items())


def test_train__the_coefficient_weighs_the_covariance_term():
    strong = studies.Cell("x", "random", 16, coefficient=4.0)
    found = small(strong, epochs=1, batch_size=64).history[0]
    terms = 25 * found.invariance + 25 * found.variance + 4 * found.covariance
    assert found.loss == pytest.approx(terms, rel=1e-5)  # single precision


# --- runs ----------------------------------------------------------------------------------------


def test_run__writes_each_row_once_and_goes_on(tmp_path):
    calls = []
    made = toy(calls)
    assert studies.run(made, tmp_path, only=["b"], seeds=[1]) == (1, 0)
    assert studies.run(made, tmp_path, budget=0.0) == (1, 5)
    lines = []
    assert studies.run(made, tmp_path, report=lines.append) == (6, 0)
    assert calls == [("b", 1), ("a", 0), ("b", 0), ("a", 1), ("a", 2), ("b", 2)]
    assert len(lines) == 5 and lines[0].startswith("a-s0: ")
    content = studies.read("toy", tmp_path)
    assert content["design"]["cells"]["b"]["coefficient"] == 2.0
    assert content["rows"]["b-s2"]["figure"] == 3.0
    assert content["rows"]["b-s2"]["device"].endswith("1 thread)")
    assert [path.name for path in tmp_path.iterdir()] == ["toy.json"]


def test_run__refuses_the_file_of_another_design(tmp_path):
    studies.run(toy(), tmp_path)
    other = studies.Study("toy", toy().cells, (0,), toy().row, {"epochs": 2})
    with pytest.raises(ValueError, match="another study or design"):
        studies.run(other, tmp_path)
    with pytest.raises(ValueError, match="only must be one of"):
        studies.run(toy(), tmp_path, only=["c"])


def test_run__a_row_that_fails_leaves_the_rows_before_it(tmp_path):
    def row(cell, *, seed):
        if seed == 1:
            raise FloatingPointError("not finite")
        return {"figure": 1.0}

    broken = studies.Study("toy", toy().cells, (0, 1), row)
    with pytest.raises(FloatingPointError):
        studies.run(broken, tmp_path)
    assert sorted(studies.read("toy", tmp_path)["rows"]) == ["a-s0", "b-s0"]


def test_cli__study(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(studies.STUDIES, "toy", toy())
    assert cli.main(["study", "toy", "--list"]) == 0
    assert capsys.readouterr().out == "a\nb\n"
    options = ["study", "toy", "--out", str(tmp_path), "--quiet"]
    assert cli.main([*options, "--budget", "0"]) == 3
    assert cli.main([*options, "--only", "a", "--seeds", "0,5"]) == 0
    assert capsys.readouterr().out.endswith("2 rows in " + f"{tmp_path}: 2 finished, 0 waiting\n")
    assert cli.main(["study", "nothing"]) == 1
    assert "study must be one of" in capsys.readouterr().err
