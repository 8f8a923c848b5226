"""Tests of suites: which rows run, in what order, beside other processes, and after failures."""

import fcntl
from dataclasses import replace

import pytest
import torch
from training_cases import config, data

from vcreg_theory import checkpoints, datasets, models
from vcreg_theory.training import build, run_rows, runner, status, suites
from vcreg_theory.training import trainer as trainer_module
from vcreg_theory.training.engine import Engine
from vcreg_theory.training.paths import RunPaths
from vcreg_theory.training.recheck import compare
from vcreg_theory.training.record import export


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
    assert found[KEYS[1]].startswith("failed: the data must hold at least one batch of 97")
    assert found[KEYS[2]] == "finished"


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
    with pytest.raises(ValueError, match="budget must not be negative"):
        _run(tmp_path, budget=-1.0)


def test_run_rows__two_jobs_give_what_one_gives(tmp_path, monkeypatch):
    """Rows of two processes, on real digits since a process does not see this one's patches."""
    monkeypatch.undo()
    few = {"describe_limit": 16, "neighbours": 5}
    rows = [
        replace(row, evaluation_options=few)
        for row in suites.get("digits", only=["random"], seeds=[0, 1])
    ]
    assert set(_run(tmp_path / "two", rows, jobs=2).values()) == {"finished"}
    for row in rows:
        record = checkpoints.read_json(RunPaths(tmp_path / "two", row.key).record)
        expected = export(RunPaths(tmp_path / "one", row.key), build(row), row)
        assert record["checkpoint"] == expected and record["device"].endswith("1 thread)")


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (["finished", "finished"], "finished"),
        (["elsewhere", "finished"], "finished"),
        (["elsewhere", "unfinished"], "unfinished"),
        (["failed: x", "elsewhere"], "failed: x"),
        (["waiting", "elsewhere"], "waiting"),
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
