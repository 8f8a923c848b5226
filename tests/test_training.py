"""Tests of the data, the networks and the training: determinism first, then what it achieves."""

import pytest
import torch

from vcreg_theory import datasets, losses, models, training


@pytest.fixture(scope="module")
def images():
    return datasets.digits(dtype=torch.float32).images[:200]


def _train(images, *, seed=0, epochs=3, **options):
    encoder = models.digits_encoder(8, seed=0, dtype=torch.float32)
    views = datasets.contrast_noise_views
    history = training.train_vicreg(encoder, images, views, epochs=epochs, seed=seed, **options)
    return encoder, history


def test_digits__split_is_fixed_and_disjoint():
    train, test = datasets.digits(jitter=0.0), datasets.digits(train=False, jitter=0.0)
    assert train.images.shape == (1000, 1, 8, 8) and test.images.shape == (797, 1, 8, 8)
    assert (torch.cdist(train.images.flatten(1), test.images.flatten(1)).min(1).values > 0).all()
    assert torch.equal(train.labels, datasets.digits(seed=5).labels)


def test_digits__jitter_is_bounded_and_removes_constant_pixels():
    plain, moved = datasets.digits(jitter=0.0).images, datasets.digits(jitter=1e-3).images
    assert (moved - plain).min() >= 0 and (moved - plain).max() < 1e-3
    assert (plain.flatten(1).std(0) == 0).any()
    assert (moved.flatten(1).std(0) > 0).all()


def test_contrast_noise_views__have_the_stated_moments(generator):
    x = torch.ones(4000, 1, 2, 2, dtype=torch.float64)
    views = datasets.contrast_noise_views(x, generator=generator, contrast=0.3, noise=0.1)
    # Var c = 0.3^2 / 3 is common to the pixels of an image, the noise is not.
    assert views.mean().item() == pytest.approx(1.0, abs=4 * (0.03 / 4000) ** 0.5)
    common = torch.cov(views.flatten(1).T)
    assert common[0, 1].item() == pytest.approx(0.03, abs=0.004)
    assert common[0, 0].item() == pytest.approx(0.04, abs=0.004)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: datasets.digits(jitter=-1.0), "jitter must not be negative"),
        (lambda: datasets.digits(dtype=torch.float16), "dtype must be one of"),
        (lambda: models.mlp([3], seed=0), "at least two numbers"),
        (lambda: models.mlp([3, 0], seed=0), "widths must be at least 1"),
        (lambda: models.mlp([3, 1], seed=0, slope=-0.1), "slope must not be negative"),
        (lambda: models.digits_encoder(0, seed=0), "dim must be at least 1"),
    ],
)
def test_builders__refuse_bad_options(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_mlp__slope_changes_the_units_and_not_the_weights():
    plain, leaky = models.mlp([2, 3, 1], seed=0), models.mlp([2, 3, 1], seed=0, slope=0.2)
    assert models.fingerprint(plain) == models.fingerprint(leaky)
    assert leaky[1].negative_slope == 0.2 and isinstance(plain[1], torch.nn.ReLU)


def test_fingerprint__sees_values_names_and_shapes():
    net = models.mlp([2, 3, 1], seed=0)
    before = models.fingerprint(net)
    with torch.no_grad():
        net[0].bias[0] += 1e-15
    assert models.fingerprint(net) != before
    assert models.fingerprint(models.mlp([2, 3, 1], seed=1)) != before
    assert models.fingerprint(torch.nn.Sequential(net)) != models.fingerprint(net)


def test_train_vicreg__is_deterministic_and_leaves_global_state(images):
    state = torch.get_rng_state()
    (a, history), (b, again) = _train(images), _train(images)
    assert models.fingerprint(a) == models.fingerprint(b) and history == again
    assert models.fingerprint(a) != models.fingerprint(_train(images, seed=1)[0])
    assert torch.equal(state, torch.get_rng_state()) and not a.training


def test_train_vicreg__lowers_the_loss_of_unseen_views(images, generator):
    encoder, history = _train(images, epochs=10)
    assert history[-1].loss < 0.7 * history[0].loss
    untrained = models.digits_encoder(8, seed=0, dtype=torch.float32)
    test = datasets.digits(train=False, dtype=torch.float32).images
    pair = [datasets.contrast_noise_views(test, generator=generator) for _ in range(2)]
    with torch.no_grad():
        after, before = (losses.vicreg_loss(*map(net, pair)).loss for net in (encoder, untrained))
    assert after < before


def test_train_vicreg__stops_at_a_loss_that_is_not_finite(images):
    def broken(za, zb):
        terms = losses.vicreg_loss(za, zb)
        return terms._replace(loss=terms.loss * float("nan"))

    with pytest.raises(FloatingPointError, match="not finite at step 0: loss nan, invariance"):
        _train(images, loss=broken)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epochs": 0}, "epochs must be at least 1"),
        ({"batch_size": 1}, "batch_size must be at least 2"),
        ({"batch_size": 201}, "at least one batch of 201, got 200"),
        ({"learning_rate": 0.0}, "learning_rate must be positive"),
    ],
)
def test_train_vicreg__refuses_bad_options(images, options, message):
    with pytest.raises(ValueError, match=message):
        _train(images, **options)
