"""Tests of the translation of modules into programs of steps."""

import operator

import pytest
import torch
from networks import Residual, mixed_net, redraw
from torch import nn
from torch.nn import functional as F

from vcreg_theory.piecewise import Program, lower
from vcreg_theory.piecewise.steps import MaxPool, Rectifier


class Function(nn.Module):
    """A module whose forward is the given function, with one buffer `c`."""

    def __init__(self, function, c=None):
        super().__init__()
        self.function = function
        self.register_buffer("c", c)

    def forward(self, x):
        return self.function(x) if self.c is None else self.function(x, self.c)


def _draw(generator, *shape):
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize(
    "function",
    [
        lambda x: F.relu(x) - F.leaky_relu(-x, 0.3),
        lambda x: (0.1 * x - 0.7) / 3 + (0.2 - x),
        lambda x: F.max_pool2d(x, 2) + F.avg_pool2d(x, 2),
        lambda x: F.max_pool2d(x, kernel_size=3, stride=1, padding=1),
        lambda x: torch.flatten(input=x, start_dim=1),
        lambda x: x.mean((2, 3)),
        lambda x: torch.flatten(F.adaptive_avg_pool2d(x, 1), 1),
        lambda x: x.mean((2, 3), keepdim=True) - x,  # a sum that stretches one value
        lambda x: F.dropout(x, 0.5, training=False).relu(),
    ],
)
def test_lower__functional_forms_equal_the_network(generator, function):
    x = _draw(generator, 3, 2, 6, 6)
    torch.testing.assert_close(lower(Function(function))(x), function(x), rtol=1e-13, atol=1e-13)


def test_lower__mixed_net_equals_the_network(generator):
    model, x = mixed_net(), _draw(generator, 8, 2, 9, 9)
    torch.testing.assert_close(lower(model)(x), model(x), rtol=1e-12, atol=1e-12)


def test_lower__constants_keep_double_precision(generator):
    x = _draw(generator, 4, 3)
    assert torch.equal(lower(Function(lambda x: x * 0.1))(x), x * 0.1)


def test_lower__constant_larger_than_the_value(generator):
    c, x = _draw(generator, 4, 1, 1), _draw(generator, 2, 1, 3, 3)
    step = lower(Function(lambda x, c: x * c + c, c)).steps
    program = Program(step, len(step))
    out = program(x)
    assert torch.equal(out, x * c + c)
    g = torch.ones_like(out)
    for s in reversed(step):
        (g,) = s.adjoint(None, g, torch.Size((1, 3, 3)) if s is step[0] else out.shape[1:])
    torch.testing.assert_close(g, c.sum().expand(2, 1, 3, 3))


def test_lower__program_is_returned_as_it_is():
    program = lower(nn.Sequential(nn.Linear(2, 2)))
    assert lower(program) is program


def test_lower__layer_called_with_a_named_argument(generator):
    class Named(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = redraw(nn.Linear(3, 2).double(), seed=0)

        def forward(self, x):
            return self.layer(input=x)

    model, x = Named(), _draw(generator, 2, 3)
    assert torch.equal(lower(model)(x), model(x))


def test_lower__single_layer():
    layer = nn.Linear(3, 2)
    x = torch.ones(1, 3)
    assert torch.equal(lower(layer)(x), layer(x))


def test_lower__slope_one_is_no_boundary():
    program = lower(nn.Sequential(nn.Linear(2, 2), nn.LeakyReLU(1.0), nn.LeakyReLU(0.5)))
    assert [s.slope for s in program.steps if isinstance(s, Rectifier)] == [0.5]


def test_lower__drops_branches_that_do_not_reach_the_output():
    class Dropped(nn.Module):
        def __init__(self):
            super().__init__()
            self.used, self.unused = nn.Linear(2, 2), nn.ReLU()

        def forward(self, x):
            self.unused(x)
            return self.used(x)

    assert [s.name for s in lower(Dropped()).steps] == ["used"]


@pytest.mark.parametrize(
    ("layer", "kind"),
    [
        (nn.GELU(), "GELU"),
        (nn.Tanh(), "Tanh"),
        (nn.Softmax(1), "Softmax"),
        (nn.LayerNorm(3), "LayerNorm"),
        (Function(lambda x: x * x), "product"),
        (Function(lambda x: 1.0 / x), "division"),
        (Function(torch.sin), "sin"),
        (Function(lambda x: torch.add(x, x, alpha=2)), "alpha"),
    ],
)
def test_lower__refuses_what_is_not_affine_by_name(layer, kind):
    with pytest.raises(TypeError, match=kind):
        lower(nn.Sequential(nn.Linear(3, 3), layer))


def _adds_in_place(x):
    y = 2 * x
    return y.relu() + operator.iadd(y, 1) - y


def _adds_to_another_name(x):
    y = 2 * x
    z = y
    z += 1
    return y.relu() + z


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (nn.Sequential(nn.BatchNorm1d(3)).train(), "'0' .BatchNorm1d. normalises by batch"),
        (nn.Sequential(nn.BatchNorm1d(3, track_running_stats=False)).eval(), "batch statistics"),
        (nn.Sequential(nn.Dropout(0.5)).train(), "'0' .Dropout. is random"),
        (Function(lambda x: F.dropout(x, 0.5)), "is random"),  # training is the default there
        (Function(lambda x: x if x.sum() > 0 else -x), "cannot be traced"),
        (nn.Sequential(nn.MaxPool2d(2, ceil_mode=True)), "ceil_mode"),
        (nn.Sequential(nn.Flatten(0)), "batch dimension"),
        (Function(lambda x: F.relu(x, inplace=True) + x), "works in place"),
        (Residual(nn.ReLU(inplace=True)), "'body' works in place"),
        (Function(_adds_in_place), "'iadd' works in place"),
        (Function(_adds_to_another_name), "'iadd' works in place"),
        (lambda x: x, "torch.nn.Module"),
    ],
)
def test_lower__refuses_what_depends_on_batch_chance_or_data(model, message):
    with pytest.raises(TypeError, match=message):
        lower(model)


def test_lower__in_place_layers_are_fine_where_nothing_reads_later(generator):
    model = nn.Sequential(nn.Linear(3, 3), nn.ReLU(inplace=True), nn.Linear(3, 1)).double()
    x = _draw(generator, 4, 3)
    assert torch.equal(lower(model)(x), model(x))


@pytest.mark.parametrize(
    "layer",
    [
        nn.Linear(6, 5),
        nn.Conv1d(4, 6, 3, stride=2, padding=1, groups=2),
        nn.Conv2d(2, 3, 3, stride=2, padding=1),
        nn.Conv2d(2, 3, (2, 3), stride=(3, 2), dilation=(1, 2)),
        nn.Conv2d(2, 3, 3, padding="same"),
        nn.Conv2d(2, 3, 3, padding=1, padding_mode="circular"),
        nn.Conv3d(1, 2, 2, stride=2),
        nn.BatchNorm2d(2),
        nn.AvgPool2d(3, stride=2, padding=1),
        nn.AdaptiveAvgPool2d(2),
        nn.MaxPool2d(3, stride=2, padding=1),
        nn.MaxPool2d(2, stride=1, dilation=2),
        nn.LeakyReLU(0.1),
        nn.Flatten(),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_step__adjoint_is_the_transpose(generator, layer):
    shape = {nn.Linear: (6,), nn.Conv1d: (4, 8), nn.Conv3d: (1, 5, 4, 4)}.get(type(layer))
    shape = shape or (2, 8, 7)
    step = lower(nn.Sequential(redraw(layer, seed=2).double())).steps[0]
    x, u = _draw(generator, 1, *shape), _draw(generator, 4, *shape)
    pattern = step.pattern(x)
    image = step.linear(pattern, u)
    g = _draw(generator, *image.shape)
    (back,) = step.adjoint(pattern, g, torch.Size(shape))
    assert back.shape == u.shape
    torch.testing.assert_close((image * g).sum(), (u * back).sum(), rtol=1e-12, atol=1e-12)


def test_step__affine_minus_linear_is_constant(generator):
    program, x = lower(mixed_net()), _draw(generator, 1, 2, 9, 9)
    values = program.values(x)
    for step in program.steps:
        read = program.reads(step, values)
        pattern = step.pattern(*read)
        offsets = [
            step.affine(pattern, *v) - step.linear(pattern, *v)
            for v in (read, [_draw(generator, *r.shape) for r in read])
        ]
        torch.testing.assert_close(*offsets, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("options", [(3, 2, 1, 1), (2, 2, 0, 1), (2, 1, 0, 2), (3, 1, 1, 1)])
def test_windows__hold_each_winner(generator, options):
    x = _draw(generator, 3, 2, 7, 6)
    kernel, stride, padding, dilation = options
    step = MaxPool(
        "pool", (0,), dict(kernel_size=kernel, stride=stride, padding=padding, dilation=dilation)
    )
    windows, places = step.windows(x.shape[1:]), step.places(step.pattern(x), x.shape[1:])
    flat = x.flatten(1)[:, windows.clamp(min=0)].masked_fill(windows < 0, -torch.inf)
    best = flat.amax(-1)
    assert torch.equal(best, F.max_pool2d(x, *options).flatten(1))
    assert torch.equal(flat.gather(-1, places.unsqueeze(-1)).squeeze(-1), best)


def test_program__affine_is_the_program_at_its_own_pattern(generator):
    program, x = lower(mixed_net()), _draw(generator, 5, 2, 9, 9)
    torch.testing.assert_close(program.affine(x, program.patterns(x)), program(x))


class _WithScale(nn.Module):
    def forward(self, x, scale=2.0):
        return scale * x.relu()


class _OfTwo(nn.Module):
    def forward(self, x, y):
        return x + y


class _WithParameter(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function, self.p = function, nn.Parameter(torch.tensor([0.5, -2.0, 3.0]))

    def forward(self, x):
        return self.function(x, self.p)


def _reads_the_sum(x):
    y = 2 * x
    y += 1
    y *= 3
    y -= x
    y /= 2
    return y.relu()


@pytest.mark.parametrize(
    "model",
    [
        _WithScale(),  # a further argument with a default is a constant
        Function(lambda x: x.mul(3.0).sub(1.0).neg().add(x.div(2.0))),
        Function(_reads_the_sum),
        Function(lambda x, c: x.relu() * c.abs() + (c + c), torch.tensor([0.5, -2.0, 3.0])),
        _WithParameter(lambda x, p: p - x.relu() * p),
    ],
)
def test_lower__arithmetic_equals_the_network(generator, model):
    x = _draw(generator, 5, 3)
    torch.testing.assert_close(lower(model)(x), model(x), rtol=1e-14, atol=1e-14)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (_OfTwo(), "must take one input"),
        (_WithParameter(lambda x, p: x + (p + p)), r"\(add of constants\)"),
        (_WithParameter(lambda x, p: x + F.relu(p)), "'relu' must read one tensor"),
        (Function(lambda x, c: c, torch.ones(3)), "one tensor that depends on the input"),
        (Function(lambda x: x.mean()), "name trailing dimensions"),
        (Function(lambda x: x * x.relu()), "product or ratio of two values"),
        (Function(lambda x: torch.add(x, x, alpha=2)), "add with alpha"),
    ],
)
def test_lower__refuses_arithmetic_that_is_not_affine_in_the_input(model, message):
    with pytest.raises(TypeError, match=message):
        lower(model)
