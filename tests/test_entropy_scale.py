"""Tests of standardised and whitened codes and of the effective rank."""

import math

import pytest
import torch

from vcreg_theory.entropy import effective_rank, logdet_entropy, standardise, whiten

CROSS = [[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]]


def _codes(generator, n=40, d=5, dtype=torch.float64):
    widths = torch.logspace(0, -1, d, dtype=dtype)
    return torch.randn(n, d, generator=generator, dtype=dtype) * widths + 2.0


def _rotation(generator, d=5):
    return torch.linalg.qr(torch.randn(d, d, generator=generator, dtype=torch.float64)).Q


def test_standardise__total_variance_d_and_shape_kept(generator):
    z = _codes(generator)
    found = standardise(z)
    sigma = torch.cov(found.T)
    assert sigma.trace().item() == pytest.approx(5, abs=1e-13)
    assert found.mean(0).abs().max() < 1e-14
    ratio = sigma / torch.cov(z.T)  # one factor for every entry
    torch.testing.assert_close(ratio, ratio[0, 0].expand(5, 5), rtol=1e-9, atol=0)
    torch.testing.assert_close(standardise(found), found)
    torch.testing.assert_close(standardise(-7.0 * z + 100.0), -found)


def test_standardise__makes_entropies_of_different_scales_equal(generator):
    z = _codes(generator)
    raw = logdet_entropy(1e3 * z) - logdet_entropy(z)
    assert raw.item() == pytest.approx(5 * math.log(1e3))
    found = logdet_entropy(standardise(1e3 * z)) - logdet_entropy(standardise(z))
    assert abs(found.item()) < 1e-10


def test_standardise__gradcheck(generator):
    assert torch.autograd.gradcheck(standardise, _codes(generator, 6, 3).requires_grad_())


def test_whiten__closed_form():
    # Standard deviations 2 sqrt(2/3) and sqrt(2/3): each axis is divided by its own.
    z = torch.tensor(CROSS, dtype=torch.float64) * torch.tensor([2.0, 1.0], dtype=torch.float64)
    expected = torch.tensor(CROSS, dtype=torch.float64) * 1.5**0.5
    torch.testing.assert_close(whiten(z), expected)


def test_whiten__is_the_symmetric_root(generator):
    z = _codes(generator) @ _rotation(generator)
    found = whiten(z)
    identity = torch.eye(5, dtype=z.dtype)
    torch.testing.assert_close(torch.cov(found.T), identity, rtol=0, atol=1e-12)
    values, vectors = torch.linalg.eigh(torch.cov(z.T))
    root = vectors @ torch.diag(values.rsqrt()) @ vectors.T
    torch.testing.assert_close(found, (z - z.mean(0)) @ root, rtol=1e-9, atol=1e-9)


def test_whiten__turns_with_the_codes_and_ignores_scale(generator):
    z, rotation = _codes(generator), _rotation(generator)
    torch.testing.assert_close(whiten(z @ rotation), whiten(z) @ rotation, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(whiten(1e-6 * z - 3e-6), whiten(z), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("equal", [False, True])
def test_whiten__gradcheck_also_with_equal_eigenvalues(generator, equal):
    z = _codes(generator, 7, 3)
    if equal:  # an isotropic sample: the derivative of the singular vectors alone is infinite
        z = whiten(z)
    assert torch.autograd.gradcheck(whiten, z.requires_grad_())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("n", "d", "rank"), [(50, 4, 3), (300, 40, 20), (4, 4, 3), (3, 8, 2)])
def test_whiten__refuses_and_names_a_low_rank(generator, dtype, n, d, rank):
    left = torch.randn(n, rank, generator=generator, dtype=dtype)
    z = left @ torch.randn(rank, d, generator=generator, dtype=dtype)
    with pytest.raises(ValueError, match=f"got rank {rank} of d = {d} from n = {n} codes"):
        whiten(z)


def test_effective_rank__closed_forms(generator):
    # r equal variances in r of d directions, in any orientation.
    for r, d in ((1, 5), (3, 5), (5, 5)):
        corners = torch.cat([torch.eye(r), -torch.eye(r)]).double()
        z = torch.nn.functional.pad(corners, (0, d - r)) @ _rotation(generator, d) + 7.0
        assert effective_rank(z).item() == pytest.approx(r, abs=1e-12)
    # Variances 4 : 1, so shares 0.8 and 0.2 of the covariance and 2/3 and 1/3 of its root.
    z = torch.tensor(CROSS, dtype=torch.float64) * torch.tensor([2.0, 1.0], dtype=torch.float64)
    entropy = -0.8 * math.log(0.8) - 0.2 * math.log(0.2)
    assert effective_rank(z).item() == pytest.approx(math.exp(entropy), abs=1e-13)
    by_singular_values = math.exp(math.log(3) - 2 / 3 * math.log(2))
    assert effective_rank(z).item() < by_singular_values - 0.1  # the other convention is larger


@pytest.mark.parametrize(("n", "d"), [(40, 5), (4, 9), (2, 3), (5, 5)])
def test_effective_rank__range_and_second_implementation(generator, n, d):
    z = _codes(generator, n, d)
    shares = torch.linalg.eigvalsh(torch.cov(z.T)).clamp(min=1e-300)
    shares = shares / shares.sum()
    expected = (-(shares * shares.log()).sum()).exp()
    found = effective_rank(z)
    # eigvalsh leaves zero eigenvalues at 1e-16, with terms of 1e-16 * 37 each.
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    assert 1 <= found <= min(n - 1, d) + 1e-12


def test_effective_rank__invariant_to_scale_shift_rotation(generator):
    z = _codes(generator)
    moved = 1e4 * (z @ _rotation(generator) - 5.0)
    torch.testing.assert_close(effective_rank(moved), effective_rank(z), rtol=1e-11, atol=0)


@pytest.mark.parametrize("shape", [(6, 3), (4, 6)])
def test_effective_rank__gradcheck(generator, shape):
    assert torch.autograd.gradcheck(effective_rank, _codes(generator, *shape).requires_grad_())


def test_effective_rank__finite_gradient_without_full_rank():
    z = torch.tensor([[1.0, 0.0, 0.0], [-1.0, 0.0, 0.0], [2.0, 0.0, 0.0]], requires_grad=True)
    value = effective_rank(z)
    value.backward()
    assert value == 1 and torch.isfinite(z.grad).all()


@pytest.mark.parametrize("function", [standardise, whiten, effective_rank])
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_scale__dtype_and_autocast(generator, function, dtype):
    z = _codes(generator).to(dtype)
    found = function(z)
    assert found.dtype == (dtype if dtype.itemsize >= 4 else torch.float32)
    torch.testing.assert_close(found.double(), function(z.double()), rtol=1e-6, atol=1e-6)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(function(z), found)


@pytest.mark.parametrize("function", [standardise, whiten, effective_rank])
@pytest.mark.parametrize(
    ("z", "error", "message"),
    [
        (torch.full((6, 2), 0.1), ValueError, "at least two distinct rows|got rank 0 of d = 2"),
        (torch.zeros(1, 1), ValueError, "at least 2 rows"),
        (torch.zeros(3), ValueError, "2 dimensions"),
        (torch.full((3, 1), math.inf), ValueError, "3 NaN or infinite"),
        (torch.zeros(3, 1, dtype=torch.int64), TypeError, "float32 or float64"),
    ],
)
def test_scale__refuses_bad_input(function, z, error, message):
    with pytest.raises(error, match=message):
        function(z)
