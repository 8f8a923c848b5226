"""Tests of the projectors: definitions, laws of the weights, what is frozen, HSIC on average."""

import math

import pytest
import torch
from torch import nn

from vcreg_theory import models, seeding

UNITS = {
    "relu": torch.relu,
    "leaky_relu": lambda x: torch.where(x > 0, x, 0.2 * x),
    "tanh": torch.tanh,
    "cosine": lambda x: math.sqrt(2) * torch.cos(x),
}


def _draw(generator, *shape):
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def _by_hand(state, x, layers, activation, final, batch_norm):
    """The projector from its definition in training mode, from the tensors alone."""
    for k in range(1, layers + 1):
        x = x @ state[f"linear{k}.weight"].T
        if k == layers and final == "linear":
            return x
        if batch_norm:
            x = (x - x.mean(0)) / (x.var(0, unbiased=False) + 1e-5).sqrt()
            x = x * state[f"bn{k}.weight"] + state[f"bn{k}.bias"]
        else:
            x = x + state[f"linear{k}.bias"]
        x = UNITS[activation](x)
    return x


# --- Multilayer projector -----------------------------------------------------------------------


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("batch_norm", [False, True])
@pytest.mark.parametrize("final", ["linear", "activation"])
@pytest.mark.parametrize("activation", ["relu", "leaky_relu", "tanh"])
def test_projector__agrees_with_its_definition(generator, activation, final, batch_norm, frozen):
    options = {"activation": activation, "final": final, "batch_norm": batch_norm}
    net = models.projector(
        [3, 6, 5, 4], seed=0, bias=0.7, frozen=frozen, dtype=torch.float64, **options
    )
    x = _draw(generator, 9, 3)
    expected = _by_hand({k: v.clone() for k, v in net.state_dict().items()}, x, 3, **options)
    torch.testing.assert_close(net.train()(x), expected, rtol=1e-10, atol=1e-12)
    assert net.out_features == 4


def test_projector__two_widths_are_one_linear_map():
    net = models.projector([3, 5], seed=0)
    assert [*net.state_dict()] == ["linear1.weight"]


def test_projector__frozen_has_no_trainable_parameter_and_passes_gradients(generator):
    net = models.projector([3, 6, 4], seed=0, frozen=True).train().double()
    assert not any(p.requires_grad for p in net.parameters())
    before = {k: v.clone() for k, v in net.state_dict().items()}
    x = _draw(generator, 7, 3).requires_grad_()
    net(x).square().sum().backward()
    assert x.grad.norm() > 0 and all(p.grad is None for p in net.parameters())
    changed = {k for k, v in net.state_dict().items() if not torch.equal(v, before[k])}
    assert changed == {"bn1.running_mean", "bn1.running_var", "bn1.num_batches_tracked"}


@pytest.mark.parametrize("frozen", [False, True])
def test_projector__gradcheck_through_batch_statistics(generator, frozen):
    net = models.projector([3, 5, 2], seed=0, activation="tanh", frozen=frozen)
    x = _draw(generator, 6, 3).requires_grad_()
    assert torch.autograd.gradcheck(net.double().train(), (x,))


def test_projector__batch_norm_makes_it_blind_to_scale_in_training_only(generator):
    net = models.projector([3, 8, 4], seed=0, frozen=True, dtype=torch.float64)
    x = _draw(generator, 50, 3)
    assert (net(x) - net(100 * x)).abs().max() > 1
    difference = (net.train()(x) - net(100 * x)).abs().max()
    # What remains is the 1e-5 beside the variance: it shrinks a unit, at most sqrt(n) in size,
    # by 5e-6 / variance.
    smallest = net.linear1(x).var(0, unbiased=False).min()
    assert difference < 5e-6 / smallest * 50**0.5 * net.linear2.weight.abs().sum(1).max()


def _within_chance(weights, variance):
    """Whether the sample variance of normal weights is within 4 deviations, sqrt(2 / N) each."""
    return abs(weights.square().mean().item() / variance - 1) < 4 * (2 / weights.numel()) ** 0.5


@pytest.mark.parametrize(
    ("activation", "squared_gain"), [("relu", 2), ("leaky_relu", 2 / 1.04), ("tanh", 25 / 9)]
)
def test_projector__laws_of_the_weights(activation, squared_gain):
    # 4 deviations for 6 laws: false alarm below 4e-4 for a fresh seed
    net = models.projector([40, 400, 30], seed=0, frozen=True, activation=activation)
    plain = models.projector([40, 400, 30], seed=1, batch_norm=False, bias=0.3)
    assert _within_chance(net.linear1.weight, squared_gain / 40)
    assert _within_chance(net.linear2.weight, 1 / 400)
    assert _within_chance(net.bn1.bias, 1.0) and bool((net.bn1.weight == 1).all())
    assert _within_chance(plain.linear1.bias, 0.09)
    assert _within_chance(plain.linear1.weight, 2 / 40)
    assert _within_chance(plain.linear2.weight, 1 / 400)
    assert plain.linear2.bias is None and net.linear1.bias is None


def test_projector__offsets_by_default_and_weights_that_freezing_keeps():
    learned, random = (models.projector([4, 50, 3], seed=0, frozen=f) for f in (False, True))
    assert not learned.bn1.bias.any() and random.bn1.bias.all()
    assert torch.equal(learned.linear1.weight, random.linear1.weight)
    plain = models.projector([4, 50, 3], seed=0, batch_norm=False)
    assert not plain.linear1.bias.any() and all(p.requires_grad for p in plain.parameters())


def test_projector__is_independent_of_an_encoder_of_the_same_seed():
    with seeding.initialisation(0):
        same_stream = nn.init.normal_(nn.Linear(4, 50, bias=False).weight).detach()
    weight = models.projector([4, 50, 3], seed=0).linear1.weight.detach()
    correlation = torch.corrcoef(torch.stack([weight.flatten(), same_stream.flatten()]))[0, 1]
    assert abs(correlation) < 4 / 200**0.5  # 4 deviations of a sample correlation of zero


# --- Elementwise projector ----------------------------------------------------------------------


@pytest.mark.parametrize("activation", UNITS)
def test_elementwise_projector__closed_form(generator, activation):
    net = models.elementwise_projector(3, 4, seed=0, activation=activation, dtype=torch.float64)
    x = _draw(generator, 5, 3)
    z = net(x)
    assert z.shape == (5, 12) and net.out_features == 12 and not list(net.parameters())
    for i in range(3):
        for a in range(4):
            expected = UNITS[activation](net.weight[i, a] * x[:, i] + net.bias[i, a])
            torch.testing.assert_close(z[:, 4 * i + a], expected, rtol=1e-14, atol=1e-15)


@pytest.mark.parametrize("activation", UNITS)
def test_elementwise_projector__dense_form_agrees(generator, activation):
    net = models.elementwise_projector(3, 4, seed=0, activation=activation, dtype=torch.float64)
    x, dense = _draw(generator, 5, 3), net.dense()
    torch.testing.assert_close(dense(x), net(x), rtol=1e-13, atol=1e-14)
    before = dense(x)
    net.resample(generator)
    assert torch.equal(dense(x), before) and not torch.equal(net(x), before)
    assert not any(p.requires_grad for p in dense.parameters())


def test_elementwise_projector__sees_one_coordinate_at_a_time(generator):
    net = models.elementwise_projector(3, 4, seed=0, activation="tanh", dtype=torch.float64)
    x = _draw(generator, 1, 3)
    jacobian = torch.autograd.functional.jacobian(net, x).reshape(3, 4, 3)
    blocks = torch.eye(3).repeat_interleave(4, 0).reshape(3, 4, 3).bool()
    assert bool((jacobian[blocks] != 0).all()) and not jacobian[~blocks].any()
    assert torch.autograd.gradcheck(net, (x.requires_grad_(),))


def test_elementwise_projector__block_covariance_is_hsic_of_its_finite_kernel(generator):
    n, m = 30, 5
    x = _draw(generator, n, 2)
    x[:, 1] += x[:, 0] ** 2
    net = models.elementwise_projector(2, m, seed=0, dtype=torch.float64)
    z = net(x).reshape(n, 2, m)
    centred = z - z.mean(0)
    block = centred[:, 0].T @ centred[:, 1] / n
    h = torch.eye(n, dtype=torch.float64) - 1 / n
    kernels = [z[:, i] @ z[:, i].T / m for i in range(2)]
    hsic = torch.trace(kernels[0] @ h @ kernels[1] @ h) / n**2
    assert block.square().sum().item() / m**2 == pytest.approx(hsic.item(), rel=1e-12)


def _cosine_covariances(net, correlation):
    """Cov(phi_w(X), phi_v(Y)) of standard normal X, Y, exactly, for the features of one number."""
    (w, v), (b, c) = net.weight, net.bias
    cosines = 2 * b.cos() * c.cos() * (torch.cosh(correlation * w * v) - 1)
    sines = 2 * b.sin() * c.sin() * torch.sinh(correlation * w * v)
    return torch.exp(-(w**2 + v**2) / 2) * (cosines + sines)


@pytest.mark.parametrize("bandwidth", [1.0, 2.0])
def test_elementwise_projector__mean_over_draws_is_hsic(bandwidth):
    tau, rho = bandwidth**2, 0.6
    outer, mixed = (tau + 2) ** 2 - 4 * rho**2, (tau + 2) ** 2 - rho**2
    hsic = tau * (outer**-0.5 + 1 / (tau + 2) - 2 * mixed**-0.5)
    net = models.elementwise_projector(
        2, 40_000, seed=0, activation="cosine", bandwidth=bandwidth, dtype=torch.float64
    )
    squares = _cosine_covariances(net, rho).square()  # 40,000 independent pairs of features
    error = squares.std().item() / len(squares) ** 0.5
    # 4 standard errors, twice: false alarm below 2e-4 for a fresh seed
    assert abs(squares.mean().item() - hsic) < 4 * error
    net.weight[1], net.bias[1] = net.weight[0], net.bias[0]
    shared = _cosine_covariances(net, rho).square()
    # The control: features shared by the two coordinates have another mean.
    assert abs(shared.mean().item() - hsic) > 4 * shared.std().item() / len(squares) ** 0.5


@pytest.mark.parametrize("activation", UNITS)
def test_elementwise_projector__laws_of_the_weights(activation):
    net = models.elementwise_projector(4, 5000, seed=0, activation=activation, bandwidth=0.5)
    # 4 deviations for 9 laws: false alarm below 6e-4 for a fresh seed
    assert _within_chance(net.weight, 4.0)
    if activation == "cosine":
        mean = math.pi + torch.tensor([-4.0, 4.0]) * 2 * math.pi / (12 * net.bias.numel()) ** 0.5
        assert mean[0] < net.bias.mean() < mean[1]
        assert 0 <= net.bias.min() < 0.01 and 2 * math.pi - 0.01 < net.bias.max() < 2 * math.pi
    else:
        assert _within_chance(net.bias, 1.0)
    rows = torch.corrcoef(torch.cat([net.weight, net.bias]))
    off_diagonal = rows[~torch.eye(8, dtype=torch.bool)].abs().max()
    assert off_diagonal < 5 / 5000**0.5  # 5 deviations, for 28 pairs


def test_elementwise_projector__resample_draws_from_the_generator_alone():
    net, other = (models.elementwise_projector(3, 4, seed=s) for s in (0, 1))
    first = net.weight.clone()
    for each in (net, other):
        each.resample(seeding.torch_generator(5, "draws"))
    assert torch.equal(net.weight, other.weight) and torch.equal(net.bias, other.bias)
    assert not torch.equal(net.weight, first)
    wide = models.elementwise_projector(3, 4, seed=2, dtype=torch.float64)
    wide.resample(seeding.torch_generator(5, "draws"))
    assert wide.weight.dtype == torch.float64 and torch.equal(wide.weight.float(), net.weight)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_elementwise_projector__resamples_on_the_device():
    net = models.elementwise_projector(3, 4, seed=0).cuda()
    net.resample(seeding.torch_generator(5, "draws", "cuda"))
    assert net(torch.zeros(2, 3, device="cuda")).device.type == "cuda"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: models.projector([3], seed=0), "at least two numbers"),
        (lambda: models.projector([3, 0, 2], seed=0), "widths must be at least 1"),
        (lambda: models.projector([3, 2], seed=0, activation="gelu"), "activation must be one of"),
        (lambda: models.projector([3, 2], seed=0, final="softmax"), "'linear', 'activation'"),
        (lambda: models.projector([3, 2], seed=0, bias=-1.0), "bias must not be negative"),
        (lambda: models.projector([3, 2], seed=0, dtype=torch.float16), "dtype"),
        (lambda: models.elementwise_projector(0, 2, seed=0), "dim must be at least 1"),
        (lambda: models.elementwise_projector(2, 0, seed=0), "features must be at least 1"),
        (lambda: models.elementwise_projector(2, 2, seed=0, bandwidth=0.0), "bandwidth"),
        (lambda: models.elementwise_projector(2, 2, seed=0, activation="sin"), "'cosine'"),
        (lambda: models.elementwise_projector(2, 2, seed=0, dtype=torch.half), "dtype"),
        # One column would broadcast to every coordinate.
        (lambda: models.elementwise_projector(2, 2, seed=0)(torch.zeros(5, 1)), r"\(n, 2\)"),
        (lambda: models.elementwise_projector(2, 2, seed=0)(torch.zeros(2)), r"got \(2,\)"),
    ],
)
def test_projectors__refuse_bad_options(call, message):
    with pytest.raises(ValueError, match=message):
        call()
