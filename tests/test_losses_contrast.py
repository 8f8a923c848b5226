"""Tests of the contrastive and the regression loss: closed forms, identities, rows of length 0."""

import math

import pytest
import torch
import torch.nn.functional as F

from vcreg_theory.losses import infonce_loss, regression_loss

FORMS = ["nt-xent", "one-way"]


def _views(generator, n=7, d=4, dtype=torch.float64):
    za, zb = torch.randn(2, n, d, generator=generator, dtype=torch.float64).to(dtype)
    return za.requires_grad_(), (za + 0.4 * zb).detach().requires_grad_()


def _loops(za, zb, temperature, form):
    """The definition, one row at a time."""
    a, b = F.normalize(za.detach()), F.normalize(zb.detach())
    queries, keys = (a, b) if form == "one-way" else (torch.cat([a, b]),) * 2
    n, rows = len(a), []
    for i, query in enumerate(queries):
        positive = i if form == "one-way" else (i + n) % (2 * n)
        others = [j for j in range(len(keys)) if form == "one-way" or j != i]
        exponents = torch.stack([query @ keys[j] / temperature for j in others])
        rows.append(exponents.logsumexp(0) - query @ keys[positive] / temperature)
    return torch.stack(rows).mean()


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("temperature", [0.5, 0.07, 0.026, 0.024, 0.002])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_infonce_loss__agrees_with_its_definition(generator, form, temperature, dtype):
    za, zb = _views(generator, dtype=dtype)
    found = infonce_loss(za, zb, temperature=temperature, form=form).loss
    expected = _loops(za.double(), zb.double(), temperature, form)
    # The exponents are as large as 1 / temperature and exact to some roundings of similarities.
    tolerance = 8 * torch.finfo(dtype).eps / temperature
    assert found.item() == pytest.approx(expected.item(), rel=1e-12, abs=tolerance)
    assert all(g.isfinite().all() for g in torch.autograd.grad(found, (za, zb)))


@pytest.mark.parametrize("form", FORMS)
def test_infonce_loss__is_invariance_less_a_kernel_entropy(generator, form):
    # Claim B9.a, with the kernels written out as distances.
    za, zb = _views(generator)
    tau = 0.3
    terms = infonce_loss(za, zb, temperature=tau, form=form)
    a, b = F.normalize(za), F.normalize(zb)
    alignment = (a - b).square().sum(1).mean()
    if form == "nt-xent":
        u = torch.cat([a, b])
        kernel = torch.exp(-torch.cdist(u, u).square() / (2 * tau)).fill_diagonal_(0)
        others = 2 * len(a) - 1
    else:
        kernel, others = torch.exp(-torch.cdist(a, b).square() / (2 * tau)), len(a)
    entropy = -(kernel.sum(1) / others).log().mean()
    torch.testing.assert_close(terms.alignment, alignment)
    torch.testing.assert_close(terms.entropy, entropy)
    expected = alignment / (2 * tau) - entropy + math.log(others)
    torch.testing.assert_close(terms.loss, expected, rtol=1e-12, atol=0)


def test_infonce_loss__leave_one_out_entropy_is_no_mixture_bound():
    # Far apart pairs: the pooled entropy exceeds log 2n, which no pairwise bound can.
    z = torch.eye(4, dtype=torch.float64)
    assert infonce_loss(z, -z, temperature=0.01).entropy > math.log(8)


@pytest.mark.parametrize("form", FORMS)
def test_infonce_loss__extreme_batches(form):
    z = torch.eye(6)
    same, other = (5, 10)[form == "nt-xent"], infonce_loss(z, z, temperature=1.0, form=form).loss
    assert other.item() == pytest.approx(math.log(math.e + same) - 1, rel=1e-6)
    collapsed = infonce_loss(torch.ones(6, 3), torch.ones(6, 3), form=form).loss
    assert collapsed.item() == pytest.approx(math.log((6, 11)[form == "nt-xent"]), rel=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_infonce_loss__cold_and_with_no_similar_pair(dtype):
    # Every exponential, shifted by the largest exponent possible, is below what a number can hold.
    z = torch.eye(6, dtype=dtype, requires_grad=True)
    tau = 5e-4
    found = infonce_loss(z, -z.detach(), temperature=tau).loss
    assert found.item() == pytest.approx(math.log(10) + 1 / tau, rel=1e-6)
    assert torch.autograd.grad(found, z)[0].isfinite().all()


def test_infonce_loss__only_the_pooled_form_is_symmetric_in_the_views(generator):
    za, zb = _views(generator)
    torch.testing.assert_close(infonce_loss(za, zb).loss, infonce_loss(zb, za).loss)
    forth, back = (infonce_loss(*v, form="one-way").loss for v in ((za, zb), (zb, za)))
    assert (forth - back).abs() > 1e-6


@pytest.mark.parametrize("form", FORMS)
def test_infonce_loss__does_not_see_the_length_of_a_row(generator, form):
    za, zb = _views(generator)
    lengths = torch.logspace(-6, 6, len(za), dtype=torch.float64)[:, None]
    scaled = infonce_loss(lengths * za, zb / lengths, form=form)
    torch.testing.assert_close(scaled.loss, infonce_loss(za, zb, form=form).loss)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("length", [0.0, 1e-20])
def test_infonce_loss__rows_without_direction_get_no_gradient(generator, form, length):
    za, zb = _views(generator, dtype=torch.float32)
    with torch.no_grad():
        za[2] = length
    terms = infonce_loss(za, zb, form=form)
    for target in (terms.loss, terms.entropy):
        gradient = torch.autograd.grad(target, za, retain_graph=True)[0]
        assert gradient.isfinite().all() and (gradient[2] == 0).all()
        assert (gradient[3] != 0).any()


@pytest.mark.parametrize(
    ("option", "message"),
    [({"temperature": -1.0}, "temperature must be positive"), ({"form": "clip"}, "'one-way', got")],
)
def test_infonce_loss__refuses_bad_options(option, message):
    with pytest.raises(ValueError, match=message):
        infonce_loss(torch.eye(3), torch.eye(3), **option)


def test_regression_loss__closed_form(generator):
    p, z = _views(generator)
    expected = (F.normalize(p) - F.normalize(z)).square().sum(1).mean()
    found = regression_loss(p, z)
    torch.testing.assert_close(found.loss, expected)
    torch.testing.assert_close(found.loss, 2 - 2 * found.cosine)
    assert regression_loss(p, 3 * p).loss.item() == pytest.approx(0, abs=1e-15)
    assert regression_loss(p, -p).loss.item() == pytest.approx(4, abs=1e-15)


def test_regression_loss__stops_the_gradient_at_the_target(generator):
    p, z = _views(generator)
    stopped = torch.autograd.grad(regression_loss(p, z).loss, (p, z), allow_unused=True)
    free = torch.autograd.grad(regression_loss(p, z, stop_gradient=False).loss, (p, z))
    assert stopped[1] is None and free[1].abs().max() > 0
    torch.testing.assert_close(stopped[0], free[0])
    # The gradient of a cosine is orthogonal to its row.
    assert (stopped[0] * p).sum(1).abs().max() < 1e-15


def test_regression_loss__rows_without_direction_have_cosine_zero():
    p = torch.tensor([[0.0, 0.0], [1.0, 0.0]], requires_grad=True)
    found = regression_loss(p, torch.tensor([[1.0, 0.0], [1.0, 0.0]]))
    assert found.cosine == 0.5
    assert (torch.autograd.grad(found.loss, p)[0] == 0).all()


def test_regression_loss__takes_one_row_and_refuses_a_bad_flag():
    assert regression_loss(torch.ones(1, 2), torch.ones(1, 2)).loss < 1e-6
    with pytest.raises(TypeError, match="stop_gradient must be True or False, got 1"):
        regression_loss(torch.ones(1, 2), torch.ones(1, 2), stop_gradient=1)


def test_infonce_loss__says_when_the_temperature_makes_the_loss_infinite():
    # 1e39 is above the largest float32; the aligned pairs are orthogonal, so their part is finite.
    z = torch.eye(2)
    with pytest.raises(ValueError, match="the loss is inf although the embeddings are finite"):
        infonce_loss(z, z.flip(0), temperature=1e-39, form="one-way")
