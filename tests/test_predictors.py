"""Tests of the predictors set from a correlation matrix: closed forms, conventions, errors."""

import copy
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vcreg_theory import seeding
from vcreg_theory.dynamics import (
    EMACorrelation,
    correlation,
    directcopy_predictor,
    directpred_predictor,
    directset_predictor,
)

DEVICES = ["cpu"] + ["cuda"] * torch.cuda.is_available()
ALPHAS = (0.25, 0.5, 1.0, 1.5, 2.0, 3.0)


def _correlation(k, generator, rows=None, dtype=torch.float64):
    z = torch.randn(rows or 2 * k, k, generator=generator, dtype=dtype)
    return z.T @ z / len(z)


def _rotation(k, generator):
    return torch.linalg.qr(torch.randn(k, k, generator=generator, dtype=torch.float64)).Q


def _close(found, expected, scale=1e-13):
    """Equal up to the rounding of one eigendecomposition in float64, k u times the norm."""
    torch.testing.assert_close(found, expected, rtol=0, atol=scale * float(expected.abs().max()))


# --- DirectSet --------------------------------------------------------------------------------


@pytest.mark.parametrize("alpha", ALPHAS)
def test_directset__powers_the_eigenvalues_and_keeps_the_eigenvectors(generator, alpha):
    u = _rotation(5, generator)
    s = torch.tensor([4.0, 2.0, 1.0, 0.25, 0.01], dtype=torch.float64)
    expected = u @ torch.diag(s**alpha + 0.3) @ u.T
    _close(directset_predictor(u @ torch.diag(s) @ u.T, alpha, eps=0.3), expected)


@pytest.mark.parametrize("alpha", [1.0, 2.0])
def test_directset__copy_and_product_agree_with_the_eigenvalues(generator, alpha):
    # The next power in floating point takes the other branch; it differs by |alpha u log s|.
    corr = _correlation(6, generator)
    other = directset_predictor(corr, math.nextafter(alpha, 9), normalize="trace")
    _close(directset_predictor(corr, alpha, normalize="trace"), other)


@pytest.mark.parametrize("alpha", ALPHAS)
@pytest.mark.parametrize(
    ("normalize", "order"), [("spectral", 2), ("frobenius", "fro"), ("trace", "nuc")]
)
def test_directset__normalised_result_forgets_the_scale(generator, alpha, normalize, order):
    corr = _correlation(4, generator)
    found = directset_predictor(corr, alpha, eps=0.1, normalize=normalize)
    _close(directset_predictor(9 * corr, alpha, eps=0.1, normalize=normalize), found)
    divided = corr / torch.linalg.matrix_norm(corr, ord=order)
    _close(found, directset_predictor(divided, alpha, eps=0.1))


@given(
    st.integers(1, 6),
    st.sampled_from(ALPHAS),
    st.floats(0, 2),
    st.integers(0, 2**16),
)
def test_directset__moves_with_a_rotation(k, alpha, eps, seed):
    # W_p(Q F Q') = Q W_p(F) Q', also where F is singular (fewer rows than columns).
    generator = seeding.torch_generator(seed, "predictors")
    corr, q = _correlation(k, generator, rows=max(1, k - 1)), _rotation(k, generator)
    turned = directset_predictor(q @ corr @ q.T, alpha, eps=eps)
    # The root of an eigenvalue that is zero up to k u |F| is wrong by its root, hence the scale;
    # a power 1/4 takes the fourth root: (6 * 2.2e-16)**0.25 = 1.9e-4 of the largest.
    slack = (20 * k * 2.2e-16) ** min(alpha, 1.0) * (1 + float(corr.abs().max())) ** alpha * k
    torch.testing.assert_close(
        turned, q @ directset_predictor(corr, alpha, eps=eps) @ q.T, rtol=0, atol=slack
    )


def test_directset__root_squares_back_to_the_correlation(generator):
    corr = _correlation(8, generator)
    root = directset_predictor(corr, 0.5)
    _close(root @ root, corr)


def test_directset__one_by_one():
    corr = torch.tensor([[9.0]])
    assert directset_predictor(corr, 0.5, eps=1.0).item() == 4.0
    assert directset_predictor(corr, 2.0).item() == 81.0
    assert corr.item() == 9.0


@pytest.mark.parametrize("alpha", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("normalize", [None, "trace"])
def test_directset__returns_new_memory_without_gradient(generator, alpha, normalize):
    corr = _correlation(3, generator).requires_grad_()
    before = corr.detach().clone()
    found = directset_predictor(corr, alpha, eps=0.5, normalize=normalize)
    assert not found.requires_grad
    found.zero_()
    assert torch.equal(corr.detach(), before)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("alpha", [0.5, 1.0, 2.0])
def test_directset__keeps_dtype_and_device_under_autocast(generator, device, dtype, alpha):
    corr = torch.eye(6) + _correlation(6, generator)
    corr = corr.to(device, dtype)
    with torch.autocast(device, torch.bfloat16):
        found = directset_predictor(corr, alpha, eps=0.1)
    assert found.dtype == dtype and found.device.type == device
    exact = directset_predictor(corr.cpu().double(), alpha, eps=0.1)
    # Eigenvalues above 1: every power up to 2 errs by k u |F|^2 at most, 36 u times |F|_max^2.
    slack = 36 * torch.finfo(dtype).eps * float(corr.max()) ** 2
    torch.testing.assert_close(found.cpu().double(), exact, rtol=0, atol=slack)


@pytest.mark.parametrize("rows", [3, 64, 2048])
def test_directset__accepts_the_rounding_of_a_batch(generator, rows):
    # A product of float32 batches need not be exactly symmetric, and with 3 rows it has rank 3,
    # so 29 eigenvalues of either sign near 1e-8.
    corr = _correlation(32, generator, rows, torch.float32)
    corr = corr + corr.abs() * 1e-7 * torch.randn(32, 32, generator=generator)
    for alpha in (0.5, 1.0, 2.0):
        assert torch.isfinite(directset_predictor(corr, alpha)).all()


# --- DirectCopy, DirectPred -------------------------------------------------------------------


def test_directcopy__is_the_correlation_plus_the_offset(generator):
    corr = _correlation(5, generator)
    assert torch.equal(
        directcopy_predictor(corr, eps=0.3), corr + 0.3 * torch.eye(5, dtype=torch.float64)
    )
    divided = corr / corr.square().sum().sqrt()
    _close(directcopy_predictor(corr, normalize="frobenius"), divided)


def test_directcopy__is_unbiased_and_the_root_is_not(generator):
    # Claim C7(c): E F^ = F; E of the root of a one-dimensional F^ of two normal outputs is
    # E sqrt(chi2_2 / 2) = sqrt(pi)/2 = 0.8862.
    z = torch.randn(4_000, 2, 1, generator=generator, dtype=torch.float64)
    corr = z.transpose(1, 2) @ z / 2
    copies = torch.cat([directcopy_predictor(c) for c in corr]).flatten()
    roots = torch.cat([directpred_predictor(c, eps=0.0) for c in corr]).flatten()
    for draws, mean in ((copies, 1.0), (roots, math.sqrt(math.pi) / 2)):
        error = draws.std() / math.sqrt(len(draws))
        assert abs(draws.mean() - mean) < 4 * error  # two-sided probability 6e-5 each


def test_directpred__conventions_by_hand():
    # Eigenvalues 3 and 1 of [[2, 1], [1, 2]], eigenvectors along the diagonals.
    corr = torch.tensor([[2.0, 1.0], [1.0, 2.0]], dtype=torch.float64)

    def of(p_large, p_small):
        half, difference = (p_large + p_small) / 2, (p_large - p_small) / 2
        return torch.tensor([[half, difference], [difference, half]], dtype=torch.float64)

    root = math.sqrt(3)
    _close(directpred_predictor(corr, eps=0.1), of(root + 0.3, 1.3))
    _close(directpred_predictor(corr, eps=0.1, convention="code"), of(1.1, 1 / root + 0.1))
    _close(directset_predictor(corr, 0.5, eps=0.1), of(root + 0.1, 1.1))


def test_directpred__code_is_the_spectrally_normalised_power_above_its_floor(generator):
    corr = _correlation(6, generator)
    normalised = directset_predictor(corr, 0.5, eps=0.01, normalize="spectral")
    _close(directpred_predictor(corr, eps=0.01, convention="code"), normalised)
    singular = torch.diag(torch.tensor([1.0, 0.0], dtype=torch.float64))
    floor = directpred_predictor(singular, eps=0.0, convention="code")
    assert floor[1, 1].item() == 1e-4 and floor[0, 0].item() == 1.0


def test_directpred__scale_of_the_outputs(generator):
    # Paper: rescaling F by 4 doubles the roots but takes the offset fourfold. Code: no change.
    corr = _correlation(4, generator)
    roots, top = directset_predictor(corr, 0.5), torch.linalg.eigvalsh(corr)[-1]
    scaled = directpred_predictor(4 * corr, eps=0.1)
    _close(scaled, 2 * roots + 0.4 * top * torch.eye(4, dtype=torch.float64))
    code = [directpred_predictor(c * corr, eps=0.1, convention="code") for c in (1, 4)]
    _close(code[1], code[0])


# --- errors -----------------------------------------------------------------------------------

GOOD = torch.eye(3, dtype=torch.float64)
INDEFINITE = torch.tensor([[1.0, -0.9, -0.9], [-0.9, 1.0, -0.9], [-0.9, -0.9, 1.0]])


@pytest.mark.parametrize(
    ("corr", "alpha", "options", "error", "message"),
    [
        (GOOD, 0.0, {}, ValueError, "alpha must be positive"),
        (GOOD, -1.0, {}, ValueError, "alpha must be positive"),
        (GOOD, float("nan"), {}, ValueError, "alpha must be finite"),
        (GOOD, "1", {}, TypeError, "alpha must be a real number"),
        (GOOD, 1.0, {"eps": -0.1}, ValueError, "eps must not be negative"),
        (GOOD, 1.0, {"normalize": "max"}, ValueError, "None, 'spectral', 'frobenius', 'trace'"),
        (GOOD[:2], 1.0, {}, ValueError, r"square matrix, got shape \(2, 3\)"),
        (GOOD[:0, :0], 1.0, {}, ValueError, r"square matrix, got shape \(0, 0\)"),
        (GOOD[0], 1.0, {}, ValueError, "2 dimensions"),
        (GOOD.half(), 1.0, {}, TypeError, "float32 or float64"),
        (np.eye(2), 1.0, {}, TypeError, "torch.Tensor"),
        (GOOD * float("inf"), 1.0, {}, ValueError, "9 NaN or infinite of 9"),
        (GOOD + torch.ones(3, 3).triu(1) * 0.1, 1.0, {}, ValueError, "symmetric.* 0.1 where"),
        (GOOD + torch.ones(3, 3).triu(1) * 0.1, 0.5, {}, ValueError, "symmetric.* 0.1 where"),
        (-GOOD, 1.0, {}, ValueError, "semi-definite, got the diagonal entry -1"),
        (torch.diag(torch.tensor([1.0, -0.5])), 2.0, {}, ValueError, "diagonal entry -0.5"),
        (torch.tensor([[1.0, 2.0], [2.0, 1.0]]), 1.0, {}, ValueError, "the entry 2 .* 1"),
        (INDEFINITE, 0.5, {}, ValueError, "eigenvalues from -0.8 to 1.9"),
        (GOOD * 0, 0.5, {"normalize": "trace"}, ValueError, "zero where its trace norm"),
        (GOOD * 0, 1.0, {"normalize": "frobenius"}, ValueError, "zero where its frobenius"),
        (GOOD * 0, 1.0, {"normalize": "spectral"}, ValueError, "zero where its spectral"),
    ],
)
def test_directset__refuses_bad_input(corr, alpha, options, error, message):
    with pytest.raises(error, match=message):
        directset_predictor(corr, alpha, **options)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("k", [2, 3, 40])
def test_directset__sees_every_single_pair_that_differs(generator, dtype, k):
    # The slack is the root of the dtype's spacing times the largest entry, which is 1 here.
    slack = math.sqrt(torch.finfo(dtype).eps)
    for _ in range(20):
        i, j = torch.randperm(k, generator=generator)[:2].tolist()
        corr = torch.eye(k, dtype=dtype)
        corr[i, j] = 1.5 * slack
        with pytest.raises(ValueError, match="symmetric"):
            directset_predictor(corr, 1.0)
        corr[i, j] = 0.5 * slack
        directset_predictor(corr, 1.0)


def test_directset__sees_a_cross_correlation_and_a_triangle(generator):
    za, zb = torch.randn(2, 64, 16, generator=generator)
    for corr in (za.T @ zb / 64 + 9 * torch.eye(16), 9 * torch.eye(16) + torch.ones(16, 16).triu()):
        with pytest.raises(ValueError, match="symmetric"):
            directset_predictor(corr, 1.0)


@pytest.mark.parametrize("device", DEVICES)
def test_directset__accepts_many_small_differences_under_autocast(generator, device):
    # 256 differences of 0.9 slacks add up to several slacks in a row, yet none is above one.
    corr = torch.eye(256) + 0.9 * math.sqrt(1.2e-7) * torch.ones(256, 256).triu(1)
    with torch.autocast(device, torch.bfloat16):
        assert torch.equal(directset_predictor(corr.to(device), 1.0).cpu(), corr)
        corr[0, 1] = 1e-3  # lost where bfloat16 rounds it next to the diagonal
        with pytest.raises(ValueError, match="symmetric"):
            directset_predictor(corr.to(device), 1.0)


def test_directset__zero_correlation_without_normalisation_is_the_offset():
    assert torch.equal(directset_predictor(GOOD * 0, 0.5, eps=0.2), 0.2 * GOOD)


def test_directset__without_check_gives_the_same(generator):
    corr = _correlation(5, generator)
    for alpha in (0.5, 1.0, 2.0):
        found = directset_predictor(corr, alpha, normalize="trace", check=False)
        assert torch.equal(found, directset_predictor(corr, alpha, normalize="trace"))


def test_directpred__refuses_bad_input():
    with pytest.raises(ValueError, match="'paper', 'code'"):
        directpred_predictor(GOOD, convention="equation")
    with pytest.raises(ValueError, match="eps must not be negative"):
        directpred_predictor(GOOD, eps=-1.0)
    with pytest.raises(ValueError, match="zero where its spectral norm"):
        directpred_predictor(GOOD * 0, convention="code")
    with pytest.raises(ValueError, match="symmetric"):
        directpred_predictor(GOOD + torch.ones(3, 3).tril(-1))


# --- the running average ----------------------------------------------------------------------


def test_ema__is_the_weighted_sum_of_the_batches(generator):
    batches = torch.randn(4, 10, 3, generator=generator, dtype=torch.float64)
    average = EMACorrelation(0.3)
    for z in batches:
        found = average.update(z)
    single = [z.T @ z / 10 for z in batches]
    weights = (0.3**3, 0.7 * 0.3**2, 0.7 * 0.3, 0.7)  # the first batch counts in full
    expected = sum(w * c for w, c in zip(weights, single, strict=True))
    _close(found, expected)
    assert found is average.value


def test_ema__first_value_is_the_batch_and_rho_zero_keeps_the_last(generator):
    first, last = torch.randn(2, 6, 2, generator=generator)
    average = EMACorrelation(0.9)
    assert average.value.shape == (0, 0)
    assert torch.equal(average.update(first), first.T @ first / 6)
    forgetful = EMACorrelation(0.0)
    forgetful.update(first)
    torch.testing.assert_close(forgetful.update(last), last.T @ last / 6)


def test_ema__keeps_the_mean():
    # Not a covariance: a constant batch has the square of its constant.
    assert EMACorrelation(0.5).update(torch.full((4, 1), 3.0)).item() == 9.0


@pytest.mark.parametrize("rho", [0.0, 0.3, 0.9])
def test_ema__effective_batches(rho):
    weights = (1 - rho) * rho ** torch.arange(400, dtype=torch.float64)
    average = EMACorrelation(rho)
    # The 400 terms leave out a share rho**800 of the sum, below 1e-36.
    assert average.effective_batches == pytest.approx(1 / float(weights.square().sum()), rel=1e-12)


def test_ema__resumes_exactly(generator):
    batches = torch.randn(5, 8, 4, generator=generator)
    whole, stopped = EMACorrelation(0.3), EMACorrelation(0.3)
    for z in batches[:3]:
        whole.update(z), stopped.update(z)
    state = copy.deepcopy(stopped.state_dict())
    assert list(state) == ["value"]
    resumed = torch.nn.ModuleDict({"average": EMACorrelation(0.3)})
    resumed.load_state_dict({"average.value": state["value"]})
    for z in batches[3:]:
        whole.update(z), resumed["average"].update(z)
    assert torch.equal(whole.value, resumed["average"].value)
    assert torch.equal(state["value"], stopped.value), "loading must not alias the stored state"
    fresh = EMACorrelation(0.3)
    fresh.load_state_dict(EMACorrelation(0.3).state_dict())  # before the first batch
    assert fresh.value.shape == (0, 0)
    with pytest.raises(RuntimeError, match="value"):
        fresh.load_state_dict({})


@pytest.mark.parametrize("device", DEVICES)
def test_ema__statistics_in_float32_without_gradient(generator, device):
    z = (200 * torch.randn(512, 4, generator=generator)).to(device).requires_grad_()
    average = EMACorrelation(0.5).to(device)
    with torch.autocast(device, torch.bfloat16):
        half = average.update(z.half())  # squares near 4e4 would sum past the range of float16
    assert half.dtype == torch.float32 and not half.requires_grad
    exact = z.detach().double().T @ z.detach().double() / 512
    # Rounding the entries to 11 bits moves a mean square by at most 2**-10 of its size.
    torch.testing.assert_close(half.double(), exact, rtol=0, atol=2e-3 * float(exact.max()))
    assert EMACorrelation(0.5).update(z.detach().double().cpu()).dtype == torch.float64


def test_ema__feeds_every_predictor(generator):
    average = EMACorrelation(0.3)
    for z in torch.randn(3, 16, 40, generator=generator):  # rank-deficient batches
        corr = average.update(z)
        for alpha in (0.5, 1.0, 2.0):
            assert torch.isfinite(directset_predictor(corr, alpha, eps=0.01)).all()


def test_ema__refuses_bad_input():
    for rho, error in ((1.0, ValueError), (-0.1, ValueError), ("half", TypeError)):
        with pytest.raises(error, match="rho"):
            EMACorrelation(rho)
    average = EMACorrelation(0.5)
    average.update(torch.ones(2, 3))
    with pytest.raises(ValueError, match=r"3 columns, got shape \(2, 2\)"):
        average.update(torch.ones(2, 2))
    with pytest.raises(ValueError, match="at least 1 row"):
        average.update(torch.ones(0, 3))
    with pytest.raises(ValueError, match="at least 1 column"):
        EMACorrelation(0.5).update(torch.ones(2, 0))
    with pytest.raises(ValueError, match="finite"):
        average.update(torch.full((2, 3), float("nan")))


def test_probe__has_sizes_from_one_to_two_and_both_signs():
    probe = correlation._probe(4000, torch.float64, torch.device("cpu"))
    sizes = probe.abs()
    # Uniform: the extremes and the mean of 4,000 stray further with probability below 1e-9.
    assert 1 <= float(sizes.min()) < 1.01 and 1.99 < float(sizes.max()) <= 2
    assert float(sizes.mean()) == pytest.approx(1.5, abs=0.03)
    assert float(probe.sign().mean()) == pytest.approx(0.0, abs=0.1)


def test_directset_predictor__allows_an_asymmetry_of_rounding_and_no_more():
    corr = torch.eye(4, dtype=torch.float64)
    slack = correlation._slack(corr, 1.0)
    for entry, allowed in ((slack, True), (slack * (1 + 2**-40), False)):
        corr[0, 1] = entry
        if allowed:
            found = directset_predictor(corr, 1.0)
            torch.testing.assert_close(found, corr, rtol=0, atol=2 * slack)
        else:
            with pytest.raises(ValueError, match="corr must be symmetric"):
                directset_predictor(corr, 1.0)
