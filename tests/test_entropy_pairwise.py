"""Tests of the bounds on the entropy of a Gaussian mixture: divergences, sandwich, gradients."""

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate
from torch.distributions import MultivariateNormal, kl_divergence

from vcreg_theory import seeding
from vcreg_theory.entropy import (
    isotropic_pairwise_entropy,
    logdet_entropy,
    mixture_entropy_quadrature,
    pairwise,
    pairwise_entropy_bounds,
)
from vcreg_theory.entropy.components import components

LOG_2PIE = math.log(2 * math.pi * math.e)


def _mixture(generator, k=6, d=3, kind="full", dtype=torch.float64):
    """Means, covariances of a kind and weights, all random."""
    means = 2 * torch.randn(k, d, generator=generator, dtype=dtype)
    weights = torch.softmax(torch.randn(k, generator=generator, dtype=dtype), 0)
    shape = {"isotropic": (k,), "diagonal": (k, d), "full": (k, d)}[kind]
    variances = torch.exp(torch.randn(shape, generator=generator, dtype=dtype))
    if kind != "full":
        return means, variances, weights
    turn = torch.linalg.qr(torch.randn(k, d, d, generator=generator, dtype=dtype)).Q
    covs = turn @ torch.diag_embed(variances) @ turn.mT
    return means, (covs + covs.mT) / 2, weights


def _line_mixture(rng):
    """A mixture on the line of 2 to 8 components with unequal weights, widths and gaps."""
    k = int(rng.integers(2, 9))
    means = torch.tensor(rng.normal(size=k) * rng.uniform(0, 5))
    variances = torch.tensor(np.exp(rng.uniform(-2.5, 1.5, size=k)))
    return means, variances, torch.tensor(rng.dirichlet(np.full(k, 2.0)))


def _pair(mixture, alpha=0.5):
    """Chernoff and Kullback-Leibler divergences of all pairs."""
    parts = components(*mixture)
    return parts.divergences(parts.parameters, parts.parameters, alpha)


@pytest.mark.parametrize("alpha", [0.5, 0.2, 0.85])
def test_divergences__are_integrals_on_the_line(generator, alpha):
    means, variances, weights = _mixture(generator, 3, 1, "diagonal")
    chernoff, relative = _pair((means, variances, weights), alpha)
    laws = list(zip(means.flatten().tolist(), variances.flatten().tolist(), strict=True))

    def log_density(x, law):
        return -((x - law[0]) ** 2 / law[1] + math.log(2 * math.pi * law[1])) / 2

    for (i, p), (j, q) in itertools.product(enumerate(laws), repeat=2):

        def overlap(x, p=p, q=q):
            return math.exp(alpha * log_density(x, p) + (1 - alpha) * log_density(x, q))

        def gain(x, p=p, q=q):
            return math.exp(log_density(x, p)) * (log_density(x, p) - log_density(x, q))

        for f, found in ((overlap, torch.exp(-chernoff[i, j])), (gain, relative[i, j])):
            reach = p[0] - 12 * p[1] ** 0.5, p[0], p[0] + 12 * p[1] ** 0.5
            reach = sorted({*reach, q[0] - 12 * q[1] ** 0.5, q[0], q[0] + 12 * q[1] ** 0.5})
            value, error = integrate.quad(
                f, reach[0], reach[-1], points=reach[1:-1], limit=200, epsabs=1e-13, epsrel=1e-12
            )
            assert found.item() == pytest.approx(value, abs=error + 1e-12)


def test_divergences__full_covariances(generator):
    mixture = _mixture(generator, 4, 3)
    chernoff, relative = _pair(mixture, 0.3)
    laws = [MultivariateNormal(m, c) for m, c in zip(*mixture[:2], strict=True)]
    expected = torch.stack([torch.stack([kl_divergence(p, q) for q in laws]) for p in laws])
    torch.testing.assert_close(relative, expected, rtol=1e-9, atol=1e-9)
    # p^a q^(1-a) is an unnormalised Gaussian: its integral from precisions, another route.
    for i, p in enumerate(laws):
        for j, q in enumerate(laws):
            precision = 0.3 * p.precision_matrix + 0.7 * q.precision_matrix
            pull = 0.3 * p.precision_matrix @ p.loc + 0.7 * q.precision_matrix @ q.loc
            top = torch.linalg.solve(precision, pull)
            peak = 0.3 * p.log_prob(top) + 0.7 * q.log_prob(top)
            log_overlap = peak + 1.5 * math.log(2 * math.pi) - precision.logdet() / 2
            assert chernoff[i, j].item() == pytest.approx(-log_overlap.item(), abs=1e-9)


def test_divergences__kinds_agree(generator):
    means, variances, weights = _mixture(generator, 6, 3, "isotropic")
    covs = (
        variances,
        variances[:, None].expand(-1, 3),
        torch.diag_embed(variances[:, None].expand(-1, 3)),
    )
    found = [torch.stack(pairwise_entropy_bounds(means, c, weights, alpha=0.4)) for c in covs]
    for other in found[1:]:
        torch.testing.assert_close(other, found[0], rtol=0, atol=1e-12)
    shared = [0.7, means.new_tensor(0.7), means.new_full((6,), 0.7)]
    found = [torch.stack(pairwise_entropy_bounds(means, c)) for c in shared]
    assert all(torch.equal(other, found[0]) for other in found[1:])


def test_pairwise_entropy_bounds__sandwich_on_a_thousand_mixtures():
    # LogDet of the mixture's own covariance is a third, looser, upper bound.
    rng = seeding.numpy_generator(0, "sandwich")
    gaps, crossed = [], 0
    for _ in range(1000):
        means, variances, weights = _line_mixture(rng)
        alpha = float(rng.uniform(0.1, 0.9))
        exact = mixture_entropy_quadrature(means, variances, weights)
        lower, upper = pairwise_entropy_bounds(means[:, None], variances, weights)
        other = pairwise_entropy_bounds(means[:, None], variances, weights, alpha=alpha).lower
        total = weights @ (variances + means.square()) - (weights @ means).square()
        logdet = 0.5 * (LOG_2PIE + total.log())
        slack = exact.error + 1e-13  # rounding of the bounds themselves
        assert max(lower, other).item() <= exact.entropy + slack
        assert exact.entropy <= min(upper, logdet).item() + slack
        gaps.append((lower.item() - exact.entropy, upper.item() - exact.entropy))
        # Control: the kernels exchanged.
        crossed += upper.item() > exact.entropy + slack or lower.item() < exact.entropy - slack
    assert crossed >= 990  # all but mixtures whose components are as good as equal or apart
    below, above = np.mean(gaps, axis=0)
    assert below < -0.03 and above > 0.03  # the bounds are not vacuously equal to the entropy


@pytest.mark.parametrize("seed", range(3))
def test_pairwise_entropy_bounds__sandwich_in_the_plane(seed):
    means, covs, weights = _mixture(seeding.torch_generator(seed, "plane"), 4, 2)
    mixture = means, covs / 3 + 0.3 * torch.eye(2, dtype=torch.float64), weights  # a small grid
    exact = mixture_entropy_quadrature(*mixture, tolerance=1e-7)
    lower, upper = pairwise_entropy_bounds(*mixture)
    assert lower.item() < exact.entropy - exact.error < exact.entropy + exact.error < upper.item()


def test_pairwise_entropy_bounds__closed_form_of_two_components():
    # Equal variances s2 at distance D: kernels exp(-D^2 / 8 s2) and exp(-D^2 / 2 s2).
    means = torch.tensor([[0.0, 0.0], [3.0, 0.0]], dtype=torch.float64)
    for s2 in (0.3, 2.0):
        within = LOG_2PIE + math.log(s2)
        lower, upper = pairwise_entropy_bounds(means, s2)
        assert lower.item() == pytest.approx(within - math.log((1 + math.exp(-9 / (8 * s2))) / 2))
        assert upper.item() == pytest.approx(within - math.log((1 + math.exp(-9 / (2 * s2))) / 2))


@pytest.mark.parametrize("kind", ["isotropic", "diagonal", "full"])
def test_pairwise_entropy_bounds__equal_and_distant_components(generator, kind):
    means, covs, weights = _mixture(generator, kind=kind)
    # Copies of one component: both bounds are its entropy, whatever the weights.
    copies = pairwise_entropy_bounds(means[:1].expand_as(means), covs[:1].expand_as(covs), weights)
    alone = pairwise_entropy_bounds(means[:1], covs[:1])
    torch.testing.assert_close(copies, alone.__class__(alone.lower, alone.upper))
    # Far apart: both saturate at the entropy within components plus that of the weights.
    parts = components(means, covs, weights)
    saturated = parts.weights @ (parts.entropies - parts.weights.log())
    for bound in pairwise_entropy_bounds(1e4 * means, covs, weights):
        assert bound.item() == pytest.approx(saturated.item(), abs=1e-12)
    for bound in pairwise_entropy_bounds(means, covs, weights):
        assert bound.item() <= saturated.item()


def test_pairwise_entropy_bounds__affine_equivariance(generator):
    means, covs, weights = _mixture(generator)
    mix = torch.randn(3, 3, generator=generator, dtype=torch.float64) + 2 * torch.eye(3)
    moved = pairwise_entropy_bounds(means @ mix.T + 9.0, mix @ covs @ mix.T, weights)
    growth = torch.linalg.slogdet(mix).logabsdet
    tolerance = 1e-14 * torch.linalg.cond(mix).item() ** 2 * torch.linalg.cond(covs).max().item()
    for found, start in zip(moved, pairwise_entropy_bounds(means, covs, weights), strict=True):
        torch.testing.assert_close(found - start, growth, rtol=0, atol=1e-12 + tolerance)


def test_pairwise_entropy_bounds__order_of_components_is_immaterial(generator):
    means, covs, weights = _mixture(generator)
    order = torch.randperm(6, generator=generator)
    found = pairwise_entropy_bounds(means[order], covs[order], weights[order], alpha=0.3)
    expected = pairwise_entropy_bounds(means, covs, weights, alpha=0.3)
    torch.testing.assert_close(torch.stack(found), torch.stack(expected), rtol=0, atol=1e-13)


@given(
    gap=st.floats(0, 8),
    ratio=st.floats(0.3, 3),
    share=st.floats(0.05, 0.95),
    alpha=st.floats(0.1, 0.9),
)
def test_pairwise_entropy_bounds__sandwich_of_two(gap, ratio, share, alpha):
    means = torch.tensor([[0.0], [gap]], dtype=torch.float64)
    variances = torch.tensor([1.0, ratio], dtype=torch.float64)
    weights = torch.tensor([share, 1 - share], dtype=torch.float64)
    exact = mixture_entropy_quadrature(means, variances, weights)
    lower, upper = pairwise_entropy_bounds(means, variances, weights, alpha=alpha)
    slack = exact.error + 1e-13
    assert lower.item() - slack <= exact.entropy <= upper.item() + slack


def test_pairwise_entropy_bounds__weights_are_rescaled_to_sum_one(generator):
    means, covs, weights = _mixture(generator)
    found = pairwise_entropy_bounds(means, covs, weights * (1 + 9e-7))
    expected = pairwise_entropy_bounds(means, covs, weights)
    torch.testing.assert_close(torch.stack(found), torch.stack(expected), rtol=0, atol=1e-13)


@pytest.mark.parametrize("numbers", [1, 20, 60])
@pytest.mark.parametrize("kind", ["isotropic", "diagonal", "full"])
def test_pairwise_entropy_bounds__tiles_do_not_show(generator, monkeypatch, kind, numbers):
    mixture = [part.requires_grad_() for part in _mixture(generator, kind=kind)]

    def value_and_gradients():
        bounds = torch.stack(pairwise_entropy_bounds(*mixture, alpha=0.3))
        weighted = bounds @ bounds.new_tensor([1.0, 2.0])
        return weighted, *torch.autograd.grad(weighted, mixture)

    whole = value_and_gradients()
    monkeypatch.setattr(pairwise, "_NUMBERS_AT_ONCE", numbers)
    torch.testing.assert_close(value_and_gradients(), whole, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("bound", ["lower", "upper"])
@pytest.mark.parametrize("kind", ["isotropic", "diagonal", "full"])
def test_pairwise_entropy_bounds__gradcheck(generator, kind, bound):
    means, covs, logits = _mixture(generator, 4, 2, kind)

    def value(means, covs, logits):
        covs = covs @ covs.mT if kind == "full" else covs  # stays symmetric when perturbed
        mixture = means, covs, torch.softmax(logits, 0)
        return getattr(pairwise_entropy_bounds(*mixture, alpha=0.3), bound)

    assert torch.autograd.gradcheck(value, [x.requires_grad_() for x in (means, covs, logits)])


def test_pairwise_entropy_bounds__dtypes(generator):
    mixture = [part.float() for part in _mixture(generator)]
    exact = pairwise_entropy_bounds(*(part.double() for part in mixture))
    found = pairwise_entropy_bounds(*mixture)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(torch.stack(pairwise_entropy_bounds(*mixture)), torch.stack(found))
    for bound, expected in zip(found, exact, strict=True):
        # Weights in float32 miss the sum one by 1e-7 and are rescaled.
        assert bound.dtype == torch.float32
        assert bound.item() == pytest.approx(expected.item(), abs=1e-6)
    half = pairwise_entropy_bounds(mixture[0].half(), mixture[1][:, 0, 0].half())
    assert half.lower.dtype == torch.float32


@pytest.mark.parametrize(("n", "d", "offset"), [(7, 3, 0.0), (1, 2, 0.0), (20, 5, 1e6)])
def test_isotropic_pairwise_entropy__is_the_general_bound(generator, n, d, offset):
    z = torch.randn(n, d, generator=generator, dtype=torch.float64) + offset
    for variance in (1e-6, 0.05, 1.0, 30.0):
        found = isotropic_pairwise_entropy(z, variance)
        expected = pairwise_entropy_bounds(z, variance)
        # Both subtract a code first, which is exact; exponents then round by at most 1e-10.
        torch.testing.assert_close(torch.stack(found), torch.stack(expected), rtol=0, atol=1e-9)


def test_isotropic_pairwise_entropy__sandwich_of_its_mixture(generator):
    z = torch.randn(30, 1, generator=generator, dtype=torch.float64)
    for variance in (1e-3, 0.05, 1.0):
        exact = mixture_entropy_quadrature(z, variance)
        lower, upper = isotropic_pairwise_entropy(z, variance)
        assert lower.item() < exact.entropy < upper.item()
        assert upper.item() <= 0.5 * (LOG_2PIE + math.log(variance)) + math.log(30) + 1e-12


def test_isotropic_pairwise_entropy__tiles_do_not_show(generator, monkeypatch):
    z = torch.randn(23, 4, generator=generator, dtype=torch.float64, requires_grad=True)

    def value_and_gradient():
        lower, upper = isotropic_pairwise_entropy(z, 0.3)
        return lower + 2 * upper, *torch.autograd.grad(lower + 2 * upper, z)

    whole = value_and_gradient()
    for side in (1, 5, 22):
        monkeypatch.setattr("vcreg_theory.entropy.kernel._SIDE", side)
        torch.testing.assert_close(value_and_gradient(), whole, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("bound", [0, 1])
def test_isotropic_pairwise_entropy__gradcheck(generator, bound):
    z = torch.randn(7, 3, generator=generator, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: isotropic_pairwise_entropy(x, 0.4)[bound], z)
    wide = 1e4 * z.detach()  # exponents too large for products: the route by differences
    wide[1] = wide[0] + 0.5
    wide.requires_grad_()
    assert torch.autograd.gradcheck(lambda x: isotropic_pairwise_entropy(x, 0.4)[bound], wide)


def test_isotropic_pairwise_entropy__no_scale_equivariance_at_fixed_variance(generator):
    # A control beside the estimators for which the sum of z . dH/dz is d: here it lies between
    # 0 and d, and vanishes at both ends.
    z = torch.randn(64, 8, generator=generator, dtype=torch.float64)
    sums = []
    for scale in (1e-4, 1.0, 1e3):
        codes = (scale * z).requires_grad_()
        (gradient,) = torch.autograd.grad(isotropic_pairwise_entropy(codes, 1.0).lower, codes)
        sums.append((codes * gradient).sum().item())
    assert 0 < sums[0] < 1e-3 and 0.5 < sums[1] < 7.5 and sums[2] == 0


def test_isotropic_pairwise_entropy__collapse_is_stationary():
    z = torch.full((9, 4), 0.1, requires_grad=True)
    lower, upper = isotropic_pairwise_entropy(z, 0.5)
    (lower + upper).backward()
    alone = 2 * (LOG_2PIE + math.log(0.5))
    assert lower.item() == upper.item() == pytest.approx(alone, rel=1e-6)
    assert z.grad.abs().max() == 0


def test_isotropic_pairwise_entropy__float32_and_autocast(generator):
    z = torch.randn(50, 6, generator=generator) + 100.0
    found = torch.stack(isotropic_pairwise_entropy(z, 0.2))
    exact = torch.stack(isotropic_pairwise_entropy(z.double(), 0.2))
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), exact, rtol=1e-7, atol=0)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(torch.stack(isotropic_pairwise_entropy(z, 0.2)), found)


def test_logdet_entropy__bounds_the_mixture_of_its_samples(generator):
    # The mixture at the samples has covariance (n - 1)/n Sigma + s2 I.
    z = torch.randn(40, 3, generator=generator, dtype=torch.float64).exp()
    shrunk = logdet_entropy(z * (39 / 40) ** 0.5, 0.2)
    assert isotropic_pairwise_entropy(z, 0.2).lower < shrunk


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("d", "rank"), [(2, 1), (8, 7), (40, 20)])
def test_pairwise_entropy_bounds__refuses_low_rank_and_keeps_units(generator, dtype, d, rank):
    root = torch.randn(3, d, rank, generator=generator, dtype=dtype)
    means = torch.zeros(3, d, dtype=dtype)
    with pytest.raises(ValueError, match=r"covs\[0\] must be positive definite.*\(3 of 3 are\)"):
        pairwise_entropy_bounds(means, root @ root.mT)
    # Control: coordinates in units that differ by 1e6 are no reason to refuse.
    units = torch.logspace(-3, 3, d, dtype=dtype)
    wide = units[:, None] * (root @ root.mT + torch.eye(d, dtype=dtype)) * units
    assert torch.isfinite(torch.stack(pairwise_entropy_bounds(means, wide))).all()


SINGULAR = torch.stack([torch.eye(2), torch.ones(2, 2), torch.zeros(2, 2)])
LOPSIDED = torch.tensor([[1.0, 0.5], [0.0, 1.0]]).expand(3, 2, 2)
INDEFINITE = torch.diag(torch.tensor([1.0, -1.0])).expand(3, 2, 2)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"covs": SINGULAR}, ValueError, r"covs\[1\] must be positive definite.*\(2 of 3 are\)"),
        ({"covs": LOPSIDED}, ValueError, r"covs\[0\] must be symmetric, got a difference of 0.5"),
        ({"covs": INDEFINITE}, ValueError, r"covs\[0\] must be positive definite"),
        ({"covs": torch.tensor([1.0, 0.0, 1.0])}, ValueError, "positive variances, got .* of 0"),
        ({"covs": -1.0}, ValueError, "covs must be positive"),
        ({"covs": torch.ones(2)}, ValueError, r"shapes \(\), \(3,\), \(3, 2\), \(3, 2, 2\)"),
        ({"covs": torch.ones(3).double()}, ValueError, "covs must have dtype torch.float32"),
        ({"covs": "one"}, TypeError, "covs must be a real number"),
        ({"covs": 1e-300, "means": torch.eye(3, 2)}, ValueError, "divergences overflow"),
        ({"means": torch.zeros(3)}, ValueError, "means must have 2 dimensions"),
        ({"means": torch.full((3, 2), math.nan)}, ValueError, "means must be finite"),
        ({"weights": torch.ones(3)}, ValueError, "sum 1, got minimum 1 and sum 3"),
        ({"weights": torch.tensor([0.5, 0.5, 0.0])}, ValueError, "weights must be positive"),
        ({"weights": torch.ones(2) / 2}, ValueError, "one entry a component, 3, got 2"),
        ({"weights": [0.2, 0.3, 0.5]}, TypeError, "weights must be a torch.Tensor"),
        ({"alpha": 1.0}, ValueError, "alpha must lie strictly between 0 and 1"),
    ],
)
def test_pairwise_entropy_bounds__refuses_bad_input(change, error, message):
    arguments = {"means": torch.zeros(3, 2), "covs": 1.0, **change}
    with pytest.raises(error, match=message):
        pairwise_entropy_bounds(**arguments)


@pytest.mark.parametrize(
    ("z", "variance", "error", "message"),
    [
        (torch.zeros(3, 2), 0.0, ValueError, "variance must be positive"),
        (torch.zeros(3, 2), torch.tensor(1.0), TypeError, "variance must be a real number"),
        (torch.zeros(3, 2), 1e-310, ValueError, "variance must not be so small"),
        (torch.zeros(0, 2), 1.0, ValueError, "at least 1 row"),
        (torch.full((2, 2), math.inf), 1.0, ValueError, "z must be finite"),
    ],
)
def test_isotropic_pairwise_entropy__refuses_bad_input(z, variance, error, message):
    with pytest.raises(error, match=message):
        isotropic_pairwise_entropy(z, variance)
