"""Tests of the records of trained networks: round trips, the schema, means over seeds."""

import dataclasses
import json
import math

import numpy as np
import pytest
from scipy import stats as scipy_stats

from vcreg_theory import records


def _content(**changes):
    """The content of a file with every field, changed where asked."""
    entry = {
        "step": 10,
        "epoch": 1.0,
        "loss": 3.5,
        "terms": {"invariance": 0.1},
        "representation": {"logdet": -4.0, "knn_entropy": None, "reason": "duplicates"},
        "embedding": {"logdet": -2.0},
        "accuracy": {"linear": 0.7},
        "factors": {"hue": 0.2},
    }
    last = {**entry, "step": 20, "epoch": 2, "loss": None, "accuracy": {"linear": 0.8}}
    return {
        "schema": 1,
        "suite": "digits",
        "method": "vicreg",
        "seed": 0,
        "title": "VICReg",
        "config": {"epochs": 2, "widths": [64, 32]},
        "data": {"name": "digits", "sha256": "ab"},
        "package": "0.1.0",
        "torch": "2.13",
        "device": "cpu",
        "wall_seconds": 12,
        "images_per_second": 812.5,
        "parameters": 1000,
        "history": [entry, last],
        "final": {"accuracy": {"linear": 0.9, "knn": 0.8}, "representation": {"logdet": -3.0}},
        "checkpoint": {"file": "digits.safetensors", "sha256": "0" * 64, "dtype": "float16"},
        **changes,
    }


def _record(**changes):
    return records.Record.from_dict(_content(**changes))


def _run(method, seed, accuracy, losses=(2.0, 1.0), **changes):
    history = [
        {"step": 10 * i + 10, "epoch": i, "loss": loss, "representation": {"hsic": 2 * (loss or 0)}}
        for i, loss in enumerate(losses)
    ]
    final = {"accuracy": {"linear": accuracy}}
    return _record(
        method=method, title=method.upper(), seed=seed, history=history, final=final, **changes
    )


def _put(folder, name, content):
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(content if isinstance(content, str) else json.dumps(content))


# --- files ------------------------------------------------------------------------------------


def test_write__then_load_gives_the_same_record(tmp_path):
    record = _record(throughput={"peak": 0.4}, config_digest="f00")
    path = records.write(record, tmp_path / "new" / "folder")
    assert path.name == "digits-vicreg-s0.json"
    assert [p.name for p in path.parent.iterdir()] == [path.name], "no temporary file stays"
    assert records.load(folder=path.parent) == [record] == [records.read(path)]
    assert record.other == {"throughput": {"peak": 0.4}, "config_digest": "f00"}
    assert json.loads(path.read_text()) == _content(throughput={"peak": 0.4}, config_digest="f00")


def test_write__replaces_the_run_and_nothing_else(tmp_path):
    first, other = _record(), _record(seed=1)
    records.write(first, tmp_path), records.write(other, tmp_path)
    records.write(dataclasses.replace(first, title="again"), tmp_path)
    assert [r.title for r in records.load("digits", tmp_path)] == ["again", "VICReg"]


def test_write__refuses_what_json_does_not_hold_and_keeps_the_old_file(tmp_path):
    path = records.write(_record(), tmp_path)
    before = path.read_bytes()
    with pytest.raises(ValueError, match="finite"):
        records.write(_record(final={"accuracy": {"linear": math.nan}}), tmp_path)
    with pytest.raises(TypeError, match="config"):
        records.write(_record(config={"widths": {1, 2}}), tmp_path)
    assert path.read_bytes() == before and len(list(tmp_path.iterdir())) == 1


def test_load__orders_and_filters(tmp_path):
    for suite, method, seed in [("b", "y", 0), ("b", "x", 10), ("b", "x", 2), ("a", "z", 0)]:
        records.write(_record(suite=suite, method=method, seed=seed), tmp_path)
    _put(tmp_path, "notes.txt", "not a record")
    keys = [r.key for r in records.load(folder=tmp_path)]
    assert keys == ["a-z-s0", "b-x-s2", "b-x-s10", "b-y-s0"]
    assert [r.key for r in records.load("a", tmp_path)] == ["a-z-s0"]
    with pytest.raises(ValueError, match=r"suite must be one of 'a', 'b' .*, got 'c'"):
        records.load("c", tmp_path)


def test_load__folder_from_the_environment_or_the_source_tree(tmp_path, monkeypatch):
    monkeypatch.setenv("VCREG_RECORDS", str(tmp_path))
    records.write(_record())
    assert records.load() == [_record()] and records.default_folder() == tmp_path
    monkeypatch.delenv("VCREG_RECORDS")
    assert records.default_folder().parts[-2:] == ("data", "records")
    assert (records.default_folder().parents[1] / "vcreg_theory" / "records").is_dir()


def test_load__absent_or_empty_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("VCREG_RECORDS", str(tmp_path / "none"))
    with pytest.raises(FileNotFoundError, match=r"no folder of records at .*none; set VCREG_REC"):
        records.load()
    with pytest.raises(FileNotFoundError, match=r"no records \(\*.json\) in"):
        records.load(folder=tmp_path)
    with pytest.raises(FileNotFoundError):
        records.read(tmp_path / "absent.json")


def test_load__refuses_two_files_of_one_run(tmp_path):
    _put(tmp_path, "a.json", _content())
    _put(tmp_path, "b.json", _content())
    with pytest.raises(ValueError, match=r"b\.json and .*a\.json both hold the run digits-vicreg"):
        records.load(folder=tmp_path)


# --- the schema -------------------------------------------------------------------------------


@pytest.mark.parametrize("field", sorted(set(_content()) - {"schema"}))
def test_schema__names_the_file_and_the_missing_field(tmp_path, field):
    content = _content()
    del content[field]
    _put(tmp_path, "run.json", content)
    with pytest.raises(ValueError, match=rf"run\.json: record must have the fields {field}$"):
        records.load(folder=tmp_path)


def _entry(**changes):
    return {"step": 1, "epoch": 1, "loss": 1.0, **changes}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"schema": 2}, "schema must be 1, got 2"),
        ({"suite": ""}, "suite must be a name"),
        ({"method": "../x"}, r"method must be a name of .*, got '\.\./x'"),
        ({"method": "a/b"}, "method must be a name of .*, got 'a/b'"),
        ({"seed": -1}, "seed must be an integer, not negative, got -1"),
        ({"seed": True}, "seed must be an integer"),
        ({"seed": 1.5}, "seed must be an integer"),
        ({"title": ""}, "title must be a string that is not empty"),
        ({"torch": None}, "torch must be a string that is not empty, got None"),
        ({"config": []}, "config must be a dict"),
        ({"data": {"n": 3}}, "data.n must be a string, got 3"),
        ({"wall_seconds": -1.0}, "wall_seconds must be a number, not negative"),
        ({"wall_seconds": "12"}, "wall_seconds must be a number"),
        ({"images_per_second": "fast"}, "images_per_second must be a number or null"),
        ({"parameters": 1.5}, "parameters must be an integer"),
        ({"history": {}}, "history must be a list"),
        ({"history": [3]}, r"history\[0\] must be a dict"),
        ({"history": [{}]}, r"history\[0\].step must be an integer, not negative, got None"),
        ({"history": [_entry(), _entry()]}, r"history\[1\].step must be above .*, 1, got 1"),
        ({"history": [_entry(epoch="1")]}, r"history\[0\].epoch must be a number"),
        ({"history": [_entry(loss="low")]}, r"history\[0\].loss must be a number or null"),
        ({"history": [_entry(accuracy=0.9)]}, r"history\[0\].accuracy must be a dict .* 0.9"),
        ({"final": {}}, "final.accuracy must be a dict"),
        ({"final": {"accuracy": {}, "embedding": [1]}}, "final.embedding must be a dict"),
        ({"checkpoint": "a.safetensors"}, "checkpoint must be a dict .*, or null"),
        ({"checkpoint": {"file": "a", "dtype": "float16"}}, "checkpoint.sha256 must be 64 hexa"),
        ({"checkpoint": {"sha256": "0" * 64, "dtype": "x"}}, "checkpoint.file must be a string"),
    ],
)
def test_schema__names_the_file_and_the_wrong_field(tmp_path, changes, message):
    _put(tmp_path, "run.json", _content(**changes))
    with pytest.raises(ValueError, match=rf"run\.json: {message}"):
        records.load(folder=tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[1]", r"run\.json: record must be a dict"),
        (json.dumps(_content())[:-40], r"run\.json"),
        (json.dumps(_content()).replace("812.5", "NaN"), r"run\.json"),
        ("", r"run\.json"),
    ],
)
def test_schema__names_a_file_that_is_damaged(tmp_path, text, message):
    _put(tmp_path, "run.json", text)
    with pytest.raises(ValueError, match=message):
        records.load(folder=tmp_path)


def test_schema__allows_what_may_be_absent():
    record = _record(
        images_per_second=None, checkpoint=None, history=[{"step": 0, "epoch": 0}], parameters=0
    )
    assert record.checkpoint is None and record.history == [{"step": 0, "epoch": 0}]


def test_record__is_frozen_and_looks_up_paths():
    record = _record(extra={"x": 1})
    with pytest.raises(dataclasses.FrozenInstanceError):
        record.seed = 3
    assert record.value("final.accuracy.knn") == 0.8
    assert record.value("config.epochs") == 2 and record.value("extra.x") == 1
    assert record.value("final.accuracy.nothing") is None and record.value("seed.x") is None


# --- figures over seeds -----------------------------------------------------------------------


def test_table__mean_and_t_interval_by_hand():
    # Values 0.8, 0.9, 1.0: mean 0.9, s = 0.1, t(2, 0.975) = 4.302653, half width 0.2484138.
    runs = [_run("vicreg", s, v) for s, v in enumerate((0.8, 0.9, 1.0))]
    (row,) = records.table(runs)
    assert row[:5] == ("digits", "vicreg", "VICREG", 3, 0)
    assert row.mean == pytest.approx(0.9) and row.high - row.mean == pytest.approx(0.2484138)
    assert row.mean - row.low == pytest.approx(row.high - row.mean)
    (narrow,) = records.table(runs, level=0.5)
    half = scipy_stats.t.isf(0.25, 2) * 0.1 / math.sqrt(3)
    assert narrow.high - narrow.mean == pytest.approx(half)


def test_table__one_row_a_method_and_suite_in_order():
    runs = [_run("b", 0, 0.5), _run("a", 0, 0.7), _run("b", 1, 0.6), _run("b", 0, 0.1, suite="s")]
    rows = records.table(runs)
    assert [(r.suite, r.method, r.seeds) for r in rows] == [
        ("digits", "b", 2),
        ("digits", "a", 1),
        ("s", "b", 1),
    ]
    assert rows[1].mean == 0.7 and rows[1].low is None and rows[1].high is None


def test_table__counts_what_is_missing():
    runs = [_run("a", 0, 0.5), _run("a", 1, None), _run("b", 0, None)]
    full, empty = records.table(runs)
    assert (full.seeds, full.missing, full.mean, full.low) == (1, 1, 0.5, None)
    assert (empty.seeds, empty.missing, empty.mean) == (0, 1, None)


def test_table__refuses_bad_input():
    runs = [_run("a", 0, 0.5), _run("a", 0, 0.6)]
    with pytest.raises(ValueError, match="the run digits-a-s0 twice"):
        records.table(runs)
    with pytest.raises(ValueError, match="at least 1 record"):
        records.table([])
    with pytest.raises(ValueError, match=r"no record has 'final\.accurracy'"):
        records.table(runs[:1], "final.accurracy")
    with pytest.raises(ValueError, match="title must be a number in digits-a-s0, got str"):
        records.table(runs[:1], "title")
    with pytest.raises(ValueError, match="level"):
        records.table(runs[:1], level=1.0)


def test_curve__mean_and_interval_at_each_step():
    runs = [_run("a", s, 0.5, losses) for s, losses in enumerate([(3.0, 1.0), (5.0, 1.0)])]
    found = records.curve(runs, "loss")
    assert found.steps.tolist() == [10, 20] and found.seeds == 2
    # Values 3 and 5: mean 4, s = sqrt 2, t(1, 0.975) = 12.7062, half width 12.7062.
    np.testing.assert_allclose(found.mean, [4.0, 1.0])
    np.testing.assert_allclose(found.high - found.mean, [12.7062047, 0.0], rtol=1e-7)
    np.testing.assert_allclose(found.mean - found.low, [12.7062047, 0.0], rtol=1e-7)
    wide = records.curve(runs, "loss", level=0.5)  # t(1, 0.75) = 1
    np.testing.assert_allclose(wide.high - wide.mean, [1.0, 0.0], atol=1e-12)
    nested = records.curve(runs, "representation.hsic")
    np.testing.assert_allclose(nested.mean, 2 * found.mean)


def test_curve__one_seed_has_no_interval():
    found = records.curve([_run("a", 0, 0.5)], "loss")
    assert found.low is None and found.high is None and found.mean.tolist() == [2.0, 1.0]


def test_curve__keeps_the_steps_that_all_seeds_have():
    short, long = _run("a", 0, 0.5, (3.0,)), _run("a", 1, 0.5, (5.0, 1.0, 2.0))
    holed = _run("a", 2, 0.5, (7.0, None, 4.0))
    assert records.curve([short, long], "loss").steps.tolist() == [10]
    found = records.curve([long, holed], "loss")
    assert found.steps.tolist() == [10, 30] and found.mean.tolist() == [6.0, 3.0]


def test_curve__refuses_bad_input():
    one, two = _run("a", 0, 0.5), _run("b", 0, 0.5)
    with pytest.raises(ValueError, match="one method of one suite, got digits/a, digits/b"):
        records.curve([one, two], "loss")
    with pytest.raises(ValueError, match=r"some common step, got 'representation\.mean'"):
        records.curve([one], "representation.mean")
    with pytest.raises(ValueError, match="representation must be a number in digits-a-s0, got"):
        records.curve([one], "representation")
    with pytest.raises(ValueError, match="at least 1 record"):
        records.curve([], "loss")
