"""Tests of the meter, the metrics file and the stopwatch."""

import json

import pytest
import torch

from vcreg_theory.training import throughput
from vcreg_theory.training.metrics import Lines, Meter

CPU = torch.device("cpu")


def test_meter__means_since_the_last_reading(generator):
    values = torch.rand(7, 2, generator=generator, dtype=torch.float64)
    meter = Meter(("loss", "term"), CPU)
    for step, terms in enumerate(values):
        meter.add(step, terms)
        if step == 2:
            found = meter.read()
            means = values[:3].mean(0).tolist()
            assert found == pytest.approx(dict(zip(("loss", "term"), means, strict=True)))
    assert meter.read()["loss"] == pytest.approx(float(values[3:, 0].mean()))


def test_meter__names_the_first_bad_step_and_its_terms():
    meter = Meter(("loss", "variance"), CPU)
    rows = [(1.0, 2.0), (float("inf"), 3.0), (float("nan"), float("nan"))]
    for step, terms in enumerate(rows, 10):
        meter.add(step, torch.tensor(terms))
    with pytest.raises(FloatingPointError, match=r"at step 11: loss inf, variance 3$"):
        meter.refuse_nonfinite()


def test_meter__goes_on_from_a_state(generator):
    values = torch.rand(6, 1, generator=generator)
    whole, first, second = (Meter(("loss",), CPU) for _ in range(3))
    for step, terms in enumerate(values):
        whole.add(step, terms)
        (first if step < 3 else second).add(step, terms)
        if step == 2:
            second.load_state_dict(first.state_dict())
    assert whole.read() == second.read()


def test_lines__drop_what_comes_after_and_what_was_cut(tmp_path):
    path = tmp_path / "metrics" / "run.jsonl"
    path.parent.mkdir()
    path.write_text("".join(json.dumps({"step": s}) + "\n" for s in (5, 10, 15)) + '{"step": 2')
    lines = Lines(path, after=10)
    lines.append({"step": 15, "loss": 0.5})
    assert [json.loads(line)["step"] for line in path.read_text().splitlines()] == [5, 10, 15]
    assert json.loads(path.read_text().splitlines()[-1])["loss"] == 0.5
    assert [p.name for p in path.parent.iterdir()] == ["run.jsonl"]


def test_lines__a_new_run_begins_an_empty_file(tmp_path):
    path = tmp_path / "run.jsonl"
    path.write_text(json.dumps({"step": 5}) + "\n")
    Lines(path, after=0)
    assert path.read_text() == ""


def test_stopwatch__leaves_out_the_first_interval(monkeypatch):
    now = iter([0.0, 0.0, 10.0, 12.0, 20.0, 21.0])
    monkeypatch.setattr(throughput.time, "perf_counter", lambda: next(now))
    watch = throughput.Stopwatch()
    watch.start()
    watch.lap(0)  # an evaluation before the first step is no interval
    watch.lap(100)
    watch.lap(50)
    assert watch.seconds == 12.0 and watch.images_per_second == 25.0
    again = throughput.Stopwatch()
    again.load_state_dict(watch.state_dict())
    again.start()
    again.lap(1000)
    assert again.images_per_second == 25.0 and again.seconds == 13.0


def test_describe_device__names_processor_and_threads():
    threads = torch.get_num_threads()
    assert throughput.describe_device(CPU).endswith(
        f", {threads} thread{'s' if threads > 1 else ''})"
    )


def test_stopwatch__has_to_be_started():
    with pytest.raises(RuntimeError, match=r"lap\(\) needs start\(\) first"):
        throughput.Stopwatch().lap(1)
