"""What all losses have in common: derivatives of every order, precision, devices, bad input."""

import copy
from functools import partial

import pytest
import torch

from vcreg_theory import losses

CUDA = torch.cuda.is_available()

LOSSES = {
    "vicreg": losses.vicreg_loss,
    "vicreg paper": partial(losses.vicreg_loss, convention="paper"),
    "vcreg": lambda za, zb: losses.vcreg_loss(za),
    "logdet": partial(losses.vicreg_logdet_loss, eps=0.01),
    "pairdist": losses.vicreg_pairdist_loss,
    "pairdist kl": partial(losses.vicreg_pairdist_loss, kernel="kl", variance=0.7),
    "barlow": partial(losses.barlow_twins_loss, off_diagonal=0.1),
    "nt-xent": losses.infonce_loss,
    "nt-xent cold": partial(losses.infonce_loss, temperature=0.002),
    "one-way": partial(losses.infonce_loss, form="one-way", temperature=0.2),
    "regression": partial(losses.regression_loss, stop_gradient=False),
}
SHAPES = [(6, 3), (3, 6)]
WHITENED = {
    "wmse": losses.wmse_loss,
    "wmse plain": partial(losses.wmse_loss, normalize=False, sub_batch=5, eps=0.1),
}
CASES = [(name, loss, shape) for name, loss in LOSSES.items() for shape in SHAPES]
CASES += [(name, loss, (10, 3)) for name, loss in WHITENED.items()]
EACH = pytest.mark.parametrize(
    ("loss", "shape"), [c[1:] for c in CASES], ids=[f"{c[0]}-{c[2][0]}x{c[2][1]}" for c in CASES]
)
WIDE = [c for c in CASES if c[2] != (3, 6)]
ONE_SHAPE = pytest.mark.parametrize(
    ("loss", "shape"), [c[1:] for c in WIDE], ids=[c[0] for c in WIDE]
)
# Weights of loss = sum of weights times terms (+ constant), by field of the terms.
SUMS = {
    "vicreg": {"invariance": 25, "variance": 25, "covariance": 1},
    "vicreg paper": {"invariance": 25, "variance": 25, "covariance": 1},
    "vcreg": {"variance": 25, "covariance": 1},
    "logdet": {"invariance": 25, "entropy": -1},
    "pairdist": {"invariance": 25, "hinge": 25, "entropy": -1},
    "barlow": {"diagonal": 1, "off_diagonal": 0.1},
}


def _views(generator, shape, dtype=torch.float64):
    """Correlated views with standard deviations on both sides of the hinge."""
    za, zb = torch.randn(2, *shape, generator=generator, dtype=torch.float64)
    scale = torch.linspace(0.3, 1.4, shape[1], dtype=torch.float64)
    return [(z * scale).to(dtype).requires_grad_() for z in (za, za + 0.5 * zb)]


@EACH
def test_losses__gradcheck_of_the_loss_and_of_every_term(generator, loss, shape):
    views = _views(generator, shape)
    for i in range(len(loss(*views))):
        assert torch.autograd.gradcheck(lambda *z, i=i: loss(*z)[i], views)
    assert torch.autograd.gradcheck(lambda *z: tuple(loss(*z)), views)


@EACH
def test_losses__gradgradcheck(generator, loss, shape):
    views = _views(generator, shape)
    assert torch.autograd.gradgradcheck(lambda *z: loss(*z).loss, views)


@EACH
def test_losses__the_fast_gradient_is_that_of_autograd(generator, loss, shape):
    views = _views(generator, shape)
    fast = torch.autograd.grad(loss(*views).loss, views, allow_unused=True)
    plain = torch.autograd.grad(loss(*views).loss, views, allow_unused=True, create_graph=True)
    for f, p in zip(fast, plain, strict=True):
        torch.testing.assert_close(f, p, rtol=1e-11, atol=1e-13)
    recorded = [term.detach() for term in loss(*views)]
    with torch.no_grad():
        torch.testing.assert_close(list(loss(*views)), recorded, rtol=1e-12, atol=1e-13)


@ONE_SHAPE
def test_losses__gradients_add_over_terms_and_over_passes(generator, loss, shape):
    za, zb = _views(generator, shape)
    terms = loss(za, zb)
    (twice,) = torch.autograd.grad(2 * terms.loss + terms[1], za, retain_graph=True)
    (first,) = torch.autograd.grad(4 * terms.loss, za, retain_graph=True)
    kept = first.clone()
    (again,) = torch.autograd.grad(terms.loss, za, retain_graph=True)
    (term,) = torch.autograd.grad(terms[1], za)
    assert torch.equal(first, 4 * again) and torch.equal(first, kept)
    torch.testing.assert_close(twice, 2 * again + term, rtol=1e-11, atol=1e-12)


@ONE_SHAPE
def test_losses__one_view_may_be_constant(generator, loss, shape):
    za, zb = _views(generator, shape)
    (both,) = torch.autograd.grad(loss(za, zb).loss, za)
    for target in (loss(za, zb.detach()).loss, loss(za, zb.detach())[1]):
        (alone,) = torch.autograd.grad(target, za, retain_graph=True)
        assert alone.shape == za.shape
    (alone,) = torch.autograd.grad(loss(za, zb.detach()).loss, za)
    torch.testing.assert_close(alone, both, rtol=1e-12, atol=1e-14)
    assert not loss(za.detach(), zb.detach()).loss.requires_grad


def test_losses__second_derivatives_through_torch_func(generator):
    za, zb = (z.detach() for z in _views(generator, (4, 3)))
    found = torch.func.grad(lambda z: losses.vicreg_loss(z, zb).loss)(za)
    z = za.clone().requires_grad_()
    (expected,) = torch.autograd.grad(losses.vicreg_loss(z, zb).loss, z)
    torch.testing.assert_close(found, expected)
    hessian = torch.autograd.functional.hessian(lambda z: losses.vicreg_loss(z, zb).loss, za)
    torch.testing.assert_close(hessian, hessian.permute(2, 3, 0, 1))


@pytest.mark.parametrize("name", SUMS)
def test_losses__are_the_weighted_sum_of_their_terms(generator, name):
    terms = LOSSES[name](*_views(generator, (8, 5)))
    assert terms._fields[0] == "loss" and set(terms._fields[1:]) == set(SUMS[name])
    total = sum(weight * getattr(terms, field) for field, weight in SUMS[name].items())
    torch.testing.assert_close(terms.loss, total, rtol=1e-13, atol=0)


@ONE_SHAPE
def test_losses__do_not_depend_on_the_order_of_the_samples(generator, loss, shape):
    if getattr(loss, "keywords", {}).get("sub_batch"):
        loss = partial(losses.wmse_loss, normalize=False)
    views = _views(generator, shape)
    order = torch.randperm(shape[0], generator=generator)
    torch.testing.assert_close(loss(*(z[order] for z in views)).loss, loss(*views).loss)


PAIRED = [c for c in WIDE if c[0] != "vcreg"]


@pytest.mark.parametrize(("loss", "shape"), [c[1:] for c in PAIRED], ids=[c[0] for c in PAIRED])
def test_losses__are_smaller_for_the_right_pairs(generator, loss, shape):
    za, _ = _views(generator, shape)
    assert loss(za, za).loss < loss(za, za.roll(1, 0)).loss - 1e-3


@ONE_SHAPE
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_losses__are_computed_in_float32_at_least(generator, loss, shape, dtype):
    views = [z.detach().requires_grad_() for z in _views(generator, shape, dtype)]
    with torch.autocast("cpu", torch.bfloat16):
        terms = loss(*views)
    (gradient,) = torch.autograd.grad(terms.loss, views[0])
    doubles = [z.detach().double().requires_grad_() for z in views]
    exact = loss(*doubles).loss
    (reference,) = torch.autograd.grad(exact, doubles[0])
    assert all(term.dtype == torch.float32 for term in terms) and gradient.dtype == dtype
    # 2^-24 a rounding; some ten of them, times the weight 25 or the exponent 1 / 0.002. Arithmetic
    # in bfloat16 would be off by several times 2^-9. A half-precision gradient is rounded itself.
    torch.testing.assert_close(terms.loss.double(), exact, rtol=2e-5, atol=1e-3)
    size = max(1, reference.abs().max().item())
    rounding = max(2e-4, torch.finfo(dtype).eps * (dtype != torch.float32))
    torch.testing.assert_close(gradient.double(), reference, rtol=0, atol=rounding * size)


def test_losses__a_term_is_differentiated_in_float32_under_autocast(generator):
    za, zb = _views(generator, (16, 40), torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        (found,) = torch.autograd.grad(losses.vicreg_loss(za, zb).covariance, za)
    (expected,) = torch.autograd.grad(losses.vicreg_loss(za, zb).covariance, za)
    assert torch.equal(found, expected)


@ONE_SHAPE
def test_losses__wait_for_no_number(generator, loss, shape):
    # A tensor on the meta device has no entries: asking for one, as .item() does, is an error.
    views = [torch.empty(shape, device="meta", requires_grad=True) for _ in range(2)]
    terms = loss(*views)
    terms.loss.backward(retain_graph=True)
    sum(terms).backward()
    assert views[0].grad.shape == shape and views[0].grad.is_meta


@pytest.mark.skipif(not CUDA, reason="needs a CUDA device")
@ONE_SHAPE
def test_losses__on_a_gpu_synchronise_nothing_and_agree(generator, loss, shape):
    here = _views(generator, shape)
    there = [z.detach().cuda().requires_grad_() for z in here]
    loss(*there).loss.backward()  # libraries are loaded with a synchronisation
    there = [z.detach().requires_grad_() for z in there]
    torch.cuda.set_sync_debug_mode("error")
    try:
        terms = loss(*there)
        terms.loss.backward()
        nan = loss(*(z.detach() * float("nan") for z in there)).loss
    finally:
        torch.cuda.set_sync_debug_mode("default")
    expected = loss(*here)
    expected.loss.backward()
    assert nan.isnan()
    for found, reference in zip(terms, expected, strict=True):
        torch.testing.assert_close(found.cpu(), reference, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(there[0].grad.cpu(), here[0].grad, rtol=1e-9, atol=1e-11)


@ONE_SHAPE
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_losses__refuse_an_entry_that_is_not_finite(generator, loss, shape, bad):
    za, zb = (z.detach().clone() for z in _views(generator, shape))
    za[1, 2] = bad
    with pytest.raises(ValueError, match="must be finite, got 1 NaN or infinite"):
        loss(za, zb)


@ONE_SHAPE
def test_losses__refuse_wrong_shapes_and_types(generator, loss, shape):
    za, zb = (z.detach() for z in _views(generator, shape))
    for wrong, error, message in (
        (za[0], ValueError, r"must have 2 dimensions, got shape \(3,\)"),
        (za[:0], ValueError, "must have at least [12] row"),
        (za.long(), TypeError, "must be float32 or float64, got torch.int64"),
        (za.tolist(), TypeError, "must be a torch.Tensor, got list"),
        (za[:, :0], ValueError, "at least 1 column|same shape"),
    ):
        with pytest.raises(error, match=message):
            loss(wrong, zb)


def test_losses__say_why_a_loss_of_finite_input_is_not_finite():
    z = torch.tensor([[1e30], [-1e30]]).expand(2, 2)
    with pytest.raises(
        ValueError, match=r"too large for torch.float32 \(largest entry 1e\+30 in z"
    ):
        losses.vcreg_loss(z)
    with pytest.raises(ValueError, match="eps is 0 and a coordinate is constant"):
        losses.barlow_twins_loss(torch.ones(4, 2), torch.ones(4, 2), eps=0.0)


MODULES = {
    losses.VICRegLoss: (losses.vicreg_loss, {"invariance": 1.0, "convention": "paper"}),
    losses.VCRegLoss: (losses.vcreg_loss, {"variance": 1.0}),
    losses.VICRegLogDetLoss: (losses.vicreg_logdet_loss, {"entropy": 2.0}),
    losses.VICRegPairDistLoss: (losses.vicreg_pairdist_loss, {"kernel": "kl"}),
    losses.BarlowTwinsLoss: (losses.barlow_twins_loss, {"off_diagonal": 0.1}),
    losses.WMSELoss: (losses.wmse_loss, {"sub_batch": 4}),
    losses.InfoNCELoss: (losses.infonce_loss, {"temperature": 0.1}),
    losses.RegressionLoss: (losses.regression_loss, {"stop_gradient": False}),
}


@pytest.mark.parametrize("module", MODULES, ids=lambda m: m.__name__)
def test_modules__return_the_scalar_of_the_function(generator, module, tmp_path):
    function, options = MODULES[module]
    views = _views(generator, (8, 3))[: module.views]
    built = module(**options)
    assert built(*views) == function(*views, **options).loss
    assert built(*views) == copy.deepcopy(built)(*views) and not list(built.parameters())
    assert next(iter(options)) in repr(built)


@pytest.mark.parametrize(
    ("module", "options", "message"),
    [
        (losses.VICRegLoss, {"gamma": -1.0}, "gamma must be positive"),
        (losses.VCRegLoss, {"covariance": -1.0}, "covariance must not be negative"),
        (losses.VICRegLogDetLoss, {"entropy": -1.0}, "entropy must not be negative"),
        (losses.VICRegPairDistLoss, {"kernel": "renyi"}, "'chernoff', 'kl', got 'renyi'"),
        (losses.BarlowTwinsLoss, {"eps": -1.0}, "eps must not be negative"),
        (losses.WMSELoss, {"sub_batch": 1}, "sub_batch must be at least 2"),
        (losses.InfoNCELoss, {"temperature": 0.0}, "temperature must be positive"),
    ],
)
def test_modules__refuse_bad_options_when_built(module, options, message):
    with pytest.raises(ValueError, match=message):
        module(**options)
    with pytest.raises(TypeError, match="unexpected keyword"):
        module(nonsense=1)
