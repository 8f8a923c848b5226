"""Tests of the few-shot read-out: closed form, a second implementation, invariance, errors."""

import pytest
import torch
from sklearn.linear_model import Ridge

from vcreg_theory import seeding
from vcreg_theory.readout import few_shot_readout
from vcreg_theory.readout.fewshot import _draw

DEVICES = ["cpu"] + ["cuda"] * torch.cuda.is_available()


def _task(generator, n=200, d=6, classes=4, noise=0.5):
    centres = 2 * torch.randn(classes, d, generator=generator, dtype=torch.float64)
    labels = torch.randint(classes, (n,), generator=generator)
    noise = noise * torch.randn(n, d, generator=generator, dtype=torch.float64)
    return centres[labels] + noise, labels


def _halves(x, y):
    return x[::2], y[::2], x[1::2], y[1::2]


def _shots(seed=0):
    return seeding.torch_generator(seed, "shots")


def test_few_shot__separable_classes_are_read_without_error(generator):
    x, y = _task(generator, noise=1e-3)
    found = few_shot_readout(*_halves(x, y), generator=_shots(), shots=2, draws=5)
    assert found.accuracy == 1.0 and found.accuracies.shape == found.penalties.shape == (5,)


def test_few_shot__is_the_ridge_classifier_of_scikit_learn(generator):
    x, y = _task(generator, noise=2.0)
    train, labels, test, wanted = _halves(x, y)
    options = {"shots": 5, "draws": 4, "penalties": [0.5, 0.05, 1e-4]}
    found = few_shot_readout(train, labels, test, wanted, generator=_shots(), **options)
    shots, targets = _shots(), torch.eye(4, dtype=torch.float64)[labels]
    for accuracy, penalty in zip(found.accuracies, found.penalties, strict=True):
        fit, hold = _draw(labels, 4, 5, shots)
        centred = train[fit] - train[fit].mean(0)
        best = None
        for value in options["penalties"]:
            ridge = Ridge(alpha=value * float(centred.square().sum()) / len(fit))
            ridge.fit(train[fit].numpy(), targets[fit].numpy())
            error = ((ridge.predict(train[hold].numpy()) - targets[hold].numpy()) ** 2).mean()
            best = min(best or (9.0,), (error, value, ridge), key=lambda entry: entry[0])
        assert float(penalty) == best[1]
        right = best[2].predict(test.numpy()).argmax(1) == wanted.numpy()
        assert float(accuracy) == pytest.approx(right.mean(), abs=1e-12)


def test_few_shot__draws_are_disjoint_and_balanced(generator):
    codes = torch.randint(3, (60,), generator=generator)
    fit, hold = _draw(codes, 3, 4, _shots())
    assert not set(fit.tolist()) & set(hold.tolist())
    for part in (fit, hold):
        assert len(set(part.tolist())) == 12
        assert torch.bincount(codes[part]).tolist() == [4, 4, 4]


def test_few_shot__forgets_scale_shift_and_rotation(generator):
    x, y = _task(generator, noise=2.0)
    turn = torch.linalg.qr(torch.randn(6, 6, generator=generator, dtype=torch.float64)).Q
    base = few_shot_readout(*_halves(x, y), generator=_shots())
    moved = few_shot_readout(*_halves(1e-3 * x @ turn + 7, y), generator=_shots())
    assert torch.equal(base.accuracies, moved.accuracies)
    assert torch.equal(base.penalties, moved.penalties)
    stretched = x * torch.logspace(0, 3, 6, dtype=torch.float64)
    assert few_shot_readout(*_halves(stretched, y), generator=_shots()).accuracy != base.accuracy


@pytest.mark.parametrize("exponent", [-1000, -600, -400, 400, 600, 1000])
def test_few_shot__of_features_whose_squares_leave_the_range(generator, exponent):
    x, y = _task(generator, noise=2.0)
    base = few_shot_readout(*_halves(x, y), generator=_shots())
    far = few_shot_readout(*_halves(x * 2.0**exponent, y), generator=_shots())
    assert torch.equal(base.accuracies, far.accuracies)
    assert torch.equal(base.penalties, far.penalties)


def test_few_shot__same_generator_same_result_and_global_state_is_left(generator):
    x, y = _task(generator, noise=2.0)
    state = torch.get_rng_state()
    runs = [few_shot_readout(*_halves(x, y), generator=_shots(seed)) for seed in (0, 0, 1)]
    assert torch.equal(runs[0].accuracies, runs[1].accuracies)
    assert not torch.equal(runs[0].accuracies, runs[2].accuracies)
    assert torch.equal(state, torch.get_rng_state())


def test_few_shot__labels_need_not_be_consecutive_and_constant_features_are_chance(generator):
    x, y = _task(generator)
    train, labels, test, wanted = _halves(x, y)
    base = few_shot_readout(train, labels, test, wanted, generator=_shots())
    codes = torch.tensor([3, 17, 20, 90])
    other = few_shot_readout(train, codes[labels], test, codes[wanted], generator=_shots())
    assert torch.equal(base.accuracies, other.accuracies)
    flat = few_shot_readout(0 * train, labels, 0 * test, wanted, generator=_shots())
    # All predictions are the mean indicator, a tie that goes to the first class.
    assert flat.accuracy == pytest.approx(float((wanted == 0).double().mean()))


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16])
def test_few_shot__takes_every_dtype_and_device(generator, dtype, device):
    x, y = _task(generator, noise=0.1)
    parts = [p.to(device, dtype) if p.is_floating_point() else p.to(device) for p in _halves(x, y)]
    assert few_shot_readout(*parts, generator=_shots()).accuracy > 0.95


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"shots": 0}, ValueError, "shots must be at least 1"),
        ({"draws": 0}, ValueError, "draws must be at least 1"),
        ({"shots": 60}, ValueError, "shots must be at most half .* got 60 shots"),
        ({"penalties": []}, ValueError, "penalties must hold at least 1"),
        ({"penalties": [0.0]}, ValueError, "penalties must be positive"),
        ({"test_features": torch.zeros(100, 5)}, ValueError, "6 columns"),
        ({"train_labels": torch.zeros(3, dtype=torch.int64)}, ValueError, "one label a row"),
        ({"train_features": torch.full((100, 6), float("nan"))}, ValueError, "finite"),
        ({"test_labels": torch.zeros(100)}, TypeError, "integers"),
    ],
)
def test_few_shot__refuses_bad_input(generator, change, error, message):
    names = ("train_features", "train_labels", "test_features", "test_labels")
    arguments = dict(zip(names, _halves(*_task(generator)), strict=True))
    with pytest.raises(error, match=message):
        few_shot_readout(**{**arguments, "generator": _shots(), **change})
