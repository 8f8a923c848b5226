"""Tests of suites: which rows run, in what order, beside other processes, and after failures."""

import fcntl
import json
import multiprocessing
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from training_cases import config, data

from vcreg_theory import checkpoints, datasets, models
from vcreg_theory.training import build, jobs, run_rows, runner, status, threads
from vcreg_theory.training import rows as rows_module
from vcreg_theory.training import trainer as trainer_module
from vcreg_theory.training.distributed import World
from vcreg_theory.training.engine import Engine
from vcreg_theory.training.interrupt import Interrupt
from vcreg_theory.training.paths import RunPaths
from vcreg_theory.training.recheck import compare


@pytest.fixture(autouse=True)
def small_data(monkeypatch):
    """Give every run the small data set, under a name that a configuration can hold."""
    monkeypatch.setattr(datasets, "digit_views", lambda device: data())


@pytest.fixture
def trained(monkeypatch):
    """Return the list of keys that get trained."""
    keys = []
    init = Engine.__init__

    def note(self, run, *args):
        keys.append(run.key)
        init(self, run, *args)

    monkeypatch.setattr(Engine, "__init__", note)
    return keys


ROWS = [config("random", epochs=0, warmup_epochs=0), config("vicreg"), config("simclr")]
KEYS = [row.key for row in ROWS]


def _run(out, rows=ROWS, **options):
    return run_rows(rows, out, **{"device": "cpu", "progress": False, **options})


def test_run_rows__trains_in_order_and_only_once(tmp_path, trained):
    assert _run(tmp_path) == dict.fromkeys(KEYS, "finished") and trained == KEYS
    assert _run(tmp_path) == dict.fromkeys(KEYS, "finished") and trained == KEYS


def test_run_rows__stops_at_the_budget(tmp_path, trained):
    found = _run(tmp_path, budget=0.0)
    assert set(found.values()) == {"waiting"} and not trained


def test_run_rows__a_stale_record_is_replaced_and_others_stay_whole(tmp_path, trained):
    _run(tmp_path)
    paths = [RunPaths(tmp_path, key).record for key in KEYS]
    before = [path.read_bytes() for path in paths]
    rows = [*ROWS[:2], replace(ROWS[2], learning_rate=1e-3)]
    assert [status(row, tmp_path) for row in rows] == ["finished", "finished", "stale"]
    trained.clear()
    assert set(_run(tmp_path, rows).values()) == {"finished"} and trained == [KEYS[2]]
    assert [p.read_bytes() == old for p, old in zip(paths, before, strict=True)] == [
        True,
        True,
        False,
    ]


def test_run_rows__a_failed_row_does_not_stop_the_others(tmp_path):
    rows = [replace(ROWS[1], batch_size=97), ROWS[2]]
    found = _run(tmp_path, rows)
    assert found[KEYS[1]].startswith("failed: ValueError: the data must hold at least one batch")
    assert found[KEYS[2]] == "finished"


def test_run_rows__any_exception_fails_one_row_and_is_shown_once(tmp_path, monkeypatch, capsys):
    """Of the right class and of another: a row whose record is no JSON comes between the two."""
    _raise_in_row(monkeypatch, KEYS[1], RuntimeError("out of memory"))
    record = RunPaths(tmp_path, KEYS[0]).record
    record.parent.mkdir()
    record.write_text("{")
    found = _run(tmp_path)
    assert found[KEYS[0]].startswith("failed: ") and found[KEYS[2]] == "finished"
    assert found[KEYS[1]] == "failed: RuntimeError: out of memory"
    errors = capsys.readouterr().err
    assert errors.count("RuntimeError: out of memory") == 1 and "in train_step" in errors


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_run_rows__an_exit_is_no_failure(error, tmp_path, monkeypatch):
    _raise_in_row(monkeypatch, KEYS[1], error())
    with pytest.raises(error):
        _run(tmp_path)


def test_run_rows__a_failure_of_one_of_several_processes_ends_all(tmp_path, monkeypatch):
    _raise_in_row(monkeypatch, KEYS[1], RuntimeError("out of memory"))
    monkeypatch.setattr(rows_module.distributed, "environment", lambda: World(size=2))
    monkeypatch.setattr(World, "agree", lambda self, flag, device: flag)
    monkeypatch.setattr(trainer_module.distributed, "wrap", lambda module, *_: module)
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 2)
    with pytest.raises(RuntimeError, match="out of memory"):
        _run(tmp_path, ROWS[1:])


def _raise_in_row(monkeypatch, key, error):
    """Let the steps of one row raise."""
    take = Engine.train_step

    def train_step(self):
        if self.config.key == key:
            raise error
        take(self)

    monkeypatch.setattr(Engine, "train_step", train_step)


def _weights(out, row):
    return load_file(RunPaths(out, row.key).checkpoint)


def _assert_same_weights(rows, out, other):
    for row in rows:
        found, expected = _weights(out, row), _weights(other, row)
        assert found.keys() == expected.keys()
        assert all(torch.equal(found[name], expected[name]) for name in found)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_run_rows__a_signal_stops_the_suite(number, tmp_path, monkeypatch, trained):
    rows = [ROWS[1], ROWS[2], ROWS[0]]
    handler = signal.getsignal(number)
    take = Engine.train_step

    def train_step(self):
        take(self)
        if self.step == 9:
            signal.raise_signal(number)

    with monkeypatch.context() as patch:
        patch.setattr(Engine, "train_step", train_step)
        found = _run(tmp_path / "stopped", rows)
    assert [found[row.key] for row in rows] == ["unfinished", "waiting", "waiting"]
    assert trained == [KEYS[1]] and signal.getsignal(number) is handler
    states = [path.name for path in (tmp_path / "stopped" / "state").glob("*.state")]
    assert states == [f"{KEYS[1]}.state"]
    for out in ("stopped", "whole"):
        assert set(_run(tmp_path / out, rows).values()) == {"finished"}
    _assert_same_weights(rows, tmp_path / "stopped", tmp_path / "whole")


def test_run_rows__a_signal_between_rows_counts(tmp_path, monkeypatch, trained):
    figures = rows_module._figures

    def signalled(*arguments):
        signal.raise_signal(signal.SIGTERM)
        return figures(*arguments)

    monkeypatch.setattr(rows_module, "_figures", signalled)
    found = _run(tmp_path, progress=True)
    assert [found[key] for key in KEYS] == ["finished", "waiting", "waiting"]
    assert trained == KEYS[:1]


def test_interrupt__signals_together_are_one_request_and_a_later_one_insists(monkeypatch):
    clock = {"now": 100.0}
    monkeypatch.setattr(time, "monotonic", lambda: clock["now"])
    interrupt = Interrupt()
    with interrupt.caught(), interrupt.caught():
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGINT):
            signal.raise_signal(number)
        assert interrupt.asked
        clock["now"] += 5
        signal.raise_signal(signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


def test_claim__without_locks_of_the_system_is_a_file(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "fcntl", None)
    holder = RunPaths(tmp_path, KEYS[0]).holder
    with rows_module.claim(ROWS[0], tmp_path) as mine:
        assert mine and holder.exists()
        with rows_module.claim(ROWS[0], tmp_path) as again:
            assert not again
        assert holder.exists()
    assert not holder.exists() and _run(tmp_path)[KEYS[0]] == "finished"


def test_run_rows__leaves_a_row_that_another_process_holds(tmp_path, trained):
    lock = RunPaths(tmp_path, KEYS[1]).lock
    lock.parent.mkdir()
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        found = _run(tmp_path)
    assert found[KEYS[1]] == "elsewhere" and trained == [KEYS[0], KEYS[2]]
    assert _run(tmp_path)[KEYS[1]] == "finished"


def test_run_rows__refuses_bad_options(tmp_path):
    with pytest.raises(ValueError, match="jobs must be at least 1"):
        _run(tmp_path, jobs=0)
    with pytest.raises(ValueError, match="threads must be at least 1"):
        _run(tmp_path, threads=0)
    with pytest.raises(ValueError, match="budget must not be negative"):
        _run(tmp_path, budget=-1.0)


# Workers import the script, and so get its patches. At step 9 a row leaves its process id, and
# then waits for a request to stop, or kills its process, as the command line says.
SCRIPT = """
import json, os, signal, sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from training_cases import config, data
from vcreg_theory import datasets
from vcreg_theory.training import Trainer, run_rows

out, killed, kept = Path(sys.argv[2]), sys.argv[3].split(","), sys.argv[4].split(",")
datasets.digit_views = lambda device: data()
look = Trainer._must_stop

def must_stop(self):
    key = self.config.key
    if self.engine.step == 9:
        if key in killed:
            os.kill(os.getpid(), signal.SIGKILL)
        if key in kept:
            (out / f"{key}.part").write_text(str(os.getpid()))
            (out / f"{key}.part").rename(out / f"{key}.pid")
            end = time.monotonic() + 60
            while not self.interrupt.asked and time.monotonic() < end:
                time.sleep(0.01)
    return look(self)

Trainer._must_stop = must_stop

if __name__ == "__main__":
    rows = [config("vicreg", seed=seed) for seed in range(4)]
    print(json.dumps(run_rows(rows, out, device="cpu", jobs=2)))
"""
FOUR = [config("vicreg", seed=seed) for seed in range(4)]


def _start(folder, log, *, killed="", kept=""):
    """Start two jobs in a process whose messages go to a file."""
    script = folder / "script.py"
    script.write_text(SCRIPT)
    tests = str(Path(__file__).parent)
    command = [sys.executable, str(script), tests, str(folder), killed, kept]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)


def _until(condition):
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end, "waited for a minute"
        time.sleep(0.02)


def _is_gone(pid):
    """Whether a process has ended, be it that nobody has asked for its exit status yet."""
    stat = Path(f"/proc/{pid}/stat")
    try:
        return stat.read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def test_run_rows__two_jobs_give_what_one_gives(tmp_path):
    process = _start(tmp_path, None)
    assert list(json.loads(process.communicate(timeout=90)[0]).values()) == ["finished"] * 4
    with threads.count(1):
        _run(tmp_path / "one", FOUR)
    _assert_same_weights(FOUR, tmp_path, tmp_path / "one")
    for row in FOUR:
        record = checkpoints.read_json(RunPaths(tmp_path, row.key).record)
        assert record["device"].endswith("1 thread)") and record["steps"] == 24


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_run_rows__two_jobs_end_with_the_process_that_started_them(number, tmp_path):
    """Whether it ends by request, and reports, or is killed: states are stored, nobody is left."""
    marks = [tmp_path / f"{row.key}.pid" for row in FOUR[:2]]
    with (tmp_path / "log").open("w") as log:
        process = _start(tmp_path, log, kept=f"{FOUR[0].key},{FOUR[1].key}")
        try:
            _until(lambda: all(mark.exists() for mark in marks) or process.poll() is not None)
            process.send_signal(number)
            output = process.communicate(timeout=60)[0]
        finally:
            process.kill()
    assert process.returncode == (0 if number == signal.SIGTERM else -number)
    for mark in marks:
        _until(lambda mark=mark: _is_gone(mark.read_text()))
    left = ["unfinished", "unfinished", "waiting", "waiting"]
    if number == signal.SIGTERM:
        assert list(json.loads(output).values()) == left
    assert [status(row, tmp_path) for row in FOUR] == left
    steps = [checkpoints.load_state(RunPaths(tmp_path, r.key).state) for r in FOUR[:2]]
    assert [state["engine"]["step"] for state in steps] == [9, 9]
    with threads.count(1):
        for out in (tmp_path, tmp_path / "whole"):
            assert set(_run(out, FOUR[:2]).values()) == {"finished"}
    _assert_same_weights(FOUR[:2], tmp_path, tmp_path / "whole")


def test_run_rows__a_process_that_dies_fails_its_row_only(tmp_path):
    with (tmp_path / "log").open("w") as log:
        process = _start(tmp_path, log, killed=FOUR[0].key)
        found = json.loads(process.communicate(timeout=90)[0])
    message = f"failed: the process that trained it ended with exit code {-signal.SIGKILL}"
    assert list(found.values()) == [message] + ["finished"] * 3
    # the killed process may leave Python something to clean up, and to warn of
    lines = [x for x in (tmp_path / "log").read_text().splitlines() if x.startswith("tiny")]
    assert sorted(line.partition(":")[0] for line in lines) == [row.key for row in FOUR]
    assert sum(", knn " in line and " in " in line for line in lines) == 3


def test_run_rows__rows_that_no_process_lived_to_see_have_failed(tmp_path, monkeypatch):
    nothing = {key: [] for key in KEYS}
    monkeypatch.setattr(runner.processes, "share", lambda *_, **__: nothing)
    found = _run(tmp_path, jobs=2)
    assert set(found.values()) == {"failed: no process was left to train it"}


def test_run_rows__gives_its_threads_to_all_jobs(tmp_path, monkeypatch):
    given = []

    def share(rows, session, *, jobs, threads):
        given.append((jobs, threads))
        return {row.key: ["finished"] for row in rows}

    with monkeypatch.context() as patch:
        patch.setattr(runner.processes, "share", share)
        _run(tmp_path, jobs=2)
        _run(tmp_path, jobs=2, threads=3)
    assert given == [(2, 1), (2, 3)]
    ends = multiprocessing.Pipe()
    with threads.count():
        jobs._serve(ends[1], [], rows_module.Session(tmp_path, "cpu"), 3)
        assert torch.get_num_threads() == 3
    ends[0].close()


def test_run_rows__uses_the_threads_it_is_given(tmp_path, monkeypatch):
    before = torch.get_num_threads()
    monkeypatch.setattr(runner, "work", lambda rows, session: torch.get_num_threads())
    assert _run(tmp_path, threads=before + 1) == before + 1
    assert _run(tmp_path) == before == torch.get_num_threads()


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (["finished", "finished"], "finished"),
        (["elsewhere", "finished"], "finished"),
        (["elsewhere", "unfinished"], "unfinished"),
        (["failed: x", "elsewhere"], "failed: x"),
        (["waiting", "elsewhere"], "waiting"),
        (["unfinished", "failed: x"], "failed: x"),
        (["stale", "unfinished"], "unfinished"),
        ([], ""),
    ],
)
def test_merge__who_trained_a_row_knows_best(found, expected):
    assert runner._merge(found) == expected


def test_record__holds_what_a_reader_needs(tmp_path):
    _run(tmp_path)
    record = checkpoints.read_json(RunPaths(tmp_path, KEYS[1]).record)
    assert record["config"] == ROWS[1].to_dict() and record["config_digest"] == ROWS[1].digest()
    assert record["data"] == {"name": "patterns", "data": "patterns 96"}
    assert record["device"].startswith("cpu (") and record["steps"] == 24
    history = record["history"]
    assert [entry["step"] for entry in history] == [0, 1, 5, 10, 15, 20, 24]
    assert [entry["step"] for entry in history if "accuracy" in entry] == [0, 1, 24]
    assert [entry["step"] for entry in history if "loss" in entry] == [5, 10, 15, 20, 24]
    assert set(history[2]["terms"]) == {"invariance", "variance", "covariance"}
    assert all(record["final"][name] == history[-1][name] for name in record["final"])
    for name in ("linear", "knn", "embedding_linear", "embedding_knn"):
        assert 0 <= record["final"]["accuracy"][name] <= 1
    # four patterns with little noise: any network that tells them apart reads out perfectly
    assert record["final"]["accuracy"]["linear"] > 0.9


def test_record__checkpoint_gives_its_figures_again(tmp_path):
    _run(tmp_path)
    path = RunPaths(tmp_path, KEYS[1]).record
    differences = compare(path, device="cpu")
    assert len(differences) > 10 and all(d.relative == 0 for d in differences)
    values = checkpoints.read_json(path)
    values["final"]["accuracy"]["linear"] -= 0.25
    checkpoints.write_json(path, values)
    wrong = [d.name for d in compare(path, device="cpu") if d.relative > 0]
    assert wrong == ["accuracy.linear"]


def test_record__of_other_weights_or_data_is_refused(tmp_path, monkeypatch):
    _run(tmp_path)
    monkeypatch.setattr(trainer_module.datasets, "digit_views", lambda device: data(64))
    with pytest.raises(ValueError, match=r"the data are .*patterns 64"):
        compare(RunPaths(tmp_path, KEYS[1]).record, device="cpu")
    weights = [RunPaths(tmp_path, key).checkpoint for key in KEYS]
    weights[1].write_bytes(weights[2].read_bytes())
    with pytest.raises(ValueError, match="sha256"):
        compare(RunPaths(tmp_path, KEYS[1]).record, device="cpu")


def test_random__keeps_the_initial_weights(tmp_path):
    _run(tmp_path)
    row = replace(ROWS[0], export_dtype="float32")
    _run(tmp_path, [row])
    network = build(row)
    before = models.fingerprint(network)
    for parameter in network.parameters():
        parameter.data.zero_()
    checkpoints.load(RunPaths(tmp_path, KEYS[0]).checkpoint, network)
    assert models.fingerprint(network) == before


def test_resolve_device__auto_is_cuda_if_there_is_one():
    expected = "cuda:0" if torch.cuda.is_available() else "cpu"
    assert runner.resolve_device("auto") == expected and runner.resolve_device("cpu") == "cpu"
