"""Tests of the reference entropy of mixtures in one and two dimensions."""

import math

import pytest
import torch
from scipy import integrate

from vcreg_theory.entropy import mixture_entropy_quadrature

LOG_2PIE = math.log(2 * math.pi * math.e)


@pytest.mark.parametrize("scale", [1e-8, 1.0, 1e5])
def test_quadrature__one_gaussian(scale):
    means = torch.tensor([3.0], dtype=torch.float64)
    found = mixture_entropy_quadrature(means, scale**2)
    assert abs(found.entropy - 0.5 * LOG_2PIE - math.log(scale)) <= found.error < 1e-9
    cov = scale**2 * torch.tensor([[[2.0, 1.2], [1.2, 1.0]]], dtype=torch.float64)
    found = mixture_entropy_quadrature(torch.ones(1, 2, dtype=torch.float64), cov)
    exact = LOG_2PIE + 0.5 * math.log(0.56) + 2 * math.log(scale)
    assert abs(found.entropy - exact) <= found.error < 1e-9


def test_quadrature__components_apart_add_the_entropy_of_the_weights():
    means = torch.tensor([0.0, 50.0, 1000.0], dtype=torch.float64)
    variances = torch.tensor([1.0, 4.0, 0.25], dtype=torch.float64)
    weights = torch.tensor([0.2, 0.3, 0.5], dtype=torch.float64)
    found = mixture_entropy_quadrature(means, variances, weights)
    exact = (weights * (0.5 * (LOG_2PIE + variances.log()) - weights.log())).sum().item()
    assert abs(found.entropy - exact) <= found.error < 1e-9


def test_quadrature__against_adaptive_quadrature():
    # A narrow component on the flank of a wide one, and two that nearly coincide.
    means, deviations, weights = [0.0, 3.0, 3.1], [1.0, 0.1, 0.7], [0.3, 0.3, 0.4]

    def integrand(x):
        p = sum(
            w / (s * math.sqrt(2 * math.pi)) * math.exp(-(((x - m) / s) ** 2) / 2)
            for m, s, w in zip(means, deviations, weights, strict=True)
        )
        return -p * math.log(p)

    points = [2.0, 2.5, 3.0, 3.5, 4.0]
    exact, error = integrate.quad(integrand, -12, 12, points=points, limit=500, epsabs=1e-12)
    tensors = [torch.tensor(v, dtype=torch.float64) for v in (means, deviations, weights)]
    found = mixture_entropy_quadrature(tensors[0], tensors[1].square(), tensors[2])
    assert abs(found.entropy - exact) <= found.error + error


def test_quadrature__product_of_independent_lines(generator):
    # The product of two mixtures of 2 has 4 components and the sum of the entropies.
    means = 2 * torch.randn(2, 2, generator=generator, dtype=torch.float64)
    variances = 0.3 + torch.rand(2, 2, generator=generator, dtype=torch.float64)
    weights = torch.tensor([[0.3, 0.7], [0.6, 0.4]], dtype=torch.float64)
    lines = [
        mixture_entropy_quadrature(*line) for line in zip(means, variances, weights, strict=True)
    ]
    pairs = [(i, j) for i in (0, 1) for j in (0, 1)]
    plane = mixture_entropy_quadrature(
        torch.stack([torch.stack([means[0, i], means[1, j]]) for i, j in pairs]),
        torch.stack([torch.stack([variances[0, i], variances[1, j]]) for i, j in pairs]),
        torch.stack([weights[0, i] * weights[1, j] for i, j in pairs]),
    )
    difference = plane.entropy - lines[0].entropy - lines[1].entropy
    assert abs(difference) <= plane.error + lines[0].error + lines[1].error < 1e-8


def test_quadrature__invariant_and_equivariant(generator):
    means = 2 * torch.randn(4, 2, generator=generator, dtype=torch.float64)
    root = torch.randn(4, 2, 2, generator=generator, dtype=torch.float64)
    covs = root @ root.mT + 0.3 * torch.eye(2, dtype=torch.float64)
    turn = torch.linalg.qr(torch.randn(2, 2, generator=generator, dtype=torch.float64)).Q
    start = mixture_entropy_quadrature(means, covs)
    moved = mixture_entropy_quadrature(3 * means @ turn.T + 1e6, 9 * turn @ covs @ turn.T)
    # An offset of 1e6 rounds the means by 1e-10, a shift of 1e-9 standard deviations at most.
    assert abs(moved.entropy - start.entropy - 2 * math.log(3)) <= moved.error + start.error + 1e-9


def test_quadrature__forms_of_the_arguments():
    means = torch.tensor([[0.0], [2.0]])
    found = {
        mixture_entropy_quadrature(means, 0.5),
        mixture_entropy_quadrature(means.flatten(), 0.5),
        mixture_entropy_quadrature(means, torch.tensor(0.5)),
        mixture_entropy_quadrature(means, torch.full((2,), 0.5)),
        mixture_entropy_quadrature(means, torch.full((2, 1), 0.5), torch.tensor([0.5, 0.5])),
        mixture_entropy_quadrature(means, torch.full((2, 1, 1), 0.5)),
        mixture_entropy_quadrature(means.half(), 0.5),
    }
    entropies = [result.entropy for result in found]
    assert max(entropies) - min(entropies) < 1e-13


def test_quadrature__looser_tolerance_larger_error(generator):
    means = torch.randn(5, generator=generator, dtype=torch.float64)
    exact = mixture_entropy_quadrature(means, 0.01, tolerance=1e-13)
    for tolerance in (1e-1, 1e-6):
        found = mixture_entropy_quadrature(means, 0.01, tolerance=tolerance)
        assert abs(found.entropy - exact.entropy) <= found.error <= tolerance + 1e-12


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"means": torch.zeros(2, 3)}, ValueError, "means must have 1 or 2 columns"),
        ({"means": torch.zeros(2, 1, 1)}, ValueError, "means must have 2 dimensions"),
        ({"means": [0.0, 1.0]}, TypeError, "means must be a torch.Tensor"),
        ({"variances": 0.0}, ValueError, "variances must be positive"),
        ({"variances": torch.ones(3)}, ValueError, "variances must have one of the shapes"),
        ({"variances": torch.tensor([1.0, 1e-16])}, ValueError, "must not differ so much"),
        ({"weights": torch.tensor([0.5, 0.6])}, ValueError, "sum 1"),
        ({"tolerance": 0.0}, ValueError, "tolerance must be positive"),
    ],
)
def test_quadrature__refuses_bad_input(change, error, message):
    arguments = {"means": torch.zeros(2), "variances": 1.0, **change}
    with pytest.raises(error, match=message):
        mixture_entropy_quadrature(**arguments)
