"""Normality tests, the kink prediction and the exact moments behind it."""

import itertools
import math
from types import SimpleNamespace

import mpmath
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate
from scipy import stats as scipy_stats

from vcreg_theory import models, normality, stats
from vcreg_theory.density import exit_probability
from vcreg_theory.normality import samples
from vcreg_theory.piecewise import Kinks, kink_expansion
from vcreg_theory.seeding import torch_generator

INF = math.inf
F64 = torch.float64


def normal(name, *shape, dtype=F64):
    return torch.randn(*shape, generator=torch_generator(0, f"normality {name}"), dtype=dtype)


def one_kink(t, kappa, slope=1.0):
    """Return moments of ``slope * g + kappa * (g - t)_+``."""
    kappa, slope = torch.as_tensor(kappa, dtype=F64), torch.as_tensor(slope, dtype=F64)
    zero = torch.zeros_like(kappa)
    return normality.piecewise_linear_moments(
        torch.tensor([-INF, t, INF], dtype=F64),
        torch.stack([zero, -kappa * t]),
        torch.stack([slope + zero, slope + kappa]),
    )


def kinks(distance, normals, jump, matrix):
    fields = {"distance": distance, "normal": normals, "jump": jump, "map": matrix}
    tensors = {k: torch.as_tensor(v, dtype=F64) for k, v in fields.items()}
    return SimpleNamespace(**tensors, value=torch.zeros(tensors["map"].shape[0], dtype=F64))


# Tests on samples


@pytest.mark.parametrize("d", [1, 2])
def test_henze_zirkler__is_the_characteristic_function_distance(d):
    z = normal("hz", 24, d)
    y = samples._whiten(z)
    assert torch.allclose(y.T @ y / 24, torch.eye(d, dtype=F64), atol=1e-12)
    beta = math.sqrt(0.5) * ((2 * d + 1) * 24 / 4) ** (1 / (d + 4))
    # The trapezium rule on a smooth decaying integrand converges faster than any power.
    axis = torch.linspace(-9 * beta, 9 * beta, 401, dtype=F64)
    t = torch.cartesian_prod(*[axis] * d).reshape(-1, d)
    transform = torch.exp(1j * (t @ y.T)).mean(1) - torch.exp(-t.square().sum(1) / 2)
    weight = torch.exp(-t.square().sum(1) / (2 * beta**2)) / (2 * math.pi * beta**2) ** (d / 2)
    integral = 24 * float((transform.abs() ** 2 * weight).sum() * (axis[1] - axis[0]) ** d)
    assert normality.henze_zirkler(z).statistic == pytest.approx(integral, rel=1e-9)


def test_henze_zirkler__null_variance_is_the_kernel_integral():
    beta = 1.3
    axis = np.linspace(-8 * beta, 8 * beta, 801)
    s, t = np.meshgrid(axis, axis)
    # Covariance of the limit process once mean and variance are estimated.
    kernel = np.exp(-((s - t) ** 2) / 2)
    kernel -= (1 + s * t + (s * t) ** 2 / 2) * np.exp(-(s**2 + t**2) / 2)
    weight = np.exp(-(s**2 + t**2) / (2 * beta**2)) / (2 * math.pi * beta**2)
    integral = 2 * float((kernel**2 * weight).sum()) * (axis[1] - axis[0]) ** 2
    assert samples._henze_zirkler_variance(beta, 1) == pytest.approx(integral, rel=1e-9)


@pytest.mark.parametrize(("n", "d"), [(20, 3), (60, 8)])
def test_henze_zirkler__exact_mean(n, d):
    draws = normal("hz mean", 800, n, d)
    values = [normality.henze_zirkler(z).statistic for z in draws]
    beta = math.sqrt(0.5) * ((2 * d + 1) * n / 4) ** (1 / (d + 4))
    low, high = stats.mean_interval(values, level=0.999)[1:3]
    assert low < samples._henze_zirkler_mean(beta, n, d) < high


def test_mardia__closed_form():
    # In one dimension they are the squared skewness and the kurtosis of the sample.
    z = normal("mardia", 100, 1).exp()
    x = z[:, 0].numpy()
    result = normality.mardia(z)
    expected = 100 * scipy_stats.skew(x) ** 2 / 6
    assert result.skewness.statistic == pytest.approx(expected, rel=1e-10)


def anscombe_glynn(b, n):
    """Return the normal score of a sample kurtosis with all three null moments exact."""
    mean = 3 * (n - 1) / (n + 1)
    variance = 24 * n * (n - 2) * (n - 3) / ((n + 1) ** 2 * (n + 3) * (n + 5))
    skew = 6 * (n**2 - 5 * n + 2) / ((n + 7) * (n + 9))
    skew *= math.sqrt(6 * (n + 3) * (n + 5) / (n * (n - 2) * (n - 3)))
    a = 6 + 8 / skew * (2 / skew + math.sqrt(1 + 4 / skew**2))
    stretch = 1 + (b - mean) / math.sqrt(variance) * math.sqrt(2 / (a - 4))
    return (1 - 2 / (9 * a) - ((1 - 2 / a) / stretch) ** (1 / 3)) / math.sqrt(2 / (9 * a))


def test_mardia__kurtosis_score_tends_to_anscombe_and_glynn():
    x = normal("anscombe", 100).numpy()
    peer = scipy_stats.kurtosistest(x).statistic
    assert anscombe_glynn(scipy_stats.kurtosis(x) + 3, 100) == pytest.approx(peer, rel=1e-10)
    # The third moments differ by a factor 1 + O(1/n) and enter with size n^(-1/2), so at a fixed
    # standardised kurtosis the scores differ by O(n^(-3/2)); large n for the limit of the slope.
    sizes = [10**6, 4 * 10**6, 16 * 10**6]
    b = [3 * (n - 1) / (n + 1) + 2 * math.sqrt(24 / n) for n in sizes]
    gaps = [
        abs(samples._kurtosis_score(v, n, 1) - anscombe_glynn(v, n))
        for v, n in zip(b, sizes, strict=True)
    ]
    assert stats.slope_interval(sizes, gaps, log=True).estimate == pytest.approx(-1.5, abs=0.02)


def test_mardia__kurtosis_moments_are_exact():
    n, d = 40, 4
    values = torch.stack(
        [samples._whiten(z).square().sum(1).square().mean() for z in normal("b2", 3000, n, d)]
    )
    mean = d * (d + 2) * (n - 1) / (n + 1)
    low, high = stats.mean_interval(values, level=0.999)[1:3]
    assert low < mean < high
    variance = 8 * d * (d + 2) * (n - 3) * (n - d - 1) * (n - d + 1)
    variance /= (n + 1) ** 2 * (n + 3) * (n + 5)
    low, high = stats.mean_interval((values - mean).square(), level=0.999)[1:3]
    assert low < variance < high


def test_dagostino_pearson__agrees_with_scipy():
    z = normal("dagostino", 64, 5)
    peer = scipy_stats.normaltest(z.numpy(), axis=0)
    result = normality.dagostino_pearson(z)
    assert torch.allclose(result.statistic, torch.as_tensor(peer.statistic), rtol=1e-12)
    assert torch.allclose(result.pvalue, torch.as_tensor(peer.pvalue), rtol=1e-12)


def test_dagostino_pearson__is_the_sum_of_squared_scores():
    x = normal("scores", 200, 1)
    parts = (f(x[:, 0].numpy()).statistic for f in (scipy_stats.skewtest, scipy_stats.kurtosistest))
    expected = sum(part**2 for part in parts)
    result = normality.dagostino_pearson(x)
    assert float(result.statistic) == pytest.approx(expected, rel=1e-12)
    assert float(result.pvalue) == pytest.approx(math.exp(-expected / 2), rel=1e-12)


@given(seed=st.integers(0, 2**20), log_scale=st.floats(-6, 6), shift=st.floats(-1e3, 1e3))
@settings(deadline=None, max_examples=15)
def test_multivariate_tests__affine_invariance(seed, log_scale, shift):
    g = torch_generator(seed, "affine")
    z = torch.randn(40, 3, generator=g, dtype=F64)
    # A product of rotations and a diagonal with condition 100: well inside float64.
    left, _ = torch.linalg.qr(torch.randn(3, 3, generator=g, dtype=F64))
    matrix = left @ torch.diag(torch.tensor([1.0, 10.0, 100.0], dtype=F64)) * 10**log_scale
    moved = z @ matrix.T + shift * 10**log_scale
    for test in (lambda v: normality.henze_zirkler(v), lambda v: normality.mardia(v).skewness):
        assert test(moved).statistic == pytest.approx(test(z).statistic, rel=1e-6)
    kurtosis = [normality.mardia(v).kurtosis.statistic for v in (z, moved)]
    assert kurtosis[0] == pytest.approx(kurtosis[1], abs=1e-6)


@pytest.mark.parametrize("d", [2, 16])
def test_sizes__inside_binomial_intervals(d):
    draws = normal(f"size {d}", 300, 512, d)
    pvalues = {"hz": [], "skewness": [], "kurtosis": [], "dagostino": []}
    for z in draws:
        result = normality.mardia(z)
        pvalues["hz"].append(normality.henze_zirkler(z).pvalue)
        pvalues["skewness"].append(result.skewness.pvalue)
        pvalues["kurtosis"].append(result.kurtosis.pvalue)
        pvalues["dagostino"].append(float(normality.dagostino_pearson(z[:, :1]).pvalue))
    for name, values in pvalues.items():
        for level in (0.01, 0.05):
            rejections = int((np.array(values) < level).sum())
            assert stats.binomial_test(rejections, 300, level).pvalue > 1e-3, (name, level)


def test_power__each_test_sees_its_alternative():
    # |z_1| with the sign of z_2: both margins are normal, the pair is not.
    z = normal("joint", 512, 2)
    z[:, 0] = z[:, 0].abs() * z[:, 1].sign()
    assert normality.henze_zirkler(z).pvalue < 1e-6
    assert bool((normality.dagostino_pearson(z).pvalue > 1e-3).all())
    # Independent Student coordinates are symmetric with heavy tails, exponentials are skew.
    heavy = torch.as_tensor(np.random.default_rng(0).standard_t(4, size=(512, 4)))
    assert normality.mardia(heavy).kurtosis.pvalue < 1e-6
    skew = normal("exp", 512, 4).exp()
    assert normality.mardia(skew).skewness.pvalue < 1e-6
    assert bool((normality.dagostino_pearson(skew).pvalue < 1e-6).all())


def test_blocks__do_not_change_the_statistics(monkeypatch):
    z = normal("blocks", 100, 3)
    whole = normality.henze_zirkler(z), normality.mardia(z)
    monkeypatch.setattr(samples, "_BLOCK", 33)
    parts = normality.henze_zirkler(z), normality.mardia(z)
    assert parts[0].statistic == pytest.approx(whole[0].statistic, rel=1e-12)
    assert parts[1].skewness.statistic == pytest.approx(whole[1].skewness.statistic, rel=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_project_to_row_space__repairs_a_singular_covariance(dtype):
    base = normal("base", 100, 3).to(dtype)
    matrix = normal("map", 5, 3).to(dtype)
    z = base @ matrix.T + 7
    with pytest.raises(ValueError, match="rank 3 of 5 columns: pass project_to_row_space"):
        normality.henze_zirkler(z)
    projected = normality.project_to_row_space(z)
    assert (projected.shape, projected.dtype) == ((100, 3), dtype)
    tolerance = 1e-4 if dtype == torch.float32 else 1e-10
    expected = normality.henze_zirkler(base).statistic
    assert normality.henze_zirkler(projected).statistic == pytest.approx(expected, rel=tolerance)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_samples__statistics_in_float64(dtype):
    z = normal("dtype", 50, 2).to(dtype)
    assert normality.henze_zirkler(z) == normality.henze_zirkler(z.double())
    assert normality.dagostino_pearson(z).pvalue.dtype == torch.float64


# Exact moments


@given(
    t=st.lists(st.floats(-4, 4), min_size=1, max_size=6, unique=True),
    seed=st.integers(0, 2**20),
)
@settings(deadline=None, max_examples=25)
def test_piecewise_linear_moments__agrees_with_quadrature(t, seed):
    t = np.sort(np.round(t, 3))
    t = t[np.insert(np.diff(t) > 0, 0, True)]
    offsets, slopes = np.random.default_rng(seed).normal(size=(2, t.size + 1))

    def y(g):
        r = np.searchsorted(t, g)
        return offsets[r] + slopes[r] * g

    def moment(p, centre):
        ends = [-12.0, *t, 12.0]
        pieces = itertools.pairwise(ends)
        f = lambda g: (y(g) - centre) ** p * math.exp(-g * g / 2) / math.sqrt(2 * math.pi)  # noqa: E731
        return sum(integrate.quad(f, a, b, epsabs=1e-13, limit=200)[0] for a, b in pieces)

    mean = moment(1, 0.0)
    second, third, fourth = (moment(p, mean) for p in (2, 3, 4))
    expected = mean, second, third / second**1.5, fourth / second**2 - 3
    got = normality.piecewise_linear_moments(
        torch.tensor([-INF, *t, INF], dtype=F64),
        torch.as_tensor(offsets),
        torch.as_tensor(slopes),
    )
    assert [float(m) for m in got] == pytest.approx(expected, rel=1e-8, abs=1e-8)


def test_piecewise_linear_moments__closed_forms():
    # |g|: raw moments sqrt(2/pi), 1, 2 sqrt(2/pi), 3.
    m = math.sqrt(2 / math.pi)
    variance = 1 - m**2
    third = 2 * m - 3 * m + 2 * m**3
    fourth = 3 - 4 * m * 2 * m + 6 * m**2 - 3 * m**4
    got = one_kink(0.0, 2.0, slope=-1.0)
    expected = (m, variance, third / variance**1.5, fourth / variance**2 - 3)
    assert [float(v) for v in got] == pytest.approx(expected, rel=1e-12)
    affine = normality.piecewise_linear_moments(
        torch.tensor([-INF, INF]), torch.tensor([[5.0], [1.0]]), torch.tensor([[2.0], [-1.0]])
    )
    assert torch.allclose(torch.stack(affine).T, torch.tensor([[5.0, 4, 0, 0], [1, 1, 0, 0]]))
    assert affine.mean.dtype == torch.float32


@pytest.mark.parametrize("t", [2.0, 4.0, 6.0, -6.0])
def test_piecewise_linear_moments__half_wave_beyond_a_far_kink(t):
    """The moments of (g - t)_+ rest on the mass of one tail, however small it is."""
    with mpmath.workdps(60):
        q, phi = mpmath.ncdf(-t), mpmath.npdf(t)
        raw = [
            phi - t * q,
            (1 + t**2) * q - t * phi,
            (t**2 + 2) * phi - (t**3 + 3 * t) * q,
            (t**4 + 6 * t**2 + 3) * q - (t**3 + 5 * t) * phi,
        ]
        m = raw[0]
        second, third = raw[1] - m**2, raw[2] - 3 * m * raw[1] + 2 * m**3
        fourth = raw[3] - 4 * m * raw[2] + 6 * m**2 * raw[1] - 3 * m**4
        expected = [m, second, third / second**1.5, fourth / second**2 - 3]
    got = one_kink(t, 1.0, slope=0.0)
    # The fourth moment is a difference of terms about t^8 / 24 times as large.
    rel = 1e-14 * (10 + t**8)
    assert [float(v) for v in got] == pytest.approx([float(v) for v in expected], rel=rel, abs=rel)


def test_piecewise_linear_moments__is_stable_for_narrow_steep_pieces():
    # The same function on one piece, and cut at many points: every digit must survive the cut.
    ends = torch.tensor([-INF, *(np.arange(-2000, 2001) * 0.0045), INF], dtype=F64)
    whole = one_kink(0.0, 1.0)
    offsets = torch.zeros(4002, dtype=F64)
    slopes = torch.where(ends[1:] <= 0, 1.0, 2.0).double()
    cut = normality.piecewise_linear_moments(ends, offsets, slopes)
    assert torch.allclose(torch.stack(cut), torch.stack(whole), rtol=1e-12, atol=0)
    # A ramp of slope 1e6 between two constants is two-valued up to a mass phi(1) 1e-6 = 2.4e-7.
    # The kurtosis feels it most: by 2.4e-7 / (p q)^2 = 1.4e-5 from the ramp and 5e-6 from p.
    width, p = 1e-6, scipy_stats.norm.sf(1.0)
    ramp = normality.piecewise_linear_moments(
        torch.tensor([-INF, 1.0, 1.0 + width, INF], dtype=F64),
        torch.tensor([0.0, -1 / width, 1.0], dtype=F64),
        torch.tensor([0.0, 1 / width, 0.0], dtype=F64),
    )
    bernoulli = scipy_stats.bernoulli.stats(p, moments="mvsk")
    assert [float(v) for v in ramp] == pytest.approx([float(v) for v in bernoulli], abs=2e-5)


def test_piecewise_linear_moments__gradcheck_and_window():
    ends = torch.tensor([-INF, -0.5, 0.3, 2.0, INF], dtype=F64)
    arguments = [normal(name, 4).requires_grad_() for name in ("offset", "slope")]
    assert torch.autograd.gradcheck(
        lambda a, b: tuple(normality.piecewise_linear_moments(ends, a, b)), arguments
    )
    window = torch.tensor([-10.0, -0.5, 0.3, 2.0, 10.0], dtype=F64)
    a, b = (x.detach() for x in arguments)
    pair = [torch.stack(normality.piecewise_linear_moments(e, a, b)) for e in (ends, window)]
    assert torch.allclose(*pair, rtol=1e-12)


# Prediction


@pytest.mark.parametrize("rho", [1.0, -1.0, 0.6, -0.35])
@pytest.mark.parametrize("t", [0.0, 0.4, 1.7])
def test_predicted_skew_kurtosis__is_the_derivative_of_the_exact_moments(rho, t):
    # y = s (rho g + sqrt(1 - rho^2) g') + kappa (g - t)_+: cumulants of independent parts add.
    s, sigma = 1.7, 0.3
    kappa = torch.zeros((), dtype=F64, requires_grad=True)
    part = one_kink(t, kappa, slope=s * rho)
    total = part.variance + s**2 * (1 - rho**2)
    skewness = part.skewness * (part.variance / total) ** 1.5
    kurtosis = part.excess_kurtosis * (part.variance / total) ** 2
    exact = [torch.autograd.grad(v, kappa, retain_graph=True)[0] for v in (skewness, kurtosis)]
    local = kinks([t * sigma], [[1.0, 0.0]], [[1.0]], [[s * rho, s * math.sqrt(1 - rho**2)]])
    predicted = normality.predicted_skew_kurtosis(local, sigma)
    for a, b in zip(exact, predicted, strict=True):
        assert float(a) == pytest.approx(float(b), abs=1e-11)


def test_predicted_skew_kurtosis__error_is_of_second_order_in_the_jump():
    kappa = torch.logspace(-3, -1.5, 6, dtype=F64)
    errors = torch.zeros(2, 6, dtype=F64)
    for i, k in enumerate(kappa):
        exact = one_kink(0.5, k)
        predicted = normality.predicted_skew_kurtosis(
            kinks([0.5], [[1.0]], [[float(k)]], [[1.0]]), 1.0
        )
        errors[0, i] = (exact.skewness - predicted[0]).abs().item()
        errors[1, i] = (exact.excess_kurtosis - predicted[1]).abs().item()
    for error in errors:
        assert stats.slope_interval(kappa, error, log=True).estimate == pytest.approx(2, abs=0.1)


@pytest.mark.parametrize("scale", [1e-5, -1e-5])
def test_predicted_skew_kurtosis__hidden_layer_with_several_kinks(scale):
    # Orthogonal normals make the hidden units independent, so their cumulants add exactly.
    q, _ = torch.linalg.qr(normal("normals", 4, 4))
    matrix, jump = normal("rows", 2, 4), scale * normal("jumps", 3, 2)
    distance, sigma = torch.tensor([0.0, 0.1, 0.35], dtype=F64), 0.2
    local = kinks(distance, q[:3], jump, matrix)
    third, fourth = torch.zeros(2, dtype=F64), torch.zeros(2, dtype=F64)
    variance = (matrix @ q[3]) ** 2
    for j in range(3):
        for k in range(2):
            part = one_kink(float(distance[j]) / sigma, jump[j, k], slope=matrix[k] @ q[j])
            variance[k] += part.variance
            third[k] += part.skewness * part.variance**1.5
            fourth[k] += part.excess_kurtosis * part.variance**2
    predicted = normality.predicted_skew_kurtosis(local, torch.tensor([sigma, 2 * sigma]))
    # Second order in jumps of 1e-5 leaves 1e-10 times a moderate constant.
    assert torch.allclose(predicted[0][0], third / variance**1.5, atol=1e-8)
    assert torch.allclose(predicted[1][0], fourth / variance**2, atol=1e-8)
    single = normality.predicted_skew_kurtosis(local, 2 * sigma)
    assert torch.allclose(predicted[0][1], single[0]) and torch.allclose(predicted[1][1], single[1])
    # Control: with the even power rho^2 in the kurtosis the identity fails.
    rho = q[:3] @ matrix.T / matrix.norm(dim=1)
    wrong = local.jump / rho
    even = kinks(distance, q[:3], wrong, matrix)
    wrong_kurtosis = normality.predicted_skew_kurtosis(even, sigma)[1]
    assert not torch.allclose(wrong_kurtosis, fourth / variance**2, atol=1e-8)


def test_predicted_skew_kurtosis__no_kinks_and_dtype():
    empty = SimpleNamespace(
        distance=torch.zeros(0), normal=torch.zeros(0, 3), jump=torch.zeros(0, 2),
        map=torch.ones(2, 3),
    )  # fmt: skip
    skewness, kurtosis = normality.predicted_skew_kurtosis(empty, torch.tensor([0.1, 1.0]))
    assert skewness.dtype == torch.float32
    assert skewness.tolist() == kurtosis.tolist() == [[0.0, 0.0], [0.0, 0.0]]


def test_dagostino_power__is_calibrated_on_a_mild_kink():
    kappa, n = 0.3, 512
    moments = one_kink(0.0, kappa)
    predicted = float(normality.dagostino_power(n, moments.skewness, moments.excess_kurtosis))
    g = normal("power", n, 2000)
    rejected = normality.dagostino_pearson(g + kappa * g.clamp_min(0)).pvalue < 0.01
    low, high = stats.proportion_interval(int(rejected.sum()), 2000, level=0.999)[1:3]
    assert low - 0.03 < predicted < high + 0.03  # 0.03: measured accuracy of the local limit
    # Control: a power law that forgets the divisor 6 is far outside.
    wrong = float(normality.dagostino_power(n, moments.skewness * 6**0.5, 0.0))
    assert not low - 0.03 < wrong < high + 0.03


def test_dagostino_power__limits():
    assert float(normality.dagostino_power(512, 0.0, 0.0, alpha=0.05)) == pytest.approx(0.05)
    assert float(normality.dagostino_power(10**6, 50.0, 1e3)) == 1
    # Sample kurtosis has twice the null standard deviation of sample skewness: 24/n against 6/n.
    pair = [float(normality.dagostino_power(512, *m)) for m in ((0.3, 0.0), (0.0, -0.6))]
    assert pair[0] == pytest.approx(pair[1], rel=1e-12)
    grid = normality.dagostino_power(512, torch.zeros(2, 3), torch.ones(3))
    assert grid.shape == (2, 3)


def test_rejection_bound__closed_form_and_cap():
    epsilon = torch.tensor([0.0, 1e-12, 0.5, 1.0], dtype=F64)
    bound = normality.rejection_bound(100, epsilon)
    assert bound.tolist() == pytest.approx([0.01, 0.01 + 1e-10, 1.0, 1.0], rel=1e-12)
    union = 0.01 + 100 * epsilon
    assert bool((bound <= union + 1e-15).all())


def test_rejection_bound__holds_for_a_kinked_sample():
    # y = g + 3 (g - 3.5)_+ leaves the cell with probability Q(3.5) a draw.
    n, repetitions = 200, 2000
    epsilon = float(scipy_stats.norm.sf(3.5))
    g = normal("safe", n, repetitions)
    rejected = normality.dagostino_pearson(g + 3 * (g - 3.5).clamp_min(0)).pvalue < 0.01
    size = normality.dagostino_pearson(g).pvalue < 0.01  # the test's own size, on the same draws
    bound = normality.rejection_bound(n, epsilon, stats.mean_interval(size.double(), 0.999).high)
    assert stats.binomial_test(int(rejected.sum()), repetitions, bound, "greater").pvalue > 1e-3


def test_half_power_noise__crosses_where_it_says():
    local = kinks([0.1, 0.2], [[1.0, 0.0], [0.0, 1.0]], [[1.0, 1e-3], [0.5, 0.0]], torch.eye(2))
    sigmas = torch.logspace(-2, 0.5, 26, dtype=F64)
    found = normality.half_power_noise(local, 512, sigmas)
    assert float(found[1]) == INF
    power = lambda s: float(  # noqa: E731
        normality.dagostino_power(
            512, *(m[0] for m in normality.predicted_skew_kurtosis(local, float(s)))
        )
    )
    assert power(found[0]) == pytest.approx(0.5, abs=1e-9)
    below = torch.logspace(-2, math.log10(float(found[0]) * 0.999), 200)
    assert max(map(power, below)) < 0.5
    assert float(normality.half_power_noise(local, 512, sigmas[20:])[0]) == float(sigmas[20])


# Noise along a line


def test_kinks_along__restricts_the_expansion():
    x = normal("line point", 5)
    u = normal("line direction", 5)
    local = kink_expansion(models.mlp([5, 8, 3], seed=1), x)
    line = normality.kinks_along(local, u)
    for g in (-3.0, -0.2, 0.7, 4.0):
        hinge = (local.normal @ (g * u) - local.distance).clamp_min(0)
        full = local.value + local.map @ (g * u) + hinge @ local.jump
        hinge = (g * line.normal[:, 0] - line.distance).clamp_min(0)
        found = line.value + g * line.map[:, 0] + hinge @ line.jump
        torch.testing.assert_close(found, full, rtol=1e-12, atol=1e-12)


def test_kinks_along__leaves_out_parallel_boundaries():
    local = Kinks(torch.ones(2), torch.eye(2), torch.ones(2, 1), torch.ones(1, 2), torch.ones(1))
    line = normality.kinks_along(local, torch.tensor([0.0, 2.0]))
    assert line.distance.tolist() == [0.5]
    assert line.jump.tolist() == [[2.0]]


@pytest.mark.parametrize("sigma", [0.05, 1.0])
def test_moments_along__agrees_with_quadrature(sigma):
    net = models.mlp([3, 6, 6, 2], seed=2)
    x, u = normal("moments point", 3), normal("moments direction", 3)
    found = normality.moments_along(net, x, u, sigma)
    g = torch.linspace(-8.5, 8.5, 400_001, dtype=F64)
    weight = torch.exp(-g.square() / 2)
    weight = (weight / weight.sum())[:, None]
    with torch.no_grad():
        y = net(x + sigma * g[:, None] * u)
    mean = (weight * y).sum(0)
    second, third, fourth = ((weight * (y - mean) ** p).sum(0) for p in (2, 3, 4))
    expected = mean, second, third / second**1.5, fourth / second**2 - 3
    for got, want in zip(found, expected, strict=True):
        torch.testing.assert_close(got.detach(), want, rtol=1e-6, atol=1e-7)


def test_moments_along__first_order_law_for_nearly_linear_units():
    x, u = normal("soft point", 4), normal("soft direction", 4)
    taus = np.geomspace(1e-4, 1e-3, 4)
    layers = models.mlp([4, 8, 8, 1], seed=0)
    gaps = []
    for tau in taus:
        soft = [torch.nn.LeakyReLU(1 - tau) if isinstance(m, torch.nn.ReLU) else m for m in layers]
        soft = torch.nn.Sequential(*soft)
        line = normality.kinks_along(kink_expansion(soft, x), u)
        skewness, kurtosis = normality.predicted_skew_kurtosis(line, 0.5)
        exact = normality.moments_along(soft, x, u, 0.5)
        gaps.append(
            [float(abs(exact.skewness - skewness)), float(abs(exact.excess_kurtosis - kurtosis))]
        )
    for gap in np.array(gaps).T:
        assert stats.slope_interval(taus, gap, log=True).estimate == pytest.approx(2, abs=0.05)


# Noise levels


def test_safe_noise__exhausts_the_budget():
    net, x = models.mlp([4, 16, 8, 2], seed=0), normal("safe", 6, 4)
    sigma = normality.safe_noise(net, x, 512, 0.02)
    for row, level in zip(x, sigma, strict=True):
        union = exit_probability(net, row[None], float(level))
        assert 512 * float(union) == pytest.approx(0.02, rel=1e-9)


def test_safe_noise__limits():
    relu = torch.nn.ReLU()
    sigma = normality.safe_noise(torch.nn.Sequential(relu), torch.tensor([[0.0], [1.0]]), 1, 0.6)
    assert sigma.tolist() == [math.inf, math.inf]  # one boundary: never above one half
    sigma = normality.safe_noise(torch.nn.Sequential(relu), torch.tensor([[0.0]]), 10)
    assert sigma.tolist() == [0.0]
    assert sigma.dtype == torch.float32
    linear = torch.nn.Linear(2, 1)
    images = normal("images", 2, 3, 2, 2)  # rows keep their batch dimension, whatever comes first
    flat = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.ReLU())
    expected = normality.safe_noise(flat, images.flatten(1), 10)
    assert torch.equal(normality.safe_noise(flat, images, 10), expected)
    assert normality.safe_noise(linear, torch.ones(1, 2), 10).tolist() == [math.inf]


def test_crossing_noise__first_crossing_on_a_logarithmic_axis():
    sigmas = torch.tensor([0.01, 0.1, 1.0, 10.0])
    shares = torch.tensor([[0.0, 0.5, 0.1], [0.2, 0.0, 0.1], [0.6, 0.0, 0.2], [0.1, 0.9, 0.1]])
    found = normality.crossing_noise(sigmas, shares, 0.4)
    assert found[0].item() == pytest.approx(10**-0.5)
    assert found[1].item() == pytest.approx(0.01)
    assert math.isinf(found[2].item())


GOOD = dict(distance=[0.1], normals=[[1.0, 0.0]], jump=[[1.0]], matrix=[[1.0, 0.0]])


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: normality.henze_zirkler(torch.randn(19, 2)), ValueError, "at least 20 rows"),
        (lambda: normality.mardia(torch.randn(20, 19)), ValueError, "2 rows more than columns"),
        (lambda: normality.henze_zirkler(torch.ones(30, 2)), ValueError, "rank 0 of 2"),
        (lambda: normality.mardia(np.ones((30, 2))), TypeError, "z must be a torch.Tensor"),
        (lambda: normality.mardia(torch.ones(30, 2).half()), TypeError, "float32 or float64"),
        (lambda: normality.dagostino_pearson(torch.ones(30, 2)), ValueError, r"columns \[0, 1\]"),
        (lambda: normality.project_to_row_space(torch.ones(30, 2)), ValueError, "rank 0"),
        (
            lambda: normality.henze_zirkler(normal("wide", 300, 200)),
            ValueError,
            "fewer columns",
        ),
        (
            lambda: normality.predicted_skew_kurtosis(kinks(**GOOD), 0.0),
            ValueError,
            "sigma must be positive",
        ),
        (
            lambda: normality.predicted_skew_kurtosis(
                kinks(**{**GOOD, "matrix": [[0.0, 0.0]]}), 1.0
            ),
            ValueError,
            "no zero row",
        ),
        (
            lambda: normality.predicted_skew_kurtosis(
                kinks(**{**GOOD, "normals": [[2.0, 0.0]]}), 1.0
            ),
            ValueError,
            "unit rows",
        ),
        (
            lambda: normality.predicted_skew_kurtosis(kinks(**{**GOOD, "distance": [-1.0]}), 1.0),
            ValueError,
            "must not be negative",
        ),
        (
            lambda: normality.predicted_skew_kurtosis(kinks(**{**GOOD, "jump": [[1.0, 2.0]]}), 1.0),
            ValueError,
            "kinks.jump must have shape",
        ),
        (lambda: normality.dagostino_power(512, math.nan, 0.0), ValueError, "skewness"),
        (lambda: normality.rejection_bound(10, 1.5), ValueError, "exit_probability"),
        (
            lambda: normality.half_power_noise(kinks(**GOOD), 512, torch.tensor([1.0, 0.5])),
            ValueError,
            "increasing",
        ),
        (
            lambda: normality.half_power_noise(
                kinks(**GOOD), 512, torch.tensor([0.5, 1.0]), alpha=0.3, power=0.3
            ),
            ValueError,
            r"power must exceed alpha = 0\.3, got 0\.3",
        ),
        (
            lambda: normality.predicted_skew_kurtosis(kinks(**GOOD), torch.tensor(0.0)),
            ValueError,
            r"sigma must be positive, got 0\.0",
        ),
        (
            lambda: normality.kinks_along(kinks(**GOOD), torch.ones(7)),
            ValueError,
            "direction must have 2 entries, got 7",
        ),
        (
            lambda: normality.kinks_along(kinks(**GOOD), torch.zeros(2)),
            ValueError,
            "direction must not be zero",
        ),
        (
            lambda: normality.piecewise_linear_moments(
                torch.tensor(0.0), torch.zeros(1), torch.ones(1)
            ),
            ValueError,
            "at least 1 dimension",
        ),
        (
            lambda: normality.piecewise_linear_moments(
                torch.tensor([-1.0, 1.0]), torch.zeros(1), torch.ones(1)
            ),
            ValueError,
            "must reach",
        ),
        (
            lambda: normality.piecewise_linear_moments(
                torch.tensor([-INF, 1.0, 0.0, INF]), torch.zeros(3), torch.ones(3)
            ),
            ValueError,
            "increase strictly",
        ),
        (
            lambda: normality.piecewise_linear_moments(
                torch.tensor([-INF, INF]), torch.ones(1), torch.zeros(1)
            ),
            ValueError,
            "variance 0",
        ),
        (
            lambda: normality.piecewise_linear_moments(
                torch.tensor([-INF, INF]), torch.ones(2), torch.ones(2)
            ),
            ValueError,
            "one entry more",
        ),
        (lambda: normality.safe_noise(torch.nn.ReLU(), torch.ones(1, 2), 0), ValueError, "n must"),
        (
            lambda: normality.crossing_noise(torch.tensor([1.0, 2.0]), torch.ones(3), 0.5),
            ValueError,
            "shares must have 2 rows",
        ),
        (
            lambda: normality.crossing_noise(torch.tensor([2.0, 1.0]), torch.ones(2), 0.5),
            ValueError,
            "increasing",
        ),
        (
            lambda: normality.moments_along(torch.nn.ReLU(), torch.ones(1), torch.zeros(1), 1.0),
            ValueError,
            "direction must not be zero",
        ),
    ],
)
def test_errors__name_the_argument(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_safe_noise__at_a_kink_is_zero_and_without_kinks_unlimited():
    x = torch.tensor([[0.0], [1.0]], dtype=F64)
    found = normality.safe_noise(torch.nn.ReLU(), x, 512)
    assert found[0] == 0 and found[1] > 0
    affine = torch.nn.Linear(1, 2).double()
    assert normality.safe_noise(affine, x, 512).tolist() == [INF, INF]


def test_safe_noise__of_two_units_and_a_large_budget_is_above_their_distance():
    # Two boundaries at distance 2: 2 Q(2 / sigma) = 0.9.
    found = normality.safe_noise(torch.nn.ReLU(), torch.full((1, 2), 2.0, dtype=F64), 1, budget=0.9)
    assert float(found) == pytest.approx(2 / scipy_stats.norm.isf(0.45), rel=1e-12)
