"""Results stay on the device and in the dtype of their input, on every device at hand."""

import pytest
import torch

from vcreg_theory import density, losses, models, normality, piecewise, seeding

DEVICES = ["cpu"] + ["cuda"] * torch.cuda.is_available()


@pytest.fixture(params=DEVICES)
def device(request):
    return torch.device(request.param)


@pytest.fixture(params=[torch.float32, torch.float64], ids=["float32", "float64"])
def kind(request, device):
    return {"dtype": request.param, "device": device}


@pytest.fixture
def images(kind):
    generator = seeding.torch_generator(0, "devices")
    return torch.rand(3, 1, 8, 8, generator=generator).to(**kind)


@pytest.fixture
def encoder(kind):
    return models.digits_encoder(4, seed=0).to(**kind)


def _like(found, images):
    return found.dtype == images.dtype and found.device.type == images.device.type


def test_piecewise__keeps_device_and_dtype(encoder, images):
    local = piecewise.local_affine_map(encoder, images)
    radius = piecewise.exit_radius(encoder, images, torch.ones_like(images))
    kinks = piecewise.kink_expansion(encoder, images[0])
    assert all(_like(found, images) for found in (*local, radius, *kinks))
    assert piecewise.activation_pattern(encoder, images).device.type == images.device.type
    torch.testing.assert_close(local(images), encoder(images).detach(), rtol=1e-4, atol=1e-5)


def test_density__keeps_device_and_dtype(encoder, images):
    generator = seeding.torch_generator(0, "rays", images.device)
    for method in ("lower", "union", "ray"):
        found = density.exit_probability(
            encoder, images, 0.01, method=method, n_rays=50, generator=generator
        )
        assert _like(found, images) and ((found >= 0) & (found <= 1)).all()
    mixture = density.prototype_mixture(encoder, images, 0.1)
    assert _like(mixture.log_prob(encoder(images)), images)


def test_normality__predicts_on_the_device(encoder, images):
    kinks = piecewise.kink_expansion(encoder, images[0])
    skewness, kurtosis = normality.predicted_skew_kurtosis(kinks, 0.1)
    assert _like(skewness, images) and _like(kurtosis, images)


def test_losses__stay_on_the_device(encoder, images):
    z = encoder(images)
    terms = losses.vicreg_loss(z, z + 0.1)
    assert all(_like(term, images) for term in terms)
