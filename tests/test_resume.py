"""A run that was killed or stopped gives, bit for bit, what one that was not gives."""

import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from training_cases import config, data

from vcreg_theory import checkpoints
from vcreg_theory.training import Trainer, threads
from vcreg_theory.training import trainer as trainer_module
from vcreg_theory.training.engine import Engine
from vcreg_theory.training.paths import RunPaths

# Everything in a record but the times, which differ between any two runs.
TIMES = ("wall_seconds", "images_per_second", "evaluation_seconds")

KILLED = """
import os, signal, sys
sys.path.insert(0, sys.argv[1])
from training_cases import config, data
from vcreg_theory.training import Trainer
from vcreg_theory.training.engine import Engine

step = Engine.train_step

def train_step(self):
    if self.step == int(sys.argv[3]):
        os.kill(os.getpid(), signal.SIGKILL)
    step(self)

Engine.train_step = train_step
Trainer(config(sys.argv[4]), out=sys.argv[2], dataset=data(), save_every=0.0).run()
"""


def _run(out, run=None, **options):
    options = {"dataset": data(), "progress": False, **options}
    return Trainer(run or config(), out=out, **options).run()


def _result(out, run=None):
    """Return the record without times, the weights, and the metrics without times."""
    paths = RunPaths(Path(out), (run or config()).key)
    record = checkpoints.read_json(paths.record)
    lines = [json.loads(line) for line in paths.metrics.read_text().splitlines()]
    for line in lines:
        line.pop("seconds")
    record = {k: v for k, v in record.items() if k not in TIMES}
    return record, load_file(paths.checkpoint), lines


def _assert_same(found, expected):
    assert found[0] == expected[0] and found[2] == expected[2]
    assert found[1].keys() == expected[1].keys()
    for name, value in found[1].items():
        assert torch.equal(value, expected[1][name]), name


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    out = tmp_path_factory.mktemp("whole")
    assert _run(out) == "finished"
    return _result(out)


@pytest.mark.parametrize("method", ["vicreg", "byol", "directpred"])
def test_trainer__killed_at_any_step_resumes_exactly(method, tmp_path):
    """The step is drawn anew in every test: the claim is about all of them."""
    step = random.SystemRandom().randrange(24)
    arguments = [str(Path(__file__).parent), str(tmp_path / "killed"), str(step), method]
    environment = {**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads())}
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, *arguments], env=environment, capture_output=True, text=True
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    run = config(method)
    paths = RunPaths(tmp_path / "killed", run.key)
    assert not paths.record.exists() and paths.state.exists() == (step >= 5)
    for out in ("killed", "whole"):
        assert _run(tmp_path / out, run) == "finished"
    _assert_same(_result(tmp_path / "killed", run), _result(tmp_path / "whole", run))
    assert not paths.state.exists()


@pytest.mark.parametrize("steps", [1, 7, 24])
def test_trainer__stopped_by_its_budget_resumes_exactly(steps, tmp_path, whole, monkeypatch):
    """The clock advances by one second a step, and the budget is some number of steps."""
    clock = {"now": 0.0}
    take = Engine.train_step

    def train_step(self):
        clock["now"] += 1.0
        take(self)

    monkeypatch.setattr(Engine, "train_step", train_step)
    monkeypatch.setattr(trainer_module.time, "monotonic", lambda: clock["now"])
    sessions = 0
    while _run(tmp_path, budget=steps - 0.5) == "unfinished":
        sessions += 1
    assert sessions == -(-24 // steps) - 1
    _assert_same(_result(tmp_path), whole)


def test_trainer__stops_at_an_interrupt_and_resumes_exactly(tmp_path, whole, monkeypatch):
    take = Engine.train_step

    def train_step(self):
        take(self)
        if self.step == 9:
            signal.raise_signal(signal.SIGINT)

    handler = signal.getsignal(signal.SIGINT)
    with monkeypatch.context() as patch:
        patch.setattr(Engine, "train_step", train_step)
        assert _run(tmp_path) == "unfinished"
    assert signal.getsignal(signal.SIGINT) is handler
    assert _run(tmp_path) == "finished"
    _assert_same(_result(tmp_path), whole)


def _stop_at(monkeypatch, step):
    """Let the next runs stop after a step."""
    look = Trainer._must_stop
    monkeypatch.setattr(Trainer, "_must_stop", lambda self: self.engine.step == step or look(self))


def test_trainer__resumes_with_the_threads_it_began_with(tmp_path, whole, monkeypatch, capsys):
    """The record says with how many threads the last session computed."""
    began = torch.get_num_threads()
    with monkeypatch.context() as patch:
        _stop_at(patch, 9)
        assert _run(tmp_path) == "unfinished"
    assert not capsys.readouterr().err
    with threads.count(began + 1):
        assert _run(tmp_path) == "finished" and torch.get_num_threads() == began + 1
    _assert_same(_result(tmp_path), whole)
    line = f"{config().key}: warning: goes on with {began} threads, as it began, instead of"
    assert capsys.readouterr().err == f"{line} {began + 1}\n"


def test_trainer__names_all_that_trained_a_run(tmp_path, monkeypatch):
    said = []

    def session(device, version, step=None):
        trainer = Trainer(config(), out=tmp_path, dataset=data(), progress=False, say=said.append)
        with monkeypatch.context() as patch:
            patch.setattr(trainer_module, "describe_device", lambda _: device)
            patch.setattr(torch, "__version__", version)
            _stop_at(patch, step)
            trainer.run()
        return trainer.trained_on

    first, second, third = "cpu (A), torch 2", "cpu (B), torch 2", "cpu (A), torch 3"
    assert session("cpu (A)", "2", 3) == [first] and session("cpu (A)", "2", 6) == [first]
    assert not said
    assert session("cpu (B)", "2", 9) == [first, second]
    assert session("cpu (A)", "2", 12) == [first, second]
    assert session("cpu (A)", "3") == [first, second, third]
    warnings = [line.partition(": warning: ")[2].partition(": the result may")[0] for line in said]
    assert warnings == [
        f"goes on on {second} after {first}",
        f"goes on on {third} after {first}; {second}",
    ]


def test_trainer__goes_on_from_a_state_that_names_no_device(tmp_path, whole, monkeypatch):
    """States of earlier versions hold neither threads nor devices."""
    with monkeypatch.context() as patch:
        _stop_at(patch, 9)
        assert _run(tmp_path) == "unfinished"
    path = RunPaths(tmp_path, config().key).state
    state = checkpoints.load_state(path)
    del state["threads"], state["trained_on"]
    checkpoints.save_state(path, state)
    assert _run(tmp_path) == "finished"
    _assert_same(_result(tmp_path), whole)


def test_trainer__an_evaluation_changes_nothing(tmp_path, whole):
    """Runs that differ in the number of evaluations have the same weights and history."""
    run = config(evaluations=8)
    assert _run(tmp_path, run) == "finished"
    record, weights, lines = _result(tmp_path, run)
    evaluated = [[e for e in r["history"] if "accuracy" in e] for r in (record, whole[0])]
    assert len(evaluated[0]) > len(evaluated[1])
    assert lines == whole[2] and record["final"] == whole[0]["final"]
    assert all(torch.equal(weights[name], whole[1][name]) for name in weights)


def test_trainer__refuses_a_state_of_another_run_and_keeps_it(tmp_path):
    assert _run(tmp_path, budget=0.0) == "unfinished"
    path = RunPaths(tmp_path, config().key).state
    before = path.read_bytes()
    with pytest.raises(ValueError, match=r"another run \(it differs in learning_rate, digest\)"):
        _run(tmp_path, config(learning_rate=1e-3))
    with pytest.raises(ValueError, match=r"another run \(it differs in data\)"):
        _run(tmp_path, dataset=data(64))
    assert path.read_bytes() == before


def test_trainer__refuses_a_damaged_state(tmp_path):
    assert _run(tmp_path, budget=0.0) == "unfinished"
    path = RunPaths(tmp_path, config().key).state
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(ValueError, match="cut off or altered"):
        _run(tmp_path)


def test_trainer__stores_no_state_after_a_loss_that_is_not_finite(tmp_path, monkeypatch):
    take = Engine.train_step

    def train_step(self):
        take(self)
        if self.step == 7:
            with torch.no_grad():
                self.objective.network.encoder.linear.weight.fill_(float("inf"))

    monkeypatch.setattr(Engine, "train_step", train_step)
    with pytest.raises(FloatingPointError, match="not finite at step 7"):
        _run(tmp_path, save_every=0.0)
    state = checkpoints.load_state(RunPaths(tmp_path, config().key).state)
    assert state["engine"]["step"] == 5
