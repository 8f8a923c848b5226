"""Tests of the read-outs: a second solver, hand-made votes, untouched networks, errors."""

import math

import numpy as np
import pytest
import torch
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import r2_score
from sklearn.neighbors import KNeighborsClassifier
from torch import nn

from vcreg_theory import models, readout, seeding
from vcreg_theory.readout.minimise import minimise
from vcreg_theory.readout.scaling import held_out, standardise

DEVICES = ["cpu"] + ["cuda"] * torch.cuda.is_available()


def _blobs(generator, n=600, m=300, d=8, classes=4, spread=1.5, dtype=torch.float32):
    """Correlated features of overlapping classes: training and test part, with labels."""
    means = torch.randn(classes, d, generator=generator, dtype=torch.float64)
    labels = torch.randint(classes, (n + m,), generator=generator)
    noise = torch.randn(n + m, d, generator=generator, dtype=torch.float64)
    mixing = torch.randn(d, d, generator=generator, dtype=torch.float64)
    features = (means[labels] + spread * noise) @ mixing + 5
    features = features.to(dtype)
    return features[:n], labels[:n], features[n:], labels[n:]


# --- features ---------------------------------------------------------------------------------


class _Convolutional(nn.Module):
    """A network with every kind of state: running statistics, dropout, a frozen part."""

    def __init__(self):
        super().__init__()
        with seeding.initialisation(0):
            self.convolution = nn.Conv2d(3, 4, 3)
        self.norm = nn.BatchNorm2d(4)
        self.frozen = nn.BatchNorm2d(4).eval()
        self.dropout = nn.Dropout(0.5)

    def forward(self, x):
        return self.dropout(self.frozen(self.norm(self.convolution(x)))).mean((2, 3))


def _bytes(generator, n=10):
    return torch.randint(256, (n, 3, 8, 8), generator=generator, dtype=torch.uint8)


def test_features__leaves_the_network_as_it_was(generator):
    network = _Convolutional()
    network.train()
    network.frozen.eval()
    network(_bytes(generator).float() / 255)  # running statistics that are not the initial ones
    before = models.fingerprint(network)
    modes = [module.training for module in network.modules()]
    found = readout.features(network, _bytes(generator), batch_size=3)
    assert models.fingerprint(network) == before
    assert [module.training for module in network.modules()] == modes
    assert len(set(modes)) == 2, "the case needs modules in both modes"
    assert all(p.grad is None for p in network.parameters()) and not found.requires_grad


def test_features__are_those_of_evaluation_mode(generator):
    network, images = _Convolutional().eval(), _bytes(generator)
    with torch.no_grad():
        expected = network(images.float() / 255)
    network.train()
    found = readout.features(network, images, batch_size=4)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(readout.features(network, images.float() / 255), expected)
    assert found.dtype == torch.float32 and found.shape == (10, 4)


def test_features__restores_the_mode_after_an_error(generator):
    network = _Convolutional().train()
    with pytest.raises(RuntimeError):
        readout.features(network, _bytes(generator)[:, :1])
    assert network.training and network.norm.training


@pytest.mark.parametrize("device", DEVICES)
def test_features__on_the_device_of_the_network_in_float32(generator, device):
    network = models.mlp([4, 3], seed=0).to(device)  # float64
    images = torch.rand(5, 4, generator=generator)
    with torch.autocast(device, torch.bfloat16):
        found = readout.features(network, images)
    assert found.dtype == torch.float32 and found.device.type == device
    # Computed in float64: only the final rounding to 24 bits is left.
    expected = network(images.double().to(device)).detach()
    torch.testing.assert_close(found.double(), expected, rtol=6e-8, atol=1e-45)


def test_features__of_a_network_without_parameters_are_flattened(generator):
    images = torch.rand(3, 1, 2, 2, generator=generator)
    assert torch.equal(readout.features(nn.Identity(), images), images.flatten(1))


@pytest.mark.parametrize(
    ("images", "options", "error", "message"),
    [
        (torch.zeros(0, 4), {}, ValueError, r"a row, got shape \(0, 4\)"),
        (torch.zeros(4), {}, ValueError, r"2 dimensions or more and a row, got shape \(4,\)"),
        (torch.zeros(2, 4), {"batch_size": 0}, ValueError, "batch_size must be at least 1"),
        (torch.zeros(2, 4, dtype=torch.int64), {}, TypeError, "uint8 or floating"),
    ],
)
def test_features__refuses_bad_input(images, options, error, message):
    with pytest.raises(error, match=message):
        readout.features(nn.Linear(4, 2), images, **options)


def test_features__refuses_networks_that_return_no_tensor():
    class Pair(nn.Module):
        def forward(self, x):
            return x, x

    with pytest.raises(TypeError, match="return a tensor, got tuple"):
        readout.features(Pair(), torch.zeros(2, 4))


# --- the solver -------------------------------------------------------------------------------


@pytest.mark.parametrize("condition", [1.0, 1e4])
def test_minimise__quadratic_form(generator, condition):
    # x'Ax/2 - b'x has its minimum at A^{-1} b.
    a = torch.logspace(0, math.log10(condition), 12, dtype=torch.float64)
    q = torch.linalg.qr(torch.randn(12, 12, generator=generator, dtype=torch.float64)).Q
    b = torch.randn(12, generator=generator, dtype=torch.float64)
    matrix = q @ torch.diag(a) @ q.T

    def function(x):
        return x @ matrix @ x / 2 - b @ x, matrix @ x - b

    found = minimise(function, torch.zeros_like(b), tolerance=1e-9, max_iterations=500)
    assert found.gradient.abs().max() <= 1e-9
    # The error is at most the gradient over the smallest curvature, which is 1.
    assert (found.x - torch.linalg.solve(matrix, b)).norm() <= 1e-9 * 12**0.5
    assert 0 < found.iterations < 500


def test_minimise__is_not_stopped_by_the_rounding_of_the_value():
    # Values near 1e9 are rounded to 1e-7, which hides steps below 3e-4; slopes do not.
    def function(x):
        return 1e9 + (x - 1).square().sum(), 2 * (x - 1)

    found = minimise(function, torch.zeros(3).double(), tolerance=1e-12, max_iterations=100)
    assert (found.x - 1).abs().max() <= 1e-12 and found.iterations < 100


def test_minimise__ends_where_told_or_where_nothing_descends():
    def function(x):
        return x.abs().pow(1.5).sum(), 1.5 * x.sign() * x.abs().sqrt()

    start = torch.full((1,), 9.0).double()
    limited = minimise(function, start, tolerance=0.0, max_iterations=2)
    assert limited.iterations == 2 and 0 < limited.value < 27
    wrong = minimise(lambda x: (x.square().sum(), -2 * x), start, tolerance=0, max_iterations=9)
    assert wrong.iterations == 0 and wrong.x is start


# --- logistic regression and the linear read-out ----------------------------------------------


def _objective(features, labels, coefficients, intercept, penalty):
    scores = features @ coefficients.T + intercept
    scores = scores - scores.max(1, keepdims=True)
    logs = scores - np.log(np.exp(scores).sum(1, keepdims=True))
    loss = -logs[np.arange(len(labels)), labels].mean()
    return loss + penalty / 2 * (coefficients**2).sum()


@pytest.mark.parametrize("penalty", [1e-1, 1e-3, 1e-5])
@pytest.mark.parametrize(("n", "d"), [(600, 8), (40, 60)])
def test_fit_logistic__agrees_with_scikit_learn(generator, penalty, n, d):
    x, y, x_test, _ = _blobs(generator, n=n, d=d)
    fitted = readout.fit_logistic(x, y, penalty)
    mean, deviation = x.double().mean(0), x.double().std(0, correction=0)
    scaled, test = (((part.double() - mean) / deviation).numpy() for part in (x, x_test))
    peer = LogisticRegression(C=1 / (n * penalty), tol=1e-9, max_iter=20_000)
    peer.fit(scaled, y.numpy())
    theirs = _objective(scaled, y.numpy(), peer.coef_, peer.intercept_, penalty)
    coefficients = (fitted.weight * deviation[:, None]).T.numpy()
    intercept = (fitted.bias + mean @ fitted.weight).numpy()
    ours = _objective(scaled, y.numpy(), coefficients, intercept, penalty)
    assert ours == pytest.approx(fitted.objective, rel=1e-10)
    assert abs(ours - theirs) <= 1e-6
    agree = fitted.predict(x_test).numpy() == peer.predict(test)
    # By strong convexity the weights are sqrt(2 gap / penalty) apart at most, the gap being that
    # of the objectives; scores that differ by less may be ordered either way.
    gap = max(abs(ours - theirs), 1e-12)
    margin = 2 * np.linalg.norm(test, axis=1) * math.sqrt(2 * gap / penalty)
    scores = np.sort(test @ coefficients.T + intercept, axis=1)
    clear = scores[:, -1] - scores[:, -2] > margin
    assert agree[clear].all() and clear.mean() > 0.5


def test_fit_logistic__two_points_in_closed_form():
    # Points at -1 and 1, weights -w and w: loss log(1 + exp(-2w)) + penalty w^2, so that
    # 2 / (1 + exp(2w)) = 2 penalty w. With w = 1 the penalty is 1 / (1 + e^2).
    penalty = 1 / (1 + math.exp(2))
    fitted = readout.fit_logistic(torch.tensor([[-1.0], [1.0]]), torch.tensor([0, 1]), penalty)
    expected = torch.tensor([[-1.0, 1.0]], dtype=torch.float64)
    torch.testing.assert_close(fitted.weight, expected, rtol=0, atol=1e-6)
    torch.testing.assert_close(fitted.bias, torch.zeros(2).double(), rtol=0, atol=1e-6)
    assert fitted.objective == pytest.approx(math.log1p(math.exp(-2)) + penalty, abs=1e-12)


def test_fit_logistic__forgets_shift_and_scale_of_features(generator):
    x, y, x_test, _ = _blobs(generator, dtype=torch.float64)
    scale = torch.logspace(-3, 3, 8, dtype=torch.float64)
    one = readout.fit_logistic(x, y, 1e-3)
    two = readout.fit_logistic(x * scale - 7, y, 1e-3)
    assert two.objective == pytest.approx(one.objective, abs=1e-9)
    assert torch.equal(one.predict(x_test), two.predict(x_test * scale - 7))


def test_fit_logistic__ignores_constant_features(generator):
    x, y, *_ = _blobs(generator)
    plain = readout.fit_logistic(x, y, 1e-3)
    constants = torch.cat([x, torch.full((600, 2), 0.1), torch.zeros(600, 1)], 1)
    fitted = readout.fit_logistic(constants, y, 1e-3)
    assert fitted.weight[8:].abs().max() == 0
    assert fitted.objective == pytest.approx(plain.objective, abs=1e-9)


def test_linear_readout__collapsed_features_predict_the_commonest_class():
    y = torch.tensor([0, 1, 1, 1, 2] * 10)
    found = readout.linear_readout(torch.ones(50, 3), y, torch.ones(5, 3), y[:5])
    assert found.predictions.tolist() == [1] * 5 and found.accuracy == 0.6
    assert found.penalty == 0.1, "a tie goes to the larger penalty"
    given = readout.linear_readout(torch.ones(50, 3), y, torch.ones(5, 3), y[:5], penalty=[0.2, 3])
    assert given.penalty == 3


def test_linear_readout__chooses_on_training_rows_and_fits_them_all(generator):
    x, y, x_test, y_test = _blobs(generator)
    found = readout.linear_readout(x, y, x_test, y_test, penalty=[1e-6, 1e-2])
    best = min(found.held_out.values())
    assert found.held_out[found.penalty] == best and set(found.held_out) == {1e-6, 1e-2}
    # The choice does not see the test set: other test labels, the same classifier.
    other = readout.linear_readout(x, y, x_test, y_test.flip(0), penalty=[1e-6, 1e-2])
    assert torch.equal(other.predictions, found.predictions) and other.penalty == found.penalty
    fixed = readout.linear_readout(x, y, x_test, y_test, penalty=found.penalty)
    assert torch.equal(fixed.predictions, found.predictions) and fixed.held_out == {}
    assert fixed.classifier.objective == readout.fit_logistic(x, y, found.penalty).objective


def test_linear_readout__held_out_loss_is_that_of_a_fit_without_them(generator):
    # More features than images: the loss of rows that took part in a fit would be much smaller.
    x, y, x_test, y_test = _blobs(generator, n=200, d=300, spread=12.0)
    found = readout.linear_readout(x, y, x_test, y_test, penalty=[1.0, 0.1])
    mask = held_out(y)
    for penalty, loss in found.held_out.items():
        refit = readout.fit_logistic(x[~mask], y[~mask], penalty)
        logits = x[mask].double() @ refit.weight + refit.bias
        direct = torch.nn.functional.cross_entropy(logits, y[mask]).item()
        # Selection stops when no entry of the gradient exceeds 1e-4.
        assert loss == pytest.approx(direct, rel=1e-2)
        whole = readout.fit_logistic(x, y, penalty)
        logits = x[mask].double() @ whole.weight + whole.bias
        assert torch.nn.functional.cross_entropy(logits, y[mask]).item() < 0.9 * loss


def test_linear_readout__accuracy_and_exact_interval():
    x = torch.tensor([[-1.0], [1.0]]).repeat(10, 1)
    y = torch.tensor([3, 5]).repeat(10)
    y_test = torch.tensor([3, 5, 5, 7])  # two right, one wrong, one of no training class
    found = readout.linear_readout(x, y, x[[0, 1, 0, 1]], y_test)
    assert found.accuracy == 0.5 and found.interval.level == 0.95
    assert found.predictions.tolist() == [3, 5, 3, 5]
    # Clopper-Pearson for 2 of 4: quantiles of beta(2, 3) and beta(3, 2).
    assert found.interval.low == pytest.approx(0.0675860, abs=1e-6)
    assert found.interval.high == pytest.approx(0.9324140, abs=1e-6)


@pytest.mark.parametrize("device", DEVICES)
def test_linear_readout__deterministic_on_every_device(generator, device):
    data = [part.to(device) for part in _blobs(generator)]
    one, two = readout.linear_readout(*data), readout.linear_readout(*data)
    assert torch.equal(one.predictions, two.predictions) and one[:4] == two[:4]
    assert one.predictions.device.type == device


def test_linear_readout__accepts_half_precision(generator):
    x, y, x_test, y_test = _blobs(generator)
    found = readout.linear_readout(x.half(), y.int(), x_test.half(), y_test, penalty=1e-2)
    exact = readout.linear_readout(x, y, x_test, y_test, penalty=1e-2)
    assert abs(found.accuracy - exact.accuracy) < 0.02


X, Y = torch.arange(12.0).reshape(6, 2), torch.tensor([0, 1, 2, 0, 1, 2])
BAD = [
    ({"train_features": X[:0]}, ValueError, "train_features must have at least 1 row"),
    ({"train_features": X[0]}, ValueError, "train_features must have 2 dimensions"),
    ({"train_features": X.long()}, TypeError, "train_features must be float32 or float64"),
    ({"train_features": X * math.nan}, ValueError, "train_features must be finite"),
    ({"test_features": X[:, :1]}, ValueError, r"test_features must have 2 columns, got .*\(6, 1\)"),
    ({"train_features": X[:, :0], "test_features": X[:, :0]}, ValueError, "at least 1 column"),
    ({"test_features": X / 0}, ValueError, "test_features must be finite"),
    ({"train_labels": Y[:3]}, ValueError, r"train_labels must have shape \(6,\)"),
    ({"test_labels": Y.float()}, TypeError, "test_labels must hold integers, got torch.float32"),
    ({"test_labels": Y.bool()}, TypeError, "test_labels must hold integers, got torch.bool"),
    ({"train_labels": [0, 1]}, TypeError, "train_labels must be a torch.Tensor, got list"),
    ({"level": 1.0}, ValueError, "level must lie strictly between"),
]


def _arguments(change):
    full = {"train_features": X, "train_labels": Y, "test_features": X, "test_labels": Y}
    return {**full, **change}


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        *BAD,
        ({"penalty": 0.0}, ValueError, "penalty must be positive"),
        ({"penalty": [1.0, -1.0]}, ValueError, "penalty must be positive"),
        ({"penalty": []}, ValueError, "at least 1 number"),
        ({"penalty": "1"}, TypeError, "penalty must be a real number"),
        ({}, ValueError, "one number where no class has 5 training images"),
    ],
)
def test_linear_readout__refuses_bad_input(change, error, message):
    if "penalty" not in change and change:
        change = {**change, "penalty": 0.1}
    with pytest.raises(error, match=message):
        readout.linear_readout(**_arguments(change))


def test_fit_logistic__refuses_bad_input():
    with pytest.raises(ValueError, match="at least 2 rows"):
        readout.fit_logistic(X[:1], Y[:1], 0.1)
    with pytest.raises(ValueError, match="tolerance must be positive"):
        readout.fit_logistic(X, Y, 0.1, tolerance=0.0)


# --- rows held out, scaling -------------------------------------------------------------------


def test_held_out__is_a_fifth_of_every_class_wherever_they_stand(generator):
    for labels in (
        torch.arange(100) % 10,  # a stride of five would hold out two classes whole
        torch.arange(100) // 10,
        torch.tensor([0] * 90 + [1] * 4 + [2] * 6),
    ):
        mask = held_out(labels)
        for label in labels.unique():
            size = int((labels == label).sum())
            assert int(mask[labels == label].sum()) == size // 5
        assert torch.equal(mask, held_out(labels))


def test_standardise__drops_what_is_constant_up_to_rounding():
    noise = torch.tensor([0.0, 1.0, 0.0, -1.0]) * 1e-7
    x = torch.stack([1 + noise, noise, torch.tensor([1.0, 2.0, 3.0, 4.0])], 1)
    scaled = standardise(x)(x)
    assert scaled[:, 0].abs().max() == 0, "one spacing of 1 is rounding"
    torch.testing.assert_close(scaled[:, 1:].square().mean(0), torch.ones(2).double())


# --- neighbours -------------------------------------------------------------------------------


def test_knn_readout__by_hand():
    # Seen from angle 0: two of class 1 at 10 degrees, three of class 0 at 40, the rest opposite.
    angles = torch.tensor([10.0, -10.0, 40.0, -40.0, 40.0] + [180.0] * 20) * math.pi / 180
    x = torch.stack([angles.cos(), angles.sin()], 1)
    y = torch.tensor([1, 1, 0, 0, 0] + [2] * 20)

    def ask(k, temperature):
        at, truth = torch.tensor([[3.0, 0.0]]), torch.tensor([1])
        found = readout.knn_readout(x, y, at, truth, k=k, temperature=temperature)
        assert found.k == k and found.accuracy == float(found.predictions == 1)
        return found.predictions.item()

    assert ask(1, None) == ask(2, None) == 1
    assert ask(5, None) == 0  # two votes against three
    # cos 10 = .985, cos 40 = .766: 2 exp(.0985) = 2.21 < 3 exp(.0766) = 3.24, but
    # 2 exp(9.85) = 3.8e4 > 3 exp(7.66) = 6.4e3.
    assert ask(5, 10.0) == 0 and ask(5, 0.1) == 1


@pytest.mark.parametrize("temperature", [None, 0.07, 0.5])
@pytest.mark.parametrize("k", [1, 7, 60])
def test_knn_readout__agrees_with_loops(generator, k, temperature):
    x, y, x_test, y_test = _blobs(generator, n=300, m=60, dtype=torch.float64)
    found = readout.knn_readout(x, y, x_test, y_test, k=k, temperature=temperature)
    expected = []
    for row in x_test:
        cosines = [float(row @ other / row.norm() / other.norm()) for other in x]
        near = sorted(range(300), key=lambda i: -cosines[i])[:k]
        votes = dict.fromkeys(range(4), 0.0)
        for i in near:
            votes[int(y[i])] += 1 if temperature is None else math.exp(cosines[i] / temperature)
        expected.append(max(votes, key=lambda c: (votes[c], -c)))
    assert found.predictions.tolist() == expected
    assert found.accuracy == pytest.approx(float((found.predictions == y_test).double().mean()))


def test_knn_readout__unweighted_vote_agrees_with_scikit_learn(generator):
    x, y, x_test, y_test = _blobs(generator, dtype=torch.float64)
    peer = KNeighborsClassifier(15, metric="cosine", algorithm="brute").fit(x.numpy(), y.numpy())
    found = readout.knn_readout(x, y, x_test, y_test, k=15, temperature=None)
    assert found.predictions.tolist() == peer.predict(x_test.numpy()).tolist()
    assert found.accuracy == peer.score(x_test.numpy(), y_test.numpy())


def test_knn_readout__blocks_and_extreme_scales_change_nothing(generator, monkeypatch):
    x, y, x_test, y_test = _blobs(generator)
    whole = readout.knn_readout(x, y, x_test, y_test, k=20)
    monkeypatch.setattr("vcreg_theory.readout.neighbours.BLOCK", 4000)  # blocks of 6 rows
    for scale in (1.0, 2.0**-70, 2.0**70):  # squares would leave the range of float32
        found = readout.knn_readout(x * scale, y, x_test * scale, y_test, k=20)
        assert torch.equal(found.predictions, whole.predictions)


def test_knn_readout__small_temperature_does_not_overflow(generator):
    x, y, x_test, y_test = _blobs(generator)
    found = readout.knn_readout(x, y, x_test, y_test, k=50, temperature=1e-4)
    nearest = readout.knn_readout(x, y, x_test, y_test, k=1)
    assert torch.equal(found.predictions, nearest.predictions)


def test_knn_readout__at_most_a_fifth_of_the_images_vote():
    y = torch.tensor([0] * 30 + [1] * 22)
    x = torch.eye(2)[y]
    assert readout.knn_readout(x, y, x, y).k == 10
    assert readout.knn_readout(x, y, x, y).accuracy == 1.0
    tiny = readout.knn_readout(x[:3], y[:3], x, y)
    assert tiny.k == 1 and tiny.accuracy == 30 / 52


def test_knn_readout__zero_features_have_no_direction():
    y = torch.tensor([0, 1] * 10)
    found = readout.knn_readout(torch.zeros(20, 3), y, torch.zeros(2, 3), y[:2])
    assert torch.isfinite(torch.tensor(found.accuracy))


@pytest.mark.parametrize("device", DEVICES)
def test_knn_readout__on_every_device(generator, device):
    data = [part.to(device) for part in _blobs(generator)]
    assert readout.knn_readout(*data, k=20).predictions.device.type == device


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        *BAD,
        ({"k": 0}, ValueError, "k must be at least 1"),
        ({"k": 1.5}, TypeError, "k must be an integer"),
        ({"temperature": 0.0}, ValueError, "temperature must be positive"),
    ],
)
def test_knn_readout__refuses_bad_input(change, error, message):
    with pytest.raises(error, match=message):
        readout.knn_readout(**_arguments(change))


# --- factors ----------------------------------------------------------------------------------


def _curved(generator, n=900):
    """Factors, and features that hold the first linearly, the second as a square, the third not."""
    u = torch.rand(n, 3, generator=generator, dtype=torch.float64)
    noise = torch.randn(n, 2, generator=generator, dtype=torch.float64)
    h = torch.stack([u[:, 0] + 0.1 * noise[:, 0], (u[:, 1] - 0.5).square()], 1)
    split = 2 * n // 3
    return h[:split], u[:split], h[split:], u[split:]


def test_factor_r2__linear_part_in_closed_form(generator):
    # var u = 1/12, so R^2 = (1/12) / (1/12 + 0.01) = 0.893 for the first factor; u2 is not linear
    # in (u2 - 1/2)^2, nor is u3 in anything. 300 test images: standard error below 0.02 and 0.01.
    found = readout.factor_r2(*_curved(generator))
    assert found[0] == pytest.approx(0.893, abs=0.06)
    assert abs(found[1]) < 0.05 and abs(found[2]) < 0.05


def test_factor_r2__gaussian_kernel_reads_curves(generator):
    h, u, h_test, u_test = _curved(generator)
    wave, wave_test = ((40 * part[:, 1:]).sin() for part in (h, h_test))  # 1.6 periods
    linear = readout.factor_r2(h, wave, h_test, wave_test)
    curved = readout.factor_r2(h, wave, h_test, wave_test, kernel="gaussian")
    assert linear.item() < 0.5 and curved.item() > 0.99
    # A correlation above sqrt(0.05) by chance in 300 images is 3.9 standard errors.
    unrelated = readout.factor_r2(h, u, h_test, u_test, kernel="gaussian")
    assert -0.5 < unrelated[2] < 0.05


def test_factor_r2__agrees_with_scikit_learn(generator):
    h, u, h_test, u_test = _curved(generator)
    mean, deviation = h.mean(0), h.std(0, correction=0)
    scaled, test = ((part - mean) / deviation for part in (h, h_test))
    for penalty in (1e-4, 1.0):
        found = readout.factor_r2(h, u, h_test, u_test, penalties=[penalty])
        peer = Ridge(alpha=penalty * len(h)).fit(scaled.numpy(), u.numpy())
        expected = r2_score(u_test, peer.predict(test.numpy()), multioutput="raw_values")
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)


def test_factor_r2__kernel_agrees_with_scikit_learn_where_all_rows_are_landmarks(generator):
    # Kernel ridge without an intercept: the target has mean zero and an odd symmetry, and so have
    # the features, each row with its mirror image, hence the intercept is zero.
    half = torch.randn(60, 2, generator=generator, dtype=torch.float64)
    h = torch.cat([half, -half])
    target = h[:, :1] ** 3 + h[:, 1:]
    scaled = h / h.std(0, correction=0)
    bandwidth = torch.pdist(scaled).median().item()
    peer = KernelRidge(alpha=1e-3 * 120, kernel="rbf", gamma=1 / (2 * bandwidth**2))
    peer.fit(scaled.numpy(), target.numpy())
    expected = r2_score(target.numpy(), peer.predict(scaled.numpy()))
    found = readout.factor_r2(h, target, h, target, kernel="gaussian", penalties=[1e-3])
    assert found.item() == pytest.approx(expected, abs=1e-9)


def test_factor_r2__each_factor_takes_the_penalty_that_held_out_rows_prefer(generator):
    # 40 features, 100 images: a factor that is noise prefers a larger penalty than a linear one.
    h = torch.randn(150, 40, generator=generator, dtype=torch.float64)
    u = torch.cat([h[:, :1], torch.randn(150, 1, generator=generator, dtype=torch.float64)], 1)
    grid = (1e-8, 1e-2, 10.0)
    found = readout.factor_r2(h[:100], u[:100], h[100:], u[100:], penalties=grid)
    single = torch.stack(
        [readout.factor_r2(h[:100], u[:100], h[100:], u[100:], penalties=[p]) for p in grid]
    )
    mask = held_out(torch.zeros(100, dtype=torch.int64)).numpy()
    scaled, targets = standardise(h[:100])(h[:100]).numpy(), u[:100].numpy()
    errors = []
    for penalty in grid:
        peer = Ridge(alpha=penalty * 80).fit(scaled[~mask], targets[~mask])
        errors.append(((peer.predict(scaled[mask]) - targets[mask]) ** 2).mean(0))
    preferred = np.argmin(errors, axis=0)
    assert preferred[0] == 0, "an exact line wants no penalty"
    assert found.tolist() == [single[preferred[k], k].item() for k in range(2)]


def test_factor_r2__invariances(generator):
    h, u, h_test, u_test = _curved(generator)
    base = readout.factor_r2(h, u, h_test, u_test)
    moved = readout.factor_r2(3 * h - 1, 5 * u + 2, 3 * h_test - 1, 5 * u_test + 2)
    torch.testing.assert_close(moved, base, rtol=0, atol=1e-9)
    order = torch.tensor([2, 0, 1])
    shuffled = readout.factor_r2(h, u[:, order], h_test, u_test[:, order])
    torch.testing.assert_close(shuffled, base[order], rtol=0, atol=1e-12)


def test_factor_r2__collapsed_features_explain_nothing(generator):
    u, h = torch.rand(40, 2, generator=generator), torch.ones(20, 3)
    for kernel in ("linear", "gaussian"):
        found = readout.factor_r2(h, u[:20], h, u[20:], kernel=kernel)
        means = (u[20:].double().mean(0) - u[:20].double().mean(0)).square()
        expected = -means / u[20:].double().var(0, correction=0)  # the training mean is the guess
        torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_factor_r2__keeps_dtype_and_device(generator, device, dtype):
    data = [part.to(device, dtype) for part in _curved(generator, n=90)]
    for kernel in ("linear", "gaussian"):
        found = readout.factor_r2(*data, kernel=kernel)
        assert found.dtype == dtype and found.device.type == device and found.shape == (3,)
        assert torch.equal(found, readout.factor_r2(*data, kernel=kernel))


F = torch.arange(6.0)[:, None]


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"train_features": X[:4]}, ValueError, "train_features must have at least 5 rows"),
        ({"train_factors": F[:4]}, ValueError, r"train_factors must have 6 rows.*\(4, 1\)"),
        ({"test_factors": F[:4]}, ValueError, "test_factors must have 6 rows"),
        ({"test_factors": F.repeat(1, 2)}, ValueError, "test_factors must have 1 columns"),
        ({"test_factors": F * 0}, ValueError, r"test_factors must vary, but columns \[0\]"),
        ({"train_factors": F / 0}, ValueError, "train_factors must be finite"),
        ({"kernel": "cubic"}, ValueError, "'linear', 'gaussian'"),
        ({"penalties": []}, ValueError, "at least 1 number"),
        ({"penalties": [0.0]}, ValueError, "penalties must be positive"),
    ],
)
def test_factor_r2__refuses_bad_input(change, error, message):
    full = {"train_features": X, "train_factors": F, "test_features": X, "test_factors": F}
    with pytest.raises(error, match=message):
        readout.factor_r2(**{**full, **change})


def test_cosine_targets__are_uncorrelated_on_a_grid_of_midpoints():
    # The discrete cosine basis is exactly orthogonal on midpoints.
    u = ((torch.arange(64, dtype=torch.float64) + 0.5) / 64)[:, None]
    targets = readout.cosine_targets(u, orders=(1, 2, 5))
    torch.testing.assert_close(
        targets.T @ targets / 64, torch.eye(3).double() / 2, rtol=0, atol=1e-14
    )


def test_cosine_targets__order_of_the_columns():
    u = torch.tensor([[0.0, 1.0], [0.5, 0.25]])
    found = readout.cosine_targets(u).unflatten(1, (2, -1))
    for factor in range(2):
        for place, order in enumerate((1, 2)):
            torch.testing.assert_close(
                found[:, factor, place], (math.pi * order * u[:, factor]).cos()
            )


def test_cosine_targets__refuses_bad_input():
    with pytest.raises(ValueError, match=r"\[0, 1\], got -1 to 0"):
        readout.cosine_targets(torch.tensor([[-1.0], [0.0]]))
    with pytest.raises(ValueError, match="orders must be at least 1"):
        readout.cosine_targets(torch.zeros(2, 1), orders=(0,))
    with pytest.raises(ValueError, match="at least 1 integer"):
        readout.cosine_targets(torch.zeros(2, 1), orders=())
