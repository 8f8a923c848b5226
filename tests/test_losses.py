"""Tests of VICReg and VCReg: closed forms, a second implementation, invariance, errors.

What all losses have in common, such as their gradients, is in ``test_losses_gradients.py``.
"""

import pytest
import torch

from vcreg_theory.losses import _covariance, vcreg_loss, vicreg, vicreg_loss


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


def test_vicreg_loss__collapsed_batch_is_stationary():
    # eps keeps the gradient of the root finite: exactly zero at exact collapse, never NaN.
    z = torch.ones(4, 3, dtype=torch.float64, requires_grad=True)
    vicreg_loss(z, z.detach()).loss.backward()
    assert z.grad.abs().max() == 0


def test_vicreg_loss__eps_decides_the_gradient_of_a_constant_coordinate(generator):
    z = torch.randn(4, 3, generator=generator, dtype=torch.float64)
    z[:, 1] = 2.0
    for eps, expected in ((1e-4, 0.0), (0.0, float("nan"))):
        x = z.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(vicreg_loss(x, x.detach(), eps=eps).variance, x)
        wanted = torch.full((4,), expected, dtype=torch.float64)
        torch.testing.assert_close(gradient[:, 1], wanted, equal_nan=True)


def test_vicreg_loss__hinge_is_silent_above_the_target_and_bounds_nothing_there(generator):
    x = torch.randn(6, 1, generator=generator, dtype=torch.float64)
    x = (x - x.mean()) / x.std()
    for variance, eps in ((1 - 1e-4, 1e-4), (1.0, 0.0), (100.0, 1e-4)):
        z = x * variance**0.5
        assert vicreg_loss(z, z, eps=eps).variance < 1e-15
    short = vicreg_loss(0.5 * x, 0.5 * x, eps=0.0)
    assert short.variance.item() == pytest.approx(0.5, abs=1e-15)


def test_vcreg_loss__is_vicreg_less_the_invariance_term(generator):
    za, zb = 0.5 * _views(generator)
    both = vicreg_loss(za, zb, variance=3.0, covariance=0.7)
    single = [vcreg_loss(z, variance=1.5, covariance=0.7) for z in (za, zb)]
    torch.testing.assert_close(both.loss - 25 * both.invariance, single[0].loss + single[1].loss)
    torch.testing.assert_close(both.covariance, single[0].covariance + single[1].covariance)
    torch.testing.assert_close(2 * both.variance, single[0].variance + single[1].variance)


@pytest.mark.parametrize("shape", [(9, 4), (4, 9)])
def test_vcreg_loss__gradient_is_the_closed_form(generator, shape):
    # Claim A1.a: 4 HZ Off(C) / (d (n-1)), and -HZ diag(1[s < gamma] / s) / (d (n-1)).
    n, d = shape
    z = torch.randn(n, d, generator=generator, dtype=torch.float64) * torch.linspace(0.3, 1.5, d)
    z.requires_grad_()
    terms = vcreg_loss(z, variance=3.0, covariance=0.7)
    centred = (z - z.mean(0)).detach()
    c = torch.cov(z.detach().T)
    s = (c.diagonal() + 1e-4).sqrt()
    expected = 0.7 * 4 * centred @ (c - c.diagonal().diag())
    expected = (expected - 3.0 * centred * ((s < 1) / s)) / (d * (n - 1))
    (found,) = torch.autograd.grad(terms.loss, z)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-15)


def test_vicreg_loss__covariance_of_whitened_features_keeps_its_digits(generator):
    # The off-diagonal entries are 1e-6 of the diagonal ones: a subtraction would leave nothing.
    z = torch.randn(400, 6, generator=generator, dtype=torch.float64)
    z = torch.linalg.qr(z - z.mean(0)).Q * 399**0.5
    mixed = z @ (torch.eye(6, dtype=torch.float64) + 1e-3)
    exact, found = vcreg_loss(mixed), vcreg_loss(mixed.float().requires_grad_())
    # Entries of C are off by rounding, 2^-24 at most for each product, against 2e-3 each.
    assert found.covariance.item() == pytest.approx(exact.covariance.item(), rel=1e-3)


@pytest.mark.parametrize("n", [1, 127, 128, 129, 300, 1100])
def test_gram__by_blocks_is_the_product(generator, n, monkeypatch):
    monkeypatch.setattr(_covariance, "LARGE", 0)
    x = torch.randn(n, 7, generator=generator, dtype=torch.float64)
    torch.testing.assert_close(_covariance.gram(x), x @ x.T, rtol=0, atol=1e-13)
    torch.testing.assert_close(_covariance.gram(x[:, :3].T), x[:, :3].T @ x[:, :3])


@pytest.mark.parametrize("shape", [(5, 3), (300, 1000), (3, 2**17 + 1)])
def test_column_squares__by_chunks_are_the_sums(generator, shape):
    x = torch.randn(*shape, generator=generator, dtype=torch.float64)
    torch.testing.assert_close(_covariance.column_squares(x), x.square().sum(0))


@pytest.mark.parametrize("shape", [(6, 9), (9, 6)])
def test_vicreg_loss__keeps_nothing_larger_than_the_embeddings(generator, shape):
    za, zb = (z.requires_grad_() for z in _views(generator, *shape))
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t.shape) or t, lambda t: t):
        loss = vicreg_loss(za, zb).loss
    assert kept == [za.shape] * 2
    assert [g.shape for g in loss.grad_fn.gradients] == [za.shape] * 2


def test_vicreg_loss__only_unusual_gradients_cost_a_second_evaluation(generator, monkeypatch):
    plain, calls = vicreg._plain, []
    monkeypatch.setattr(vicreg, "_plain", lambda *a: calls.append(1) or plain(*a))
    za, zb = (z.requires_grad_() for z in _views(generator))
    vicreg_loss(za, zb).loss.backward()
    assert not calls
    vicreg_loss(za, zb).covariance.backward()
    assert len(calls) == 1


def test_vicreg_loss__statistics_in_float32_under_autocast(generator):
    za, zb = 300 * _views(generator, 64, 256, torch.float32)
    exact = vicreg_loss(za.double(), zb.double())
    with torch.autocast("cpu", torch.bfloat16):
        found = vicreg_loss(za, zb)
    assert found.loss.dtype == torch.float32
    assert found.covariance.item() == pytest.approx(exact.covariance.item(), rel=1e-4)


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
        ({"zb": [0.0]}, TypeError, "zb must be a torch"),
    ],
)
def test_vicreg_loss__refuses_bad_input(change, error, message):
    arguments = {"za": torch.zeros(4, 3), "zb": torch.zeros(4, 3), **change}
    with pytest.raises(error, match=message):
        vicreg_loss(arguments.pop("za"), arguments.pop("zb"), **arguments)


def test_gram__of_large_batches_multiplies_little_more_than_half(generator, monkeypatch):
    product, entries = torch.mm, []

    def count(a, b, out):
        entries.append(len(a) * b.shape[1])
        return product(a, b, out=out)

    monkeypatch.setattr(torch, "mm", count)
    x = torch.randn(1100, 7, generator=generator, dtype=torch.float64)
    _covariance.gram(x)
    assert not entries  # a small batch: one product
    monkeypatch.setattr(_covariance, "LARGE", 0)
    _covariance.gram(x)
    # Eight blocks of rows, each against its own and the later columns: (1 + 1/8) / 2 of all.
    assert 0.55 < sum(entries) / 1100**2 < 0.58
