"""Tests of information by quadrature, and of the surrogate that is no bound."""

import math

import mpmath
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vcreg_theory import seeding
from vcreg_theory.information import (
    TwoImages,
    gaussian_entropy,
    isotropic_bound,
    prototype_information,
    view_information,
)


@pytest.fixture
def rng() -> np.random.Generator:
    return seeding.numpy_generator(0, "views")


def test_view_information__images_apart_reach_the_cap():
    means = torch.tensor([0.0, 25.0, 50.0, 80.0], dtype=torch.float64)
    weights = torch.tensor([0.1, 0.2, 0.3, 0.4], dtype=torch.float64)
    cap = -float((weights * weights.log()).sum())
    for found in (
        view_information(means, 1.0, weights),
        prototype_information(means, 1.0, weights),
    ):
        assert found.cap == pytest.approx(cap, abs=1e-14)
        assert abs(found.information - cap) <= found.error < 1e-7


def test_view_information__one_image_has_none():
    means = torch.zeros(3, dtype=torch.float64)
    for found in (view_information(means, 0.5), prototype_information(means, 0.5)):
        assert abs(found.information) <= found.error < 1e-7
        assert found.cap == pytest.approx(math.log(3), abs=1e-14)


def test_prototype_information__against_mpmath():
    means, deviations, weights = [0.0, 1.5, 2.0], [0.5, 0.3, 1.0], [0.2, 0.5, 0.3]

    def terms(x):
        parts = [
            w * mpmath.npdf(x, m, s) for w, m, s in zip(weights, means, deviations, strict=True)
        ]
        total = mpmath.fsum(parts)
        return mpmath.fsum(
            p * mpmath.log(p / (w * total)) for p, w in zip(parts, weights, strict=True)
        )

    exact = mpmath.quad(terms, [-8, -2, 0, 1, 1.5, 2, 3, 6, 10])
    tensors = [torch.tensor(v, dtype=torch.float64) for v in (means, deviations, weights)]
    found = prototype_information(tensors[0], tensors[1].square(), tensors[2])
    assert abs(found.information - float(exact)) <= found.error + 1e-10


def test_view_information__against_the_joint_density_on_a_grid():
    # Two images with codes +-1 and noise 0.8: the integrand of the information, summed directly.
    x = np.linspace(-9, 9, 1201)
    density = [
        np.exp(-(((x - m) / 0.8) ** 2) / 2) / (0.8 * math.sqrt(2 * math.pi)) for m in (-1, 1)
    ]
    one = (density[0] + density[1]) / 2
    both = sum(np.outer(p, p) for p in density) / 2
    exact = (both * np.log(both / np.outer(one, one))).sum() * (x[1] - x[0]) ** 2
    images = TwoImages(1.0, 0.8)
    assert images.information == pytest.approx(exact, abs=1e-9)


@settings(max_examples=25)
@given(st.integers(2, 5), st.integers(0, 2**32 - 1))
def test_view_information__data_processing_and_cap(k, seed):
    rng = np.random.default_rng(seed)
    means = torch.tensor(rng.uniform(-3, 3, k))
    weights = torch.tensor(0.9 * rng.dirichlet(np.ones(k)) + 0.1 / k)
    variances = torch.tensor(rng.uniform(0.2, 1.0, k))
    views = view_information(means, variances, weights)
    image = prototype_information(means, variances, weights)
    slack = views.error + image.error
    assert -slack <= views.information <= image.information + slack
    assert image.information <= image.cap + slack


def test_prototype_information__in_the_plane_is_rotation_invariant(rng):
    means = torch.tensor(rng.standard_normal((3, 2)))
    turn = torch.tensor([[0.6, -0.8], [0.8, 0.6]], dtype=torch.float64)
    one, other = (prototype_information(m, 0.3) for m in (means, means @ turn))
    assert abs(one.information - other.information) <= one.error + other.error
    line = torch.cat([means[:, :1], torch.zeros(3, 1).double()], 1)  # the second axis says nothing
    flat, thin = prototype_information(line, 0.3), prototype_information(means[:, 0], 0.3)
    assert abs(flat.information - thin.information) <= flat.error + thin.error


@pytest.mark.parametrize("ratio", [0.5, 4.0, 16.0])
def test_two_images__surrogate_is_the_gaussian_entropy_in_the_bound(ratio):
    images = TwoImages(separation=0.3 * ratio, noise=0.3)
    variance = torch.tensor([[images.separation**2 + 0.09]], dtype=torch.float64)
    surrogate = isotropic_bound(gaussian_entropy(variance), 2 * 0.09, 1)
    assert images.surrogate == pytest.approx(float(surrogate), abs=1e-13)
    assert images.surrogate == pytest.approx(0.5 * math.log((ratio**2 + 1) / 2), abs=1e-13)
    assert images.bound < images.information <= images.cap + 1e-8
    assert images.bound < images.surrogate


def test_two_images__surrogate_exceeds_the_information_where_the_bound_does_not():
    # ratio: surrogate above information (the control) or below it (where it is harmless)
    for ratio, exceeds in ((0.5, False), (2.0, False), (4.0, True), (16.0, True)):
        images = TwoImages(ratio, 1.0)
        assert (images.surrogate > images.cap) == exceeds
        assert (images.surrogate > images.information) == exceeds
        assert images.bound < images.information
    # Half a log 2 is lost by centring at a noisy code.
    assert images.bound == pytest.approx(0.5 * math.log(2), abs=1e-9)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: view_information(torch.zeros(2, 1), 1.0), ValueError, "means must have 1 dim"),
        (lambda: view_information(torch.zeros(2), torch.ones(2, 1)), ValueError, "one or a vector"),
        (lambda: view_information(torch.zeros(2), 0.0), ValueError, "variances must be positive"),
        (lambda: prototype_information(torch.zeros(2, 3), 1.0), ValueError, "1 or 2 columns"),
        (lambda: prototype_information([0.0], 1.0), TypeError, "means must be a torch.Tensor"),
        (
            lambda: prototype_information(torch.zeros(2), 1.0, torch.tensor([0.5, 0.6])),
            ValueError,
            "sum 1",
        ),
        (
            lambda: prototype_information(torch.tensor([0.0, math.nan]), 1.0),
            ValueError,
            "means must be finite",
        ),
        (lambda: TwoImages(0.0, 1.0), ValueError, "separation must be positive"),
        (lambda: TwoImages(1.0, -1.0), ValueError, "noise must be positive"),
        (lambda: TwoImages(1e9, 1.0).bound, ValueError, "must not differ so much"),
    ],
)
def test_views__refuse_bad_input(call, error, message):
    with pytest.raises(error, match=message):
        call()
