"""Tests of the command line: exit statuses, messages, and one suite end to end."""

import subprocess
import sys

import pytest
import torch
from training_cases import config, data

from vcreg_theory import checkpoints, cli, datasets, training
from vcreg_theory.training import suites
from vcreg_theory.training.recheck import Difference


@pytest.fixture(autouse=True)
def small_suite(monkeypatch):
    """Put a small suite beside the real ones."""
    rows = [config("random", epochs=0, warmup_epochs=0), config("vicreg"), config("vicreg", seed=1)]
    monkeypatch.setitem(suites.SUITES, "tiny", lambda: iter(rows))
    monkeypatch.setattr(datasets, "digit_views", lambda device: data())


def _train(tmp_path, *arguments):
    return cli.main(["train", "tiny", "--out", str(tmp_path), "--device", "cpu", *arguments])


def test_train__finishes_all_rows(tmp_path, capsys):
    assert _train(tmp_path) == 0
    output = capsys.readouterr()
    assert output.out == f"3 rows in {tmp_path}: 3 finished\n"
    assert output.err.count("finished in") == 3 and "tiny-vicreg-s1: finished in" in output.err
    assert _train(tmp_path) == 0 and not capsys.readouterr().err
    names = sorted(path.stem for path in (tmp_path / "records").iterdir())
    assert names == ["tiny-random-s0", "tiny-vicreg-s0", "tiny-vicreg-s1"]


def test_train__takes_methods_and_seeds(tmp_path, capsys):
    assert _train(tmp_path, "--only", "vicreg", "--seeds", "1", "--quiet") == 0
    assert capsys.readouterr().out == f"1 rows in {tmp_path}: 1 finished\n"
    assert [path.stem for path in (tmp_path / "records").iterdir()] == ["tiny-vicreg-s1"]


def test_train__out_of_time_has_a_status_of_its_own(tmp_path, capsys):
    assert _train(tmp_path, "--budget", "0") == 3
    assert capsys.readouterr().out == f"3 rows in {tmp_path}: 3 waiting\n"


def test_train__a_failed_row_shows_its_reason(tmp_path, capsys, monkeypatch):
    rows = [config(batch_size=97)]
    monkeypatch.setitem(suites.SUITES, "tiny", lambda: iter(rows))
    assert _train(tmp_path) == 1
    assert (
        "failed: ValueError: the data must hold at least one batch of 97" in capsys.readouterr().err
    )


def test_train__lists_rows_without_training(tmp_path, capsys):
    assert _train(tmp_path, "--list") == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split() for line in lines] == [
        [row.key, "waiting"] for row in suites.SUITES["tiny"]()
    ]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "imagenet"], "error: suite must be one of 'digits'"),
        (["train", "tiny", "--only", "moco"], "error: method must be one of 'random', 'vicreg'"),
        (["train", "tiny", "--budget", "-1"], "error: budget must not be negative"),
        (["train", "tiny", "--jobs", "0"], "error: jobs must be at least 1"),
        (["train", "tiny", "--threads", "0"], "error: threads must be at least 1"),
        (["evaluate", "missing.json"], "missing.json"),
    ],
)
def test_main__says_what_is_wrong(arguments, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert cli.main(arguments) == 1
    assert message in capsys.readouterr().err


def test_evaluate__gives_the_recorded_figures(tmp_path, capsys):
    _train(tmp_path, "--only", "vicreg", "--seeds", "0", "--quiet")
    record = tmp_path / "records" / "tiny-vicreg-s0.json"
    capsys.readouterr()
    assert cli.main(["evaluate", str(record), "--device", "cpu"]) == 0
    assert "largest relative difference 0 " in capsys.readouterr().out
    values = checkpoints.read_json(record)
    values["final"]["accuracy"]["knn"] *= 0.5
    checkpoints.write_json(record, values)
    assert cli.main(["evaluate", str(record), "--device", "cpu"]) == 1
    assert "knn: recorded" in capsys.readouterr().out
    assert cli.main(["evaluate", str(record), "--device", "cpu", "--tolerance", "0.6"]) == 0


def test_evaluate__uses_the_threads_of_the_record(tmp_path, monkeypatch, capsys):
    before, used = torch.get_num_threads(), []

    def compare(record, *, device):
        used.append(torch.get_num_threads())
        return [Difference("knn", 0.5, 0.5)]

    monkeypatch.setattr("vcreg_theory.training.recheck.compare", compare)
    record = tmp_path / "record.json"
    for device in (f"cpu (A (2), {before + 2} threads)", "cuda (B)"):
        checkpoints.write_json(record, {"device": device})
        assert cli.main(["evaluate", str(record)]) == 0
    assert cli.main(["evaluate", str(record), "--threads", str(before + 1)]) == 0
    assert used == [before + 2, before, before + 1] and torch.get_num_threads() == before
    assert cli.main(["evaluate", str(record), "--threads", "0"]) == 1
    assert "error: threads must be at least 1" in capsys.readouterr().err


def test_train__passes_its_threads_on(tmp_path, monkeypatch):
    given = []
    monkeypatch.setattr(training, "run_rows", lambda *_, **options: given.append(options) or {})
    _train(tmp_path, "--threads", "3", "--jobs", "2")
    assert given[0]["threads"] == 3 and given[0]["jobs"] == 2


@pytest.mark.parametrize("name", ["sklearn.datasets", "PIL"])
def test_main__says_how_to_install_what_is_missing(name, tmp_path, monkeypatch, capsys):
    def missing(device):
        raise ModuleNotFoundError(f"No module named '{name}'")

    monkeypatch.setattr(datasets, "digit_views", missing)
    hint = f"error: {name.partition('.')[0]} is missing: pip install vcreg-theory[train]\n"
    assert _train(tmp_path, "--only", "vicreg", "--quiet") == 1
    assert capsys.readouterr().err == hint
    monkeypatch.setattr("vcreg_theory.training.recheck.compare", lambda *_, **__: missing("cpu"))
    checkpoints.write_json(tmp_path / "record.json", {"device": "cpu"})
    assert cli.main(["evaluate", str(tmp_path / "record.json")]) == 1
    assert capsys.readouterr().err == hint


def test_main__hides_no_other_missing_module(tmp_path, monkeypatch):
    def missing(arguments):
        raise ModuleNotFoundError("No module named 'vcreg_theory.lost'")

    monkeypatch.setattr(cli, "_train", missing)
    with pytest.raises(ModuleNotFoundError, match="lost"):
        _train(tmp_path)


def test_module__is_the_command_line(tmp_path):
    command = [sys.executable, "-m", "vcreg_theory", "train", "digits", "--list", "--seeds", "1"]
    done = subprocess.run([*command, "--out", tmp_path], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    rows = suites.get("digits", seeds=[1])
    assert done.stdout.split() == [word for row in rows for word in (row.key, "waiting")]


def test_main__a_reader_that_stops_early_is_no_error():
    command = [sys.executable, "-m", "vcreg_theory", "cite", "B2.b"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 0
