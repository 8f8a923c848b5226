"""Tests of the files: exact round trips, every kind of damage, failures while writing."""

import errno
import hashlib
import json
import math
import os
import resource
import subprocess
import sys
from collections import OrderedDict

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from vcreg_theory import checkpoints, models

DEVICES = ["cpu"] + ["cuda"] * torch.cuda.is_available()


def _network(seed=0, channels=(3, 4), dim=5):
    """A network with BatchNorm whose statistics and counter have moved."""
    net = models.conv_encoder(
        channels, dim, in_channels=1, size=8, seed=seed, mean=[0.3], std=[0.7]
    ).train()
    net(torch.rand(4, 1, 8, 8, generator=torch.Generator().manual_seed(seed)))
    return net.eval()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "net.safetensors"


@pytest.fixture
def saved(path):
    return checkpoints.save(path, _network(), metadata={"name": "é 1", "seed": "0"})


# --- Weights ------------------------------------------------------------------------------------


@pytest.mark.parametrize("device", DEVICES)
def test_save__load_is_an_exact_round_trip(path, device):
    net = _network().to(device).to(memory_format=torch.channels_last)
    digest = checkpoints.save(path, net, metadata={"a": "b"})
    other = _network(seed=1).to(device)
    found = checkpoints.load(path, other, sha256=digest)
    assert models.fingerprint(other) == models.fingerprint(net) == found["fingerprint"]
    assert found["a"] == "b" and found == checkpoints.metadata(path)
    assert digest == hashlib.sha256(path.read_bytes()).hexdigest()
    assert next(other.parameters()).device.type == device
    assert other.bn1.num_batches_tracked == 1 and other.normalise.mean == 0.3


def test_save__is_read_by_the_library_of_the_format(path, saved):
    import safetensors.torch

    tensors = safetensors.torch.load_file(path)
    state = _network().state_dict()
    assert tensors.keys() == state.keys()
    assert all(torch.equal(tensors[name], value) for name, value in state.items())
    with safetensors.safe_open(path, "pt") as file:
        assert file.metadata() == checkpoints.metadata(path)


def test_save__equal_models_give_equal_files(path, saved):
    names = {f"key {k}": str(k) for k in range(20)}
    digests = set()
    for k, entries in enumerate((names, dict(reversed(names.items())), names)):
        # tensors in another memory layout, metadata in another order
        net = _network().to(memory_format=(torch.contiguous_format, torch.channels_last)[k % 2])
        digests.add(checkpoints.save(path, net, metadata=entries))
    assert len(digests) == 1


@pytest.mark.parametrize(("half", "epsilon"), [(torch.float16, 2**-11), (torch.bfloat16, 2**-8)])
def test_save__half_precision_rounds_and_keeps_integers(path, half, epsilon):
    net, other = _network(), _network(seed=1)
    full = path.with_name("full")
    checkpoints.save(full, net, metadata={})
    found = checkpoints.load(
        path, other, sha256=checkpoints.save(path, net, metadata={}, dtype=half)
    )
    for name, value in net.state_dict().items():
        loaded = other.state_dict()[name]
        assert loaded.dtype == value.dtype
        if name.endswith("num_batches_tracked"):
            assert loaded == 1
        else:
            assert torch.equal(loaded, value.to(half).to(value.dtype))
            # half a unit in the last place, or of the smallest number of float16
            assert ((loaded - value).abs() <= epsilon * value.abs() + 2**-25).all()
    stored = {k: v.to(half) if v.is_floating_point() else v for k, v in net.state_dict().items()}
    assert found["fingerprint"] == models.tensors_fingerprint(stored)
    assert path.stat().st_size < 0.8 * full.stat().st_size


def test_load__converts_to_the_dtype_of_the_model(path):
    net = _network()
    checkpoints.save(path, net, metadata={}, dtype=torch.float64)
    other = _network(seed=1)
    checkpoints.load(path, other)
    assert models.fingerprint(other) == models.fingerprint(net)
    double = _network(seed=1).double()
    checkpoints.load(path, double)
    assert models.fingerprint(double) == models.fingerprint(net.double())


def test_save__holds_tensors_that_share_memory(path):
    tied = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    tied[1].weight = tied[0].weight
    checkpoints.save(path, tied, metadata={})
    free = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    checkpoints.load(path, free)
    assert torch.equal(free[0].weight, tied[0].weight) and torch.equal(*[m.weight for m in free])


@pytest.mark.parametrize("keep", [0, 5, 8, 100, 1000, -1])
def test_load__refuses_a_truncated_file(path, saved, keep):
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ValueError, match=r"net\.safetensors .*cut off"):
        checkpoints.load(path, _network())


def test_load__refuses_a_longer_file(path, saved):
    path.write_bytes(path.read_bytes() + b"\0")
    with pytest.raises(ValueError, match=r"net\.safetensors was cut off or altered: it has"):
        checkpoints.load(path, _network())


@pytest.mark.parametrize("flip", [0x01, 0x20, 0x29, 0xFF])  # 0x29: a space becomes a tab
def test_load__refuses_any_flipped_byte(path, saved, flip):
    net, whole = models.mlp([2, 2], seed=0), path.with_name("whole")
    checkpoints.save(whole, net, metadata={"name": "value"})
    data = whole.read_bytes()
    before = models.fingerprint(net)
    start = 8 + int.from_bytes(data[:8], "little")
    assert data[start - 1 : start] == b" "  # spaces that pad the header are among the bytes
    for position in range(len(data)):
        altered = bytearray(data)
        altered[position] ^= flip
        path.write_bytes(altered)
        with pytest.raises(ValueError, match=r"net\.safetensors"):
            checkpoints.load(path, net)
        if position < start:
            with pytest.raises(ValueError, match=r"net\.safetensors"):
                checkpoints.metadata(path)
    assert models.fingerprint(net) == before


def test_load__says_what_was_expected(path, saved):
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"fingerprint of its tensors is \w{64}, not \w{64}"):
        checkpoints.load(path, _network())
    with pytest.raises(ValueError, match=rf"sha256 of the file is \w{{64}}, not {saved}"):
        checkpoints.load(path, _network(), sha256=saved)


def test_load__refuses_a_file_of_other_makers(path):
    import safetensors.torch

    path.write_bytes(safetensors.torch.save({"w": torch.ones(2)}, {"fingerprint": "0"}))
    with pytest.raises(ValueError, match="not written by save"):
        checkpoints.load(path, nn.Linear(1, 1))
    path.write_bytes(b"PK" * 5000)
    with pytest.raises(ValueError, match="another kind of file"):
        checkpoints.metadata(path)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (
            lambda: _network(channels=(3, 4, 4)),
            r"6 missing: 'bn3.bias', .*, \.\.\.; 1 diff",
        ),
        (lambda: _network(channels=(3,)), r"6 unexpected: 'bn2.bias', .*, \.\.\.; 1 different"),
        (
            lambda: _network(dim=6),
            r"2 different: 'linear.bias' is \(5,\) .*, not \(6,\)",
        ),
        (lambda: models.mlp([2, 3], seed=0), "2 missing: '0.bias', '0.weight'; 16 unexpected"),
    ],
)
def test_load__refuses_another_architecture(path, saved, model, message):
    model = model()
    before = models.fingerprint(model)
    with pytest.raises(ValueError, match=r"net\.safetensors is of another architecture") as caught:
        checkpoints.load(path, model)
    caught.match(message)
    assert models.fingerprint(model) == before


def test_load__refuses_integers_for_weights(path):
    counter = nn.Module()
    counter.register_buffer("n", torch.tensor(3))
    checkpoints.save(path, counter, metadata={})
    other = nn.Module()
    other.register_buffer("n", torch.tensor(3.0))
    with pytest.raises(ValueError, match=r"'n' is \(\) torch.int64, not \(\) floating point"):
        checkpoints.load(path, other)


def test_load__missing_file_is_named(path):
    for read in (checkpoints.metadata, checkpoints.load_state, checkpoints.read_json):
        with pytest.raises(FileNotFoundError, match=r"could not read .*net\.safetensors"):
            read(path)
    with pytest.raises(FileNotFoundError, match=r"the checkpoint, .*net\.safetensors"):
        checkpoints.load(path, _network())


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"metadata": {"seed": 0}}, TypeError, "strings to strings, got 'seed': 0"),
        ({"metadata": {1: "a"}}, TypeError, "strings to strings, got 1: 'a'"),
        ({"metadata": {"fingerprint": "a"}}, ValueError, "'fingerprint', which save writes"),
        ({"metadata": {"checksum": "a"}}, ValueError, "'checksum'"),
        ({"metadata": {}, "dtype": torch.int8}, ValueError, "dtype must be one of None"),
    ],
)
def test_save__refuses_bad_options(path, options, error, message):
    with pytest.raises(error, match=message):
        checkpoints.save(path, _network(), **options)
    assert not path.exists()


@pytest.mark.parametrize(
    ("value", "dtype", "message"),
    [
        (float("nan"), None, r"tensor 'linear\.bias' must be finite in torch\.float32, .* nan"),
        (7e4, torch.float16, r"tensor 'linear\.bias' must be finite in torch\.float16, .* 7e\+04"),
    ],
)
def test_save__refuses_what_is_not_finite(path, value, dtype, message):
    net = _network()
    net.linear.bias.data[0] = value
    with pytest.raises(ValueError, match=r"net\.safetensors: " + message):
        checkpoints.save(path, net, metadata={}, dtype=dtype)
    checkpoints.save(path, _network(), metadata={}, dtype=dtype)


# --- Training state -----------------------------------------------------------------------------


def _equal(a, b):
    """Whether two states agree exactly, types included."""
    if type(a) is not type(b):
        return False
    if isinstance(a, dict):
        return list(a) == list(b) and all(_equal(a[k], b[k]) for k in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(_equal, a, b))
    if isinstance(a, torch.Tensor):
        same = a.dtype == b.dtype and a.shape == b.shape and a.requires_grad == b.requires_grad
        return same and torch.equal(a.nan_to_num(7.0), b.nan_to_num(7.0))
    return a == b or (a != a and b != b)


def _advance(net, optimizer, schedule, generator, steps):
    for _ in range(steps):
        x = torch.rand(6, 1, 8, 8, generator=generator)
        optimizer.zero_grad()
        net(x).square().mean().backward()
        optimizer.step()
        schedule.step()


def _run(seed):
    net = _network(seed).train()
    optimizer = torch.optim.AdamW(net.parameters(), lr=0.01)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 10)
    return net, optimizer, schedule, torch.Generator().manual_seed(seed)


def test_save_state__a_resumed_run_continues_exactly(path):
    run = _run(0)
    _advance(*run, 3)
    *parts, generator = run
    state = {
        "parts": [p.state_dict() for p in parts],
        "generator": generator.get_state(),
        "step": 3,
    }
    checkpoints.save_state(path, state)
    _advance(*run, 3)
    resumed = _run(1)
    loaded = checkpoints.load_state(path)
    for part, values in zip(resumed, loaded["parts"], strict=False):
        part.load_state_dict(values)
    resumed[3].set_state(loaded["generator"])
    _advance(*resumed, 3)
    assert models.fingerprint(resumed[0]) == models.fingerprint(run[0])
    assert _equal(resumed[1].state_dict(), run[1].state_dict())


def test_save_state__round_trip_of_every_kind(path, generator):
    state = {
        "numbers": [1, -(2**200), 0.1, float("inf"), float("nan"), True, None, "é\0"],
        "nested": {0: {"a": ()}, 1: [(1, [2.0, ("x",)])], "": OrderedDict(z=1, a=2)},
        "tensors": {
            str(dtype): torch.arange(6).reshape(2, 3).to(dtype)
            for dtype in (torch.uint8, torch.int64, torch.bool, torch.bfloat16, torch.float64)
        },
        "empty": torch.empty(0, 3),
        "scalar": torch.tensor(float("nan")),
        "view": torch.arange(12.0).reshape(3, 4).T[1:],
        "parameter": nn.Parameter(torch.ones(2)),
        "torch": generator.get_state(),
        "numpy": np.random.default_rng(0).bit_generator.state,
        "shape": torch.Size([1, 2]),
        "dtype": torch.float16,
    }
    checkpoints.save_state(path, state)
    assert _equal(checkpoints.load_state(path), state)


_PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=3) | st.integers(-9, 9), inner, max_size=3)
        | st.tuples(inner, inner)
    ),
    max_leaves=8,
)


@given(value=_PLAIN)
def test_save_state__round_trip_of_any_nesting(tmp_path_factory, value):
    path = tmp_path_factory.getbasetemp() / "state"
    checkpoints.save_state(path, {"value": value})
    assert _equal(checkpoints.load_state(path)["value"], value)


@pytest.mark.parametrize("keep", [0, 10, 30, 60, 95, 96, 500, -1])
def test_load_state__refuses_a_truncated_file(path, keep):
    checkpoints.save_state(path, {"w": torch.ones(100)})
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ValueError, match=r"net\.safetensors (is|was) (not a training|cut off)"):
        checkpoints.load_state(path)


def test_load_state__refuses_any_flipped_byte(path):
    checkpoints.save_state(path, {"w": torch.ones(2)})
    data = path.read_bytes()
    for position in (*range(100), *range(100, len(data), 16)):
        altered = bytearray(data)
        altered[position] ^= 0x20
        path.write_bytes(altered)
        with pytest.raises(ValueError, match=r"net\.safetensors .*altered"):
            checkpoints.load_state(path)


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ([1], "state must be a dict, got list"),
        ({"a": {"b": [np.float64(1.0)]}}, r"state\['a'\]\['b'\]\[0\] must be .*got float64"),
        ({"a": np.zeros(2)}, r"state\['a'\] must be .*got ndarray"),
        ({"a": {(1, 2): 3}}, r"state\['a'\] must have strings or integers as keys, got \(1, 2\)"),
        ({"f": math.sin}, r"state\['f'\]"),
    ],
)
def test_save_state__refuses_what_could_not_be_read(path, state, message):
    with pytest.raises(TypeError, match=message):
        checkpoints.save_state(path, state)
    assert not path.exists()


# --- JSON ---------------------------------------------------------------------------------------


def test_write_json__round_trip_sorted(path):
    record = {"b": [1, 2.5, None, True, "é"], "a": {"z": 1e-300, "y": 0.1}}
    checkpoints.write_json(path, record)
    assert checkpoints.read_json(path) == record
    text = path.read_text("utf-8")
    assert text.index('"a"') < text.index('"b"') and text.endswith("}\n") and "é" in text
    checkpoints.write_json(path, {"a": {"y": 0.1, "z": 1e-300}, "b": tuple(record["b"])})
    assert path.read_text("utf-8") == text


@pytest.mark.parametrize(
    ("record", "error", "message"),
    [
        ({"a": [1.0, float("nan")]}, ValueError, r"record\['a'\]\[1\] must be finite, got nan"),
        ({"a": {"b": float("-inf")}}, ValueError, r"record\['a'\]\['b'\] must be finite, got -inf"),
        ({"a": np.float64("inf")}, ValueError, r"record\['a'\] must be finite"),
        ({1: 2}, TypeError, "record must have strings as keys, got 1"),
        ([torch.ones(1)], TypeError, r"record\[0\] must be .*got Tensor"),
    ],
)
def test_write_json__refuses_what_json_does_not_hold(path, record, error, message):
    checkpoints.write_json(path, {"old": 1})
    with pytest.raises(error, match=r"net\.safetensors: " + message):
        checkpoints.write_json(path, record)
    assert checkpoints.read_json(path) == {"old": 1}


@pytest.mark.parametrize(
    "content", [b"", b'{"a": [1, 2', b'{"a": NaN}', b'{"a": "\xff"}', b"[" * 9999]
)
def test_read_json__refuses_what_is_not_whole(path, content):
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"net\.safetensors is not a whole JSON file"):
        checkpoints.read_json(path)


# --- Writing ------------------------------------------------------------------------------------

WRITERS = {
    "save": lambda path: checkpoints.save(path, _network(1), metadata={}),
    "save_state": lambda path: checkpoints.save_state(path, {"w": torch.zeros(3000)}),
    "write_json": lambda path: checkpoints.write_json(path, {"a": [0] * 3000}),
}


def _full(*args, **kwargs):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("broken", ["replace", "fsync"])
@pytest.mark.parametrize("writer", WRITERS)
def test_writers__a_full_disk_leaves_the_old_file_whole(path, monkeypatch, writer, broken):
    WRITERS[writer](path)
    before = path.read_bytes()
    monkeypatch.setattr(os, broken, _full)
    with pytest.raises(
        OSError, match=r"could not write, No space left.*net\.safetensors"
    ) as caught:
        WRITERS[writer](path)
    assert caught.value.errno == errno.ENOSPC
    assert path.read_bytes() == before and os.listdir(path.parent) == [path.name]


@pytest.mark.parametrize("writer", WRITERS)
def test_writers__a_write_cut_short_by_the_system_leaves_the_old_file_whole(path, writer):
    WRITERS[writer](path)
    before = path.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))  # no file may grow beyond this
    try:
        with pytest.raises(OSError, match=r"could not write, File too large.*net\.safetensors"):
            WRITERS[writer](path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_bytes() == before and os.listdir(path.parent) == [path.name]


def test_write_json__a_killed_process_leaves_the_old_file_whole(path):
    checkpoints.write_json(path, {"old": 1})
    script = (
        "import os, signal, sys\nfrom vcreg_theory import checkpoints\n"
        "os.replace = lambda *args: os.kill(os.getpid(), signal.SIGKILL)\n"
        "checkpoints.write_json\n"
        "print('safetensors' in sys.modules, flush=True)\n"
        f"checkpoints.write_json({os.fspath(path)!r}, {{'new': [0] * 1000}})"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode < 0 and json.loads(path.read_text()) == {"old": 1}
    assert done.stdout == "False\n"  # importing the module is light
