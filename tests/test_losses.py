"""Tests of the losses: closed forms, a second implementation, invariance, gradients, errors."""

import pytest
import torch

from vcreg_theory.losses import VICRegLoss, vicreg_loss


def _views(generator, n=8, d=5, dtype=torch.float64):
    return torch.randn(2, n, d, generator=generator, dtype=dtype)


def _reference(za, zb, gamma=1.0, eps=1e-4):
    """The three terms written with torch.cov and explicit loops over the views."""
    hinges, squares = [], []
    for z in (za, zb):
        c = torch.cov(z.T)
        hinges.append(torch.relu(gamma - (c.diagonal() + eps).sqrt()).mean())
        squares.append((c - torch.diag(c.diagonal())).square().sum() / z.shape[1])
    return torch.nn.functional.mse_loss(za, zb), sum(hinges) / 2, sum(squares)


def test_vicreg_loss__closed_form():
    # Two samples at +-a in one coordinate: variance 2 a^2, no off-diagonal entry.
    za = torch.tensor([[0.3], [-0.3]], dtype=torch.float64)
    zb = za + 0.1
    terms = vicreg_loss(za, zb, eps=0.0)
    assert terms.invariance.item() == pytest.approx(0.01, abs=1e-15)
    assert terms.variance.item() == pytest.approx(1 - 0.18**0.5, abs=1e-15)
    assert terms.covariance.item() == 0.0
    assert terms.loss.item() == pytest.approx(25 * 0.01 + 25 * (1 - 0.18**0.5), abs=1e-13)


def test_vicreg_loss__covariance_term_of_correlated_coordinates():
    # z = (u, u) with var u = 2: off-diagonal covariance 2, twice, over d = 2, both views.
    u = torch.tensor([[-1.0], [1.0]], dtype=torch.float64)
    z = u.expand(2, 2).clone()
    assert vicreg_loss(z, z).covariance.item() == pytest.approx(8.0)


@pytest.mark.parametrize("shape", [(8, 5), (5, 8), (4, 4)])
def test_vicreg_loss__agrees_with_torch_cov(generator, shape):
    za, zb = _views(generator, *shape)
    terms = vicreg_loss(za, zb, gamma=1.3)
    for found, expected in zip(terms[1:], _reference(za, zb, gamma=1.3), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-14)


def test_vicreg_loss__paper_convention_differs_by_known_factors(generator):
    za, zb = _views(generator)
    official, paper = (vicreg_loss(za, zb, convention=c) for c in ("official", "paper"))
    torch.testing.assert_close(paper.invariance, 5 * official.invariance)
    torch.testing.assert_close(paper.variance, 2 * official.variance)
    torch.testing.assert_close(paper.covariance, official.covariance)


def test_vicreg_loss__invariant_to_shift_and_permutation(generator):
    za, zb = _views(generator)
    order = torch.randperm(8, generator=generator)
    moved = vicreg_loss(za[order] + 3.0, zb[order] + 3.0)
    torch.testing.assert_close(moved.loss, vicreg_loss(za, zb).loss)


@pytest.mark.parametrize("shape", [(6, 3), (3, 6)])
def test_vicreg_loss__gradcheck(generator, shape):
    za, zb = (z.requires_grad_() for z in 0.3 * _views(generator, *shape))
    assert torch.autograd.gradcheck(lambda a, b: vicreg_loss(a, b).loss, (za, zb))


def test_vicreg_loss__collapsed_batch_is_stationary():
    # eps keeps the gradient of the root finite: exactly zero at exact collapse, never NaN.
    z = torch.ones(4, 3, dtype=torch.float64, requires_grad=True)
    vicreg_loss(z, z.detach()).loss.backward()
    assert z.grad.abs().max() == 0


def test_vicreg_loss__statistics_in_float32_under_autocast(generator):
    za, zb = 300 * _views(generator, 64, 256, torch.float32)
    exact = vicreg_loss(za.double(), zb.double())
    with torch.autocast("cpu", torch.bfloat16):
        found = vicreg_loss(za, zb)
    assert found.loss.dtype == torch.float32
    assert found.covariance.item() == pytest.approx(exact.covariance.item(), rel=1e-4)


def test_vicreg_loss_module__returns_the_scalar(generator):
    za, zb = _views(generator)
    module = VICRegLoss(invariance=1.0, convention="paper")
    assert module(za, zb) == vicreg_loss(za, zb, invariance=1.0, convention="paper").loss


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"za": torch.zeros(1, 3)}, ValueError, "at least 2 rows"),
        ({"za": torch.zeros(4, 2)}, ValueError, "same shape"),
        ({"za": torch.full((4, 3), float("nan"))}, ValueError, "12 NaN or infinite of 12"),
        ({"za": torch.zeros(4)}, ValueError, r"shape \(4,\)"),
        ({"za": torch.zeros(4, 0), "zb": torch.zeros(4, 0)}, ValueError, "at least 1 column"),
        ({"za": torch.zeros(4, 3, dtype=torch.int64)}, TypeError, "float32 or float64"),
        ({"za": torch.zeros(4, 3).double()}, ValueError, "dtype"),
        ({"gamma": 0.0}, ValueError, "gamma must be positive"),
        ({"variance": -1.0}, ValueError, "variance must not be negative"),
        ({"eps": float("inf")}, ValueError, "eps must be finite"),
        ({"convention": "half"}, ValueError, "'official', 'paper'"),
    ],
)
def test_vicreg_loss__refuses_bad_input(change, error, message):
    arguments = {"za": torch.zeros(4, 3), "zb": torch.zeros(4, 3), **change}
    with pytest.raises(error, match=message):
        vicreg_loss(arguments.pop("za"), arguments.pop("zb"), **arguments)


def test_vicreg_loss_module__refuses_bad_options_when_built():
    with pytest.raises(ValueError, match="gamma"):
        VICRegLoss(gamma=-1.0)
