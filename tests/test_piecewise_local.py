"""Tests of local affine maps, activation patterns, exit radii, hyperplanes and kinks."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import Residual, mixed_net, redraw, resnet18
from torch import nn

from vcreg_theory import seeding
from vcreg_theory.piecewise import (
    activation_pattern,
    exit_radius,
    hyperplanes,
    kink_expansion,
    local_affine_map,
    lower,
)

INF = float("inf")


def _draw(generator, *shape, dtype=torch.float64):
    return torch.randn(*shape, generator=generator, dtype=dtype)


def _linear(weight, bias=None):
    weight = torch.tensor(weight, dtype=torch.float64)
    layer = nn.Linear(*weight.T.shape, bias=bias is not None).double()
    layer.weight.data.copy_(weight)
    if bias is not None:
        layer.bias.data.copy_(torch.tensor(bias, dtype=torch.float64))
    return layer


def _absolute():
    return nn.Sequential(_linear([[1.0], [-1.0]]), nn.ReLU(), _linear([[1.0, 1.0]]))


def _two_layers(slope=0.0):
    """f(x) = phi(x0 + x1 - 1) - 2 phi(x0 - 3)."""
    first = _linear([[1.0, 1.0], [1.0, 0.0]], [-1.0, -3.0])
    return nn.Sequential(first, nn.LeakyReLU(slope), _linear([[1.0, -2.0]], [0.5]))


def _tensor(*rows):
    return torch.tensor(rows, dtype=torch.float64)


def _jacobians(model, x):
    rows = [torch.func.jacrev(lambda v: model(v[None])[0].flatten())(row) for row in x]
    return torch.stack([row.flatten(1) for row in rows]).detach()


def _residual_of_map(model, local, x):
    with torch.no_grad():
        predicted = (local.map @ x.flatten(1).unsqueeze(-1)).squeeze(-1) + local.offset
        return (predicted - model(x).flatten(1)).abs()


# --- local_affine_map -----------------------------------------------------------------------------


def test_local_affine_map__absolute_value():
    local = local_affine_map(_absolute(), _tensor([3.0], [-2.0]))
    assert local.map.flatten().tolist() == [1.0, -1.0]
    assert local.offset.flatten().tolist() == [0.0, 0.0]


@pytest.mark.parametrize(
    ("x", "row", "offset"),
    [
        ([4.0, 0.0], [-1.0, 1.0], 5.5),  # both on: x0 + x1 - 1 - 2 (x0 - 3) + 1/2
        ([0.0, 4.0], [1 - 2 * 0.25, 1.0], -0.5 + 1.5),  # second off with slope 1/4
        ([0.0, 0.0], [0.25 - 0.5, 0.25], -0.25 + 1.5 + 0.5),  # both off
    ],
)
def test_local_affine_map__hand_made_two_layers(x, row, offset):
    local = local_affine_map(_two_layers(0.25), _tensor(x))
    torch.testing.assert_close(local.map[0, 0], _tensor(row)[0], rtol=1e-14, atol=1e-14)
    assert math.isclose(local.offset.item(), offset, rel_tol=1e-14)


def test_local_affine_map__offset_is_not_the_difference():
    # At 1e9 the difference f(x) - A x could not tell an offset of 1e-9 from 0.
    model = nn.Sequential(_linear([[1.0]], [1e-9]), nn.ReLU(), _linear([[1.0]]))
    assert local_affine_map(model, _tensor([1e9])).offset.item() == 1e-9


def test_local_affine_map__equals_jacrev(generator):
    model, x = mixed_net(), _draw(generator, 12, 2, 9, 9)
    local, expected = local_affine_map(model, x), _jacobians(model, x)
    assert local.map.shape == (12, 3, 162) and local.offset.shape == (12, 3)
    assert (local.map - expected).abs().max() <= 1e-10 * expected.abs().max()
    assert _residual_of_map(model, local, x).max() < 1e-12


@pytest.mark.parametrize("chunk", [1, 2, 7])
def test_local_affine_map__chunks_do_not_matter(generator, chunk):
    model, x = mixed_net(), _draw(generator, 2, 2, 9, 9)
    expected = local_affine_map(model, x)
    torch.testing.assert_close(local_affine_map(model, x, chunk=chunk), expected)


@pytest.mark.parametrize("chunk", [2, 32])
def test_local_affine_map__more_outputs_than_inputs(generator, chunk):
    model = redraw(
        nn.Sequential(nn.Conv2d(1, 8, 2), nn.ReLU(), nn.MaxPool2d(2, 1), nn.BatchNorm2d(8)), 3
    ).double()
    x = _draw(generator, 3, 1, 3, 3)
    local, expected = local_affine_map(model, x, chunk=chunk), _jacobians(model, x)
    assert local.map.shape == (3, 8, 9)
    torch.testing.assert_close(local.map, expected, rtol=1e-10, atol=1e-12)
    wide = nn.Sequential(nn.Linear(3, 5), nn.ReLU(), Residual(nn.Linear(5, 5))).double()
    x = _draw(generator, 4, 3)
    torch.testing.assert_close(local_affine_map(wide, x, chunk=chunk).map, _jacobians(wide, x))


def test_local_affine_map__sum_of_values_of_different_shapes(generator):
    class Gate(nn.Module):
        def forward(self, x):
            return (x - x.mean((2, 3), keepdim=True)).relu()

    x = _draw(generator, 2, 2, 3, 3)
    torch.testing.assert_close(local_affine_map(Gate(), x).map, _jacobians(Gate(), x))


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-6), (torch.float64, 1e-12)])
def test_local_affine_map__resnet18(generator, dtype, tolerance):
    model = resnet18(outputs=8).to(dtype)
    x = _draw(generator, 1, 3, 32, 32, dtype=dtype)
    local = local_affine_map(model, x)
    scale = max(1.0, model(x).abs().max().item())
    assert local.map.dtype == local.offset.dtype == dtype
    assert _residual_of_map(model, local, x).max() < tolerance * scale


def test_local_affine_map__float32_agrees_with_float64(generator):
    model, x = mixed_net(), _draw(generator, 6, 2, 9, 9)
    exact = local_affine_map(model, x).map
    rounded = local_affine_map(model.float(), x.float()).map
    # Both must have seen one pattern for the comparison to mean anything.
    same = (activation_pattern(model, x.float()) == activation_pattern(mixed_net(), x)).all()
    assert same
    assert (rounded - exact).abs().max() < 1e-5 * exact.abs().max()


def test_local_affine_map__exact_inside_the_cell_and_not_beyond(generator):
    model, x, u = mixed_net(), _draw(generator, 64, 2, 9, 9), _draw(generator, 64, 2, 9, 9)
    local, t = local_affine_map(model, x), exit_radius(model, x, u).reshape(-1, 1, 1, 1)
    assert torch.isfinite(t).all() and (t > 0).all()
    here = activation_pattern(model, x)
    inside, beyond = x + 0.99 * t * u, x + 1.01 * t * u
    assert _residual_of_map(model, local, inside).max() < 1e-12
    assert torch.equal(activation_pattern(model, inside), here)
    assert (activation_pattern(model, beyond) != here).any(1).all()
    # Control: a step that is not tied to the cell leaves the map's validity.
    assert _residual_of_map(model, local, x + u).amax(1).median() > 1e-2


def test_local_affine_map__tanh_control(generator):
    """A smooth net has a first-order map only: the error falls with the square of the step."""
    smooth = nn.Sequential(_linear([[1.0, 0.5], [-0.3, 2.0]], [0.1, -0.2]), nn.Tanh())
    x, u = _draw(generator, 1, 2), _draw(generator, 1, 2)
    steps = torch.logspace(-3, -1, 9, dtype=torch.float64)
    jacobian = _jacobians(smooth, x)[0]

    def errors(model, matrix):
        moved = x + steps[:, None] * u
        return (model(moved) - model(x) - (moved - x) @ matrix.T).norm(dim=1).detach()

    slope = torch.linalg.lstsq(
        torch.stack([steps.log(), torch.ones_like(steps)], 1),
        errors(smooth, jacobian).log()[:, None],
    ).solution[0]
    assert abs(slope.item() - 2) < 0.1
    rectified = nn.Sequential(smooth[0], nn.ReLU())
    x = _tensor([2.0, 1.0])
    assert exit_radius(rectified, x, u) > 0.1
    assert errors(rectified, local_affine_map(rectified, x).map[0]).max() < 1e-14


def test_local_affine_map__batch_norm_control(generator):
    """In training mode another sample's input changes this sample's output; no map exists."""
    model = redraw(nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.ReLU()), 5).double()
    x = _draw(generator, 6, 3)
    moved = x.clone()
    moved[1:] += 0.5
    with torch.no_grad():
        assert torch.equal(model(x)[0], model(moved)[0])
        model.train()
        assert (model(x)[0] - model(moved)[0]).abs().max() > 1e-3
    for function in (local_affine_map, activation_pattern, hyperplanes, kink_expansion):
        with pytest.raises(TypeError, match=r"'1' \(BatchNorm1d\)"):
            function(model, x[:1])


# --- activation_pattern ---------------------------------------------------------------------------


def test_activation_pattern__closed_form():
    pattern = activation_pattern(_two_layers(), _tensor([4.0, 0.0], [0.0, 4.0], [1.0, 0.0]))
    assert pattern.dtype == torch.int16
    assert pattern.tolist() == [[1, 1], [1, 0], [0, 0]]  # zero counts as off


def test_activation_pattern__pool_gives_the_place_of_the_winner():
    x = _tensor([0.0, 1.0, 5.0, 2.0], [3.0, 3.0, 3.0, 3.0]).reshape(2, 1, 2, 2)
    assert activation_pattern(nn.Sequential(nn.MaxPool2d(2)), x).tolist() == [[2], [0]]


def test_activation_pattern__network_without_units():
    assert activation_pattern(nn.Sequential(nn.Linear(2, 2)), torch.ones(3, 2)).shape == (3, 0)


# --- exit_radius ----------------------------------------------------------------------------------


def test_exit_radius__closed_form():
    model = _two_layers()  # boundaries x0 + x1 = 1 and x0 = 3
    x = _tensor([2.0, 0.0]).expand(5, -1)
    u = _tensor([1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -2.0], [1.0, -2.0])
    expected = [1.0, 1.0, INF, 0.5, 1.0]
    assert exit_radius(model, x, u).tolist() == expected
    assert exit_radius(model, x[:1], u).tolist() == expected
    torch.testing.assert_close(exit_radius(model, x, 4 * u), exit_radius(model, x, u) / 4)


def test_exit_radius__pool_closed_form():
    model, x = nn.Sequential(nn.MaxPool2d(2)), _tensor([5.0, 3.0, 1.0, 0.0]).reshape(1, 1, 2, 2)
    u = _tensor([0, 1, 0, 0], [0, 1, 4, 0], [0, 0, 0, -1], [-1, 0, 0, 1], [1, 1, 1, 1])
    radii = exit_radius(model, x, u.reshape(-1, 1, 2, 2))
    assert radii.tolist() == [2.0, 1.0, INF, 2.0, INF]


def test_exit_radius__padding_never_wins():
    model = nn.Sequential(nn.MaxPool2d(3, stride=2, padding=1))
    x, u = _tensor([-1.0]).reshape(1, 1, 1, 1), _tensor([-5.0]).reshape(1, 1, 1, 1)
    assert exit_radius(model, x, u).item() == INF


def test_exit_radius__ties_follow_the_recorded_pattern():
    x, u = _tensor([0.0]), _tensor([1.0], [-1.0])
    assert exit_radius(nn.Sequential(nn.ReLU()), x, u).tolist() == [0.0, INF]
    assert exit_radius(nn.Sequential(nn.LeakyReLU(0.5)), x, u).tolist() == [0.0, INF]
    assert exit_radius(_absolute(), x, u).tolist() == [0.0, 0.0]
    pool, tie = nn.Sequential(nn.MaxPool2d((1, 2))), torch.zeros(1, 1, 1, 2, dtype=torch.float64)
    u = _tensor([0.0, 1.0], [1.0, 0.0], [1.0, 1.0]).reshape(3, 1, 1, 2)
    assert exit_radius(pool, tie, u).tolist() == [0.0, INF, INF]


def test_exit_radius__map_holds_up_to_the_radius_on_a_boundary(generator):
    """Bias-free nets at 0 tie everywhere; what the pattern promises must still hold."""
    model = nn.Sequential(nn.Linear(3, 6, bias=False), nn.ReLU(), nn.Linear(6, 2)).double()
    x, u = torch.zeros(1, 3, dtype=torch.float64), _draw(generator, 2000, 3)
    t = exit_radius(model, x, u)
    local = local_affine_map(model, x)
    wrong = _residual_of_map(model, local, u).amax(1) > 1e-9
    assert set(t.tolist()) <= {0.0, INF}
    assert not wrong[t == INF].any()
    assert wrong[t == 0].all()


def test_exit_radius__slope_one_is_no_boundary():
    assert exit_radius(_two_layers(1.0), _tensor([2.0, 0.0]), _tensor([1.0, 0.0])).item() == INF


def test_exit_radius__equals_bisection(generator):
    model, x, u = mixed_net(), _draw(generator, 8, 2, 9, 9), _draw(generator, 8, 2, 9, 9)
    here = activation_pattern(model, x)
    low, high = torch.zeros(8, dtype=torch.float64), torch.full((8,), 100.0, dtype=torch.float64)
    for _ in range(60):
        middle = (low + high) / 2
        same = (activation_pattern(model, x + middle.reshape(-1, 1, 1, 1) * u) == here).all(1)
        low, high = torch.where(same, middle, low), torch.where(same, high, middle)
    torch.testing.assert_close(exit_radius(model, x, u), low, rtol=1e-8, atol=1e-12)


def test_exit_radius__passes_over_many_rays_agree(generator, monkeypatch):
    model, x, u = mixed_net(), _draw(generator, 1, 2, 9, 9), _draw(generator, 11, 2, 9, 9)
    expected = exit_radius(model, x, u)
    monkeypatch.setattr("vcreg_theory.piecewise.rays._BUDGET", 500)
    torch.testing.assert_close(exit_radius(model, x, u), expected)
    torch.testing.assert_close(exit_radius(model, x.expand_as(u), u), expected)


# --- hyperplanes and kinks ------------------------------------------------------------------------


def test_hyperplanes__closed_form():
    planes = hyperplanes(_two_layers(), _tensor([2.0, 0.0]))
    assert planes.preactivation.tolist() == [1.0, -1.0]
    assert planes.gradient.tolist() == [[1.0, 1.0], [1.0, 0.0]]
    torch.testing.assert_close(planes.distance, _tensor([1 / math.sqrt(2), 1.0])[0])


def test_hyperplanes__pool_and_dead_units():
    pool = nn.Sequential(nn.MaxPool2d(2))
    planes = hyperplanes(pool, _tensor([5.0, 3.0], [1.0, 0.0]).unsqueeze(0))
    assert planes.preactivation.tolist() == [2.0, 4.0, 5.0]
    assert planes.gradient[0].tolist() == [1.0, -1.0, 0.0, 0.0]
    dead = nn.Sequential(nn.ReLU(), _linear([[1.0]], [2.0]), nn.ReLU())
    assert hyperplanes(dead, _tensor([-1.0])).distance.tolist() == [1.0, INF]


def test_hyperplanes__gradients_equal_jacrev(generator):
    model, x = mixed_net(), _draw(generator, 1, 2, 9, 9)
    planes = hyperplanes(model, x)
    first = model[:2]  # the first rectifier's input
    expected = _jacobians(first, x)[0]
    torch.testing.assert_close(planes.gradient[: len(expected)], expected, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(planes.preactivation[: len(expected)], first(x).flatten().detach())
    last = model[:12]
    expected = _jacobians(last, x)[0]
    torch.testing.assert_close(planes.gradient[-5:], expected, rtol=1e-10, atol=1e-12)


def test_hyperplanes__nearest_one_is_the_smallest_exit_radius(generator):
    model, x = mixed_net(), _draw(generator, 1, 2, 9, 9)
    planes = hyperplanes(model, x[0])  # the batch dimension may be left out
    nearest = planes.distance.argmin()
    towards = -planes.gradient[nearest] * planes.preactivation[nearest].sign()
    u = (towards / towards.norm()).reshape(x.shape)
    torch.testing.assert_close(exit_radius(model, x, u)[0], planes.distance[nearest])
    rays = _draw(generator, 200, 2, 9, 9)
    rays /= rays.flatten(1).norm(dim=1).reshape(-1, 1, 1, 1)
    assert (exit_radius(model, x, rays) >= planes.distance[nearest]).all()


def test_hyperplanes__passes_over_few_tangents_agree(generator, monkeypatch):
    model, x = mixed_net(), _draw(generator, 1, 2, 9, 9)
    planes, kinks = hyperplanes(model, x), kink_expansion(model, x, pooling="separate")
    monkeypatch.setattr("vcreg_theory.piecewise.kinks._BUDGET", 500)
    torch.testing.assert_close(hyperplanes(model, x), planes)
    torch.testing.assert_close(kink_expansion(model, x, pooling="separate"), kinks)


def _expand(kinks, delta):
    past = (delta @ kinks.normal.T - kinks.distance).clamp(min=0)
    return kinks.value + delta @ kinks.map.T + past @ kinks.jump


@pytest.mark.parametrize("side", [1.0, -1.0])
def test_kink_expansion__both_sides_of_one_rectifier(side):
    model = nn.Sequential(_linear([[2.0]], [0.0]), nn.LeakyReLU(0.25), _linear([[3.0]]))
    kinks = kink_expansion(model, _tensor([side]))
    assert kinks.distance.tolist() == [1.0]
    assert kinks.normal.tolist() == [[-side]]  # across, whichever side x is on
    assert kinks.jump.tolist() == [[0.75 * 2.0 * 3.0]]  # (1 - slope) |grad h| df/da on both
    delta = _tensor(*[[v] for v in (-5.0, -1.0, 0.0, 0.5, 7.0)])
    torch.testing.assert_close(_expand(kinks, delta), model(side + delta).detach())


@pytest.mark.parametrize("slope", [0.0, 0.1, 2.0, -0.5])
def test_kink_expansion__exact_with_one_hidden_layer(generator, slope):
    layers = [nn.Conv2d(1, 3, 3, padding=1), nn.BatchNorm2d(3), nn.LeakyReLU(slope)]
    model = redraw(nn.Sequential(*layers, nn.Flatten(), nn.Linear(75, 4)), 6).double()
    x = _draw(generator, 1, 1, 5, 5)
    kinks = kink_expansion(model, x)
    for scale in (0.1, 1.0, 100.0):
        delta = scale * _draw(generator, 200, 25)
        expected = model(x + delta.reshape(-1, 1, 5, 5)).detach()
        error = (_expand(kinks, delta) - expected).abs().max()
        assert error < 1e-12 * max(1.0, expected.abs().max())


def test_kink_expansion__exact_for_pools_over_two(generator):
    model = redraw(
        nn.Sequential(nn.Conv2d(1, 3, 3), nn.MaxPool2d((1, 2)), nn.Flatten(), nn.Linear(18, 2)), 7
    ).double()
    x, delta = _draw(generator, 1, 1, 5, 6), _draw(generator, 200, 30)
    kinks = kink_expansion(model, x)
    expected = model(x + delta.reshape(-1, 1, 5, 6)).detach()
    assert (_expand(kinks, delta) - expected).abs().max() < 1e-12


def test_kink_expansion__wide_pools_are_refused_or_separate(generator):
    model, x = (
        nn.Sequential(nn.MaxPool2d(2), nn.Flatten()),
        _tensor([3, 0], [0, 0]).reshape(1, 1, 2, 2),
    )
    with pytest.raises(ValueError, match=r"'0' \(MaxPool2d\) has windows of 4 entries"):
        kink_expansion(model, x)
    kinks = kink_expansion(model, x, pooling="separate")
    one, two = _tensor([0.0, 5.0, 0.0, 0.0]), _tensor([0.0, 5.0, 5.0, 0.0])
    assert _expand(kinks, one).item() == 5.0
    assert _expand(kinks, two).item() == 7.0  # the network says 5: two kinks do not add up
    with pytest.raises(ValueError, match="pooling must be one of"):
        kink_expansion(model, x, pooling="sum")


def test_kink_expansion__deep_net_is_exact_to_the_first_boundary_and_not_far_beyond(generator):
    layers = [m for w in (6, 16, 16) for m in (nn.Linear(w, 16), nn.ReLU())]
    model = redraw(nn.Sequential(*layers, nn.Linear(16, 3)), 8).double()
    x, u = _draw(generator, 1, 6), _draw(generator, 100, 6)
    kinks, t = kink_expansion(model, x), exit_radius(model, x, u)[:, None]
    far = 3.0 * u
    assert (_expand(kinks, 0.99 * t * u) - model(x + 0.99 * t * u)).abs().max() < 1e-12
    assert (_expand(kinks, far) - model(x + far)).abs().median() > 1e-2


def test_kink_expansion__first_kink_of_a_deep_net_is_exact(generator):
    """Past the nearest boundary only, the jump must be the true change of the map."""
    layers = [m for w in (6, 16) for m in (nn.Linear(w, 16), nn.LeakyReLU(0.1))]
    model = redraw(nn.Sequential(*layers, nn.Linear(16, 3)), 9).double()
    x = _draw(generator, 1, 6)
    kinks = kink_expansion(model, x)
    nearest, second = kinks.distance.topk(2, largest=False)
    delta = nearest[0] * 1.0 + 0.5 * (nearest[1] - nearest[0])
    across = local_affine_map(model, x + delta * kinks.normal[second[0]])
    expected = kinks.map + torch.outer(kinks.jump[second[0]], kinks.normal[second[0]])
    torch.testing.assert_close(across.map[0], expected, rtol=1e-10, atol=1e-12)


def test_kink_expansion__dead_units_are_left_out():
    dead = nn.Sequential(nn.ReLU(), _linear([[1.0]], [2.0]), nn.ReLU())
    kinks = kink_expansion(dead, _tensor([-1.0]))
    assert kinks.distance.tolist() == [1.0] and kinks.jump.shape == (1, 1)
    none = kink_expansion(nn.Sequential(_linear([[2.0, 1.0]])), _tensor([1.0, 1.0]))
    assert none.distance.shape == (0,) and none.normal.shape == (0, 2) and none.jump.shape == (0, 1)
    assert none.map.tolist() == [[2.0, 1.0]] and none.value.tolist() == [3.0]


# --- random networks ------------------------------------------------------------------------------


@st.composite
def _networks(draw):
    """Draw a random network on (2, 6, 6) images or on vectors of length 7."""
    activation = st.sampled_from([nn.ReLU(), nn.LeakyReLU(0.2), nn.LeakyReLU(-0.3), nn.Identity()])
    layers, image = [], draw(st.booleans())
    shape, width = ((2, 6, 6), 2) if image else ((7,), 7)
    if image:
        kinds = draw(st.lists(st.sampled_from("cbmaro"), min_size=1, max_size=5))
        for kind in kinds:
            if kind == "c":
                out = draw(st.integers(1, 4))
                layers += [nn.Conv2d(width, out, 3, padding=1, stride=draw(st.integers(1, 2)))]
                width = out
            elif kind == "o":
                layers += [nn.Conv2d(width, width, 3, padding=1, groups=width)]
            elif kind == "b":
                layers += [nn.BatchNorm2d(width)]
            elif kind == "m":
                layers += [nn.MaxPool2d(draw(st.sampled_from([2, 3])), 1, 1)]
            elif kind == "a":
                layers += [nn.AvgPool2d(3, 2, 1)]
            else:
                body = nn.Sequential(nn.Conv2d(width, width, 3, padding=1), draw(activation))
                layers += [Residual(body)]
            layers += [draw(activation)]
        with torch.no_grad():
            width = nn.Sequential(*layers).eval()(torch.zeros(1, *shape)).numel()
        layers += [nn.Flatten()]
    for _ in range(draw(st.integers(1, 3))):
        out = draw(st.integers(1, 9))
        layers += [nn.Linear(width, out), draw(activation)]
        layers += [nn.BatchNorm1d(out)] if draw(st.booleans()) else []
        layers += [Residual(nn.Linear(out, out))] if draw(st.booleans()) else []
        width = out
    seed = draw(st.integers(0, 2**16))
    return redraw(nn.Sequential(*layers), seed).double(), shape, seed


@settings(max_examples=60)
@given(_networks())
def test_random_network__map_equals_it_inside_the_cell(case):
    model, shape, seed = case
    generator = seeding.torch_generator(seed, "inputs")
    x, u = _draw(generator, 3, *shape), _draw(generator, 3, *shape)
    local, t = local_affine_map(model, x), exit_radius(model, x, u)
    t = t.reshape(-1, *[1] * len(shape)).clamp(max=10.0)
    for fraction in (0.0, 0.5, 0.99):
        moved = x + fraction * t * u
        scale = max(1.0, model(moved).abs().max().item())
        assert _residual_of_map(model, local, moved).max() < 1e-11 * scale
        assert torch.equal(activation_pattern(model, moved), activation_pattern(model, x))
    expected = _jacobians(model, x)
    assert (local.map - expected).abs().max() <= 1e-10 * max(1.0, expected.abs().max().item())


# --- contracts ------------------------------------------------------------------------------------


def _outputs(model, x):
    u = torch.ones_like(x)
    yield from local_affine_map(model, x)
    yield exit_radius(model, x, u)
    yield from hyperplanes(model, x)
    yield from kink_expansion(model, x, pooling="separate")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_outputs__keep_dtype_and_device_and_carry_no_graph(generator, dtype):
    model, x = mixed_net().to(dtype), _draw(generator, 1, 2, 9, 9, dtype=dtype)
    x.requires_grad_(True)
    for out in _outputs(model, x):
        assert out.dtype == dtype and out.device == x.device
        assert not out.requires_grad and out.grad_fn is None
    assert not activation_pattern(model, x).requires_grad
    assert all(p.grad is None for p in model.parameters())


def test_outputs__leave_input_and_model_unchanged(generator):
    model, x = mixed_net(), _draw(generator, 1, 2, 9, 9)
    state, before = {k: v.clone() for k, v in model.state_dict().items()}, x.clone()
    list(_outputs(model, x))
    assert torch.equal(x, before)
    assert all(torch.equal(v, state[k]) for k, v in model.state_dict().items())


def test_outputs__ignore_autocast(generator):
    model, x = mixed_net().float(), _draw(generator, 1, 2, 9, 9, dtype=torch.float32)
    expected = local_affine_map(model, x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(local_affine_map(model, x).map, expected.map)


@pytest.mark.parametrize(
    "function", [local_affine_map, activation_pattern, hyperplanes, kink_expansion]
)
@pytest.mark.parametrize(
    ("x", "error", "message"),
    [
        (torch.zeros(1, 5, dtype=torch.float64), ValueError, r"\(1, 5\).*which said"),
        (torch.full((1, 2), float("nan"), dtype=torch.float64), ValueError, "x must be finite"),
        (torch.zeros(1, 2), ValueError, "torch.float32 is not an input"),
        (torch.zeros(1, 2, dtype=torch.int64), TypeError, "float32 or float64"),
        (torch.zeros(0, 2, dtype=torch.float64), ValueError, "at least 1 row"),
        ([[0.0, 0.0]], TypeError, "x must be a torch.Tensor"),
    ],
)
def test_inputs__errors_name_what_is_wrong(function, x, error, message):
    with pytest.raises(error, match=message):
        function(_two_layers(), x)


def test_inputs__images_need_their_batch_dimension(generator):
    model, x = mixed_net(), _draw(generator, 2, 9, 9)
    with pytest.raises(ValueError, match=r"x must be a batch with 4 dimensions, got .*\(2, 9, 9\)"):
        local_affine_map(model, x)
    with pytest.raises(ValueError, match="x must be one input"):
        hyperplanes(model, x.expand(2, -1, -1, -1))


@pytest.mark.parametrize(
    ("x", "u", "message"),
    [
        ([[1.0, 0.0]], [[1.0, 0.0], [0.0, 0.0]], "row 1 is all zero"),
        ([[1.0, 0.0]], [[1.0, 0.0, 2.0]], r"u of shape \(1, 3\) and x of shape \(1, 2\)"),
        ([[1.0, 0.0]] * 2, [[1.0, 0.0]], "u must have the shape of x"),
        ([[1.0, 0.0]], [[float("inf"), 0.0]], "u must be finite"),
    ],
)
def test_exit_radius__errors(x, u, message):
    with pytest.raises(ValueError, match=message):
        exit_radius(_two_layers(), _tensor(*x), _tensor(*u))
    with pytest.raises(ValueError, match="share dtype"):
        exit_radius(_two_layers(), _tensor([1.0, 0.0]), torch.ones(1, 2))


@pytest.mark.parametrize("chunk", [0, -1, 2.5, True])
def test_local_affine_map__chunk_must_be_a_positive_integer(chunk):
    with pytest.raises((TypeError, ValueError), match="chunk must be"):
        local_affine_map(_two_layers(), _tensor([0.0, 0.0]), chunk=chunk)


def test_functions__accept_a_program():
    program, x = lower(_two_layers()), _tensor([4.0, 0.0])
    assert torch.equal(local_affine_map(program, x).map, local_affine_map(_two_layers(), x).map)


def test_kink_expansion__takes_an_input_with_or_without_its_batch_dimension():
    x = torch.tensor([0.7, -0.4], dtype=torch.float64)
    for model in (nn.ReLU(), nn.Sequential(nn.Linear(2, 3).double(), nn.ReLU())):
        for function in (hyperplanes, kink_expansion):
            for found, expected in zip(function(model, x), function(model, x[None]), strict=True):
                assert torch.equal(found, expected)
