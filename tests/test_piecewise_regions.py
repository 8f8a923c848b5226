"""Exact cells on lines and planes: closed forms, tilings, then autograd and sampling."""

import dataclasses
import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from torch import nn

from vcreg_theory.piecewise._split import RTOL, Cells, VertexTable, WinnerCriterion, split
from vcreg_theory.piecewise.local import activation_pattern
from vcreg_theory.piecewise.program import lower
from vcreg_theory.piecewise.regions import (
    count_regions_shallow,
    enumerate_regions_1d,
    enumerate_regions_2d,
)
from vcreg_theory.piecewise.steps import MaxPool
from vcreg_theory.seeding import numpy_generator, torch_generator

SQUARE = torch.tensor([[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]]).double()


def fill(model, seed, scale=1.0):
    """Give every parameter and running statistic a draw of its own, in float64."""
    generator = torch_generator(seed, "weights")
    model.double().eval()
    for name, value in [*model.named_parameters(), *model.named_buffers()]:
        if value.dtype != torch.float64:
            continue
        noise = torch.randn(value.shape, generator=generator, dtype=torch.float64)
        fan_in = max(1, value[0].numel()) if value.ndim > 1 else 1
        value.data = 0.5 + noise.abs() if "running_var" in name else scale * noise / fan_in**0.5
    return model


def mlp(widths, seed, slope=0.0):
    layers = []
    for a, b in pairwise(widths):
        layers += [nn.Linear(a, b), nn.LeakyReLU(slope) if slope else nn.ReLU()]
    return fill(nn.Sequential(*layers[:-1]), seed)


class Residual(nn.Module):
    """Convolutions, BatchNorm, both rectifiers, overlapping max-pooling, a shortcut, mean pools."""

    def __init__(self, pool=None):
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(1, 3, 3, padding=1), nn.BatchNorm2d(3), nn.ReLU())
        self.pool = pool or nn.MaxPool2d(3, stride=2, padding=1)
        self.body = nn.Sequential(
            nn.Conv2d(3, 3, 3, padding=1), nn.BatchNorm2d(3), nn.LeakyReLU(0.2)
        )
        self.head = nn.Sequential(nn.AvgPool2d(2, 1), nn.Flatten(), nn.LazyLinear(4))

    def forward(self, x):
        x = self.pool(self.first(x))
        return self.head(torch.relu(x - self.body(x)))


def conv_net(seed, pool=None):
    model = Residual(pool)
    model(torch.zeros(1, 1, 6, 6))
    return fill(model, seed)


def plane(shape, seed):
    generator = torch_generator(seed, "plane")
    origin = torch.randn(shape, generator=generator, dtype=torch.float64)
    return origin, torch.randn((2, *shape), generator=generator, dtype=torch.float64)


def enumerate_square(model, half_width=1.0):
    return enumerate_regions_2d(model, torch.zeros(2), torch.eye(2), half_width)


def samples(n, half_width, seed):
    draws = torch.rand(n, 2, generator=torch_generator(seed, "points"), dtype=torch.float64)
    return half_width * (2 * draws - 1)


def codes_at(regions, points):
    """Return the code of the network's own pattern at points of the plane."""
    plane, start, parts = regions._slice, 0, []
    pattern = activation_pattern(plane.program, plane.points(points.numpy())).numpy()
    for field in plane.fields:
        stop = start + plane.shapes[field.step + 1].numel()
        part, pool = pattern[:, start:stop], isinstance(plane.program.steps[field.step], MaxPool)
        parts.append(part.astype(np.uint8) if pool else np.packbits(part == 1, 1, "little"))
        start = stop
    return np.concatenate(parts, 1)


def keys(codes):
    return [row.tobytes() for row in np.asarray(codes)]


def inside(regions):
    """Return the cells large enough for the mean of their corners to lie inside numerically."""
    return torch.nonzero(regions.areas() > 1e-10 * regions.areas().sum()).flatten()


def assert_tiles(regions, area):
    assert float(regions.areas().min()) >= -1e-15 * area
    assert float(regions.areas().sum()) == pytest.approx(area, rel=1e-12)


def assert_maps_are_jacobians(model, regions, origin, basis, atol=1e-10):
    chosen = inside(regions)
    at = regions.centroids()[chosen]
    along = lambda s: model((origin + torch.tensordot(s, basis, 1))[None])[0].flatten()  # noqa: E731
    jacobian = torch.func.vmap(torch.func.jacrev(along), chunk_size=256)(at)
    value = torch.func.vmap(along, chunk_size=256)(at)
    matrix, offset = regions.maps()
    torch.testing.assert_close(matrix[chosen], jacobian, rtol=0, atol=atol)
    expected = value - torch.einsum("rdk,rk->rd", jacobian, at)
    torch.testing.assert_close(offset[chosen], expected, rtol=0, atol=atol)


# --- closed forms ---------------------------------------------------------------------------------


class Absolute(nn.Module):
    def forward(self, x):
        return torch.relu(x) + torch.relu(-x)


def test_enumerate_regions_1d__absolute_value():
    regions = enumerate_regions_1d(Absolute(), torch.tensor([-1.0]), torch.tensor([3.0]))
    assert regions.breakpoints.tolist() == [0.0, 0.25, 1.0]
    assert regions.slope.flatten().tolist() == [-4.0, 4.0]
    assert regions.offset.flatten().tolist() == [1.0, -1.0]


def test_enumerate_regions_2d__absolute_values_have_four_quadrants():
    regions = enumerate_regions_2d(Absolute(), torch.zeros(2), torch.eye(2), 1.0)
    assert len(regions) == 4
    matrix, offset = regions.maps()
    signs = torch.sign(regions.centroids())
    torch.testing.assert_close(matrix, torch.diag_embed(signs), rtol=0, atol=0)
    assert not offset.any()
    assert sorted(map(tuple, signs.tolist())) == [(-1, -1), (-1, 1), (1, -1), (1, 1)]


def test_enumerate_regions_2d__tent_of_two_layers():
    # g(s) = 1 - |s_1|, f = relu(g - 1/2): kinks at s_1 = 0 and, one layer later, at +-1/2.
    first, second = nn.Linear(2, 2), nn.Linear(2, 1)
    first.weight.data, first.bias.data = torch.tensor([[1.0, 0], [-1, 0]]), torch.zeros(2)
    second.weight.data, second.bias.data = torch.tensor([[-1.0, -1]]), torch.tensor([0.5])
    regions = enumerate_square(nn.Sequential(first, nn.ReLU(), second, nn.ReLU()))
    assert sorted(regions.areas().tolist()) == [1.0, 1.0, 1.0, 1.0]
    assert len(regions.linear_regions().unique()) == 3


def test_enumerate_regions_2d__max_pool_of_four_planes():
    # max(s_1, -s_1, s_2, -s_2) has four triangles; the tournament of pairs would have eight parts.
    conv = nn.Conv2d(2, 1, 1, bias=False)
    conv.weight.data = torch.tensor([1.0, 1.0]).reshape(1, 2, 1, 1)
    basis = torch.zeros(2, 2, 2, 2)  # two channels of a 2 x 2 image
    basis[0, 0] = torch.tensor([[1.0, -1], [0, 0]])
    basis[1, 1] = torch.tensor([[0.0, 0], [1, -1]])
    regions = enumerate_regions_2d(
        nn.Sequential(conv, nn.MaxPool2d(2), nn.Flatten()), torch.zeros(2, 2, 2), basis, 1.0
    )
    labels = regions.linear_regions()
    totals = torch.zeros(4).double().index_add_(0, labels, regions.areas())
    assert totals.tolist() == pytest.approx([1.0] * 4)
    assert len(regions) <= 6


def test_count_regions_shallow__whole_plane_maximum():
    model = mlp([2, 24, 1], seed=1)
    lines = model[0].weight.data, model[0].bias.data
    assert count_regions_shallow(*lines, 1e4) == 1 + 24 + math.comb(24, 2)
    assert len(enumerate_square(model, 1e4)) == 301


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("half_width", [0.3, 1.0, 5.0])
def test_enumerate_regions_2d__euler_count(seed, half_width):
    rng = numpy_generator(seed, "euler")
    model = mlp([2, int(rng.integers(1, 100)), 1], seed)
    corners = int(rng.integers(3, 9))
    angles = np.sort(rng.uniform(0, 2 * np.pi, corners))
    polygon = np.stack([np.cos(angles), np.sin(angles)], 1) * half_width
    for window in (half_width, torch.from_numpy(polygon)):
        expected = count_regions_shallow(model[0].weight.data, model[0].bias.data, window)
        regions = enumerate_regions_2d(model, torch.zeros(2), torch.eye(2), window)
        assert len(regions) == expected


def test_enumerate_regions_2d__no_kinks_is_the_window():
    regions = enumerate_square(nn.Linear(2, 3), 2.0)
    assert len(regions) == 1 and regions.codes.shape == (1, 0)
    assert regions.areas().tolist() == [16.0] and regions.centroids().tolist() == [[0.0, 0.0]]
    assert regions.maps()[0].shape == (1, 3, 2)


def test_regions_2d__moments_of_a_triangle_far_away():
    corners = torch.tensor([[0.0, 0], [3, 0], [0, 3]]).double() * 1e-6 + 1e3
    regions = enumerate_regions_2d(nn.Linear(2, 1), torch.zeros(2), torch.eye(2), corners)
    assert float(regions.areas()) == pytest.approx(4.5e-12, rel=1e-6)
    torch.testing.assert_close(regions.centroids()[0] - 1e3, torch.full((2,), 1e-6).double())


# --- tilings and maps -----------------------------------------------------------------------------

DEEP = [([2, 16, 16, 2], 2.0), ([2, 32, 32, 3], 1.0), ([2, 12, 12, 12, 12, 2], 3.0)]


@pytest.mark.parametrize(("widths", "half_width"), DEEP)
@pytest.mark.parametrize("slope", [0.0, 0.1])
def test_enumerate_regions_2d__tiles_and_matches_autograd(widths, half_width, slope):
    model = mlp(widths, seed=len(widths), slope=slope)
    regions = enumerate_square(model, half_width)
    assert_tiles(regions, 4 * half_width**2)
    assert len(inside(regions)) > 0.9 * len(regions)
    assert_maps_are_jacobians(model, regions, torch.zeros(2).double(), torch.eye(2).double())


@pytest.mark.parametrize(("widths", "half_width"), DEEP)
def test_enumerate_regions_2d__continuous_across_cells(widths, half_width):
    model = mlp(widths, seed=len(widths))
    regions = enumerate_square(model, half_width)
    matrix, offset = regions.maps()
    cell = torch.repeat_interleave(torch.arange(len(regions)), regions.offsets.diff())
    value = torch.einsum("vdk,vk->vd", matrix[cell], regions.vertices) + offset[cell]
    # Cells that share a corner agree there because each of them agrees with the network.
    torch.testing.assert_close(value, model(regions.vertices), rtol=0, atol=1e-10)


def test_enumerate_regions_2d__cells_are_convex_counter_clockwise_and_disjoint_in_code():
    regions = enumerate_square(mlp([2, 32, 32, 2], seed=3), 2.0)
    assert len(set(keys(regions.codes))) == len(regions)
    for i in inside(regions).tolist()[:400]:
        p = regions.polygon(i)
        e = p.roll(-1, 0) - p
        turn = e[:, 0] * e.roll(-1, 0)[:, 1] - e[:, 1] * e.roll(-1, 0)[:, 0]
        assert float(turn.min()) > -1e-12


@pytest.mark.parametrize(("widths", "half_width"), DEEP)
def test_enumerate_regions_2d__no_sampled_pattern_is_missing(widths, half_width):
    regions = enumerate_square(mlp(widths, seed=len(widths)), half_width)
    points = samples(200_000, half_width, seed=7)
    assert set(keys(codes_at(regions, points))) <= set(keys(regions.codes))


def test_enumerate_regions_2d__missing_cell_would_be_noticed():
    regions = enumerate_square(mlp([2, 16, 16, 2], seed=4), 2.0)
    largest = int(regions.areas().argmax())
    kept = keys(regions.codes)[:largest] + keys(regions.codes)[largest + 1 :]
    assert not set(keys(codes_at(regions, samples(2000, 2.0, seed=7)))) <= set(kept)


def chi_square_p(probabilities, regions, points):
    place = {key: i for i, key in enumerate(keys(regions.codes))}
    rows = [place[key] for key in keys(codes_at(regions, points))]
    counts = np.bincount(rows, minlength=len(place))
    expected = len(points) * probabilities
    small = expected < 5
    observed, expected = (
        np.append(v[~small], v[small].sum()) if small.any() else v for v in (counts, expected)
    )
    return stats.chisquare(observed, expected * observed.sum() / expected.sum()).pvalue


def test_enumerate_regions_2d__areas_are_sampling_frequencies():
    regions = enumerate_square(mlp([2, 16, 16, 2], seed=5), 2.0)
    areas = regions.areas().numpy() / 16
    wrong = areas * np.exp(0.2 * numpy_generator(0, "wrong").normal(size=len(areas)))
    p = [chi_square_p(areas, regions, samples(20_000, 2.0, seed)) for seed in range(40)]
    assert stats.kstest(p, "uniform").pvalue > 1e-3
    assert chi_square_p(wrong / wrong.sum(), regions, samples(20_000, 2.0, 0)) < 1e-6


# --- convolutions, pooling, shortcuts -------------------------------------------------------------

POOLS = [None, nn.MaxPool2d(2), nn.MaxPool2d(3, stride=1), nn.MaxPool2d(2, dilation=2, stride=1)]


@pytest.mark.parametrize("pool", POOLS)
@pytest.mark.parametrize("seed", [0, 1])
def test_enumerate_regions_2d__convolutional_network_on_a_random_plane(pool, seed):
    model, (origin, basis) = conv_net(seed, pool), plane((1, 6, 6), seed)
    regions = enumerate_regions_2d(model, origin, basis, 0.5)
    assert len(regions) > 100
    assert_tiles(regions, 1.0)
    assert_maps_are_jacobians(model, regions, origin, basis)
    # A third route: the map stored for the pattern found at a point is the network there.
    points = samples(20_000, 0.5, seed)
    place = {key: i for i, key in enumerate(keys(regions.codes))}
    found = [place[key] for key in keys(codes_at(regions, points))]
    matrix, offset = regions.maps()
    value = torch.einsum("ndk,nk->nd", matrix[found], points) + offset[found]
    expected = model(origin + torch.tensordot(points, basis, 1))
    torch.testing.assert_close(value, expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("pool", POOLS)
@pytest.mark.parametrize("seed", [0, 1])
def test_enumerate_regions_1d__convolutional_network_on_a_random_line(pool, seed):
    model, (x0, (direction, _)) = conv_net(seed, pool), plane((1, 6, 6), seed)
    regions = enumerate_regions_1d(model, x0, x0 + 3 * direction)
    merged = regions.merge()
    assert 1 < len(merged) <= len(regions)
    t = torch.rand(20_000, generator=torch_generator(seed, "t"), dtype=torch.float64)
    expected = model(x0 + 3 * t.reshape(-1, 1, 1, 1) * direction)
    for pieces in (regions, merged):
        assert bool((pieces.breakpoints.diff() > 0).all())
        assert pieces.breakpoints[[0, -1]].tolist() == [0.0, 1.0]
        r = torch.searchsorted(pieces.breakpoints, t, right=True) - 1
        value = pieces.offset[r] + pieces.slope[r] * t[:, None]
        torch.testing.assert_close(value, expected, rtol=0, atol=1e-10)


def test_regions_1d__merge_removes_what_the_output_does_not_see():
    model, (x0, (direction, _)) = conv_net(2), plane((1, 6, 6), 2)
    model.head[2].weight.data[:] = 0.0
    regions = enumerate_regions_1d(model, x0, x0 + direction)
    assert len(regions) > 5 and len(regions.merge()) == 1


def test_regions_1d__merged_neighbours_differ():
    model, (x0, (direction, _)) = conv_net(3), plane((1, 6, 6), 3)
    merged = enumerate_regions_1d(model, x0, x0 + 2 * direction).merge()
    change = merged.slope.diff(dim=0).abs().amax(1)
    assert float(change.min()) > 1e-10 * float(merged.slope.abs().max())


def test_linear_regions__pooling_has_fewer_maps_than_cells():
    model, (origin, basis) = conv_net(0), plane((1, 6, 6), 0)
    regions = enumerate_regions_2d(model, origin, basis, 0.5)
    labels = regions.linear_regions()
    matrix, offset = regions.maps()
    entries = torch.cat([matrix.flatten(1), offset], 1)
    scale = entries.abs().amax(0)
    count = int(labels.max()) + 1
    assert sorted(labels.unique().tolist()) == list(range(count)) and count < len(regions)
    first = torch.stack([torch.nonzero(labels == i)[0, 0] for i in range(count)])
    spread = (entries - entries[first[labels]]).abs() / scale
    assert float(spread.max()) < 1e-9
    distance = torch.cdist(entries[first] / scale, entries[first] / scale, p=torch.inf)
    assert float(distance.fill_diagonal_(torch.inf).min()) > 1e-10


def test_enumerate_regions_1d__agrees_with_the_plane():
    model = mlp([2, 20, 20, 2], seed=6)
    a, b = torch.tensor([-0.9, -0.7]).double(), torch.tensor([0.8, 0.95]).double()
    line, square = enumerate_regions_1d(model, a, b), enumerate_square(model)
    middle = (line.breakpoints[1:] + line.breakpoints[:-1])[:, None] / 2
    place = {key: i for i, key in enumerate(keys(square.codes))}
    cells = [place[key] for key in keys(codes_at(square, a + middle * (b - a)))]
    matrix, offset = square.maps()
    torch.testing.assert_close(line.slope, matrix[cells] @ (b - a), rtol=0, atol=1e-10)
    expected = offset[cells] + matrix[cells] @ a
    torch.testing.assert_close(line.offset, expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_enumerate_regions_2d__chunks_do_not_change_the_result(monkeypatch, dtype):
    model = conv_net(1).to(dtype)
    origin, basis = plane((1, 6, 6), 1)
    whole = enumerate_regions_2d(model, origin, basis, 0.4)
    monkeypatch.setattr("vcreg_theory.piecewise.regions.CHUNK_BYTES", 2**15)
    small = enumerate_regions_2d(lower(model), origin, basis, 0.4)
    assert whole.areas().dtype == torch.float64 and next(model.parameters()).dtype == dtype
    assert_tiles(small, 0.64)
    assert set(keys(whole.codes)) == set(keys(small.codes))
    line = enumerate_regions_1d(model, origin, origin + basis[0])
    monkeypatch.setattr("vcreg_theory.piecewise.regions_1d.CHUNK_BYTES", 2**10)
    again = enumerate_regions_1d(model, origin, origin + basis[0])
    torch.testing.assert_close(line.breakpoints, again.breakpoints, rtol=0, atol=1e-12)
    torch.testing.assert_close(line.slope, again.slope, rtol=0, atol=1e-12)


# --- structured inputs ----------------------------------------------------------------------------

networks = st.tuples(
    st.lists(st.integers(1, 14), min_size=1, max_size=4),
    st.sampled_from([0.0, 0.05, -0.5]),
    st.integers(0, 10**6),
    st.floats(0.05, 20.0),
)


@settings(deadline=None, max_examples=30)
@given(networks)
def test_enumerate_regions_2d__random_architectures(network):
    widths, slope, seed, half_width = network
    model = mlp([3, *widths, 2], seed, slope)
    origin, basis = plane((3,), seed)
    regions = enumerate_regions_2d(model, origin, basis, half_width)
    assert_tiles(regions, 4 * half_width**2)
    matrix, offset = regions.maps()
    cell = torch.repeat_interleave(torch.arange(len(regions)), regions.offsets.diff())
    value = torch.einsum("vdk,vk->vd", matrix[cell], regions.vertices) + offset[cell]
    expected = model(origin + regions.vertices @ basis)
    atol = 1e-10 * max(1.0, float(expected.detach().abs().max()))
    torch.testing.assert_close(value, expected.detach(), rtol=0, atol=atol)


@settings(deadline=None, max_examples=15)
@given(st.integers(0, 10**6), st.sampled_from(POOLS))
def test_enumerate_regions_1d__random_lines(seed, pool):
    model, (x0, (direction, _)) = conv_net(seed, pool), plane((1, 6, 6), seed)
    regions = enumerate_regions_1d(model, x0 - direction, x0 + direction)
    t = (regions.breakpoints[1:] + regions.breakpoints[:-1]) / 2
    value = regions.offset + regions.slope * t[:, None]
    expected = model(x0 + (2 * t - 1).reshape(-1, 1, 1, 1) * direction).detach()
    torch.testing.assert_close(value, expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("seed", range(5))
def test_enumerate_regions_2d__affine_invariance(seed):
    model, (origin, basis) = mlp([4, 20, 20, 3], seed), plane((4,), seed)
    generator = torch_generator(seed, "change")
    change = torch.randn(2, 2, generator=generator, dtype=torch.float64)
    shift = torch.randn(2, generator=generator, dtype=torch.float64)
    # x = origin + s B = (origin + shift B) + s' change B with s = shift + s' change
    moved = (SQUARE - shift) @ torch.linalg.inv(change)
    old = enumerate_regions_2d(model, origin, basis, SQUARE)
    new = enumerate_regions_2d(model, origin + shift @ basis, change @ basis, moved)
    assert len(old) == len(new)
    place = {key: i for i, key in enumerate(keys(old.codes))}
    order = [place[key] for key in keys(new.codes)]
    scaled = new.areas() * torch.linalg.det(change).abs()
    torch.testing.assert_close(scaled, old.areas()[order], rtol=1e-6, atol=1e-10)
    torch.testing.assert_close(new.maps()[0], old.maps()[0][order] @ change.T, rtol=0, atol=1e-10)


@pytest.mark.parametrize("copies", [2, 5])
def test_enumerate_regions_2d__repeated_units_add_no_cells(copies):
    model = mlp([2, 12, 2], seed=8)
    wide = nn.Sequential(nn.Linear(2, 12 * copies).double(), nn.ReLU())
    scale = torch.linspace(0.1, 3.0, copies).double().repeat_interleave(12)
    wide[0].weight.data = model[0].weight.data.repeat(copies, 1) * scale[:, None]
    wide[0].bias.data = model[0].bias.data.repeat(copies) * scale
    assert len(enumerate_square(wide)) == len(enumerate_square(model))
    line = torch.tensor([-1.0, -0.8]).double(), torch.tensor([0.9, 1.0]).double()
    assert len(enumerate_regions_1d(wide, *line)) == len(enumerate_regions_1d(model, *line))


def test_enumerate_regions_2d__narrow_strip_survives_the_next_layer():
    first, second = nn.Linear(2, 2).double(), nn.Linear(2, 1).double()
    first.weight.data = torch.tensor([[1.0, 0], [1, 0]]).double()
    first.bias.data = torch.tensor([0.0, -1e-8]).double()
    second.weight.data, second.bias.data = torch.ones(1, 2).double(), torch.ones(1).double()
    regions = enumerate_square(nn.Sequential(first, nn.ReLU(), second, nn.ReLU()))
    assert sorted(regions.areas().tolist()) == pytest.approx([2e-8, 2 - 2e-8, 2], rel=1e-7)


def test_enumerate_regions_2d__concurrent_lines():
    # Six lines through one point: twelve sectors, though no two of the lines coincide.
    angle = torch.arange(6).double() * math.pi / 6 + 0.1
    layer = nn.Linear(2, 6).double()
    layer.weight.data = torch.stack([angle.cos(), angle.sin()], 1)
    layer.bias.data = -layer.weight.data @ torch.tensor([0.1, 0.2]).double()
    assert len(enumerate_square(nn.Sequential(layer, nn.ReLU()))) == 12
    with pytest.raises(ValueError, match="not simple"):
        count_regions_shallow(layer.weight.data, layer.bias.data, 1.0)


def test_winner_criterion__rounding_ties_are_settled_without_a_cut():
    # Entry 0 leads on average; each other entry is ahead of it at one corner by three tolerances
    # and nowhere behind by a whole one, so that a cut would only slice off rounding.
    windows = np.array([[0, 1, 2]])
    ahead = np.full((5, 3), -0.9)
    ahead[:, 0], ahead[3, 1], ahead[4, 2] = 0.0, 3.0, 3.0
    values = 1 + RTOL * ahead
    table = VertexTable({0: values})
    cell = Cells(np.arange(5), np.array([0, 5]), np.zeros((1, 0), np.uint8))
    criterion = WinnerCriterion(values, windows)
    assert criterion.decide(cell)[1].tolist() == [0]
    finished, rest = split(table, 0, cell, criterion, 100, None)
    assert len(rest) == 0 and [len(part) for part in finished] == [1] and table.size == 5
    assert finished[0].codes.tolist() == [[0]]


def test_winner_criterion__too_large_a_window():
    model = nn.Sequential(nn.MaxPool2d(9), nn.Flatten())
    with pytest.raises(ValueError, match="at most 64 entries, got 81"):
        enumerate_regions_2d(model, *plane((1, 9, 9), 0), 1.0)


@pytest.mark.parametrize("kernel", [2, 3, 4, 5, 6, 8])
def test_enumerate_regions_2d__one_pool_of_any_size_has_one_map_an_entry(kernel):
    # The upper envelope of random planes: every map is one entry's, and the areas are theirs.
    model = nn.Sequential(nn.MaxPool2d(kernel), nn.Flatten())
    origin, basis = plane((1, kernel, kernel), kernel)
    regions = enumerate_regions_2d(model, origin, basis, 3.0)
    assert_tiles(regions, 36.0)
    points = samples(100_000, 3.0, seed=kernel)
    winner = (origin + torch.tensordot(points, basis, 1)).flatten(1).argmax(1)
    assert set(winner.tolist()) <= set(regions.codes[:, 0].tolist())
    areas = (
        torch.zeros(kernel**2).double().index_add_(0, regions.codes[:, 0].long(), regions.areas())
    )
    share = torch.bincount(winner, minlength=kernel**2) / len(winner)
    assert float((areas / 36 - share).abs().max()) < 4 * 0.5 / math.sqrt(len(winner))


# --- errors ---------------------------------------------------------------------------------------

STAR = [[math.cos(4 * math.pi * i / 5), math.sin(4 * math.pi * i / 5)] for i in range(5)]


@pytest.mark.parametrize(
    ("window", "message"),
    [
        (0.0, "window must be positive"),
        (-1.0, "window must be positive"),
        (math.nan, "window must be finite"),
        (torch.zeros(0, 2), r"window must have shape \(v >= 3, 2\)"),
        (torch.rand(4, 3), r"window must have shape \(v >= 3, 2\)"),
        (torch.rand(4), "window must have 2 dimensions"),
        (torch.tensor([[0.0, 0], [1, 1], [2, 2]]), "positive area"),
        (torch.tensor([[0.0, 0], [1, 0], [1, 0], [0, 1]]), "repeated corner"),
        (torch.tensor([[0.0, 0], [1, 0], [math.nan, 1]]), "window must be finite"),
        (torch.tensor([[0.0, 0], [2, 0], [0.1, 0.1], [0, 2]]), "convex"),
        (torch.tensor([[0.0, 0], [1, 1], [1, 0], [0, 1]]), "positive area|convex"),
        (torch.tensor(STAR), "convex"),
    ],
)
def test_enumerate_regions_2d__bad_window(window, message):
    with pytest.raises(ValueError, match=message):
        enumerate_regions_2d(mlp([2, 4, 1], 0), torch.zeros(2), torch.eye(2), window)


def test_enumerate_regions_2d__clockwise_window_is_turned():
    model = mlp([2, 12, 2], seed=0)
    turned = enumerate_regions_2d(model, torch.zeros(2), torch.eye(2), SQUARE.flip(0))
    assert_tiles(turned, 4.0)
    assert len(turned) == len(enumerate_square(model))


@pytest.mark.parametrize(
    ("origin", "basis", "message"),
    [
        (torch.zeros(2), torch.ones(2, 2), "rank 2"),
        (torch.zeros(2), torch.zeros(2, 2), "rank 2"),
        (torch.zeros(1), torch.ones(2, 1), "rank 2"),
        (torch.zeros(2), torch.eye(3), "basis must have shape"),
        (torch.zeros(3), torch.eye(3)[:2], "is not an input of this network"),
        (torch.full((2,), math.inf), torch.eye(2), "origin must be finite"),
        (torch.zeros(2), torch.eye(2) * math.nan, "basis must be finite"),
    ],
)
def test_enumerate_regions_2d__bad_plane(origin, basis, message):
    with pytest.raises(ValueError, match=message):
        enumerate_regions_2d(mlp([2, 4, 1], 0), origin, basis, 1.0)


def test_enumerate_regions__errors():
    model, x = mlp([2, 40, 40, 1], 0), torch.zeros(2)
    with pytest.raises(ValueError, match="x0 and x1 must differ"):
        enumerate_regions_1d(model, x, x)
    with pytest.raises(ValueError, match="same shape"):
        enumerate_regions_1d(model, x, torch.ones(3))
    with pytest.raises(ValueError, match="x1 must be finite"):
        enumerate_regions_1d(model, x, torch.tensor([0.0, math.nan]))
    with pytest.raises(ValueError, match="is not an input of this network"):
        enumerate_regions_1d(model, torch.zeros(3), torch.ones(3))
    with pytest.raises(TypeError, match="x0 must be"):
        enumerate_regions_1d(model, [0.0, 0.0], torch.ones(2))
    tanh = nn.Sequential(nn.Linear(2, 2), nn.Tanh())
    for call in (
        lambda: enumerate_regions_2d(tanh, x, torch.eye(2), 1.0),
        lambda: enumerate_regions_1d(tanh, x, torch.ones(2)),
    ):
        with pytest.raises(TypeError, match=r"layer '1' \(Tanh\)"):
            call()
    with pytest.raises(ValueError, match="rtol"):
        enumerate_square(model).linear_regions(rtol=-1.0)
    with pytest.raises(IndexError, match="out of range"):
        enumerate_square(nn.Linear(2, 1)).polygon(1)
    with pytest.raises(ValueError, match="weight must have shape"):
        count_regions_shallow(torch.eye(3), torch.zeros(3), 1.0)
    with pytest.raises(ValueError, match="coincide"):
        count_regions_shallow(torch.ones(2, 2), torch.zeros(2), 1.0)


def test_enumerate_regions__max_regions():
    model = mlp([2, 40, 40, 1], 0)
    count = len(enumerate_square(model))
    same = enumerate_regions_2d(model, torch.zeros(2), torch.eye(2), 1.0, max_regions=count)
    assert len(same) == count
    with pytest.raises(RuntimeError, match=f"max_regions = {count - 1}"):
        enumerate_regions_2d(model, torch.zeros(2), torch.eye(2), 1.0, max_regions=count - 1)
    with pytest.raises(RuntimeError, match="max_regions = 3"):
        enumerate_regions_1d(model, -torch.ones(2), torch.ones(2), max_regions=3)
    with pytest.raises(ValueError, match="max_regions must be at least 1"):
        enumerate_regions_2d(model, torch.zeros(2), torch.eye(2), 1.0, max_regions=0)


def test_regions_2d__a_flat_cell_has_the_mean_of_its_corners_as_centre():
    regions = enumerate_square(nn.Linear(2, 1), 2.0)
    flat = torch.tensor([[7.0, 1.0], [3.0, 1.0], [2.0, 1.0], [4.0, 1.0]]).double()
    regions = dataclasses.replace(regions, vertices=flat)
    assert regions.areas().tolist() == [0.0]
    assert regions.centroids().tolist() == [[4.0, 1.0]]


def test_count_regions_shallow__takes_one_bias_a_line():
    with pytest.raises(ValueError, match="bias must have 1 dimensions"):
        count_regions_shallow(torch.eye(2), torch.zeros(2, 1), 1.0)


def test_regions_2d__shows_its_size_not_its_tensors():
    absolute = nn.Sequential(nn.Linear(2, 1, bias=False), nn.ReLU()).double()
    absolute[0].weight.data = torch.tensor([[1.0, 0.0]], dtype=torch.float64)
    plane = torch.eye(2, dtype=torch.float64)
    found = enumerate_regions_2d(absolute, torch.zeros(2, dtype=torch.float64), plane, 1.0)
    assert repr(found) == "Regions2D(2 cells, 8 corners)"
