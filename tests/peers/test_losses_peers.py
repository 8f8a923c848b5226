"""Our losses against the formulas of public projects: values, gradients, and the known factors."""

from functools import partial

import peer_losses as public
import pytest
import torch

from vcreg_theory import losses

# An inner product of at most 48 numbers is off by 48 roundings in the worst case, by their square
# root as a rule. The exponents of the contrastive losses, up to 1 / temperature = 10, multiply that
# by ten and cancel in the loss, so the error is absolute where the loss is small.
ROUNDINGS = 64

# name: (ours, theirs, factor of theirs)
EQUAL = {
    "VICReg facebook": (losses.vicreg_loss, public.vicreg_facebook, 1.0),
    "VICReg lightly": (losses.vicreg_loss, public.vicreg_lightly, 1.0),
    "VICReg stable-pretraining": (losses.vicreg_loss, public.vicreg_stable, 1.0),
    "VICReg solo-learn": (partial(losses.vicreg_loss, variance=50.0), public.vicreg_solo, 1.0),
    "Barlow facebook": (
        partial(losses.barlow_twins_loss, off_diagonal=0.0051),
        public.barlow_facebook,
        1.0,
    ),
    "Barlow solo-learn": (losses.barlow_twins_loss, public.barlow_solo, 40.0),
    "NT-Xent lightly": (losses.infonce_loss, public.ntxent_lightly, 1.0),
    "NT-Xent solo-learn": (
        partial(losses.infonce_loss, temperature=0.1),
        public.simclr_solo,
        1.0,
    ),
    "BYOL solo-learn": (losses.regression_loss, public.byol_solo, 1.0),
}
SHAPES = [(16, 40), (40, 16), (24, 24)]
WHITENING = {
    "unit rows": {"normalize": True},
    "as they are": {"normalize": False},
    "shrunk": {"normalize": True, "eps": 0.1},
}


def _views(generator, n, d, dtype):
    """Two correlated views with unequal scales and means, different in every row."""
    za = torch.randn(n, d, generator=generator, dtype=torch.float64)
    zb = za + 0.5 * torch.randn(n, d, generator=generator, dtype=torch.float64)
    scale = torch.linspace(0.3, 2.0, d, dtype=torch.float64)
    return [(z * scale + 0.5).to(dtype).requires_grad_() for z in (za, zb)]


def _value_and_gradients(loss, za, zb):
    value = loss(za, zb)
    value = value.loss if isinstance(value, tuple) else value
    return value.detach(), torch.autograd.grad(value, (za, zb), materialize_grads=True)


def _assert_equal(found, expected, factor, dtype):
    (value, gradients), (reference, references) = found, expected
    tolerance = ROUNDINGS * torch.finfo(dtype).eps
    assert abs(value - factor * reference) <= tolerance * max(1, abs(factor * reference))
    for gradient, other in zip(gradients, references, strict=True):
        other = factor * other
        assert (gradient - other).abs().max() <= tolerance * max(1, other.abs().max())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", EQUAL)
def test_losses__equal_the_public_formula(generator, name, shape, dtype):
    ours, theirs, factor = EQUAL[name]
    za, zb = _views(generator, *shape, dtype)
    found = _value_and_gradients(ours, za, zb)
    _assert_equal(found, _value_and_gradients(theirs, za, zb), factor, dtype)


@pytest.mark.parametrize("options", WHITENING.values(), ids=WHITENING.keys())
def test_wmse_loss__equals_the_public_formula(generator, options):
    za, zb = _views(generator, 48, 6, torch.float64)
    for size in (48, 24):
        found = _value_and_gradients(partial(losses.wmse_loss, sub_batch=size, **options), za, zb)
        expected = _value_and_gradients(partial(public.wmse_htdt, size=size, **options), za, zb)
        _assert_equal(found, expected, 1.0, torch.float64)


def test_vcreg_loss__is_the_public_one_with_half_its_variance_weight(generator):
    z, _ = _views(generator, 12, 20, torch.float64)
    ours = losses.vcreg_loss(z, variance=12.5).loss
    torch.testing.assert_close(ours, public.vcreg_stable(z), rtol=1e-12, atol=0)


def test_regression_loss__is_affine_in_the_negative_cosine(generator):
    p, z = _views(generator, 12, 20, torch.float64)
    cosine = public.negative_cosine_lightly(p, z)
    torch.testing.assert_close(losses.regression_loss(p, z).loss, 2 + 2 * cosine)


def test_barlow_twins_loss__bessel_correction_in_public_code_shrinks_each_correlation(generator):
    za, zb = _views(generator, 8, 5, torch.float64)
    theirs = public.barlow_stable(za, zb, eps=0.0)
    a, b = ((z - z.mean(0)) / z.std(0, correction=0) for z in (za, zb))
    c = (7 / 8) * (a.T @ b / 8)
    expected = (1 - c.diagonal()).square().sum()
    expected = expected + 5e-3 * (c.square().sum() - c.diagonal().square().sum())
    torch.testing.assert_close(theirs, expected, rtol=1e-12, atol=0)
    # On identical views ours has diagonal 1 and theirs (n - 1) / n.
    assert losses.barlow_twins_loss(za, za, eps=0.0).diagonal < 1e-28
    shrunk = public.barlow_stable(za, za, lam=0.0, eps=0.0).item()
    assert shrunk == pytest.approx(5 / 64, rel=1e-12)


def test_vicreg_loss__solo_learn_differs_at_equal_weights(generator):
    za, zb = (0.3 * z for z in _views(generator, 12, 20, torch.float64))
    ours, theirs = losses.vicreg_loss(za, zb), public.vicreg_solo(za, zb)
    torch.testing.assert_close(theirs - ours.loss, 25 * ours.variance, rtol=1e-12, atol=0)
    assert ours.variance > 0.1
