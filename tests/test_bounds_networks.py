"""Tests of the norms of networks: matrices that are the network, norms by hand and by paths."""

import itertools
import math

import numpy as np
import pytest
import torch
from torch import nn

from vcreg_theory import bounds, models


def _run(matrices, inputs):
    """Return what the matrices make of inputs, with ReLU between them."""
    h = torch.cat([inputs.flatten(1).double(), torch.ones(len(inputs), 1)], 1)
    for k, matrix in enumerate(matrices):
        h = (h.relu() if k else h) @ matrix.T
    return h


@pytest.fixture
def trained_like():
    """A convolutional encoder whose running statistics are not the initial ones."""
    network = models.conv_encoder((3, 4), 5, in_channels=2, size=6, seed=0, mean=[0.4, 0.5])
    network.train()
    with torch.no_grad():
        network(torch.rand(50, 2, 6, 6, generator=torch.Generator().manual_seed(1)))
    return network.eval()


def test_layer_matrices__are_the_network(trained_like, generator):
    images = torch.rand(7, 2, 6, 6, generator=generator)
    matrices = bounds.layer_matrices(trained_like, (2, 6, 6))
    assert len(matrices) == 3 and len(matrices[-1]) == 5
    with torch.no_grad():
        expected = trained_like.double()(images.double())
    torch.testing.assert_close(_run(matrices, images), expected, rtol=0, atol=1e-11)
    probe = torch.randn(5, 3, generator=generator, dtype=torch.float64)
    with_probe = bounds.layer_matrices(trained_like, (2, 6, 6), probe)
    h = torch.cat([images.flatten(1).double(), torch.ones(7, 1)], 1)
    for k, matrix in enumerate(with_probe[:-1]):
        h = (h.relu() if k else h) @ matrix.T
    torch.testing.assert_close(h @ with_probe[-1].T, expected @ probe, rtol=0, atol=1e-11)


def test_layer_matrices__of_a_nested_perceptron(generator):
    inner = models.mlp([4, 6, 3], seed=0)
    network = nn.Sequential(nn.Flatten(), nn.Sequential(inner, nn.ReLU()), nn.Linear(3, 2).double())
    x = torch.randn(9, 4, generator=generator, dtype=torch.float64)
    found = _run(bounds.layer_matrices(network, [4]), x)
    torch.testing.assert_close(found, network(x).detach(), rtol=0, atol=1e-13)
    assert network.training and all(p.grad is None for p in network.parameters())


def test_network_norms__of_one_matrix():
    a = torch.tensor([[3.0, 0.0], [0.0, 4.0], [0.0, 0.0]], dtype=torch.float64)
    found = bounds.network_norms([a])
    assert found.lipschitz == pytest.approx(4)
    assert found.frobenius == pytest.approx(5)
    assert found.spectral == pytest.approx(4 * ((7 / 4) ** (2 / 3)) ** 1.5)  # the sum of rows, 7
    assert (found.path_1, found.path_2, found.depth) == pytest.approx((7, 5, 1))


def _random(generator, shapes=((4, 3), (5, 4), (2, 5))):
    return [torch.randn(*shape, generator=generator, dtype=torch.float64) for shape in shapes]


def test_network_norms__by_the_formula(generator):
    matrices = _random(generator)
    wide = [a.numpy() for a in matrices]
    sigma = [np.linalg.svd(a)[1][0] for a in wide]
    rows = [sum(np.linalg.norm(row) for row in a) for a in wide]
    ratios = sum((r / s) ** (2 / 3) for r, s in zip(rows, sigma, strict=True))
    found = bounds.network_norms(matrices)
    assert found.spectral == pytest.approx(np.prod(sigma) * ratios**1.5, rel=1e-10)
    assert found.lipschitz == pytest.approx(np.prod(sigma), rel=1e-10)
    assert found.frobenius == pytest.approx(np.prod([np.linalg.norm(a) for a in wide]), rel=1e-12)


def test_network_norms__by_paths(generator):
    matrices = _random(generator)
    one = two = 0.0
    for i, j, k, m in itertools.product(range(3), range(4), range(5), range(2)):
        weight = float(matrices[0][j, i] * matrices[1][k, j] * matrices[2][m, k])
        one, two = one + abs(weight), two + weight**2
    found = bounds.network_norms(matrices)
    assert (found.path_1, found.path_2) == pytest.approx((one, math.sqrt(two)), rel=1e-12)


@pytest.mark.parametrize("exponent", [-1000, -600, -565, -30, 0, 480, 1000])
def test_network_norms__of_tiny_and_huge_matrices(generator, exponent):
    a = torch.randn(5, 3, generator=generator, dtype=torch.float64)
    plain = bounds.network_norms([a])
    found = bounds.network_norms([a * 2.0**exponent])
    for value, other in zip(plain[:5], found[:5], strict=True):
        assert other == math.ldexp(value, exponent)  # powers of two are exact


def test_network_norms__of_layers_that_offset_each_other(generator):
    matrices = _random(generator)
    factors = (2.0**-565, 2.0**600, 2.0**-35)
    found = bounds.network_norms([f * a for f, a in zip(factors, matrices, strict=True)])
    assert found == pytest.approx(bounds.network_norms(matrices), rel=1e-12)
    assert (
        bounds.network_norms([torch.full((2, 2), 1e300, dtype=torch.float64)] * 2).path_1
        == math.inf
    )
    zero = bounds.network_norms([torch.zeros(2, 3), torch.eye(2)])
    assert zero[:5] == (0, 0, 0, 0, 0)


def test_network_norms__bound_the_network(generator):
    network = models.mlp([6, 20, 20, 3], seed=1)
    found = bounds.network_norms(bounds.layer_matrices(network, [6]))
    x = torch.rand(200, 6, generator=generator, dtype=torch.float64) * 2 - 1
    with torch.no_grad():
        y = network(x)
    apart = (y[:100] - y[100:]).norm(dim=1) / (x[:100] - x[100:]).norm(dim=1)
    assert float(apart.max()) <= found.lipschitz <= found.frobenius
    # Inputs and the constant have entries of at most one, so each output is a sum over paths.
    assert float(y.abs().sum(1).max()) <= found.path_1


def test_network_norms__under_a_rescaling_of_the_layers(generator):
    first, second, last = _random(generator)
    scaled = bounds.network_norms([3 * first, second / 3, last])
    for value, other in zip(bounds.network_norms([first, second, last]), scaled, strict=True):
        assert other == pytest.approx(value, rel=1e-10)
    # Rescaled unit by unit, which the network does not notice, only the path norms stay.
    unit = torch.tensor([1.0, 2.0, 4.0, 8.0], dtype=torch.float64)
    uneven = bounds.network_norms([unit[:, None] * first, second / unit, last])
    exact = bounds.network_norms([first, second, last])
    assert (uneven.path_1, uneven.path_2) == pytest.approx((exact.path_1, exact.path_2))
    assert uneven.frobenius != pytest.approx(exact.frobenius, rel=1e-3)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: bounds.network_norms([]), "at least 1 matrix"),
        (lambda: bounds.network_norms([torch.eye(2), torch.eye(3)]), "2 outputs and then shape"),
        (lambda: bounds.network_norms([torch.eye(2) * math.nan]), "finite"),
        (
            lambda: bounds.layer_matrices(nn.Sequential(nn.Linear(2, 2), nn.Tanh()), [2]),
            "got Tanh",
        ),
        (lambda: bounds.layer_matrices(nn.Sequential(nn.Linear(2, 2)), [3]), "does not fit"),
        (lambda: bounds.layer_matrices(nn.Sequential(nn.LeakyReLU(2.0)), [3]), "slope in"),
        (lambda: bounds.layer_matrices(nn.Sequential(nn.Linear(2, 2)), [0]), "at least 1, got 0"),
        (
            lambda: bounds.layer_matrices(
                nn.Sequential(nn.BatchNorm1d(2, track_running_stats=False)).eval(), [2]
            ),
            "running statistics",
        ),
        (
            lambda: bounds.layer_matrices(nn.Sequential(nn.Linear(2, 2)), [2], torch.eye(3)),
            "probe must have 2 rows",
        ),
    ],
)
def test_networks__refuse_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("slope", [0.0, 0.3, 1.0])
def test_layer_matrices__take_every_slope_from_zero_to_one(slope, generator):
    network = nn.Sequential(nn.Linear(2, 4), nn.LeakyReLU(slope), nn.Linear(4, 3)).double()
    first, second = bounds.layer_matrices(network, [2])
    x = torch.randn(6, 2, generator=generator, dtype=torch.float64)
    h = torch.nn.functional.leaky_relu(torch.cat([x, torch.ones(6, 1)], 1) @ first.T, slope)
    torch.testing.assert_close(h @ second.T, network(x).detach(), rtol=0, atol=1e-14)
