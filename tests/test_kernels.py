"""Tests of Gaussian kernels, bandwidths, closed forms and Fourier features."""

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vcreg_theory import kernels, stats
from vcreg_theory.independence import hsic
from vcreg_theory.kernels import bandwidths

DEVICES = ["cpu"] + ["cuda"] * torch.cuda.is_available()
EPS = torch.finfo(torch.float64).eps


def _loop_kernel(x, y, bandwidth):
    """The kernel written entry by entry, with plain floats."""
    rows, columns = (np.asarray(v).reshape(len(v), -1).tolist() for v in (x, y))
    return torch.tensor(
        [[math.exp(-(math.dist(a, b) ** 2) / (2 * bandwidth**2)) for b in columns] for a in rows],
        dtype=torch.float64,
    )


# ---------------------------------------------------------------------------- gaussian_kernel


def test_gaussian_kernel__closed_form():
    x = torch.tensor([0.0, 3.0], dtype=torch.float64)
    kernel = kernels.gaussian_kernel(x, bandwidth=1.5)
    assert kernel[0, 1].item() == pytest.approx(math.exp(-2.0), rel=1e-15)
    assert kernel.diagonal().tolist() == [1.0, 1.0]


@pytest.mark.parametrize("shape", [(6,), (6, 1), (6, 3), (6, 9)])
def test_gaussian_kernel__agrees_with_loops(generator, shape):
    x = torch.randn(shape, generator=generator, dtype=torch.float64)
    y = torch.randn((4, *shape[1:]), generator=generator, dtype=torch.float64)
    # The exponent is below 20 here, so a relative rounding of a few eps moves an entry by 1e-14.
    same, other = (
        kernels.gaussian_kernel(x, bandwidth=0.8),
        kernels.gaussian_kernel(x, y, bandwidth=0.8),
    )
    torch.testing.assert_close(same, _loop_kernel(x, x, 0.8), rtol=0, atol=1e-14)
    torch.testing.assert_close(other, _loop_kernel(x, y, 0.8), rtol=0, atol=1e-14)


@pytest.mark.parametrize("d", [1, 9])
def test_gaussian_kernel__is_symmetric_positive_semidefinite_with_unit_diagonal(generator, d):
    x = torch.randn(30, d, generator=generator, dtype=torch.float64)
    kernel = kernels.gaussian_kernel(x, bandwidth=2.0)
    torch.testing.assert_close(kernel, kernel.T, rtol=0, atol=4 * EPS)
    assert bool((kernel.diagonal() == 1).all())
    assert torch.linalg.eigvalsh(kernel).min() > -30 * 30 * EPS  # n ||K|| eps


@pytest.mark.parametrize("d", [1, 9])
def test_gaussian_kernel__invariant_to_shift_and_common_scale(generator, d):
    x = torch.randn(12, d, generator=generator, dtype=torch.float64)
    reference = kernels.gaussian_kernel(x, bandwidth=1.1)
    moved = kernels.gaussian_kernel(1e3 + 7 * x, bandwidth=7.7)
    # The shift costs three digits of every coordinate: 1e3 eps on differences of order 1.
    torch.testing.assert_close(moved, reference, rtol=0, atol=1e4 * EPS)


def test_gaussian_kernel__vector_form_keeps_digits_far_from_the_origin(generator):
    # The product form |x|^2 + |y|^2 - 2 x.y would lose 12 digits here without its centring.
    x = torch.randn(10, 8, generator=generator, dtype=torch.float64)
    found = kernels.gaussian_kernel(x + 2.0**20, x[:3] + 2.0**20, bandwidth=3.0)
    torch.testing.assert_close(found, _loop_kernel(x, x[:3], 3.0), rtol=0, atol=2.0**23 * EPS)


@pytest.mark.parametrize("d", [1, 3, 6])
def test_gaussian_kernel__gradcheck(generator, d):
    x = torch.randn(4, d, generator=generator, dtype=torch.float64, requires_grad=True)
    y = torch.randn(3, d, generator=generator, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda a: kernels.gaussian_kernel(a, bandwidth=1.3), (x,))
    assert torch.autograd.gradcheck(
        lambda a, b: kernels.gaussian_kernel(a, b, bandwidth=1.3), (x, y)
    )


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_gaussian_kernel__keeps_dtype_and_device_whatever_autocast_says(device, dtype):
    x = torch.linspace(-1, 1, 40, dtype=dtype, device=device).view(5, 8)
    plain = kernels.gaussian_kernel(x, bandwidth=torch.tensor(1.0))
    with torch.autocast(device, torch.bfloat16):
        found = kernels.gaussian_kernel(x, bandwidth=1.0)
    assert found.dtype == dtype and found.device.type == device
    assert torch.equal(found, plain)


def test_gaussian_kernel__half_precision_is_computed_in_float32():
    x = torch.linspace(-1, 1, 5, dtype=torch.bfloat16)
    assert torch.equal(
        kernels.gaussian_kernel(x, bandwidth=1.0), kernels.gaussian_kernel(x.float(), bandwidth=1.0)
    )


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"x": torch.zeros(3, 2, 2)}, ValueError, r"shape \(3, 2, 2\)"),
        ({"x": torch.zeros(3, 0)}, ValueError, "at least 1 column"),
        ({"x": torch.zeros(0, 1)}, ValueError, "at least 1 row"),
        ({"x": [1.0]}, TypeError, "torch.Tensor"),
        ({"x": torch.tensor([0.0, math.nan])}, ValueError, "x must be finite"),
        ({"y": torch.zeros(3, 2)}, ValueError, "share dimension"),
        ({"y": torch.zeros(3).double()}, ValueError, "share dimension, dtype"),
        ({"bandwidth": 0.0}, ValueError, "bandwidth must be positive"),
        ({"bandwidth": math.inf}, ValueError, "bandwidth must be finite"),
        ({"bandwidth": math.nan}, ValueError, "bandwidth must be finite"),
        ({"bandwidth": torch.ones(2)}, ValueError, "one number"),
        ({"bandwidth": "1"}, TypeError, "real number"),
    ],
)
def test_gaussian_kernel__refuses_bad_input(change, error, message):
    arguments = {"x": torch.zeros(3), "y": None, "bandwidth": 1.0, **change}
    with pytest.raises(error, match=message):
        kernels.gaussian_kernel(arguments["x"], arguments["y"], bandwidth=arguments["bandwidth"])


# ---------------------------------------------------------------------------- centring


def test_centre__is_multiplication_by_the_centring_matrix(generator):
    kernel = kernels.gaussian_kernel(torch.randn(7, generator=generator).double(), bandwidth=1.0)
    h = torch.eye(7, dtype=torch.float64) - 1 / 7
    torch.testing.assert_close(kernels.centre(kernel), h @ kernel @ h, rtol=0, atol=1e-15)
    assert kernels.centre(kernel).sum(0).abs().max() < 1e-14


def test_u_centre__sums_to_zero_without_a_diagonal(generator):
    kernel = kernels.gaussian_kernel(torch.randn(7, generator=generator).double(), bandwidth=1.0)
    centred = kernels.u_centre(kernel)
    assert bool((centred.diagonal() == 0).all())
    assert centred.sum(0).abs().max() < 1e-14 and centred.sum(1).abs().max() < 1e-14
    torch.testing.assert_close(centred, kernels.u_centre(kernel + torch.eye(7)), rtol=0, atol=0)


def test_u_centre__closed_form_of_three_samples():
    # Only the zero matrix of size 3 has zero diagonal and zero row sums.
    assert kernels.u_centre(torch.rand(3, 3).double().triu(1)).shape == (3, 3)
    a = torch.tensor([[9.0, 1, 2], [1, 9, 5], [2, 5, 9]], dtype=torch.float64)
    assert kernels.u_centre(a).abs().max() < 1e-14


def test_u_centre__gradcheck(generator):
    x = torch.randn(5, generator=generator, dtype=torch.float64, requires_grad=True)
    for centring in (kernels.centre, kernels.u_centre):
        assert torch.autograd.gradcheck(
            lambda a, f=centring: f(kernels.gaussian_kernel(a, bandwidth=1.0)), (x,)
        )


@pytest.mark.parametrize("centring", [kernels.centre, kernels.u_centre])
def test_centre__refuses_bad_input(centring):
    with pytest.raises(ValueError, match=r"square, got shape \(3, 4\)"):
        centring(torch.zeros(3, 4))
    with pytest.raises(ValueError, match="NaN"):
        centring(torch.full((4, 4), math.nan))
    with pytest.raises(ValueError, match="at least 3 rows"):
        kernels.u_centre(torch.zeros(2, 2))


# ---------------------------------------------------------------------------- median_bandwidth


def _all_distances(x):
    """Return the distances of all pairs, from loops."""
    rows = np.asarray(x).reshape(len(x), -1).tolist()
    return [math.dist(a, b) for a, b in itertools.combinations(rows, 2)]


@given(st.lists(st.integers(-50, 50), min_size=2, max_size=40))
def test_median_bandwidth__exact_on_integers(values):
    # Distances of integers have no rounding: equality, with many ties and both parities.
    x = torch.tensor(values, dtype=torch.float64)
    expected = float(np.median(_all_distances(x)))
    if expected == 0:
        with pytest.raises(ValueError, match="median distance 0"):
            kernels.median_bandwidth(x)
    else:
        assert kernels.median_bandwidth(x).item() == expected
        assert kernels.median_bandwidth(x.float()).item() == np.float32(expected)


@pytest.mark.parametrize("n", [2, 3, 7, 10, 101, 302])
@pytest.mark.parametrize("law", ["normal", "cauchy", "rectified", "outlier"])
def test_median_bandwidth__exact_on_scalars(generator, n, law):
    x = torch.randn(n, generator=generator, dtype=torch.float64)
    if law == "cauchy":
        x = torch.tan(math.pi * (torch.rand(n, generator=generator, dtype=torch.float64) - 0.5))
    if law == "rectified":
        x = torch.relu(x + 1)
        x[0] = 5.0  # so that not all samples are zero, however few they are
    if law == "outlier":
        x[0] = 1e9
    # Sorting subtracts the minimum first: each distance may be off by eps of the range.
    tolerance = 4 * EPS * (x.max() - x.min()).item()
    expected = float(np.median(_all_distances(x)))
    assert kernels.median_bandwidth(x).item() == pytest.approx(expected, abs=tolerance)


@pytest.mark.parametrize("shape", [(2, 2), (9, 2), (40, 7), (41, 7)])
def test_median_bandwidth__exact_on_vectors(generator, shape, monkeypatch):
    x = torch.randn(shape, generator=generator, dtype=torch.float64)
    expected = float(np.median(_all_distances(x)))
    assert kernels.median_bandwidth(x).item() == pytest.approx(expected, rel=1e-14)
    monkeypatch.setattr(bandwidths, "_BLOCK", 3 * shape[0])  # several blocks of rows
    assert kernels.median_bandwidth(x).item() == pytest.approx(expected, rel=1e-14)


def test_median_bandwidth__follows_scale_and_ignores_order(generator):
    x = torch.randn(50, generator=generator, dtype=torch.float64)
    order = torch.randperm(50, generator=generator)
    reference = kernels.median_bandwidth(x)
    assert torch.equal(kernels.median_bandwidth(x[order]), reference)
    assert torch.equal(kernels.median_bandwidth(4 * x), 4 * reference)  # a power of two: exact
    torch.testing.assert_close(
        kernels.median_bandwidth(x[:, None].expand(50, 2)), reference * 2**0.5
    )


def test_median_bandwidths__are_those_of_the_columns(generator):
    z = torch.randn(60, 5, generator=generator, dtype=torch.float64) * torch.tensor(
        [1, 2, 3, 9, 1e-6]
    )
    z[:, 1] = z[:, 1].round()
    expected = torch.stack([kernels.median_bandwidth(column) for column in z.T])
    assert torch.equal(kernels.median_bandwidths(z), expected)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_median_bandwidth__keeps_dtype_and_device(device, dtype):
    z = torch.linspace(0, 1, 12, dtype=dtype, device=device).view(6, 2).requires_grad_()
    for found in (kernels.median_bandwidth(z), kernels.median_bandwidths(z)):
        assert found.dtype == dtype and found.device.type == device and not found.requires_grad


def test_median_bandwidth__refuses_constant_and_short_samples():
    with pytest.raises(ValueError, match="x has median distance 0"):
        kernels.median_bandwidth(torch.ones(5))
    with pytest.raises(ValueError, match="x has median distance 0"):
        kernels.median_bandwidth(torch.ones(5, 3))
    with pytest.raises(ValueError, match=r"z has median distance 0 in columns \[1, 2\]"):
        kernels.median_bandwidths(torch.tensor([[0.0, 3, 1], [1.0, 3, 1], [2.0, 3, 1]]))
    with pytest.raises(ValueError, match="at least 2 rows"):
        kernels.median_bandwidth(torch.ones(1))
    with pytest.raises(ValueError, match="NaN"):
        kernels.median_bandwidth(torch.tensor([1.0, math.nan]))
    with pytest.raises(ValueError, match="2 dimensions"):
        kernels.median_bandwidths(torch.rand(4))


# ---------------------------------------------------------------------------- closed forms


def _quadrature_mean(covariance, taus):
    """E exp(-U^2/2tau - V^2/2upsilon) of a normal pair, by a 200 x 200 trapezoidal rule."""
    grid = torch.linspace(-14, 14, 401, dtype=torch.float64)  # trapezoids converge geometrically
    u, v = torch.meshgrid(grid, grid, indexing="ij")
    inverse = torch.linalg.inv(torch.tensor(covariance, dtype=torch.float64))
    form = inverse[0, 0] * u**2 + 2 * inverse[0, 1] * u * v + inverse[1, 1] * v**2
    density = torch.exp(-form / 2) * torch.linalg.det(inverse).sqrt() / (2 * math.pi)
    return (
        (density * torch.exp(-(u**2) / 2 / taus[0] - v**2 / 2 / taus[1])).sum() * 0.07**2
    ).item()


@pytest.mark.parametrize("rho", [0.0, 0.3, -0.8])
@pytest.mark.parametrize("bandwidth", [1.0, (0.8, 1.7)])
def test_gaussian_kernel_means__agree_with_quadrature(rho, bandwidth):
    pair = bandwidth if isinstance(bandwidth, tuple) else (bandwidth, bandwidth)
    taus = [b**2 for b in pair]
    # Differences of independent copies: covariance 2 rho for (X-X', Y-Y'), rho for (X-X', Y-Y'').
    expected = (
        _quadrature_mean([[2, 2 * rho], [2 * rho, 2]], taus),
        _quadrature_mean([[2, rho], [rho, 2]], taus),
        _quadrature_mean([[2, 0], [0, 2]], [taus[0], 1e300]),
        _quadrature_mean([[2, 0], [0, 2]], [1e300, taus[1]]),
    )
    found = kernels.gaussian_kernel_means(rho, bandwidth)
    assert found == pytest.approx(expected, rel=1e-10)
    hsic_value = found.joint - 2 * found.cross + found.x * found.y
    assert kernels.gaussian_hsic(rho, bandwidth) == pytest.approx(hsic_value, abs=1e-15)


def test_gaussian_hsic__known_value_and_limits():
    assert kernels.gaussian_hsic(0.0, 0.5) == 0.0
    tau = 1.0
    by_hand = 1 / math.sqrt(9 - 4 * 0.36) + 1 / 3 - 2 / math.sqrt(9 - 0.36)
    assert kernels.gaussian_hsic(0.6, tau) == pytest.approx(by_hand, rel=1e-13)
    # X = Y: 1/sqrt(5) + 1/3 - 2/sqrt(8).
    assert kernels.gaussian_hsic(-1.0, 1.0) == pytest.approx(
        1 / math.sqrt(5) + 1 / 3 - 2 / math.sqrt(8), rel=1e-13
    )


@pytest.mark.parametrize("rho", [1e-9, 1e-5])
def test_gaussian_hsic__keeps_its_digits_at_small_correlation(rho):
    # The difference of roots would have no digit left; the next term is O(rho^2) relative.
    tau = 2.3**2
    leading = tau * rho**2 / (tau + 2) ** 3
    assert kernels.gaussian_hsic(rho, 2.3) == pytest.approx(leading, rel=1e-14 + 10 * rho**2)


def test_gaussian_hsic__is_the_mean_of_the_unbiased_estimator(generator):
    # 4000 independent samples of 12 pairs; the interval misses with probability 5e-4.
    rho, bandwidth = 0.7, (0.9, 1.6)
    x, e = torch.randn(2, 4000, 12, generator=generator, dtype=torch.float64)
    y = rho * x + math.sqrt(1 - rho**2) * e
    values = [
        hsic(a, b, bandwidth=bandwidth, estimator="unbiased").item()
        for a, b in zip(x, y, strict=True)
    ]
    interval = stats.mean_interval(values, level=1 - 5e-4)
    assert interval.low <= kernels.gaussian_hsic(rho, bandwidth) <= interval.high
    # A control: the biased mean and the value at another bandwidth lie outside.
    assert not interval.low <= kernels.gaussian_hsic(rho, 1.6) <= interval.high


def test_gaussian_hsic__tensors_keep_shape_and_dtype():
    rho = torch.tensor([[0.0, 0.6], [-0.6, 1.0]])
    found = kernels.gaussian_hsic(rho, 1.0)
    assert found.shape == (2, 2) and found.dtype == torch.float32
    assert found[0, 1] == found[1, 0]
    assert found[0, 1].item() == pytest.approx(kernels.gaussian_hsic(0.6, 1.0), rel=1e-6)
    means = kernels.gaussian_kernel_means(rho, 1.0)
    assert all(mean.shape == (2, 2) and mean.dtype == torch.float32 for mean in means)


@pytest.mark.parametrize("function", [kernels.gaussian_hsic, kernels.gaussian_kernel_means])
@pytest.mark.parametrize(
    ("rho", "bandwidth", "error", "message"),
    [
        (1.1, 1.0, ValueError, "rho must lie in"),
        (math.nan, 1.0, ValueError, "rho must be finite"),
        (torch.tensor([0.0, 2.0]), 1.0, ValueError, "rho must lie in"),
        (torch.tensor([0.0, math.nan]), 1.0, ValueError, "rho must lie in"),
        (0.5, -1.0, ValueError, "bandwidth must be positive"),
        (0.5, (1.0, 0.0), ValueError, "bandwidth must be positive"),
        (0.5, (1.0, 1.0, 1.0), ValueError, "one number or a pair"),
        ("a", 1.0, TypeError, "rho must be a real number"),
    ],
)
def test_gaussian_hsic__refuses_bad_input(function, rho, bandwidth, error, message):
    with pytest.raises(error, match=message):
        function(rho, bandwidth)


# ---------------------------------------------------------------------------- fourier features


def _fourier_error(x, bandwidth, tol):
    features = kernels.fourier_features_1d(x, bandwidth, tol).double()
    exact = kernels.gaussian_kernel(x.double(), bandwidth=bandwidth)
    return (features @ features.T - exact).abs().max().item()


@given(
    st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=25),
    st.floats(0.05, 100),
    st.sampled_from([0.1, 1e-3, 1e-6, 1e-10]),
)
def test_fourier_features_1d__error_within_the_tolerance(values, bandwidth, tol):
    # Rounding: x / bandwidth up to 2e4 has error 2e4 eps, and the kernel has slope below 1.
    x = torch.tensor(values, dtype=torch.float64)
    assert _fourier_error(x, bandwidth, tol) <= tol + 1e5 * EPS


@pytest.mark.parametrize("tol", [1e-2, 1e-4, 1e-8])
def test_fourier_features_1d__needs_its_frequencies(tol):
    # A control: without the upper half of the frequencies the diagonal is off by about
    # erfc(sqrt(log(2/tol)) / 2), which is far above tol.
    x = torch.linspace(0, 7, 60, dtype=torch.float64)
    features = kernels.fourier_features_1d(x, 1.0, tol)
    pairs = (features.shape[1] - 1) // 2
    kept = pairs // 2
    short = torch.cat([features[:, : 1 + kept], features[:, 1 + pairs : 1 + pairs + kept]], 1)
    error = (short @ short.T - kernels.gaussian_kernel(x, bandwidth=1.0)).abs().max().item()
    assert _fourier_error(x, 1.0, tol) <= tol < error


def test_fourier_features_1d__outliers_cost_little(generator):
    # Each far sample adds the margin to the period instead of its distance.
    x = torch.randn(200, generator=generator, dtype=torch.float64)
    far = torch.cat([x, torch.tensor([1e6, -1e7, 1e6 + 0.5], dtype=torch.float64)])
    assert _fourier_error(far, 1.0, 1e-6) <= 1e-6 + 1e8 * EPS
    sizes = [kernels.fourier_features_1d(v, 1.0, 1e-6).shape[1] for v in (x, far)]
    assert sizes[1] < 3 * sizes[0] < 120


def test_fourier_features_1d__constant_variable():
    features = kernels.fourier_features_1d(torch.full((4,), 3.0, dtype=torch.float64), 1.0, 1e-9)
    assert (features @ features.T - 1).abs().max() <= 1e-9


@pytest.mark.parametrize("device", DEVICES)
def test_fourier_features_1d__keeps_dtype_and_device(device):
    x = torch.linspace(-3, 3, 50, device=device)
    features = kernels.fourier_features_1d(x, torch.tensor(1.0), 1e-6)
    assert features.dtype == torch.float32 and features.device.type == device
    # Rounding of features of norm 1 to float32 moves an inner product by at most one epsilon.
    assert _fourier_error(x.cpu(), 1.0, 1e-6) <= 1e-6 + torch.finfo(torch.float32).eps


@pytest.mark.parametrize(
    ("x", "bandwidth", "tol", "message"),
    [
        (torch.zeros(3, 1), 1.0, 1e-6, "1 dimension"),
        (torch.zeros(0), 1.0, 1e-6, "at least 1 row"),
        (torch.tensor([math.inf]), 1.0, 1e-6, "x must be finite"),
        (torch.zeros(3), 0.0, 1e-6, "bandwidth must be positive"),
        (torch.zeros(3), 1.0, 0.0, "tol must be positive"),
        (torch.zeros(3), 1.0, 0.2, "tol must be at most 0.1"),
    ],
)
def test_fourier_features_1d__refuses_bad_input(x, bandwidth, tol, message):
    with pytest.raises(ValueError, match=message):
        kernels.fourier_features_1d(x, bandwidth, tol)
