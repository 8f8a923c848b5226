"""Gaussian measure of polygons and half-plane cells: closed forms, invariance, a second way."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, stats

from vcreg_theory import gaussian_measure as gm
from vcreg_theory import polygons

EYE, ZERO = torch.eye(2, dtype=torch.float64), torch.zeros(2, dtype=torch.float64)
SKEW = torch.tensor([[1.3, 0.7], [0.7, 0.8]], dtype=torch.float64)


def tensor(values):
    return torch.tensor(values, dtype=torch.float64)


def box(a, b, c, d):
    return tensor([[a, c], [b, c], [b, d], [a, d]])


def convex(n, seed, scale=2.0):
    """A convex polygon with `n` corners on an ellipse, counter-clockwise."""
    rng = np.random.default_rng(seed)
    angle = np.sort(rng.uniform(0, 2 * np.pi, n))
    center, axes = rng.normal(size=2), scale * rng.uniform(0.2, 1, 2)
    return tensor(center + axes * np.stack([np.cos(angle), np.sin(angle)], 1))


def test_polygon_probability__rectangles_are_products_of_normal_masses():
    for a, b, c, d in [(-1, 1, -1, 1), (0, 2, -3, 0.5), (1, 1.5, 2, 9), (-6, -2, 3, 4)]:
        expected = np.diff(stats.norm.cdf([a, b]))[0] * np.diff(stats.norm.cdf([c, d]))[0]
        assert gm.polygon_probability(box(a, b, c, d), ZERO, EYE) == pytest.approx(
            expected, abs=1e-15
        )


def test_polygon_probability__half_plane_and_wedges():
    for m in (0.0, 0.5, 2.0):
        half = box(m, 40.0, -40.0, 40.0)
        assert abs(gm.polygon_probability(half, ZERO, EYE) - stats.norm.sf(m)) < 1e-15
    for angle in (0.3, 1.0, math.pi / 2, 2.9):
        far = 60.0 * tensor([[math.cos(angle), math.sin(angle)]])
        middle = 1e5 * tensor([[math.cos(angle / 2), math.sin(angle / 2)]])
        wedge = torch.cat([tensor([[0, 0], [60, 0]]), middle, far])
        assert abs(gm.polygon_probability(wedge, ZERO, EYE) - angle / (2 * math.pi)) < 1e-14


def test_polygon_probability__agrees_with_bivariate_normal_cdf():
    covariance = SKEW.numpy()
    for x, y in [(0.3, -0.2), (1.0, 2.0), (-1.5, -0.4)]:
        expected = stats.multivariate_normal([0.2, -0.1], covariance).cdf([x, y])
        got = gm.polygon_probability(box(-30, x, -30, y), tensor([0.2, -0.1]), SKEW)
        assert got == pytest.approx(expected, abs=2e-8)  # scipy's own precision there


def test_polygon_probability__agrees_with_quadrature_on_triangles():
    rng = np.random.default_rng(1)
    mean, inverse = np.array([0.4, -0.3]), np.linalg.inv(SKEW.numpy())
    norm = 1 / (2 * np.pi * math.sqrt(np.linalg.det(SKEW.numpy())))
    for _ in range(5):
        corner, e, f = rng.normal(size=2), rng.normal(size=2), rng.normal(size=2)

        def density(v, u, corner=corner, e=e, f=f):
            s = corner + u * e + v * f - mean
            return norm * math.exp(-0.5 * s @ inverse @ s)

        value, _ = integrate.dblquad(density, 0, 1, 0, lambda u: 1 - u, epsabs=1e-12)
        expected = value * abs(e[0] * f[1] - e[1] * f[0])
        triangle = tensor(np.stack([corner, corner + e, corner + f]))
        got = gm.polygon_probability(triangle, tensor(mean), SKEW)
        assert got == pytest.approx(expected, abs=1e-11)


@given(st.integers(3, 9), st.integers(0, 10_000), st.floats(0, 6.28))
@settings(max_examples=40)
def test_polygon_probability__invariant_under_rotation_orientation_and_start(n, seed, angle):
    polygon = convex(n, seed)
    p = gm.polygon_probability(polygon, ZERO, EYE)
    c, s = math.cos(angle), math.sin(angle)
    turned = polygon @ tensor([[c, s], [-s, c]])
    for other in (turned, polygon.flip(0), polygon.roll(1, 0), -polygon):
        assert abs(gm.polygon_probability(other, ZERO, EYE) - p) < 1e-14


@given(st.integers(3, 9), st.integers(0, 10_000), st.floats(-2, 2), st.floats(0, 6.28))
@settings(max_examples=40)
def test_clip_polygon__splits_mass_and_area(n, seed, level, angle):
    polygon, normal = convex(n, seed), tensor([math.cos(angle), math.sin(angle)])
    parts = (
        polygons.clip_polygon(polygon, normal, level),
        polygons.clip_polygon(polygon, -normal, -level),
    )
    offsets = torch.tensor([0, len(parts[0]), len(parts[0]) + len(parts[1])])
    masses = gm.polygon_probabilities(torch.cat(parts), offsets, tensor([0.3, 0.1]), SKEW)
    whole = gm.polygon_probability(polygon, tensor([0.3, 0.1]), SKEW)
    assert abs(float(masses.sum()) - whole) < 1e-14
    for part, side in zip(parts, (1, -1), strict=True):
        assert (side * (part @ normal - level) <= 1e-12).all()


def test_clip_polygons__treats_each_polygon_by_itself_and_keeps_empty_ones():
    shapes = [convex(n, n) for n in (3, 5, 4, 7)]
    offsets = torch.tensor([0, 3, 8, 8, 12, 19])  # an empty polygon in the middle
    vertices = torch.cat(shapes)
    levels = torch.repeat_interleave(tensor([0.1, 9.0, -9.0, 0.4]), torch.tensor([3, 5, 4, 7]))
    out, ends = polygons.clip_polygons(vertices, offsets, vertices[:, 0] - levels)
    expected = [
        polygons.clip_polygon(p, tensor([1, 0]), c)
        for p, c in zip(shapes, (0.1, 9.0, -9.0, 0.4), strict=True)
    ]
    expected.insert(2, vertices[:0])
    assert ends.tolist() == [0, *np.cumsum([len(p) for p in expected])]
    assert torch.equal(out, torch.cat(expected))
    assert len(expected[3]) == 0 and torch.equal(expected[1], shapes[1])


def test_polygon_probabilities__matches_single_polygons_and_mixtures_of_means():
    polygons = [convex(n, n) for n in (3, 6, 4)]
    offsets = torch.tensor([0, 3, 9, 13])
    means = tensor([[0.1, 0.2], [-1.0, 0.5]])
    got = gm.polygon_probabilities(torch.cat(polygons), offsets, means, SKEW)
    for value, polygon in zip(got, polygons, strict=True):
        single = [gm.polygon_probability(polygon, m, SKEW) for m in means]
        assert float(value) == pytest.approx(np.mean(single), abs=1e-16)


def test_polygon_probabilities__offsets_of_any_integer_type():
    for kind in (torch.int32, torch.uint8):
        offsets = torch.tensor([0, 4], dtype=kind)
        mass = gm.polygon_probabilities(box(-9, 9, 0, 9), offsets, ZERO, EYE)
        assert float(mass) == pytest.approx(0.5, abs=1e-14)
    with pytest.raises(TypeError, match="offsets must be integers"):
        gm.polygon_probabilities(box(-9, 9, 0, 9), tensor([0.0, 4.0]), ZERO, EYE)


def test_polygon_probabilities__keeps_dtype():
    square = box(-1, 1, -1, 1).float()
    got = gm.polygon_probabilities(square, torch.tensor([0, 4]), ZERO.float(), EYE.float())
    assert got.dtype == torch.float32
    assert float(got) == pytest.approx(math.erf(math.sqrt(0.5)) ** 2, rel=1e-6)


def test_polygon_probability__degenerate_polygons_have_no_mass():
    assert gm.polygon_probability(tensor([[0, 0], [1, 1], [2, 2]]), ZERO, EYE) < 1e-16
    assert gm.polygon_probability(tensor([[1, 1], [1, 1], [1, 1]]), ZERO, EYE) == 0.0


def outward(angles):
    return torch.stack([tensor(angles).cos(), tensor(angles).sin()], 1)


def test_escape_probability__closed_forms():
    sigma = tensor([0.1, 0.5, 1.0, 3.0])
    tail = tensor(stats.norm.sf(1 / sigma.numpy()))
    one = gm.escape_probability(tensor([1.0]), outward([0.7]), sigma)
    slab = gm.escape_probability(tensor([1.0, 1.0]), outward([0.7, 0.7 + math.pi]), sigma)
    box_ = gm.escape_probability(
        torch.ones(4).double(),
        outward([0, 1.5707963267948966, math.pi, -1.5707963267948966]),
        sigma,
    )
    quadrant = gm.escape_probability(tensor([1.0, 1.0]), outward([0, math.pi / 2]), sigma)
    for got, expected in (
        (one, tail),
        (slab, 2 * tail),
        (box_, 4 * tail * (1 - tail)),
        (quadrant, tail * (2 - tail)),
    ):
        # Relative: tails of 1e-23 are right too.
        torch.testing.assert_close(got, expected, rtol=1e-12, atol=0)


def test_escape_probability__no_lines_and_lines_through_the_origin():
    sigma = tensor([1.0])
    assert gm.escape_probability(torch.zeros(0), torch.zeros(0, 2), sigma).tolist() == [0.0]
    for opening in (0.2, 1.0, 2.5):  # a wedge of this opening with its corner at the origin
        normals = outward([-math.pi / 2, opening + math.pi / 2])
        got = gm.escape_probability(torch.zeros(2).double(), normals, sigma)
        assert float(got) == pytest.approx(1 - opening / (2 * math.pi), abs=1e-14)


def test_escape_probability__ignores_repeated_and_hidden_lines():
    d, n = tensor([0.7, 1.1, 0.9]), outward([0.1, 2.0, 4.0])
    sigma = tensor([0.3, 1.0])
    plain = gm.escape_probability(d, n, sigma)
    again = torch.cat([d, d, d + 5.0]), torch.cat([n, n, n])
    torch.testing.assert_close(gm.escape_probability(*again, sigma), plain, rtol=1e-12, atol=0)
    far = torch.cat([d, tensor([math.inf])]), torch.cat([n, outward([3.0])])
    assert torch.equal(gm.escape_probability(*far, sigma), plain)
    assert gm.escape_probability(far[0][3:], far[1][3:], sigma).tolist() == [0.0, 0.0]


@given(st.integers(1, 30), st.integers(0, 10_000))
@settings(max_examples=40)
def test_escape_probability__agrees_with_clipping_a_large_window(lines, seed):
    rng = np.random.default_rng(seed)
    d, n = tensor(rng.exponential(size=lines)), outward(rng.uniform(0, 6.3, lines))
    cell = box(-50, 50, -50, 50)
    for distance, normal in zip(d, n, strict=True):
        cell = polygons.clip_polygon(cell, normal, float(distance))
    got = gm.escape_probability(d, n, tensor([1.0]))
    assert float(got) == pytest.approx(1 - gm.polygon_probability(cell, ZERO, EYE), abs=1e-13)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: gm.polygon_probability(torch.zeros(2, 2), ZERO, EYE), "at least 3 rows"),
        (lambda: gm.polygon_probability(torch.zeros(3, 3), ZERO, EYE), "shape .total, 2."),
        (lambda: gm.polygon_probability(box(0, 1, 0, math.nan), ZERO, EYE), "must be finite"),
        (lambda: gm.polygon_probability(box(0, 1, 0, 1), torch.zeros(3), EYE), "mean must have"),
        (lambda: gm.polygon_probability(box(0, 1, 0, 1), ZERO, -EYE), "positive definite"),
        (lambda: gm.polygon_probability(box(0, 1, 0, 1), ZERO, EYE[:1]), "must be 2 x 2"),
        (
            lambda: gm.polygon_probabilities(box(0, 1, 0, 1), torch.tensor([0, 3]), ZERO, EYE),
            "offsets must rise from 0 to 4",
        ),
        (
            lambda: polygons.clip_polygons(box(0, 1, 0, 1), torch.tensor([0, 4]), torch.zeros(3)),
            "excess must have shape",
        ),
        (
            lambda: polygons.clip_polygons(
                box(0, 1, 0, 1), torch.tensor([0, 4]), torch.full((4,), math.nan)
            ),
            "excess must not be NaN",
        ),
        (
            lambda: gm.escape_probability(tensor([-1.0]), outward([0.0]), tensor([1.0])),
            "must not be negative",
        ),
        (
            lambda: gm.escape_probability(tensor([1.0]), outward([0.0]), tensor([0.0])),
            "sigma must be positive",
        ),
        (
            lambda: gm.escape_probability(tensor([1.0]), outward([0.0]), tensor([math.nan])),
            "sigma must be finite",
        ),
    ],
)
def test_gaussian_measure__errors_name_the_argument(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_escape_probability__refuses_lines_that_do_not_match():
    with pytest.raises(ValueError, match=r"\(J,\) and \(J, 2\), got \(2,\) and \(3, 2\)"):
        gm.escape_probability(torch.ones(2), torch.ones(3, 2), torch.ones(1))
    with pytest.raises(ValueError, match="distance must not be negative or NaN"):
        gm.escape_probability(tensor([1.0, -1.0]), torch.ones(2, 2).double(), torch.ones(1))
