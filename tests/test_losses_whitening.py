"""Tests of Barlow Twins and W-MSE: closed forms, invariances, ranks, errors."""

import pytest
import torch

from vcreg_theory.losses import barlow_twins_loss, wmse_loss


def _views(generator, n, d):
    za, zb = torch.randn(2, n, d, generator=generator, dtype=torch.float64)
    return za, za + 0.4 * zb


@pytest.mark.parametrize("shape", [(8, 5), (5, 8), (6, 6)])
@pytest.mark.parametrize("gradient", [False, True])
def test_barlow_twins_loss__agrees_with_its_definition(generator, shape, gradient):
    za, zb = _views(generator, *shape)
    terms = barlow_twins_loss(za.requires_grad_(gradient), zb, off_diagonal=0.2, eps=0.1)
    c = torch.zeros(shape[1], shape[1], dtype=torch.float64)
    for k in range(shape[1]):
        for j in range(shape[1]):
            a, b = za[:, k] - za[:, k].mean(), zb[:, j] - zb[:, j].mean()
            scale = (a.square().mean() + 0.1) * (b.square().mean() + 0.1)
            c[k, j] = (a * b).mean() / scale.sqrt()
    diagonal = (1 - c.diagonal()).square().sum()
    off_diagonal = c.square().sum() - c.diagonal().square().sum()
    torch.testing.assert_close(terms.diagonal, diagonal, rtol=1e-12, atol=1e-13)
    torch.testing.assert_close(terms.off_diagonal, off_diagonal, rtol=1e-12, atol=1e-13)
    torch.testing.assert_close(terms.loss, diagonal + 0.2 * off_diagonal, rtol=1e-12, atol=0)


def test_barlow_twins_loss__treats_each_view_by_its_own_statistics(generator):
    za, zb = _views(generator, 8, 5)
    scale = torch.tensor([0.1, 1.0, 3.0, 10.0, 1e3], dtype=torch.float64)
    moved = barlow_twins_loss(za * scale + 5.0, zb / scale - 7.0, eps=0.0)
    torch.testing.assert_close(moved.loss, barlow_twins_loss(za, zb, eps=0.0).loss)


@pytest.mark.parametrize("n", [2, 3, 8])
def test_barlow_twins_loss__identical_views_have_correlation_one(generator, n):
    z, _ = _views(generator, n, 5)
    assert barlow_twins_loss(z, z, eps=0.0).diagonal < 1e-28


def test_barlow_twins_loss__two_samples_have_correlations_of_modulus_one():
    z = torch.tensor([[0.0, 1.0, 5.0], [1.0, 0.0, 9.0]], dtype=torch.float64)
    terms = barlow_twins_loss(z, -z, eps=0.0)
    assert terms.diagonal.item() == pytest.approx(12, abs=1e-12)
    assert terms.off_diagonal.item() == pytest.approx(6, abs=1e-12)


def test_barlow_twins_loss__differences_and_correlations(generator):
    # Claim B9.b: C_kk = 1 - E (z - z')^2 / 2 for standardised views.
    za, zb = ((z - z.mean(0)) / z.std(0, correction=0) for z in _views(generator, 20, 4))
    expected = ((za - zb).square().mean(0) / 2).square().sum()
    torch.testing.assert_close(barlow_twins_loss(za, zb, eps=0.0).diagonal, expected)


def test_barlow_twins_loss__a_constant_coordinate_is_uncorrelated(generator):
    za, zb = _views(generator, 8, 3)
    za[:, 1] = 4.0
    za.requires_grad_()
    terms = barlow_twins_loss(za, zb)
    rest = barlow_twins_loss(za[:, ::2], zb[:, ::2])
    torch.testing.assert_close(terms.diagonal, rest.diagonal + 1)
    assert torch.autograd.grad(terms.loss, za)[0].isfinite().all()


def test_wmse_loss__whitens(generator):
    # Against the all-zero view the squared difference is the variance of white rows, (n - 1) / n.
    za, zb = _views(generator, 20, 4)
    white = torch.linalg.qr(za - za.mean(0)).Q * 19**0.5
    lower = torch.linalg.cholesky(torch.cov(za.T))
    by_hand = torch.linalg.solve(lower, (za - za.mean(0)).T).T
    distance = wmse_loss(za, white, normalize=False).loss
    torch.testing.assert_close(distance, (by_hand - white).square().mean())
    torch.testing.assert_close(torch.cov(by_hand.T), torch.eye(4, dtype=torch.float64))
    assert wmse_loss(za, za).loss < 1e-14 < wmse_loss(za, zb).loss < 4


@pytest.mark.parametrize("normalize", [True, False])
def test_wmse_loss__triangular_mixtures_are_undone_and_others_rotate(generator, normalize):
    za, zb = _views(generator, 20, 4)
    mix = torch.randn(4, 4, generator=generator, dtype=torch.float64).triu(1)
    mix += torch.diag(torch.tensor([0.5, 1.0, 2.0, 3.0], dtype=torch.float64))
    expected = wmse_loss(za, zb, normalize=normalize).loss
    found = wmse_loss(za @ mix + 2.0, zb, normalize=normalize).loss
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=0)
    assert (wmse_loss(za @ mix.T, zb, normalize=normalize).loss - expected).abs() > 1e-3


def test_wmse_loss__sub_batches_are_averaged(generator):
    za, zb = _views(generator, 20, 4)
    parts = [wmse_loss(a, b).loss for a, b in zip(za.split(10), zb.split(10), strict=True)]
    torch.testing.assert_close(wmse_loss(za, zb, sub_batch=10).loss, sum(parts) / 2)


def test_wmse_loss__eps_one_whitens_nothing(generator):
    za, zb = _views(generator, 20, 4)
    centred = [z - z.mean(0) for z in (za, zb)]
    found = wmse_loss(za, zb, eps=1.0, normalize=False).loss
    torch.testing.assert_close(found, (centred[0] - centred[1]).square().mean())


@pytest.mark.parametrize(
    ("shape", "options", "error", "message"),
    [
        ((4, 4), {}, ValueError, "whitening 4 dimensions needs more than 4 samples at once, got 4"),
        ((8, 4), {"sub_batch": 4}, ValueError, "needs more than 4 samples at once, got 4"),
        ((8, 2), {"sub_batch": 3}, ValueError, "must divide the number of rows 8, got 3"),
        ((8, 2), {"eps": 1.5}, ValueError, "eps must be at most 1, got 1.5"),
        ((8, 2), {"normalize": "yes"}, TypeError, "normalize must be True or False, got 'yes'"),
        ((8, 2), {"sub_batch": 4.0}, TypeError, "sub_batch must be an integer"),
    ],
)
def test_wmse_loss__refuses(shape, options, error, message):
    z = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    with pytest.raises(error, match=message):
        wmse_loss(z, z, **options)


def test_wmse_loss__refuses_a_singular_covariance(generator):
    z, _ = _views(generator, 20, 4)
    z[:, 3] = z[:, 0] - z[:, 1]
    with pytest.raises(ValueError, match="singular to working precision: whiten more"):
        wmse_loss(z, z)
    assert wmse_loss(z, z, eps=1e-3).loss < 1e-12
