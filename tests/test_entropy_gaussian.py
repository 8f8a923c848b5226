"""Tests of the log-determinant estimator: closed forms, its exact bias, invariance, gradients."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import special

from vcreg_theory import seeding
from vcreg_theory.entropy import logdet_bias, logdet_entropy

LOG_2PIE = math.log(2 * math.pi * math.e)


def _codes(generator, n=12, d=4, dtype=torch.float64):
    """Correlated codes with unequal variances, about a mean that is not zero."""
    mix = torch.randn(d, d, generator=generator, dtype=dtype) + 2 * torch.eye(d, dtype=dtype)
    return torch.randn(n, d, generator=generator, dtype=dtype) @ mix + 3.0


def _reference(z, eps=0.0):
    """The definition, with torch.cov and slogdet."""
    sigma = torch.cov(z.T).reshape(z.shape[1], -1) + eps * torch.eye(z.shape[1], dtype=z.dtype)
    return 0.5 * torch.linalg.slogdet(2 * math.pi * math.e * sigma).logabsdet


def _rounding(z, eps=0.0):
    """First-order bound of the rounding of the entropy when the covariance is formed."""
    n, d = z.shape
    sigma = torch.cov(z.T).reshape(d, d) + eps * torch.eye(d, dtype=z.dtype)
    return d * (n + d) * torch.finfo(z.dtype).eps * torch.linalg.cond(sigma).item()


def test_logdet_entropy__closed_form():
    # +-2 on the first axis and +-1 on the second: variances 8/3 and 2/3 with divisor n - 1 = 3.
    z = torch.tensor([[2.0, 0.0], [-2.0, 0.0], [0.0, 1.0], [0.0, -1.0]], dtype=torch.float64)
    expected = LOG_2PIE + 0.5 * math.log(16 / 9)
    assert logdet_entropy(z).item() == pytest.approx(expected, abs=1e-14)
    shrunk = LOG_2PIE + 0.5 * math.log((8 / 3 + 0.5) * (2 / 3 + 0.5))
    assert logdet_entropy(z, 0.5).item() == pytest.approx(shrunk, abs=1e-14)


@pytest.mark.parametrize(("n", "d"), [(12, 4), (5, 4), (4, 4), (3, 4), (2, 7), (30, 1)])
def test_logdet_entropy__is_the_definition(generator, n, d):
    # Covers n above, at and below d: the covariance and the Gram matrix must agree.
    z = _codes(generator, n, d)
    for eps in (0.3, 1e-3) + (0.0,) * (n > d):
        found, expected = logdet_entropy(z, eps), _reference(z, eps)
        torch.testing.assert_close(found, expected, rtol=0, atol=2 * _rounding(z, eps))


@given(
    seed=st.integers(0, 2**31),
    scale=st.floats(1e-6, 1e6),
    offset=st.floats(-100, 100),
)
def test_logdet_entropy__equivariant(seed, scale, offset):
    generator = seeding.torch_generator(seed, "tests")
    z = _codes(generator)
    rotation = torch.linalg.qr(torch.randn(4, 4, generator=generator, dtype=z.dtype)).Q
    moved = scale * (z @ rotation + offset)
    found = logdet_entropy(moved) - logdet_entropy(z)
    # An offset of 100 rounds each code by 1e-14; the data's condition number, the root of the
    # covariance's, multiplies that.
    condition = torch.linalg.cond(torch.cov(z.T)).item()
    assert found.item() == pytest.approx(4 * math.log(scale), abs=3e-13 * condition)


def test_logdet_entropy__any_linear_map_adds_its_log_determinant(generator):
    z, mix = _codes(generator), _codes(generator, 4, 4)
    added = logdet_entropy(z @ mix) - logdet_entropy(z)
    tolerance = _rounding(z) + _rounding(z @ mix)
    torch.testing.assert_close(added, torch.linalg.slogdet(mix).logabsdet, rtol=0, atol=tolerance)


def test_logdet_entropy__offset_costs_no_digits(generator):
    # Multiples of 2^-20 plus 2^20 are exact in float64, so the codes differ by the offset alone.
    z = (_codes(generator) * 2**20).round() / 2**20
    assert logdet_entropy(z + 2.0**20) == logdet_entropy(z)


def test_logdet_bias__exact_for_gaussian_samples():
    # The variance of the estimate is known too, a quarter of the trigamma sum, so |z| > 4 has
    # probability 6e-5 for each pair (n, d). The covariance must not matter.
    draws = 2000
    for n, d in ((5, 2), (20, 8), (64, 16)):
        generator = seeding.torch_generator(n, "bias")
        mix = _codes(generator, d, d)
        truth = 0.5 * d * LOG_2PIE + torch.linalg.slogdet(mix).logabsdet.item()
        samples = torch.randn(draws, n, d, generator=generator, dtype=torch.float64)
        errors = [logdet_entropy(z @ mix).item() - truth for z in samples]
        half = (n - np.arange(1, d + 1)) / 2
        standard_error = math.sqrt(special.polygamma(1, half).sum() / 4 / draws)
        assert abs(np.mean(errors) - logdet_bias(n, d)) < 4 * standard_error
        # Controls: the divisor n in place of n - 1, and one degree of freedom more.
        divisor_n = logdet_bias(n, d) + 0.5 * d * math.log((n - 1) / n)
        one_more = logdet_bias(n + 1, d) + 0.5 * d * math.log(n / (n - 1))
        for wrong in (divisor_n, one_more):
            assert abs(np.mean(errors) - wrong) > 4 * standard_error


def test_logdet_bias__closed_forms():
    # n = 2, d = 1: half the mean of log chi^2_1, which is -(gamma + log 2).
    assert logdet_bias(2, 1) == pytest.approx(-(np.euler_gamma + math.log(2)) / 2, abs=1e-15)
    # n = 3, d = 1: chi^2_2 / 2 is exponential, with mean logarithm -gamma.
    assert logdet_bias(3, 1) == pytest.approx(-np.euler_gamma / 2, abs=1e-15)
    # Large n: -d (d + 1) / 4n up to a relative error of order d / n.
    assert logdet_bias(10**6, 10) == pytest.approx(-110 / 4e6, rel=1e-4)
    assert logdet_bias(33, 32) < logdet_bias(34, 32) < logdet_bias(1000, 32) < 0


@pytest.mark.parametrize(("n", "eps"), [(7, 0.0), (7, 0.1), (3, 0.1), (4, 0.1)])
def test_logdet_entropy__gradcheck(generator, n, eps):
    z = _codes(generator, n, 4).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: logdet_entropy(x, eps), z)
    assert torch.autograd.gradgradcheck(lambda x: logdet_entropy(x, eps), z)


def test_logdet_entropy__scale_equivariance_in_the_gradient(generator):
    z = _codes(generator).requires_grad_()
    (gradient,) = torch.autograd.grad(logdet_entropy(z), z)
    assert (z * gradient).sum().item() == pytest.approx(4, abs=1e-10)
    (far,) = torch.autograd.grad(logdet_entropy(1e-3 * z), z)  # d/dz is the same, d/d(sz) is 1/s
    torch.testing.assert_close(far, gradient, rtol=1e-8, atol=1e-10)
    # Control: shrinkage breaks the equivariance, each eigenvalue counting l / (l + eps) < 1.
    (gradient,) = torch.autograd.grad(logdet_entropy(z, 0.1), z)
    shares = torch.linalg.eigvalsh(torch.cov(z.detach().T))
    expected = (shares / (shares + 0.1)).sum().item()
    assert (z * gradient).sum().item() == pytest.approx(expected, abs=1e-10)
    assert expected < 4 - 1e-3


@pytest.mark.parametrize("n", [3, 8])
def test_logdet_entropy__collapse_is_stationary_with_shrinkage(n):
    z = torch.full((n, 4), 0.1, requires_grad=True)
    value = logdet_entropy(z, 1e-4)
    value.backward()
    assert value.item() == pytest.approx(2 * (LOG_2PIE + math.log(1e-4)), rel=1e-6)
    assert z.grad.abs().max() == 0


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_logdet_entropy__computes_in_float64(generator, dtype):
    z = _codes(generator, 40, 8).to(dtype)
    found = logdet_entropy(z, 1e-3)
    assert found.dtype == (dtype if dtype.itemsize >= 4 else torch.float32)
    # Only the input and the result are rounded.
    assert found.item() == pytest.approx(_reference(z.double(), 1e-3).item(), rel=1e-6)
    with torch.autocast("cpu", torch.bfloat16):
        assert logdet_entropy(z, 1e-3) == found


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("n", "d", "rank"), [(50, 3, 2), (300, 40, 20), (1000, 64, 63), (9, 8, 1)])
def test_logdet_entropy__refuses_a_singular_covariance(generator, dtype, n, d, rank):
    left = torch.randn(n, rank, generator=generator, dtype=dtype)
    z = left @ torch.randn(rank, d, generator=generator, dtype=dtype)
    with pytest.raises(ValueError, match=r"singular at the resolution of torch\.float"):
        logdet_entropy(z)
    assert torch.isfinite(logdet_entropy(z, 1e-3))


def test_logdet_entropy__accepts_what_is_barely_regular(generator):
    # The control of the refusal: noise of 1e-3 beside the combination is resolved in float32.
    z = torch.randn(200, 3, generator=generator)
    z[:, 2] = z[:, 0] + z[:, 1] + 1e-3 * z[:, 2]
    assert logdet_entropy(z).item() == pytest.approx(_reference(z.double()).item(), abs=1e-5)


@pytest.mark.parametrize(
    ("z", "eps", "error", "message"),
    [
        (torch.zeros(3, 3), 0.0, ValueError, r"more rows than columns .* shrinkage, eps > 0"),
        (torch.zeros(3, 5), 0.0, ValueError, r"got shape \(3, 5\)"),
        (torch.full((5, 2), 0.1), 0.0, ValueError, "singular at the resolution"),
        (torch.zeros(5, 2), -1.0, ValueError, "eps must not be negative"),
        (torch.eye(3, 5), 1e-18, ValueError, "eps must exceed the rounding error"),
        (torch.zeros(1, 2), 0.1, ValueError, "at least 2 rows"),
        (torch.zeros(4, 0), 0.1, ValueError, "at least 1 column"),
        (torch.zeros(4), 0.1, ValueError, "2 dimensions"),
        (torch.full((4, 1), float("nan")), 0.1, ValueError, "4 NaN or infinite"),
        (torch.full((4, 1), 1e200, dtype=torch.float64), 0.1, ValueError, "entries below 1e"),
        (torch.zeros(4, 2, dtype=torch.int64), 0.1, TypeError, "float32 or float64"),
        ([[0.0], [1.0]], 0.1, TypeError, "torch.Tensor"),
        (torch.zeros(4, 2), "small", TypeError, "eps must be a real number"),
    ],
)
def test_logdet_entropy__refuses_bad_input(z, eps, error, message):
    with pytest.raises(error, match=message):
        logdet_entropy(z, eps)


@pytest.mark.parametrize(("n", "d"), [(4, 4), (2, 3), (1, 1)])
def test_logdet_bias__refuses_too_few_samples(n, d):
    with pytest.raises(ValueError, match="n must"):
        logdet_bias(n, d)
