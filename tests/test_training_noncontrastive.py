"""Tests of the small non-contrastive trainer: one step by hand, each part alone, errors."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from vcreg_theory import datasets, models, seeding
from vcreg_theory.datasets import Images, ViewDataset
from vcreg_theory.dynamics import directset_predictor, semi_gradient, view_moments
from vcreg_theory.training.noncontrastive import SetRule, train_noncontrastive

DEVICES = ["cpu"] + ["cuda"] * torch.cuda.is_available()
N, D = 40, 6


def _data(generator, device="cpu", seen=None):
    """Images whose two views are fixed: every pixel of the second is shifted by noise."""
    x = torch.rand(N, 1, 2, 3, generator=generator)
    shift = 0.3 * torch.randn(N, 1, 2, 3, generator=generator)
    part = Images(x.to(device), torch.arange(N, device=device) % 2)
    second = (x + shift).to(device)

    def two_views(rows, draws):
        if seen is not None:
            seen.append(rows)
        return part.images[rows] - 0.5, second[rows] - 0.5

    return ViewDataset("pairs", {}, part, part, two_views)


def _linear(generator, k=4):
    with seeding.initialisation(0):
        network = nn.Sequential(nn.Flatten(), nn.Linear(D, k, bias=False))
    with torch.no_grad():
        network[1].weight.copy_(torch.randn(k, D, generator=generator))
    return network


def _train(network, data, **options):
    options = {"epochs": 1, "batch_size": N, "momentum": 0.0, "weight_decay": 0.0, **options}
    return train_noncontrastive(network, data, generator=seeding.torch_generator(0), **options)


def _views(data):
    return [view.flatten(1).double() for view in data.two_views(torch.arange(N), None)]


@pytest.mark.parametrize("stop_gradient", [True, False])
def test_euclidean__one_step_is_that_of_the_linear_theory(generator, stop_gradient):
    data, network = _data(generator), _linear(generator)
    W = network[1].weight.detach().double().numpy()
    X, Sigma = (torch.tensor(m) for m in view_moments(*(v.numpy() for v in _views(data))))
    options = {"loss": "euclidean", "stop_gradient": stop_gradient, "predictor": None}
    _train(network, data, learning_rate=0.1, weight_decay=0.2, **options)
    # Without predictor the semi-gradient is W (Sigma - X); without stop-gradient twice that.
    start = torch.tensor(W)
    gradient = (1 if stop_gradient else 2) * start @ (Sigma - X)
    expected = start - 0.1 * (gradient + 0.2 * start)
    torch.testing.assert_close(network[1].weight.double(), expected, rtol=0, atol=1e-5)


def test_euclidean__second_step_uses_the_predictor_of_the_first_batch(generator):
    data, network = _data(generator), _linear(generator)
    X, Sigma = view_moments(*(v.numpy() for v in _views(data)))
    rule = SetRule(0.5, eps=0.3, rho=0.5, normalize="spectral")
    options = {"loss": "euclidean", "learning_rate": 0.1, "predictor": rule}
    start = network[1].weight.detach().double()
    first = start - 0.1 * start @ torch.tensor(Sigma - X)
    F = start @ torch.tensor(Sigma) @ start.T
    W_p = directset_predictor(F, 0.5, eps=0.3, normalize="spectral")
    gradient = semi_gradient(first.numpy(), W_p.numpy(), first.numpy(), X, Sigma).W
    found = _train(network, data, epochs=2, **options)
    expected = first - 0.1 * torch.tensor(gradient)
    torch.testing.assert_close(network[1].weight.double(), expected, rtol=0, atol=1e-4)
    later = 0.5 * F + 0.5 * first @ torch.tensor(Sigma) @ first.T
    W_p = directset_predictor(later, 0.5, eps=0.3, normalize="spectral")
    torch.testing.assert_close(found.predictor.double(), W_p, rtol=0, atol=1e-4)


def test_learned__predictor_takes_the_step_of_its_gradient(generator):
    data, network = _data(generator), _linear(generator)
    W = network[1].weight.detach().double()
    X, Sigma = (torch.tensor(m) for m in view_moments(*(v.numpy() for v in _views(data))))
    options = {"loss": "euclidean", "learning_rate": 0.1, "predictor": "learned"}
    found = _train(network, data, weight_decay=0.2, **options)
    gradient = W @ (Sigma - X) @ W.T + 0.2 * torch.eye(4)
    expected = torch.eye(4) - 0.1 * gradient
    torch.testing.assert_close(found.predictor.double(), expected, rtol=0, atol=1e-5)


def test_learned__predictor_that_is_not_symmetric_is_used_the_right_way_round(generator):
    data, network = _data(generator), _linear(generator)
    X, Sigma = view_moments(*(v.numpy() for v in _views(data)))
    W, W_p = network[1].weight.detach().double().numpy(), np.eye(4)
    for _ in range(4):
        gradient = semi_gradient(W, W_p, W, X, Sigma)
        W, W_p = W - 0.1 * gradient.W, W_p - 0.1 * gradient.W_p
    options = {"loss": "euclidean", "learning_rate": 0.1, "predictor": "learned"}
    found = _train(network, data, epochs=4, **options)
    assert np.abs(W_p - W_p.T).max() > 1e-3
    np.testing.assert_allclose(found.predictor.numpy(), W_p, rtol=0, atol=1e-5)


def test_cosine__gradient_is_orthogonal_to_the_weights(generator):
    # The loss does not change with the scale of W, so a step of size g is orthogonal to W.
    data, network = _data(generator), _linear(generator)
    start = network[1].weight.detach().clone()
    _train(network, data, learning_rate=0.1, centred=True)
    step = network[1].weight.detach() - start
    assert step.norm() > 1e-3
    assert abs(float((step * start).sum())) < 1e-5 * float(step.norm() * start.norm()) * 10


def test_centred__forgets_an_offset_of_the_embeddings(generator):
    data, networks = _data(generator), []
    for offset in (0.0, 5.0):
        network = _linear(seeding.torch_generator(1))
        layer = nn.Linear(D, 4)
        layer.weight, layer.bias.data = network[1].weight, torch.full((4,), offset)
        networks.append(nn.Sequential(nn.Flatten(), layer))
        _train(networks[-1], data, epochs=3, learning_rate=0.1, centred=True)
    torch.testing.assert_close(networks[0][1].weight, networks[1][1].weight, rtol=0, atol=1e-5)


def test_target__that_averages_lags_behind(generator):
    data, starts = _data(generator), []
    for decay in (None, 0.0, 0.9):
        network = _linear(seeding.torch_generator(2))
        options = {"loss": "euclidean", "learning_rate": 0.3, "predictor": None}
        _train(network, data, epochs=4, target_decay=decay, **options)
        starts.append(network[1].weight.detach())
    assert torch.equal(starts[0], starts[1]), "an average without memory is the network itself"
    assert not torch.allclose(starts[0], starts[2], atol=1e-4)


def test_train__set_predictor_gets_no_gradient_and_parts_keep_their_modes(generator):
    network = nn.Sequential(nn.Flatten(), models.projector((D, 8, 4), seed=0))
    frozen = copy.deepcopy(network[1].linear1.weight)
    network[1].linear1.requires_grad_(False)
    found = _train(network, _data(generator), target_decay=0.9, weight_decay=0.1)
    assert found.network is network and not network.training
    assert torch.equal(network[1].linear1.weight, frozen)
    assert not found.predictor.requires_grad
    torch.testing.assert_close(found.predictor, found.predictor.T)


def test_train__visits_images_once_an_epoch_and_is_deterministic(generator):
    seen, prints = [], []
    data = _data(generator, seen=seen)
    state = torch.get_rng_state()
    for _ in range(2):
        network = _linear(seeding.torch_generator(3))
        found = _train(network, data, epochs=2, batch_size=15, target_decay=0.5)
        prints.append(models.fingerprint(network))
        assert len(found.history) == 2
    assert prints[0] == prints[1]
    assert torch.equal(state, torch.get_rng_state())
    assert [len(rows) for rows in seen] == [15] * 8
    assert len(set(torch.cat(seen[:2]).tolist())) == 30
    assert not torch.equal(seen[0], seen[2])


@pytest.mark.parametrize("device", DEVICES)
def test_train__lowers_the_loss_of_digits(device):
    data = datasets.digit_views(device=device)
    for predictor in (SetRule(2.0), "learned", None):
        network = nn.Sequential(nn.Flatten(), models.projector((64, 32, 16), seed=0)).to(device)
        found = train_noncontrastive(
            network, data, epochs=4, predictor=predictor, target_decay=0.99, centred=True,
            generator=seeding.torch_generator(0, device=device),
        )  # fmt: skip
        assert found.history[-1].loss < found.history[0].loss
        assert 0 < found.history[-1].spread <= 1 and found.predictor.device.type == device


def test_train__reports_divergence(generator):
    network = _linear(generator)
    options = {"loss": "euclidean", "predictor": SetRule(2.0, normalize=None)}
    with pytest.raises(FloatingPointError, match="not finite at step"):
        _train(network, _data(generator), epochs=50, learning_rate=50.0, **options)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"epochs": 0}, ValueError, "epochs must be at least 1"),
        ({"batch_size": 1}, ValueError, "batch_size must be at least 2"),
        ({"batch_size": 41}, ValueError, "batch of 41 images, got 40"),
        ({"predictor": "mlp"}, ValueError, "SetRule, 'learned' or None, got 'mlp'"),
        ({"loss": "l2"}, ValueError, "'cosine', 'euclidean'"),
        ({"target_decay": 1.0}, ValueError, r"target_decay must be in \[0, 1\)"),
        ({"target_decay": 0.5, "stop_gradient": False}, ValueError, "with stop_gradient, got 0.5"),
        ({"predictor": SetRule(rho=1.0)}, ValueError, "rho must lie in"),
        ({"predictor": SetRule(alpha=0.0)}, ValueError, "alpha must be positive"),
    ],
)
def test_train__refuses_bad_input(generator, options, error, message):
    with pytest.raises(error, match=message):
        _train(_linear(generator), _data(generator), **options)
