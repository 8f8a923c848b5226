"""Tests of HSIC of a pair, dHSIC and the Lancaster statistic: closed forms, exact means, peers."""

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vcreg_theory import independence, kernels
from vcreg_theory.independence import (
    _moments,
    dhsic,
    dhsic_excess,
    expected_biased_hsic,
    hsic,
    lancaster,
)

DEVICES = ["cpu"] + ["cuda"] * torch.cuda.is_available()
ESTIMATORS = ["biased", "unbiased"]
DOUBLE = {"dtype": torch.float64}
TINY = 2e-15  # a few roundings of sums of order 1, which cancel to the value
BETA = (1 - math.exp(-2 / 0.8**2)) / 2  # of the Gaussian kernel on {-1, 1} at bandwidth 0.8


@pytest.fixture(params=[1 << 23, 200], ids=["one block", "many blocks"])
def blocks(request, monkeypatch):
    """Run with all rows in one block and with a few rows a block, recomputed under autograd."""
    monkeypatch.setattr(_moments, "_BYTES", {"cpu": request.param})


def _parity(d):
    """All 2^(d-1) rows of d signs whose product is 1."""
    rows = [r for r in itertools.product((-1.0, 1.0), repeat=d) if math.prod(r) == 1]
    return torch.tensor(rows, **DOUBLE)


def _pair(generator, n=9, shapes=((), ())):
    x = torch.randn(n, *shapes[0], generator=generator, **DOUBLE)
    e = torch.randn(n, *shapes[1], generator=generator, **DOUBLE)
    return x, 0.5 * e + (x if x.ndim == 1 else x[:, 0]).view(-1, *[1] * len(shapes[1])).square()


def _naive_hsic(x, y, widths, estimator):
    """HSIC by loops over pairs, triples and quadruples of samples, as its definition has it."""
    k = kernels.gaussian_kernel(x, bandwidth=widths[0]).numpy()
    m = kernels.gaussian_kernel(y, bandwidth=widths[1]).numpy()
    n = len(k)
    if estimator == "biased":
        h = np.eye(n) - 1 / n
        return float(np.trace(k @ h @ m @ h)) / n**2
    means = []
    for count, term in (
        (2, lambda i, j: k[i, j] * m[i, j]),
        (4, lambda i, j, q, r: k[i, j] * m[q, r]),
        (3, lambda i, j, q: k[i, j] * m[i, q]),
    ):
        means.append(np.mean([term(*t) for t in itertools.permutations(range(n), count)]))
    return float(means[0] + means[1] - 2 * means[2])


# ---------------------------------------------------------------------------- hsic


def test_hsic__bits_in_closed_form():
    # On the four equally likely pairs of independent signs, and on a pair of equal signs.
    table = _parity(3)
    for a, b in itertools.combinations(range(3), 2):
        assert abs(hsic(table[:, a], table[:, b], bandwidth=0.8)) < TINY
    same = hsic(table[:, 0], table[:, 0], bandwidth=0.8)
    assert same.item() == pytest.approx(BETA**2, rel=1e-13)


@pytest.mark.usefixtures("blocks")
@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("shapes", [((), ()), ((3,), (1,)), ((6,), (2,))])
def test_hsic__agrees_with_its_definition(generator, estimator, shapes):
    # The unbiased one as the U-statistic over distinct indices, not through any matrix formula.
    x, y = _pair(generator, 8, shapes)
    expected = _naive_hsic(x, y, (0.9, 1.7), estimator)
    found = hsic(x, y, bandwidth=(0.9, 1.7), estimator=estimator)
    assert found.item() == pytest.approx(expected, rel=1e-12, abs=TINY)


def test_hsic__unbiased_is_the_product_of_u_centred_matrices(generator):
    x, y = _pair(generator, 30)
    k, m = (kernels.u_centre(kernels.gaussian_kernel(v, bandwidth=1.2)) for v in (x, y))
    found = hsic(x, y, bandwidth=1.2, estimator="unbiased")
    assert found.item() == pytest.approx(((k * m).sum() / (30 * 27)).item(), rel=1e-12)


def _law():
    """A dependent law on four points of the plane, with its exact HSIC and kernel means."""
    points = torch.tensor([[0.0, 0.3], [1.0, 0.3], [0.4, -1.0], [1.0, 1.2]], **DOUBLE)
    p = torch.tensor([0.1, 0.2, 0.3, 0.4], **DOUBLE)
    k, m = (kernels.gaussian_kernel(points[:, i], bandwidth=0.7) for i in (0, 1))
    joint, cross = p @ (k * m) @ p, ((k @ p) * (m @ p) * p).sum()
    return points, p, tuple(float(v) for v in (joint, cross, p @ k @ p, p @ m @ p))


def _exact_mean(statistic, points, p, n):
    """The mean of a statistic over all samples of size n of a discrete law."""
    total = 0.0
    for indices in itertools.combinations_with_replacement(range(len(p)), n):
        orders = math.factorial(n) / math.prod(
            map(math.factorial, map(indices.count, set(indices)))
        )
        total += orders * p[list(indices)].prod().item() * statistic(points[list(indices)]).item()
    return total


@pytest.mark.parametrize("n", [4, 5])
def test_hsic__unbiased_has_the_population_value_as_its_mean(n):
    points, p, (joint, cross, x, y) = _law()
    mean = _exact_mean(
        lambda s: hsic(s[:, 0], s[:, 1], bandwidth=0.7, estimator="unbiased"), points, p, n
    )
    assert mean == pytest.approx(joint - 2 * cross + x * y, abs=TINY)


@pytest.mark.parametrize("n", [2, 3, 4, 5])
def test_expected_biased_hsic__is_the_mean_over_all_samples(n):
    points, p, means = _law()
    mean = _exact_mean(lambda s: hsic(s[:, 0], s[:, 1], bandwidth=0.7), points, p, n)
    assert mean == pytest.approx(expected_biased_hsic(n, *means), abs=TINY)


def test_expected_biased_hsic__independent_and_one_sample():
    # Independence: joint = cross = product of the means.
    assert expected_biased_hsic(7, 0.06, 0.06, 0.2, 0.3) == pytest.approx(6 / 49 * 0.8 * 0.7)
    assert expected_biased_hsic(1, 0.5, 0.4, 0.2, 0.3) == 0
    with pytest.raises(ValueError, match="n must be at least 1"):
        expected_biased_hsic(0, 0.5, 0.4, 0.2, 0.3)


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("d", [(), (6,)])
def test_hsic__invariances(generator, estimator, d):
    x, y = _pair(generator, 20, (d, ()))
    order = torch.randperm(20, generator=generator)
    reference = hsic(x, y, estimator=estimator)
    options = {"rtol": 1e-11, "atol": TINY}  # the shift by 30 costs two of sixteen digits
    torch.testing.assert_close(hsic(y, x, estimator=estimator), reference, **options)
    torch.testing.assert_close(hsic(x[order], y[order], estimator=estimator), reference, **options)
    # Each variable follows its own median: any affine change of one leaves the value.
    torch.testing.assert_close(
        hsic(-5 * x + 30, 0.01 * y, estimator=estimator), reference, **options
    )
    assert abs(hsic(x, y[order], estimator=estimator) - reference) > 1e-3 * abs(reference)


def test_hsic__default_bandwidths_are_the_median_distances(generator):
    x, y = _pair(generator, 15, ((2,), ()))
    medians = (kernels.median_bandwidth(x), kernels.median_bandwidth(y))
    assert torch.equal(hsic(x, y), hsic(x, y, bandwidth=medians))
    assert torch.equal(hsic(x, y, bandwidth=(2.0, 2.0)), hsic(x, y, bandwidth=2.0))
    assert hsic(x, y, bandwidth=(1.0, 2.0)) != hsic(x, y, bandwidth=(2.0, 1.0))


@given(st.integers(2, 12), st.integers(0, 10**6), st.floats(0.1, 10))
def test_hsic__biased_is_never_negative(n, seed, bandwidth):
    x, y = torch.randn(2, n, generator=torch.Generator().manual_seed(seed), **DOUBLE)
    assert hsic(x, y, bandwidth=bandwidth) >= -TINY


def test_hsic__constant_variable_has_none():
    x = torch.linspace(0, 1, 6, **DOUBLE)
    for estimator in ESTIMATORS:
        assert abs(hsic(x, torch.ones_like(x), bandwidth=1.0, estimator=estimator)) < TINY


@pytest.mark.usefixtures("blocks")
@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("shapes", [((), ()), ((2,), ()), ((5,), (5,))])
def test_hsic__gradcheck(generator, estimator, shapes):
    x, y = (v.requires_grad_() for v in _pair(generator, 6, shapes))
    assert torch.autograd.gradcheck(
        lambda a, b: hsic(a, b, bandwidth=(1.1, 0.8), estimator=estimator), (x, y)
    )


def test_hsic__bandwidth_is_a_constant_of_the_gradient(generator):
    x, y = (v.requires_grad_() for v in _pair(generator))
    medians = (kernels.median_bandwidth(x), kernels.median_bandwidth(y))
    default = torch.autograd.grad(hsic(x, y), (x, y))
    given_ = torch.autograd.grad(hsic(x, y, bandwidth=medians), (x, y))
    assert all(torch.equal(a, b) for a, b in zip(default, given_, strict=True))


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_independence__keeps_dtype_and_device_whatever_autocast_says(generator, device, dtype):
    x, y = (v.to(device, dtype) for v in _pair(generator, 40, ((7,), ())))
    functions = [hsic, dhsic, dhsic_excess, lambda a, b: lancaster(a, b, a[:, 0])]
    for function in functions:
        plain = function(x, y)
        with torch.autocast(device, torch.bfloat16):
            found = function(x, y)
        assert found.dtype == dtype and found.device.type == device and found.shape == ()
        assert torch.equal(found, plain)
        exact = function(x.double(), y.double())
        # Rounding of the bandwidths to the dtype moves the value by a few epsilon, relatively.
        assert found.item() == pytest.approx(exact.item(), rel=20 * torch.finfo(dtype).eps)


def test_hsic__half_precision_is_computed_in_float32(generator):
    x, y = (v.bfloat16() for v in _pair(generator))
    assert torch.equal(hsic(x, y), hsic(x.float(), y.float()))


PAIR = {"x": torch.linspace(0, 1, 5), "y": torch.linspace(0, 1, 5).square()}


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"x": torch.zeros(1), "y": torch.zeros(1)}, ValueError, "x must have at least 2 rows"),
        (
            {"x": torch.arange(3.0), "y": torch.arange(3.0), "estimator": "unbiased"},
            ValueError,
            "at least 4 rows",
        ),
        ({"y": torch.arange(4.0)}, ValueError, "x and y must have one number of samples.* 5 and 4"),
        ({"y": PAIR["y"].double()}, ValueError, "share dtype and device"),
        ({"x": torch.full((5,), math.nan)}, ValueError, "x must be finite"),
        ({"x": torch.zeros(5, 1, 1)}, ValueError, "1 or 2 dimensions"),
        ({"x": torch.arange(5)}, TypeError, "float32 or float64"),
        ({"x": [0.0] * 5}, TypeError, "torch.Tensor"),
        ({"x": torch.ones(5)}, ValueError, "x has median distance 0"),
        ({"y": torch.ones(5, 2)}, ValueError, "y has median distance 0"),
        ({"bandwidth": 0.0}, ValueError, "bandwidth must be positive"),
        ({"bandwidth": math.inf}, ValueError, "bandwidth must be finite"),
        ({"bandwidth": (1.0, math.nan)}, ValueError, "bandwidth must be finite"),
        ({"bandwidth": (1.0, 1.0, 1.0)}, ValueError, "one number or 2, got 3"),
        ({"estimator": "both"}, ValueError, "'biased', 'unbiased'"),
    ],
)
def test_hsic__refuses_bad_input(change, error, message):
    arguments = {**PAIR, **change}
    with pytest.raises(error, match=message):
        hsic(arguments.pop("x"), arguments.pop("y"), **arguments)


# ---------------------------------------------------------------------------- dhsic


def _naive_dhsic(variables, widths):
    """dHSIC by explicit sums over sample indices."""
    grams = [
        kernels.gaussian_kernel(v, bandwidth=w).numpy()
        for v, w in zip(variables, widths, strict=True)
    ]
    n = len(grams[0])
    joint = sum(math.prod(k[a, b] for k in grams) for a in range(n) for b in range(n)) / n**2
    apart = math.prod(float(k.mean()) for k in grams)
    half = sum(math.prod(float(k[a].mean()) for k in grams) for a in range(n)) / n
    return joint + apart - 2 * half


@pytest.mark.parametrize("d", [3, 4, 5, 6])
def test_dhsic__parity_in_closed_form(d):
    # All d signs together have beta^d; every proper subset is exactly independent.
    table = _parity(d)
    whole = dhsic(*table.T, bandwidth=0.8)
    assert whole.item() == pytest.approx(BETA**d, rel=1e-12)
    for size in range(2, d):
        for subset in itertools.combinations(range(d), size):
            assert abs(dhsic(*table[:, subset].T, bandwidth=0.8)) < TINY


@pytest.mark.usefixtures("blocks")
@pytest.mark.parametrize("d", [2, 3, 5])
def test_dhsic__agrees_with_loops(generator, d):
    variables = [torch.randn(7, generator=generator, **DOUBLE) for _ in range(d - 1)]
    variables.append(torch.randn(7, 6, generator=generator, **DOUBLE))
    widths = [0.7 + 0.3 * i for i in range(d)]
    found = dhsic(*variables, bandwidth=widths)
    assert found.item() == pytest.approx(_naive_dhsic(variables, widths), abs=TINY)


def test_dhsic__of_two_is_the_biased_hsic(generator):
    x, y = _pair(generator, 25, ((3,), ()))
    assert dhsic(x, y).item() == pytest.approx(hsic(x, y).item(), rel=1e-12)


def test_dhsic__invariances(generator):
    x, y = _pair(generator, 20)
    w = torch.randn(20, generator=generator, **DOUBLE)
    order = torch.randperm(20, generator=generator)
    reference = dhsic(x, y, w)
    options = {"rtol": 1e-11, "atol": TINY}
    torch.testing.assert_close(dhsic(w, x, y), reference, **options)
    torch.testing.assert_close(dhsic(x[order], y[order], w[order]), reference, **options)
    torch.testing.assert_close(dhsic(3 * x, 5 - y, 0.1 * w), reference, **options)
    assert reference >= 0


def test_dhsic__saturates_at_one_over_n(generator):
    # 64 independent variables or 64 copies of one: only the diagonal of the product is left.
    independent = torch.randn(64, 30, generator=generator, **DOUBLE)
    copies = torch.linspace(0, 1, 30, **DOUBLE).expand(64, 30)
    for variables in (independent, copies):
        spread = (variables[:, :, None] - variables[:, None]).square().sum(0)
        spread.fill_diagonal_(math.inf)
        grams = [kernels.gaussian_kernel(v, bandwidth=0.05) for v in variables]
        # The other entries of the product, and the products of row means, bound the rest.
        product = math.exp(-spread.min().item() / 2 / 0.05**2)
        rows = max(gram.mean(0).max().item() for gram in grams) ** 64
        bound = product + 4 * rows + TINY
        assert bound < 1e-3 / 30
        assert abs(dhsic(*variables, bandwidth=0.05).item() - 1 / 30) <= bound
        assert abs(dhsic_excess(*variables, bandwidth=0.05)) <= bound


@pytest.mark.usefixtures("blocks")
def test_dhsic__gradcheck(generator):
    x, y = _pair(generator, 6, ((), (2,)))
    inputs = tuple(
        v.requires_grad_() for v in (x, y, torch.randn(6, generator=generator, **DOUBLE))
    )
    for function in (dhsic, dhsic_excess, lancaster):
        assert torch.autograd.gradcheck(
            lambda *v, f=function: f(*v, bandwidth=(1, 0.8, 1.5)), inputs
        )


def test_dhsic_excess__subtracts_the_mean_over_all_permutations(generator):
    # 24^2 permutations of four samples; the first variable need not move.
    variables = [torch.randn(4, generator=generator, **DOUBLE) for _ in range(3)]
    orders = [list(o) for o in itertools.permutations(range(4))]
    null = [
        dhsic(variables[0], variables[1][a], variables[2][b], bandwidth=0.9).item()
        for a in orders
        for b in orders
    ]
    expected = dhsic(*variables, bandwidth=0.9).item() - sum(null) / len(null)
    assert dhsic_excess(*variables, bandwidth=0.9).item() == pytest.approx(expected, abs=TINY)


def _independent_law():
    """Three independent variables with two values each: eight points and their probabilities."""
    values = [((0.0, 1.0), (0.3, 0.7)), ((-1.0, 0.5), (0.6, 0.4)), ((0.0, 2.0), (0.5, 0.5))]
    rows = list(itertools.product(*(list(zip(v, p, strict=True)) for v, p in values)))
    points = torch.tensor([[v for v, _ in row] for row in rows], **DOUBLE)
    return points, torch.tensor([math.prod(p for _, p in row) for row in rows], **DOUBLE), values


@pytest.mark.parametrize("n", [2, 3, 4])
def test_dhsic_excess__has_mean_zero_under_independence(n):
    points, p, _ = _independent_law()
    assert _exact_mean(lambda s: dhsic_excess(*s.T, bandwidth=0.8), points, p, n) == pytest.approx(
        0, abs=TINY
    )
    # A control: dHSIC itself does not.
    assert _exact_mean(lambda s: dhsic(*s.T, bandwidth=0.8), points, p, n) > 0.01


@pytest.mark.parametrize("function", [dhsic, dhsic_excess])
def test_dhsic__refuses_bad_input(function):
    x, y = PAIR["x"], PAIR["y"]
    with pytest.raises(ValueError, match="variables must be at least 2, got 1"):
        function(x)
    with pytest.raises(ValueError, match=r"variables\[0\] and variables\[2\] must have one number"):
        function(x, y, y[:3])
    with pytest.raises(ValueError, match=r"variables\[1\] must be finite"):
        function(x, y * math.inf)
    with pytest.raises(ValueError, match=r"variables\[1\] has median distance 0"):
        function(x, torch.ones(5))
    with pytest.raises(ValueError, match="one number or 2, got 3"):
        function(x, y, bandwidth=(1.0, 1.0, 1.0))
    with pytest.raises(ValueError, match="at least 2 rows"):
        function(x[:1], y[:1])


# ---------------------------------------------------------------------------- lancaster


def test_lancaster__parity_in_closed_form():
    table = _parity(3)
    assert lancaster(*table.T, bandwidth=0.8).item() == pytest.approx(BETA**3, rel=1e-12)
    # With a fourth sign, any three of the four are independent: exactly zero.
    for triple in itertools.combinations(range(4), 3):
        assert abs(lancaster(*_parity(4)[:, triple].T, bandwidth=0.8)) < TINY


def test_lancaster__zero_where_one_variable_is_independent_of_the_pair():
    # The pair (x, x + y) is dependent; w takes both values beside every pair.
    rows = [(x, x + y, w) for x, y, w in itertools.product((0.0, 1.0), (0.0, 0.3), (-1.0, 1.0))]
    table = torch.tensor(rows, **DOUBLE)
    for order in itertools.permutations(range(3)):
        assert abs(lancaster(*table[:, order].T, bandwidth=0.8)) < TINY
    assert dhsic(*table.T, bandwidth=0.8) > 0.01  # which dHSIC does not isolate


@pytest.mark.usefixtures("blocks")
def test_lancaster__agrees_with_centred_matrices(generator):
    x, y = _pair(generator, 12, ((6,), ()))
    w = torch.randn(12, generator=generator, **DOUBLE)
    h = torch.eye(12, **DOUBLE) - 1 / 12
    centred = [
        h @ kernels.gaussian_kernel(v, bandwidth=b) @ h for v, b in ((x, 2), (y, 1), (w, 0.5))
    ]
    expected = math.prod(centred[1:], start=centred[0]).mean()
    torch.testing.assert_close(
        lancaster(x, y, w, bandwidth=(2, 1, 0.5)), expected, rtol=1e-12, atol=TINY
    )


@pytest.mark.parametrize("n", [2, 3, 4])
def test_lancaster__exact_mean_under_independence(n):
    points, p, values = _independent_law()
    kappas = [
        sum(a * b * math.exp(-((u - v) ** 2) / 2 / 0.64) for u, a in pairs for v, b in pairs)
        for pairs in (list(zip(v, q, strict=True)) for v, q in values)
    ]
    expected = (n - 1) * (n - 2) / n**3 * math.prod(1 - k for k in kappas)
    mean = _exact_mean(lambda s: lancaster(*s.T, bandwidth=0.8), points, p, n)
    assert mean == pytest.approx(expected, abs=TINY)


def test_lancaster__refuses_bad_input():
    x, y = PAIR["x"], PAIR["y"]
    with pytest.raises(ValueError, match="x and w must have one number of samples"):
        lancaster(x, y, x[:2])
    with pytest.raises(ValueError, match="w has median distance 0"):
        lancaster(x, y, torch.ones(5))
    with pytest.raises(ValueError, match="one number or 3, got 2"):
        lancaster(x, y, y, bandwidth=(1.0, 1.0))


def test_independence__names_what_it_exports():
    assert all(callable(getattr(independence, name)) for name in independence.__all__)
