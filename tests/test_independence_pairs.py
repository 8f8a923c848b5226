"""Tests of HSIC of all pairs, of its mean, and of the mean Lancaster statistic over triples."""

import itertools
import math

import pytest
import torch

from vcreg_theory import kernels
from vcreg_theory.independence import (
    _lowrank,
    _moments,
    hsic,
    lancaster,
    lancaster_interaction,
    mean_pairwise_hsic,
    pairs,
    pairwise_hsic,
)

DEVICES = ["cpu"] + ["cuda"] * torch.cuda.is_available()
ESTIMATORS = ["biased", "unbiased"]
DOUBLE = {"dtype": torch.float64}
TINY = 2e-15  # a few roundings of sums of order 1, which cancel to the value


@pytest.fixture(params=[1 << 23, 1 << 12], ids=["one tile", "many tiles"])
def tiles(request, monkeypatch):
    """Run with whole Gram matrices and with tiles of 32 x 32, recomputed under autograd."""
    monkeypatch.setattr(_moments, "_BYTES", {"cpu": request.param})


def _features(generator, n=70, number=6):
    """Columns of different laws and scales: linear, quadratic and cubic dependence, and none."""
    z = torch.randn(n, number, generator=generator, **DOUBLE)
    z[:, 1] += 0.5 * z[:, 0]
    z[:, 2] = 30 * z[:, 0].square() + z[:, 2]
    z[:, 3] = 1e-3 * z[:, 3] ** 3
    return z


def _matrix(z, bandwidth, estimator):
    """All pairs, from `hsic`, one at a time."""
    number = z.shape[1]
    widths = bandwidth if isinstance(bandwidth, list) else [bandwidth] * number
    rows = [
        [
            hsic(
                z[:, i],
                z[:, j],
                bandwidth=None if bandwidth is None else (widths[i], widths[j]),
                estimator=estimator,
            )
            for j in range(number)
        ]
        for i in range(number)
    ]
    return torch.tensor(rows, **DOUBLE)


def _normalized(matrix):
    return matrix / matrix.diagonal().sqrt() / matrix.diagonal().sqrt()[:, None]


def _mean_off_diagonal(matrix):
    number = len(matrix)
    return (matrix.sum() - matrix.diagonal().sum()) / (number * (number - 1))


# ---------------------------------------------------------------------------- pairwise_hsic


@pytest.mark.usefixtures("tiles")
@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("bandwidth", [None, 0.9, [0.5, 1.0, 20.0, 1e-3, 2.0, 3.0]])
def test_pairwise_hsic__exact_agrees_with_single_pairs(generator, estimator, bandwidth):
    z = _features(generator)
    expected = _matrix(z, bandwidth, estimator)
    options = {"bandwidth": bandwidth, "estimator": estimator, "method": "exact"}
    torch.testing.assert_close(pairwise_hsic(z, **options), expected, rtol=0, atol=TINY)
    scaled = pairwise_hsic(z, normalize=True, **options)
    torch.testing.assert_close(scaled, _normalized(expected), rtol=1e-11, atol=1e-12)
    torch.testing.assert_close(scaled.diagonal(), torch.ones(6, **DOUBLE), rtol=1e-14, atol=0)


@pytest.mark.parametrize("number", [1, 2, 5])
def test_pairwise_hsic__bands_of_the_matrix_product_cover_it(generator, monkeypatch, number):
    monkeypatch.setattr(pairs, "_BAND", 2)
    monkeypatch.setattr(pairs, "_LENGTH", 100)
    z = _features(generator, 40)[:, :number]
    found = pairwise_hsic(z, method="exact")
    torch.testing.assert_close(found, _matrix(z, None, "biased"), rtol=0, atol=TINY)


@pytest.mark.parametrize("group", [64, 2])
@pytest.mark.parametrize("tol", [0.1, 1e-3, 1e-6, 1e-10])
def test_pairwise_hsic__fourier_within_its_tolerance(generator, monkeypatch, tol, group):
    monkeypatch.setattr(_lowrank, "_GROUP", group)
    z = _features(generator, 90)
    z[0, 4], z[1, 4] = 1e5, -3e4  # far samples
    z[:, 5] = z[:, 5].sign()  # two values
    widths = [*kernels.median_bandwidths(z[:, :5]).tolist(), 1.0]
    exact = pairwise_hsic(z, bandwidth=widths, method="exact")
    found = pairwise_hsic(z, bandwidth=widths, method="fourier", tol=tol)
    assert (found - exact).abs().max() <= tol
    torch.testing.assert_close(found, found.T, rtol=0, atol=TINY)
    # The unbiased one adds the errors of the terms it subtracts, each of order tol / n.
    options = {"bandwidth": widths, "estimator": "unbiased"}
    exact = pairwise_hsic(z, method="exact", **options)
    found = pairwise_hsic(z, method="fourier", tol=tol, **options)
    assert (found - exact).abs().max() <= 1.2 * tol


@pytest.mark.parametrize("scale", [1e-2, 1e-5])
def test_pairs__bandwidths_far_above_all_distances(generator, scale):
    # K - 1 = -d^2/2 (1 - d^2/4 ...): normalised HSICs tend to squared correlations, and the next
    # term moves numerator and denominator by at most d^2/4 for each kernel.
    z = _features(generator)
    z = (z - z.mean(0)) / z.std(0)
    distance = scale * (z.amax(0) - z.amin(0)).max().item()
    options = {"bandwidth": 1.0, "normalize": True}
    exact = pairwise_hsic(scale * z, method="exact", **options)
    assert (exact - torch.corrcoef(z.T).square()).abs().max() <= distance**2 + 100 * TINY
    # Errors of a series of frequencies up to w are relative: tol w^2 / 4, w^2 = 2 log(8 / tol).
    found = pairwise_hsic(scale * z, method="fourier", tol=1e-6, **options)
    assert (found - exact).abs().max() <= 4e-6 * 2 * math.log(8e6)
    mean = mean_pairwise_hsic(scale * z, **options)
    assert mean.item() == pytest.approx(_mean_off_diagonal(exact).item(), rel=100 * TINY)


def test_pairwise_hsic__fourier_keeps_weak_dependence(generator):
    # Independent columns: the values are near 1/n, and the error relative to them is small too.
    z = torch.randn(400, 8, generator=generator, **DOUBLE)
    exact, found = (pairwise_hsic(z, method=m) for m in ("exact", "fourier"))
    assert ((found - exact).abs() / exact).max() < 1e-3


@pytest.mark.parametrize("method", ["exact", "fourier"])
@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_pairwise_hsic__float32(generator, method, estimator):
    # Entries of kernels carry a few epsilon, and their errors average out over n^2 entries; the
    # worst case of all errors of one sign is 4 epsilon for each of the two kernels.
    z = _features(generator, 300)
    exact = pairwise_hsic(z, method="exact", estimator=estimator)
    found = pairwise_hsic(z.float(), method=method, estimator=estimator, tol=1e-7)
    assert found.dtype == torch.float32
    assert (found.double() - exact).abs().max() <= 8 * torch.finfo(torch.float32).eps
    assert torch.equal(
        found, pairwise_hsic(z.float(), method=method, estimator=estimator, tol=1e-7)
    )


@pytest.mark.parametrize("method", ["exact", "fourier"])
def test_pairwise_hsic__biased_matrix_is_positive_semidefinite(generator, method):
    z = _features(generator, 100, 30)
    matrix = pairwise_hsic(z, method=method)
    # A Gram matrix of centred kernels, up to K times the error of an entry.
    assert torch.linalg.eigvalsh(matrix).min() >= -30 * (1e-6 if method == "fourier" else TINY)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_pairwise_hsic__invariances(generator, estimator):
    z = _features(generator)
    rows, columns = (torch.randperm(n, generator=generator) for n in z.shape)
    reference = pairwise_hsic(z, estimator=estimator)
    options = {"rtol": 1e-10, "atol": TINY}
    found = pairwise_hsic(z[rows], estimator=estimator)
    torch.testing.assert_close(found, reference, **options)
    found = pairwise_hsic(z[:, columns], estimator=estimator)
    torch.testing.assert_close(found, reference[columns][:, columns], **options)
    found = pairwise_hsic(5 - z * torch.tensor([1, 2, 3, 4, 5, 6]), estimator=estimator)
    torch.testing.assert_close(found, reference, **options)


def test_pairwise_hsic__auto_takes_the_cheaper_method(generator):
    small, large = (torch.randn(n, 3, generator=generator) for n in (60, 3000))
    assert torch.equal(pairwise_hsic(small), pairwise_hsic(small, method="exact"))
    assert torch.equal(pairwise_hsic(large), pairwise_hsic(large, method="fourier"))
    # Tiny bandwidths need thousands of frequencies: exact, and refused where "fourier" is asked.
    wide = torch.linspace(0, 1, 3000)[:, None]
    assert torch.equal(
        pairwise_hsic(wide, bandwidth=1e-5), pairwise_hsic(wide, bandwidth=1e-5, method="exact")
    )
    with pytest.raises(ValueError, match="too many bandwidths for Fourier features in column 0"):
        pairwise_hsic(wide, bandwidth=1e-5, method="fourier")


@pytest.mark.parametrize("method", ["exact", "fourier"])
def test_pairwise_hsic__parity_bits(method):
    rows = [r for r in itertools.product((-1.0, 1.0), repeat=3) if math.prod(r) == 1]
    beta = (1 - math.exp(-2.0)) / 2
    found = pairwise_hsic(torch.tensor(rows, **DOUBLE), bandwidth=1.0, method=method, tol=1e-12)
    torch.testing.assert_close(found, beta**2 * torch.eye(3, **DOUBLE), rtol=0, atol=1e-12)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_pairs__keep_dtype_and_device_whatever_autocast_says(generator, device, dtype):
    z = _features(generator).to(device, dtype)
    functions = [
        lambda z: pairwise_hsic(z, method="exact", normalize=True),
        lambda z: pairwise_hsic(z, method="fourier", estimator="unbiased"),
        lambda z: mean_pairwise_hsic(z, normalize=True, estimator="unbiased"),
        lancaster_interaction,
    ]
    for function in functions:
        plain = function(z)
        with torch.autocast(device, torch.bfloat16):
            found = function(z)
        assert found.dtype == dtype and found.device.type == device
        assert torch.equal(found, plain)
        assert torch.equal(function(z.bfloat16()), function(z.bfloat16().float()))


# ---------------------------------------------------------------------------- mean_pairwise_hsic


@pytest.mark.usefixtures("tiles")
@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("bandwidth", [None, [0.5, 1.0, 20.0, 1e-3, 2.0, 3.0]])
def test_mean_pairwise_hsic__is_the_mean_of_the_matrix(generator, estimator, normalize, bandwidth):
    z = _features(generator)
    matrix = _matrix(z, bandwidth, estimator)
    expected = _mean_off_diagonal(_normalized(matrix) if normalize else matrix)
    options = {"bandwidth": bandwidth, "estimator": estimator, "normalize": normalize}
    torch.testing.assert_close(mean_pairwise_hsic(z, **options), expected, rtol=1e-11, atol=TINY)


def test_mean_pairwise_hsic__of_two_columns_is_hsic(generator):
    z = _features(generator)[:, :2]
    found = mean_pairwise_hsic(z, estimator="unbiased")
    expected = hsic(z[:, 0], z[:, 1], estimator="unbiased")
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=TINY)


def test_mean_pairwise_hsic__copies_and_parity_bits():
    u = torch.linspace(0, 1, 20, **DOUBLE)
    copies = torch.stack([u, 3 * u, -u], 1)
    for estimator in ESTIMATORS:
        found = mean_pairwise_hsic(copies, normalize=True, estimator=estimator)
        assert found.item() == pytest.approx(1, rel=1e-12)
    rows = [r for r in itertools.product((-1.0, 1.0), repeat=4) if math.prod(r) == 1]
    assert abs(mean_pairwise_hsic(torch.tensor(rows, **DOUBLE), bandwidth=1.0)) < TINY


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_mean_pairwise_hsic__float32(generator, estimator):
    z = _features(generator, 200)
    exact = mean_pairwise_hsic(z, estimator=estimator)
    found = mean_pairwise_hsic(z.float(), estimator=estimator)
    assert abs(found.item() - exact.item()) <= 8 * torch.finfo(torch.float32).eps


@pytest.mark.usefixtures("tiles")
@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("normalize", [False, True])
def test_mean_pairwise_hsic__gradcheck(generator, estimator, normalize):
    z = torch.randn(6, 4, generator=generator, **DOUBLE).requires_grad_()
    widths = (0.7, 1.3, 0.9, 2.0)
    assert torch.autograd.gradcheck(
        lambda a: mean_pairwise_hsic(a, bandwidth=widths, estimator=estimator, normalize=normalize),
        (z,),
    )


@pytest.mark.usefixtures("tiles")
@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_mean_pairwise_hsic__gradient_is_that_of_single_pairs(generator, estimator):
    # 70 rows fall into nine tiles of the small size: edges, mirror images and recomputation.
    z = _features(generator).requires_grad_()
    options = {"bandwidth": 1.0, "estimator": estimator}
    terms = [hsic(z[:, i], z[:, j], **options) for i, j in itertools.combinations(range(6), 2)]
    (expected,) = torch.autograd.grad(torch.stack(terms).mean(), z)
    (found,) = torch.autograd.grad(mean_pairwise_hsic(z, **options), z)
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=TINY)


# ---------------------------------------------------------------------------- lancaster


def _third_symmetric(values):
    """e_3 by adding one variable at a time, without power sums."""
    e = [torch.ones_like(values[0]), *(torch.zeros_like(values[0]) for _ in range(3))]
    for value in values:
        for order in (3, 2, 1):
            e[order] = e[order] + e[order - 1] * value
    return e[3]


@pytest.mark.usefixtures("tiles")
@pytest.mark.parametrize("number", [3, 6])
def test_lancaster_interaction__is_the_mean_over_triples(generator, number):
    z = _features(generator)[:, :number]
    triples = [lancaster(*z[:, t].T).item() for t in itertools.combinations(range(number), 3)]
    expected = sum(triples) / len(triples)
    assert lancaster_interaction(z).item() == pytest.approx(expected, rel=1e-11, abs=TINY)


def test_lancaster_interaction__agrees_with_a_recursion(generator):
    z = _features(generator, 40, 12)
    widths = torch.linspace(0.5, 2, 12, **DOUBLE)
    centred = [
        kernels.centre(kernels.gaussian_kernel(column, bandwidth=w))
        for column, w in zip(z.T, widths, strict=True)
    ]
    expected = _third_symmetric(centred).mean() / math.comb(12, 3)
    found = lancaster_interaction(z, bandwidth=widths)
    assert found.item() == pytest.approx(expected.item(), rel=1e-11, abs=TINY)


def test_lancaster_interaction__sees_parity_that_pairs_do_not():
    # Four signs of product 1 and their triples: none; three signs and their product: one triple.
    rows = [r for r in itertools.product((-1.0, 1.0), repeat=4) if math.prod(r) == 1]
    assert abs(lancaster_interaction(torch.tensor(rows, **DOUBLE), bandwidth=1.0)) < TINY
    rows = [(a, b, c, a * b) for a, b, c in itertools.product((-1.0, 1.0), repeat=3)]
    z = torch.tensor(rows, **DOUBLE)
    beta = (1 - math.exp(-2.0)) / 2
    assert lancaster_interaction(z, bandwidth=1.0).item() == pytest.approx(beta**3 / 4, rel=1e-12)
    assert abs(mean_pairwise_hsic(z, bandwidth=1.0)) < TINY


def test_lancaster_interaction__float32(generator):
    z = _features(generator, 200, 10)
    error = lancaster_interaction(z.float()).item() - lancaster_interaction(z).item()
    # Products of three entries of size at most 1, each within 4 epsilon.
    assert abs(error) <= 12 * torch.finfo(torch.float32).eps


# ---------------------------------------------------------------------------- errors


@pytest.mark.parametrize("function", [pairwise_hsic, mean_pairwise_hsic, lancaster_interaction])
@pytest.mark.parametrize(
    ("z", "options", "error", "message"),
    [
        (torch.rand(5), {}, ValueError, "2 dimensions"),
        (torch.rand(5, 0), {}, ValueError, "at least 1 column"),
        (torch.rand(1, 3), {}, ValueError, "at least 2 rows"),
        (torch.rand(5, 3, 2), {}, ValueError, "1 or 2 dimensions"),
        (torch.zeros(5, 3, dtype=torch.int64), {}, TypeError, "float32 or float64"),
        (torch.full((5, 3), math.nan), {}, ValueError, "z must be finite"),
        (torch.eye(5)[:, :3], {}, ValueError, r"median distance 0 in columns \[0, 1, 2\]"),
        (torch.rand(5, 3), {"bandwidth": -1.0}, ValueError, "bandwidth must be positive"),
        (torch.rand(5, 3), {"bandwidth": math.nan}, ValueError, "bandwidth must be finite"),
        (torch.rand(5, 3), {"bandwidth": [1.0, 2.0]}, ValueError, "one number or 3, got 2"),
        (torch.rand(5, 3), {"bandwidth": torch.zeros(3)}, ValueError, "bandwidth must be positive"),
    ],
)
def test_pairs__refuse_bad_input(function, z, options, error, message):
    with pytest.raises(error, match=message):
        function(z, **options)


@pytest.mark.parametrize("function", [pairwise_hsic, mean_pairwise_hsic])
def test_pairs__refuse_bad_estimators_and_scales(function):
    with pytest.raises(ValueError, match="'biased', 'unbiased'"):
        function(torch.rand(5, 3), estimator="median")
    with pytest.raises(ValueError, match="at least 4 rows"):
        function(torch.rand(3, 3), estimator="unbiased")
    constant = torch.cat([torch.rand(5, 2), torch.ones(5, 1)], 1).double()
    with pytest.raises(ValueError, match=r"themselves is not positive: \[2\]"):
        function(constant, bandwidth=1.0, normalize=True)


def test_pairs__refuse_bad_methods_and_widths():
    with pytest.raises(ValueError, match="'auto', 'exact', 'fourier'"):
        pairwise_hsic(torch.rand(5, 3), method="nystrom")
    with pytest.raises(ValueError, match=r"tol must be at most 0\.1"):
        pairwise_hsic(torch.rand(5, 3), tol=0.5)
    with pytest.raises(ValueError, match="at least 2 columns"):
        mean_pairwise_hsic(torch.rand(5, 1))
    with pytest.raises(ValueError, match="at least 3 columns"):
        lancaster_interaction(torch.rand(5, 2))


def test_compressed__keeps_the_eigenvalues_above_a_share_of_the_trace(generator):
    # A bandwidth below the spread, and one so wide that the trace of the centred kernel is small.
    z = torch.randn(200, 1, generator=generator, dtype=torch.float64)
    for width, tol in ((0.7, 1e-3), (2.0, 1e-4), (40.0, 1e-4)):
        u = (z - z.amin()) / width
        found = _lowrank._compressed(u, tol, torch.float64).factors[:, 0]
        shifted = u.T - u.amax() / 2
        f = _lowrank.features(shifted, _lowrank.series(2 * shifted.amax(), tol / 4))[0]
        f = f - f.mean(0)
        values = torch.linalg.eigvalsh(f @ f.T)
        kept = values[values > tol / 4 * f.square().sum()]
        assert 1 < len(kept) < 20
        # products of rounded features of norm sqrt(trace) at most
        exact = {"rtol": 1e-10, "atol": 1e-12 * float(values.sum())}
        torch.testing.assert_close(torch.linalg.svdvals(found).square().flip(0), kept, **exact)
