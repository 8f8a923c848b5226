"""Tests of the noise between views: its law three ways, its spectrum, and what theory predicts."""

import itertools
import math

import numpy as np
import pytest
import sympy
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from vcreg_theory import seeding, stats
from vcreg_theory.datasets import (
    SCENE_FACTORS,
    SCENE_NOISE,
    leading_functions,
    noise_levels,
    perturb,
    predicted_r2,
    reflect,
    view_correlation,
)

LEVELS = (0.02, 0.1, 0.3, 1.0)
EQUAL_NOISE = {"x": 0.1, "y": 0.1, "size": 0.1}


def _kernel(s, nodes):
    """The density of one view at each node given each node: a Gaussian and its mirror images."""
    u, v = nodes[:, None, None], nodes[None, :, None]
    images = 2 * np.arange(-8, 9)
    return (norm.pdf(v - u + images, scale=s) + norm.pdf(v + u + images, scale=s)).sum(-1)


def _nodes(n=400):
    x, w = np.polynomial.legendre.leggauss(n)
    return (x + 1) / 2, w / 2


def _uniform(n, stream):
    generator = seeding.torch_generator(0, stream)
    return torch.rand(n, 7, generator=generator, dtype=torch.float64), generator


def test_reflect__closed_form():
    values = torch.tensor([-1.25, -1.0, -0.25, 0.0, 0.4, 1.0, 1.25, 2.0, 3.5], dtype=torch.float64)
    expected = torch.tensor([0.75, 1.0, 0.25, 0.0, 0.4, 1.0, 0.75, 0.0, 0.5], dtype=torch.float64)
    assert torch.equal(reflect(values), expected)


@given(value=st.floats(-50, 50), order=st.integers(0, 5))
def test_reflect__cosines_do_not_see_the_mirrors(value, order):
    t = torch.tensor(value, dtype=torch.float64)
    folded = reflect(t)
    assert 0 <= folded <= 1
    # an argument of at most 5 * 50 pi is rounded by 1e-13
    difference = (math.pi * order * folded).cos() - (math.pi * order * t).cos()
    assert difference.abs() <= 4e-13


@given(st.floats(0, 1, width=32))
def test_reflect__keeps_the_interval_to_the_bit(value):
    for dtype in (torch.float32, torch.float64):
        inside = torch.tensor(value, dtype=dtype)
        assert torch.equal(reflect(inside), inside)


def test_reflect__refuses_what_is_not_finite():
    with pytest.raises(ValueError, match="values must be finite"):
        reflect(torch.tensor([0.0, math.inf]))
    with pytest.raises(TypeError, match="values must be float32 or float64"):
        reflect(torch.arange(3))


def test_perturb__moves_the_named_factors_alone(generator):
    u = torch.rand(30, 7, generator=generator)
    moved = perturb(u, {"y": 0.1, "hue": 0.2, "x": 0}, generator=generator)
    changed = [name for k, name in enumerate(SCENE_FACTORS) if (moved != u)[:, k].any()]
    assert changed == ["hue", "y"] and moved.dtype == torch.float32
    assert moved.min() >= 0 and moved.max() <= 1


@pytest.mark.parametrize("s", LEVELS)
def test_perturb__leaves_the_uniform_law(s):
    u, generator = _uniform(5000, f"uniform {s}")
    moved = perturb(u, dict.fromkeys(SCENE_FACTORS, s), generator=generator)
    # 28 tests in all: one fails with probability 1e-3 for a fresh seed
    assert all(stats.uniform_pvalues_test(column).pvalue > 1e-3 / 28 for column in moved.T)


def test_perturb__control_noise_that_is_clipped_is_not_uniform():
    u, generator = _uniform(5000, "control")
    noise = 0.1 * torch.randn(u.shape, generator=generator, dtype=torch.float64)
    clipped = (u + noise).clamp(0, 1)
    assert all(stats.uniform_pvalues_test(column).pvalue < 1e-3 / 28 for column in clipped.T)


def test_perturb__noise_of_factors_and_views_is_independent():
    generator = seeding.torch_generator(0, "independent")
    u = torch.full((4000, 7), 0.5)
    noise = dict.fromkeys(SCENE_FACTORS, 0.05)  # the ends are ten deviations away
    views = torch.cat([perturb(u, noise, generator=generator) - 0.5 for _ in range(2)], 1)
    correlations = torch.corrcoef(views.T)[np.triu_indices(14, 1)]
    # 91 correlations of independent normal variables: t law with n - 2 degrees, nearly normal
    assert correlations.abs().max() < norm.isf(1e-3 / 91 / 2) / 4000**0.5
    # fourteen chi-square variances of 4,000 draws
    deviation = norm.isf(1e-3 / 14 / 2) * (2 / 4000) ** 0.5
    assert (views.var(0) / 0.0025 - 1).abs().max() < deviation


@pytest.mark.parametrize("device", ["cpu"] + ["cuda"] * torch.cuda.is_available())
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_perturb__keeps_device_and_dtype(device, dtype):
    u = torch.rand(4, 7, dtype=dtype, device=device)
    moved = perturb(u, generator=seeding.torch_generator(0, device=device))
    assert moved.dtype == dtype and moved.device.type == device and (moved != u).any()


@pytest.mark.parametrize(
    ("factors", "noise", "error", "message"),
    [
        (torch.rand(3, 6), {}, ValueError, "columns hue, size, x, y, rotation, background, light"),
        (torch.rand(7), {}, ValueError, "factors must have 2 dimensions"),
        (torch.full((2, 7), -0.5), {}, ValueError, r"lie in \[0, 1\], got -0.5 to -0.5"),
        (torch.zeros(2, 7, dtype=torch.int64), {}, TypeError, "factors must be float32"),
        (torch.rand(3, 7), {"shape": 0.1}, ValueError, "got 'shape'"),
        (torch.rand(3, 7), {"x": -1.0}, ValueError, "must not be negative"),
    ],
)
def test_perturb__refuses_bad_input(factors, noise, error, message, generator):
    with pytest.raises(error, match=message):
        perturb(factors, noise, generator=generator)


def test_noise_levels__default_is_distinct_and_complete():
    levels = noise_levels()
    assert tuple(levels) == SCENE_FACTORS and levels == dict(SCENE_NOISE)
    assert len(set(levels.values())) == len(levels)
    assert noise_levels({}) == dict.fromkeys(SCENE_FACTORS, 0.0)
    with pytest.raises(TypeError):
        SCENE_NOISE["hue"] = 0.0


def test_view_correlation__symbolic():
    u, x = sympy.symbols("u x", real=True)
    s = sympy.symbols("s", positive=True)
    j = sympy.symbols("j", integer=True, positive=True)
    gauss = sympy.exp(-(x**2) / 2) / sympy.sqrt(2 * sympy.pi)
    turned = sympy.expand_trig(sympy.cos(sympy.pi * j * u + sympy.pi * j * s * x))
    mean = sympy.integrate(sympy.expand(turned * gauss), (x, -sympy.oo, sympy.oo))
    factor = sympy.simplify(mean / sympy.cos(sympy.pi * j * u))
    assert sympy.simplify(factor - sympy.exp(-((sympy.pi * j * s) ** 2) / 2)) == 0
    value = factor.subs({j: 2, s: sympy.Rational(1, 5)}) ** 2
    assert view_correlation(0.2, 2) == pytest.approx(float(value), rel=1e-14)


@pytest.mark.parametrize("s", LEVELS)
@pytest.mark.parametrize("order", [1, 2, 5])
def test_view_correlation__quadrature_over_mirror_images(s, order):
    # 400 Gauss nodes resolve a Gaussian of width 0.02 to rounding; 17 images reach 16 widths of 1
    nodes, weights = _nodes()
    kernel = _kernel(s, nodes)
    assert np.abs(weights @ kernel - 1).max() < 1e-12  # uniform law invariant
    assert np.abs(kernel - kernel.T).max() < 1e-12 * kernel.max()
    f = np.sqrt(2) * np.cos(np.pi * order * nodes)
    mean_of_a_view = kernel @ (weights * f)
    assert weights @ mean_of_a_view**2 == pytest.approx(view_correlation(s, order), abs=1e-12)


@pytest.mark.parametrize("s", LEVELS)
def test_view_correlation__monte_carlo(s):
    u, generator = _uniform(20_000, f"views {s}")
    noise = dict.fromkeys(SCENE_FACTORS, s)
    pair = [perturb(u, noise, generator=generator) for _ in range(2)]
    for order in (1, 2, 3):
        a, b = ((math.pi * order * view[:, order]).cos() for view in pair)
        # cosines of a uniform variable have mean 0 and square 1/2; twelve intervals, in all 1e-3
        interval = stats.mean_interval(2 * a * b, level=1 - 1e-3 / 12)
        assert interval.low <= view_correlation(s, order) <= interval.high


def test_view_correlation__limits():
    assert view_correlation(0.0, 3) == 1.0
    assert view_correlation(1e3) == view_correlation(1e300) == 0.0
    assert leading_functions(1, dict.fromkeys(SCENE_FACTORS, 1e300))[0].correlation == 0.0
    assert view_correlation(0.1, 3) == pytest.approx(view_correlation(0.3), rel=1e-14)


@pytest.mark.parametrize(
    ("noise", "order", "error", "message"),
    [
        (-0.1, 1, ValueError, "noise must not be negative"),
        (math.nan, 1, ValueError, "noise must be finite"),
        (0.1, 0, ValueError, "order must be at least 1"),
        (0.1, 1.5, TypeError, "order must be an integer"),
    ],
)
def test_view_correlation__refuses_bad_input(noise, order, error, message):
    with pytest.raises(error, match=message):
        view_correlation(noise, order)


def _product(orders, noise):
    return math.prod(view_correlation(noise[name], j) for name, j in orders.items())


@given(st.lists(st.floats(0.05, 0.6), min_size=7, max_size=7))
def test_leading_functions__agree_with_a_search_of_all(levels):
    noise = dict(zip(SCENE_FACTORS, levels, strict=True))
    found = leading_functions(12, noise)
    for orders, correlation in found:
        assert correlation == pytest.approx(_product(orders, noise), rel=1e-12)
    # an order is left out of the search where it alone falls below the last function found
    last = found[-1].correlation
    limits = [range(1 + int(math.sqrt(-math.log(last)) / math.pi / s + 1e-9)) for s in levels]
    every = [dict(zip(SCENE_FACTORS, orders, strict=True)) for orders in itertools.product(*limits)]
    products = [
        _product({k: j for k, j in orders.items() if j}, noise)
        for orders in every
        if any(orders.values())
    ]
    best = sorted(products, reverse=True)[:12]
    assert [f.correlation for f in found] == pytest.approx(best, rel=1e-9)


def test_leading_functions__are_distinct_and_falling():
    found = leading_functions(2000)
    assert len({tuple(sorted(f.orders.items())) for f in found}) == 2000
    # ties are found to 12 digits of the logarithm, which is 2 at most here
    steps = itertools.pairwise(f.correlation for f in found)
    assert all(b <= a * (1 + 1e-11) for a, b in steps)


def test_leading_functions__a_factor_without_noise_comes_first():
    found = leading_functions(4, {**SCENE_NOISE, "hue": 0.0})
    assert [f.orders for f in found] == [{"hue": j} for j in (1, 2, 3, 4)]
    assert all(f.correlation == 1.0 for f in found)


def _r2_by_regression(dim, noise):
    """Regress each factor on the kept cosines of it alone, by quadrature."""
    room = (dim - 3) // 4
    nodes, weights = _nodes(100)
    root = np.sqrt(weights)
    share = {}
    for name in SCENE_FACTORS:
        alone = [f.orders for f in leading_functions(room, noise) if set(f.orders) == {name}]
        design = np.stack([np.cos(np.pi * o[name] * nodes) for o in alone] + [nodes**0], 1)
        fit, *_ = np.linalg.lstsq(root[:, None] * design, root * nodes, rcond=None)
        share[name] = 1 - weights @ (nodes - design @ fit) ** 2 / (1 / 12)
    return share


@pytest.mark.parametrize("dim", [8, 64, 300])
def test_predicted_r2__agrees_with_a_regression(dim):
    found, expected = predicted_r2(dim), _r2_by_regression(dim, SCENE_NOISE)
    assert list(found) == list(expected)
    # the quadrature is exact to rounding for polynomials times cosines of low order
    assert list(found.values()) == pytest.approx(list(expected.values()), abs=1e-10)


def test_predicted_r2__ranks_the_default_factors_as_documented():
    places = {"x": 7, "y": 11, "size": 19, "rotation": 35}
    places |= {"background": 767, "hue": 2543, "light": 7235}
    first = 96 / math.pi**4
    for name, place in places.items():
        assert predicted_r2(place - 1)[name] == 0.0
        assert predicted_r2(place)[name] == pytest.approx(first, rel=1e-14)


def test_predicted_r2__grows_with_the_dimension_to_one():
    rows = np.array([list(predicted_r2(dim, {"x": 0.1, "y": 0.5}).values()) for dim in (1, 9, 99)])
    assert (np.diff(rows, axis=0) >= 0).all() and not rows[0].any()
    only_x = {**dict.fromkeys(SCENE_FACTORS, 50.0), "x": 1e-4}
    # 2,500 odd orders kept: the tail of 96 / (pi j)^4 over the others is below 1e-10
    assert predicted_r2(20_003, only_x)["x"] == pytest.approx(1.0, abs=1e-10)


def test_predicted_r2__functions_that_tie_need_room_for_all():
    noise = dict.fromkeys(SCENE_FACTORS, 1.0) | EQUAL_NOISE
    for dim, kept in ((14, 0.0), (15, 96 / math.pi**4)):
        found = predicted_r2(dim, noise)
        assert [found[name] for name in EQUAL_NOISE] == pytest.approx([kept] * 3)
    assert set(predicted_r2(99, {}).values()) == {0.0}  # everything ties: nothing is predicted
    # three times 0.1 is not 0.3 in floating point, yet the tie is seen: x to the third order
    noise = dict.fromkeys(SCENE_FACTORS, 2.0) | {"x": 0.1, "y": 0.3}
    assert [predicted_r2(dim, noise)["y"] > 0 for dim in (18, 19)] == [False, True]


@pytest.mark.parametrize("function", [leading_functions, predicted_r2])
def test_predictions__refuse_bad_input(function):
    with pytest.raises(ValueError, match="must be at least 1, got 0"):
        function(0)
    with pytest.raises(ValueError, match="'tilt'"):
        function(4, {"tilt": 0.1})
