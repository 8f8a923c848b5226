"""Two processes train the network that one process trains."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from training_cases import config

from vcreg_theory import checkpoints
from vcreg_theory.training import Network
from vcreg_theory.training import distributed as processes
from vcreg_theory.training.engine import Engine

SCRIPT = """
import sys
sys.path.insert(0, sys.argv[1])
from test_distributed_training import train

train(sys.argv[2], sys.argv[3].split(","))
"""
METHODS = ("vicreg", "simclr", "byol", "directcopy")
STEPS = 4


def _config(method):
    """Return a run of smooth networks without batch normalisation.

    Where units are smooth and no statistic is shared, two processes differ from one by the
    rounding of their sums only.
    """
    options = {"channels": [4], "dim": 6, "in_channels": 1, "size": 8, "batch_norm": False}
    return config(method, encoder_options=options, projector=(8,), optimizer="sgd")


def _without_norm(engine):
    """Leave out the batch normalisation of a learned predictor."""
    for parent in engine.objective.modules():
        for name, child in list(parent.named_children()):
            if isinstance(child, torch.nn.BatchNorm1d):
                setattr(parent, name, torch.nn.Identity())


def train(out, methods):
    """Train each method for a few steps in float64, and store the weights of this process."""
    from training_cases import data

    torch.set_num_threads(1)
    with processes.group(torch.device("cpu")) as world:
        for method in methods:
            engine = make_engine(_config(method), data(), world)
            for _ in range(STEPS):
                engine.train_step()
            state = {
                "weights": dict(engine.objective.state_dict()),
                "metrics": engine.read(),
            }
            checkpoints.save_state(Path(out) / f"{method}-{world.rank}-{world.size}", state)


def make_engine(run, dataset, world):
    """Return an engine in double precision, so that rounding is far below any other difference."""
    wrap = processes.wrap
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(processes, "wrap", lambda module, *_: module)
        engine = Engine(run, dataset, torch.device("cpu"), world)
    _without_norm(engine)
    engine.objective.double()
    engine.module = wrap(engine.objective, world, torch.device("cpu"))
    batch = engine._batch
    engine._batch = lambda: tuple(x.double() for x in batch())
    # the optimiser holds the same parameters: .double() replaced their entries, not them
    return engine


def _free_port():
    with socket.socket() as server:
        server.bind(("localhost", 0))
        return server.getsockname()[1]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a folder with the weights of one process, and of each of two."""
    out = tmp_path_factory.mktemp("processes")
    arguments = [sys.executable, "-c", SCRIPT, str(Path(__file__).parent), str(out)]
    shared = {**os.environ, "MASTER_ADDR": "localhost", "MASTER_PORT": str(_free_port())}
    running = []
    for rank in range(2):
        place = {"RANK": str(rank), "WORLD_SIZE": "2", "LOCAL_RANK": str(rank)}
        command = [*arguments, ",".join(METHODS)]
        running.append(subprocess.Popen(command, env={**shared, **place}))
    try:
        train(out, METHODS)
        assert [process.wait(timeout=120) for process in running] == [0, 0]
    finally:
        for process in running:
            process.kill()
            process.wait()
    return out


@pytest.mark.parametrize("method", METHODS)
def test_engine__two_processes_agree_with_one(method, folder):
    """The losses compute in float32 at least; here all is float64.

    Four steps of a network with weights of order 1: sums in another order differ by about
    1e-15 a step and are multiplied by derivatives of order 10, far below the 1e-9 asked for. A
    gradient that is wrong by a factor, or taken of the loss of half a batch, differs by more than
    the learning rate times a gradient of order 1: 1e-3.
    """
    one, first, second = (
        checkpoints.load_state(folder / f"{method}-{place}") for place in ("0-1", "0-2", "1-2")
    )
    for name, value in one["weights"].items():
        assert torch.equal(first["weights"][name], second["weights"][name]), name
        torch.testing.assert_close(first["weights"][name], value, rtol=1e-9, atol=1e-9)
    assert first["metrics"] == pytest.approx(one["metrics"], rel=1e-9)


def test_engine__training_moved_the_weights(folder):
    for method in METHODS:
        weights = checkpoints.load_state(folder / f"{method}-0-1")["weights"]
        start = make_engine(_config(method), _data(), processes.World()).objective.state_dict()
        moved = max(float((weights[k] - start[k]).abs().max()) for k in weights)
        assert moved > 1e-3


def _data():
    from training_cases import data

    return data()


def test_world__slices_share_a_batch():
    rows = torch.arange(12)
    parts = [rows[processes.World(rank, 3).slice(12)] for rank in range(3)]
    assert torch.equal(torch.cat(parts), rows)


def test_environment__is_what_torchrun_sets(monkeypatch):
    assert processes.environment() == processes.World()
    for name, value in {"RANK": 3, "WORLD_SIZE": 8, "LOCAL_RANK": 1}.items():
        monkeypatch.setenv(name, str(value))
    world = processes.environment()
    assert world == processes.World(3, 8, 1) and not world.is_main


def test_wrap__refuses_batch_statistics_on_the_cpu():
    network = Network(torch.nn.BatchNorm1d(3), torch.nn.Identity())
    world, cpu = processes.World(0, 2), torch.device("cpu")
    with pytest.raises(ValueError, match="batch normalisation needs CUDA"):
        processes.wrap(network, world, cpu)
    assert processes.wrap(network, processes.World(), cpu) is network
