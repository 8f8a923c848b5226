"""Tests of the encoders: sizes by hand, second implementations, exact local maps, errors."""

import copy

import pytest
import torch
from networks import redraw
from torch import nn
from torch.nn import functional as F

from vcreg_theory import models, piecewise, seeding

DEVICES = ["cpu"] + ["cuda"] * torch.cuda.is_available()


def _images(generator, n=2, channels=3, size=32, dtype=torch.float32):
    return torch.rand(n, channels, size, size, generator=generator, dtype=dtype)


def _parameters(network):
    return sum(p.numel() for p in network.parameters())


def _same_state(a, b):
    a, b = [*a.state_dict().values()], [*b.state_dict().values()]
    return len(a) == len(b) and all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


def test_mlp__is_torchs_default_initialisation_in_order():
    with seeding.initialisation(3):
        layers = nn.Sequential(nn.Linear(2, 5), nn.ReLU(), nn.Linear(5, 4), nn.ReLU())
    net = models.mlp([2, 5, 4], seed=3, dtype=torch.float32)
    assert _same_state(net, layers) and list(net.state_dict()) == list(layers.state_dict())
    assert net.out_features == 4 and not net.training


def test_digits_encoder__is_torchs_default_initialisation_in_order():
    with seeding.initialisation(5):
        convolutions = nn.Conv2d(1, 16, 3), nn.Conv2d(16, 32, 3)
        layers = nn.Sequential(*convolutions, nn.Linear(512, 64), nn.Linear(64, 7)).double()
    net = models.digits_encoder(7, seed=5)
    assert _same_state(net, layers) and net.out_features == 7


def test_network__slices_to_a_network_without_a_width():
    net = models.mlp([2, 5, 4], seed=0)
    assert len(net[:2]) == 2 and copy.deepcopy(net).out_features == 4
    with pytest.raises(AttributeError, match="out_features"):
        _ = net[:2].out_features


# --- Normalise ----------------------------------------------------------------------------------


def test_normalise__closed_form_and_travels_in_the_state(generator):
    x = _images(generator, channels=2, size=4)
    layer = models.Normalise(2, mean=(0.5, 0.25), std=(0.5, 0.125))
    expected = torch.stack([(x[:, 0] - 0.5) / 0.5, (x[:, 1] - 0.25) / 0.125], 1)
    torch.testing.assert_close(layer(x), expected, rtol=0, atol=0)
    other = models.Normalise(2)
    assert torch.equal(other(x), x)
    other.load_state_dict(layer.state_dict())
    assert torch.equal(other(x), expected) and not list(layer.parameters())


@pytest.mark.parametrize(
    ("images", "error", "message"),
    [
        (torch.zeros(2, 1, 4, 4), ValueError, r"\(n, 3, height, width\), got \(2, 1, 4, 4\)"),
        (torch.zeros(3, 4, 4), ValueError, r"got \(3, 4, 4\)"),
        (torch.zeros(2, 3, 4, 4, dtype=torch.uint8), TypeError, "floating point .* torch.uint8"),
    ],
)
def test_normalise__refuses_images_that_would_broadcast_or_lie_outside(images, error, message):
    with pytest.raises(error, match=message):
        models.resnet18(1, seed=0)(images)


# --- ResNet-18 ----------------------------------------------------------------------------------


def _resnet_parameters(width, in_channels):
    """Count by hand: the weights and two numbers a channel of each convolution's BatchNorm."""
    total = width * (9 * in_channels + 2)
    inputs = width
    for stage in range(4):
        outputs = width * 2**stage
        total += outputs * (9 * inputs + 2) + 3 * outputs * (9 * outputs + 2)
        total += outputs * (inputs + 2) if inputs != outputs else 0
        inputs = outputs
    return total


def _resnet_multiplications(width, size):
    """Count by hand for 3 x size x size images."""
    total = 27 * width * size**2
    inputs = width
    for stage in range(4):
        outputs, area = width * 2**stage, (size // 2**stage) ** 2
        total += 9 * area * outputs * (inputs + 3 * outputs)
        total += area * outputs * inputs if inputs != outputs else 0
        inputs = outputs
    return total


def test_resnet18__standard_size():
    net = models.resnet18(seed=0)
    assert _parameters(net) == _resnet_parameters(64, 3) == 11_168_832
    macs = _resnet_multiplications(64, 32)
    assert models.forward_flops(net, (3, 32, 32)) == 2 * macs
    assert macs / 1e9 == pytest.approx(0.556, abs=1e-3)
    assert net.out_features == 512 and not net.training


@pytest.mark.parametrize(("width", "channels", "size"), [(1, 1, 16), (6, 3, 32), (5, 2, 28)])
def test_resnet18__any_width_channels_and_size(generator, width, channels, size):
    net = models.resnet18(width, in_channels=channels, seed=0)
    z = net(_images(generator, 2, channels, size))
    assert z.shape == (2, 8 * width) == (2, net.out_features) and (z >= 0).all()
    assert _parameters(net) == _resnet_parameters(width, channels)


def _norm(x, state, name, training):
    mean, var, weight, bias = (
        state[f"{name}.{key}"] for key in ("running_mean", "running_var", "weight", "bias")
    )
    if training:
        mean, var = x.mean((0, 2, 3)), x.var((0, 2, 3), unbiased=False)
    scale = weight / (var + 1e-5).sqrt()
    return x * scale.reshape(-1, 1, 1) + (bias - mean * scale).reshape(-1, 1, 1)


def _resnet_by_hand(state, x, training):
    """A ResNet-18 written from its definition, from the tensors alone."""
    x = (x - state["normalise.mean"]) / state["normalise.std"]
    x = _norm(F.conv2d(x, state["conv.weight"], padding=1), state, "bn", training).relu()
    for stage in range(1, 5):
        for block in range(2):
            name, stride = f"stage{stage}.{block}", 2 if stage > 1 and block == 0 else 1
            y = F.conv2d(x, state[f"{name}.conv1.weight"], stride=stride, padding=1)
            y = _norm(y, state, f"{name}.bn1", training).relu()
            y = F.conv2d(y, state[f"{name}.conv2.weight"], padding=1)
            y = _norm(y, state, f"{name}.bn2", training)
            if stride == 2:
                x = F.conv2d(x, state[f"{name}.shortcut.0.weight"], stride=2)
                x = _norm(x, state, f"{name}.shortcut.1", training)
            x = (x + y).relu()
    return x.flatten(2).mean(2)


@pytest.mark.parametrize("training", [False, True])
def test_resnet18__agrees_with_its_definition(generator, training):
    net = models.resnet18(4, seed=0, mean=(0.1, 0.2, 0.3), std=(0.5, 1.0, 2.0), dtype=torch.float64)
    redraw(net, seed=0, gain=1.0).train(training)
    x = _images(generator, 4, dtype=torch.float64)
    expected = _resnet_by_hand({k: v.clone() for k, v in net.state_dict().items()}, x, training)
    torch.testing.assert_close(net(x), expected, rtol=1e-10, atol=1e-12)


def test_resnet18__normalisation_is_its_first_layer(generator):
    x = _images(generator)
    plain, net = (
        models.resnet18(2, seed=0, **o) for o in ({}, {"mean": [0.5] * 3, "std": [2] * 3})
    )
    assert torch.equal(net(x), plain((x - 0.5) / 2))


def _within_chance(weights, variance):
    """Whether the sample variance of normal weights is within 4 deviations, sqrt(2 / N) each."""
    return abs(weights.square().mean().item() / variance - 1) < 4 * (2 / weights.numel()) ** 0.5


def test_resnet18__initial_weights_have_hes_variance():
    net = models.resnet18(16, seed=0)
    # 4 deviations for 4 layers: false alarm below 3e-4 for a fresh seed
    assert _within_chance(net.conv.weight, 2 / (9 * 16))
    assert _within_chance(net.stage2[0].conv1.weight, 2 / (9 * 32))
    assert _within_chance(net.stage2[0].shortcut[0].weight, 2 / 32)
    assert _within_chance(net.stage4[1].conv2.weight, 2 / (9 * 128))


def test_resnet18__zero_init_residual_starts_each_block_as_its_shortcut(generator):
    net = models.resnet18(2, seed=0, zero_init_residual=True)
    scales = [k for k, v in net.state_dict().items() if k.endswith("weight") and not v.any()]
    assert scales == [f"stage{s}.{b}.bn2.weight" for s in range(1, 5) for b in range(2)]
    block, x = net.stage2[0], torch.randn(2, 2, 8, 8, generator=generator)
    assert torch.equal(block(x), block.shortcut(x).relu())
    plain = models.resnet18(2, seed=0)
    assert torch.equal(plain.stage4[1].conv2.weight, net.stage4[1].conv2.weight)


BUILDERS = {
    "resnet18": lambda seed: models.resnet18(2, seed=seed),
    "conv_encoder": lambda seed: models.conv_encoder((4, 6), 5, in_channels=3, size=32, seed=seed),
    "projector": lambda seed: models.projector([4, 6, 5], seed=seed, bias=1.0),
    "elementwise": lambda seed: models.elementwise_projector(3, 2, seed=seed),
}


@pytest.mark.parametrize("name", BUILDERS)
def test_builders__weights_depend_on_the_seed_alone(name):
    state = torch.get_rng_state()
    first, again, other = (models.fingerprint(BUILDERS[name](seed)) for seed in (0, 0, 1))
    assert first == again != other
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("name", ["resnet18", "conv_encoder"])
def test_encoders__channels_last_changes_the_rounding_only(generator, name):
    net = redraw(BUILDERS[name](0).double(), seed=1, gain=1.0)
    x = _images(generator, dtype=torch.float64)
    expected = net(x).detach()
    found = net.to(memory_format=torch.channels_last)(x.to(memory_format=torch.channels_last))
    # At most 18 sums of 144 terms in another order: 18 x 144 x 1.1e-16 = 3e-13 of their size.
    assert (found - expected).abs().max() < 1e-12 * expected.abs().max()


@pytest.mark.parametrize("name", ["resnet18", "conv_encoder"])
def test_encoders__run_in_bfloat16_under_autocast(generator, name):
    net, x = redraw(BUILDERS[name](0), seed=1, gain=1.0), _images(generator)
    with torch.autocast("cpu", torch.bfloat16):
        found = net(x)
    assert found.dtype == torch.bfloat16
    # Not above 60 roundings of relative size 2^-9 one after another, all in one direction.
    assert (found.float() - net(x)).norm() < 60 * 2**-9 * net(x).norm()


@pytest.mark.parametrize("name", BUILDERS)
def test_builders__compile_as_one_graph(generator, name):
    net = BUILDERS[name](0).train()
    x = torch.randn(4, 3, generator=generator) if name == "elementwise" else _images(generator)
    x = torch.randn(4, 4, generator=generator) if name == "projector" else x
    expected = copy.deepcopy(net)(x)
    torch._dynamo.reset()
    assert torch.equal(torch.compile(net, backend="eager", fullgraph=True)(x), expected)


@pytest.mark.parametrize("device", DEVICES)
def test_builders__work_on_the_device(generator, device):
    for name in ("resnet18", "conv_encoder"):
        z = BUILDERS[name](0).to(device)(_images(generator).to(device))
        assert z.device.type == device and z.dtype == torch.float32


# --- Convolutional encoder ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("channels", "in_channels", "size", "strides", "linear_inputs"),
    [
        ((16, 32, 64, 64), 3, 32, None, 64 * 4 * 4),
        ((32, 64, 128, 256), 3, 32, None, 256 * 4 * 4),
        ((16, 32), 1, 8, None, 32 * 4 * 4),
        ((4, 5), 1, 9, (2, 2), 5 * 3 * 3),
        ((4,), 2, 7, (3,), 4 * 3 * 3),
    ],
)
def test_conv_encoder__sizes(generator, channels, in_channels, size, strides, linear_inputs):
    net = models.conv_encoder(
        channels, 10, in_channels=in_channels, size=size, seed=0, strides=strides
    )
    assert net(_images(generator, 3, in_channels, size)).shape == (3, 10) and net.out_features == 10
    assert net.linear.in_features == linear_inputs


@pytest.mark.parametrize("batch_norm", [False, True])
def test_conv_encoder__parameters_and_flops_by_hand(batch_norm):
    net = models.conv_encoder((4, 6), 5, in_channels=3, size=8, seed=0, batch_norm=batch_norm)
    a_channel = 2 if batch_norm else 1
    assert _parameters(net) == 4 * (27 + a_channel) + 6 * (36 + a_channel) + 5 * (6 * 16 + 1)
    assert models.forward_flops(net, (3, 8, 8)) == 2 * (4 * 27 * 64 + 6 * 36 * 16 + 5 * 6 * 16)
    assert any(isinstance(m, nn.BatchNorm2d) for m in net) == batch_norm


@pytest.mark.parametrize("batch_norm", [False, True])
def test_conv_encoder__agrees_with_its_definition(generator, batch_norm):
    net = models.conv_encoder(
        (4, 6),
        5,
        in_channels=2,
        size=9,
        seed=0,
        batch_norm=batch_norm,
        mean=(0.5, 0.1),
        dtype=torch.float64,
    )
    state = redraw(net, seed=2).state_dict()
    x = _images(generator, 3, 2, 9, torch.float64)
    y = x - state["normalise.mean"]
    for k in (1, 2):
        y = F.conv2d(y, state[f"conv{k}.weight"], state.get(f"conv{k}.bias"), k, 1)
        y = (_norm(y, state, f"bn{k}", False) if batch_norm else y).relu()
    expected = y.flatten(1) @ state["linear.weight"].T + state["linear.bias"]
    torch.testing.assert_close(net(x), expected, rtol=1e-10, atol=1e-12)


def test_conv_encoder__sees_position(generator):
    net = models.conv_encoder((4, 6), 5, in_channels=1, size=16, seed=0)
    x = torch.zeros(2, 1, 16, 16)
    x[0, 0, 4:6, 4:6] = x[1, 0, 8:10, 8:10] = 1.0  # the same square, eight pixels on
    z = net(x)
    assert (z[0] - z[1]).norm() > 0.01 * z.norm()
    pooled = models.resnet18(4, seed=0, in_channels=1)[:4](x).mean((2, 3))  # what averaging sees
    torch.testing.assert_close(pooled[0], pooled[1])


def test_conv_encoder__initial_weights_have_hes_variance():
    net = models.conv_encoder((32, 64), 5, in_channels=3, size=8, seed=0, batch_norm=False)
    assert _within_chance(net.conv1.weight, 2 / 27) and not net.conv1.bias.any()
    assert _within_chance(net.conv2.weight, 2 / (9 * 32))


# --- What piecewise makes of them ---------------------------------------------------------------

PIECEWISE = {
    "resnet18": (lambda: models.resnet18(2, seed=0, mean=[0.5] * 3, std=[0.2] * 3), (3, 16, 16)),
    "resnet18_zero": (lambda: models.resnet18(1, seed=0, zero_init_residual=True), (3, 16, 16)),
    "conv_encoder": (
        lambda: models.conv_encoder((3, 4), 5, in_channels=1, size=8, seed=0, mean=[0.3], std=[2]),
        (1, 8, 8),
    ),
    "conv_plain": (
        lambda: models.conv_encoder((3, 4), 5, in_channels=1, size=8, seed=0, batch_norm=False),
        (1, 8, 8),
    ),
    "projector": (lambda: models.projector([6, 9, 9, 4], seed=0), (6,)),
    "projector_random": (
        lambda: models.projector(
            [6, 9, 4], seed=0, frozen=True, activation="leaky_relu", final="activation"
        ),
        (6,),
    ),
    "projector_plain": (lambda: models.projector([6, 9, 4], seed=0, batch_norm=False), (6,)),
    "both": (
        lambda: nn.Sequential(
            models.conv_encoder((3,), 5, in_channels=1, size=8, seed=0),
            models.projector([5, 7, 3], seed=0),
        ),
        (1, 8, 8),
    ),
    "elementwise": (lambda: models.elementwise_projector(3, 4, seed=0).dense(), (3,)),
}


@pytest.mark.parametrize("drawn_anew", [False, True])
@pytest.mark.parametrize("name", PIECEWISE)
def test_networks__have_exact_local_maps(generator, name, drawn_anew):
    build, shape = PIECEWISE[name]
    net = build().double().eval()
    if drawn_anew:
        redraw(net, seed=0, gain=1.0)
    x = torch.rand(2, *shape, generator=generator, dtype=torch.float64)
    local = piecewise.local_affine_map(net, x)
    jacobian = torch.func.vmap(torch.func.jacrev(lambda v: net(v[None])[0]))(x).flatten(2)
    scale = max(1.0, net(x).abs().max().item(), jacobian.abs().max().item())
    assert (local(x) - net(x)).abs().max() < 1e-12 * scale
    assert (local.map - jacobian).abs().max() < 1e-12 * scale
    assert piecewise.activation_pattern(net, x).shape[1] > 0


def test_networks__in_training_mode_or_with_other_units_have_none():
    x = torch.rand(1, 6)
    with pytest.raises(TypeError, match="eval"):
        piecewise.local_affine_map(models.projector([6, 3, 2], seed=0).train(), x)
    for net in (
        models.projector([6, 3, 2], seed=0, activation="tanh"),
        models.elementwise_projector(6, 2, seed=0, activation="cosine").dense(),
    ):
        with pytest.raises(TypeError, match="not piecewise affine"):
            piecewise.local_affine_map(net, x)


# --- Cost and identity --------------------------------------------------------------------------


def test_forward_flops__leaves_the_model_alone_and_counts_what_runs():
    net = models.projector([4, 8, 3], seed=0, dtype=torch.float64).train()
    before = models.fingerprint(net)
    assert models.forward_flops(net, [4]) == 2 * (32 + 24)
    assert net.training and models.fingerprint(net) == before
    grouped = nn.Sequential(nn.Conv2d(4, 6, 3, groups=2), nn.Flatten())
    assert models.forward_flops(grouped, (4, 8, 8)) == 2 * 6 * 36 * (2 * 9)


def test_tensors_fingerprint__is_that_of_a_model():
    net = models.mlp([2, 3], seed=0)
    state = net.state_dict()
    assert models.tensors_fingerprint(dict(reversed(state.items()))) == models.fingerprint(net)
    assert models.tensors_fingerprint({**state, "0.bias": state["0.bias"].float()}) != (
        models.fingerprint(net)
    )


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: models.resnet18(0, seed=0), ValueError, "width must be at least 1"),
        (lambda: models.resnet18(4.0, seed=0), TypeError, "width must be an integer"),
        (lambda: models.resnet18(2, seed=-1), ValueError, "seed"),
        (lambda: models.resnet18(2, seed=0, in_channels=0), ValueError, "in_channels"),
        (lambda: models.resnet18(2, seed=0, dtype=torch.float16), ValueError, "dtype"),
        (lambda: models.resnet18(2, seed=0, mean=[0.5]), ValueError, "mean .* 3 channels"),
        (lambda: models.resnet18(2, seed=0, std=[1, 0, 1]), ValueError, "std must be positive"),
        (lambda: models.Normalise(1, mean=[float("nan")]), ValueError, "mean must be finite"),
        (lambda: _conv(()), ValueError, "channels must hold at least one"),
        (lambda: _conv((4, 0)), ValueError, "channels must be at least 1"),
        (lambda: _conv((4, 4), strides=(1,)), ValueError, "strides .* 2 convolutions"),
        (lambda: _conv((4,), strides=(0,)), ValueError, "strides must be at least 1"),
        (lambda: _conv((4,), dim=0), ValueError, "dim must be at least 1"),
        (lambda: _conv((4,), size=0), ValueError, "size must be at least 1"),
        (lambda: _conv((4,), dtype=torch.bfloat16), ValueError, "dtype"),
        (lambda: models.forward_flops(nn.Linear(3, 2), [4]), ValueError, r"input_shape \(4,\)"),
        (lambda: models.forward_flops(nn.Linear(3, 2), [0]), ValueError, "at least 1"),
    ],
)
def test_encoders__refuse_bad_options(call, error, message):
    with pytest.raises(error, match=message):
        call()


def _conv(channels, dim=3, size=8, **options):
    return models.conv_encoder(channels, dim, in_channels=1, size=size, seed=0, **options)
