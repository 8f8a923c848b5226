"""Tests of check records and the ledger: a failing check raises, a missing kind is reported."""

import json
import sys
from dataclasses import asdict

import numpy as np
import pytest
import sympy as sp

from vcreg_theory import claims
from vcreg_theory.claims.checks import MIME, build

OK = {"at_most": 1.0, "reason": "test"}


@pytest.mark.parametrize(
    ("measured", "criterion", "passes"),
    [
        (1.0, {"at_most": 1.0}, True),
        (1.1, {"at_most": 1.0}, False),
        (1.0, {"at_least": 1.0}, True),
        (0.9, {"at_least": 1.0}, False),
        (1.05, {"equals": 1.0, "tolerance": 0.1}, True),
        (1.2, {"equals": 1.0, "tolerance": 0.1}, False),
        (0.8, {"equals": 1.0, "tolerance": 0.1}, False),
        (0.5, {"between": (0.5, 1.0)}, True),
        (0.4, {"between": (0.5, 1.0)}, False),
        (1.1, {"between": (0.5, 1.0)}, False),
        ([0.0, 0.5, 1.0], {"at_most": 1.0}, True),
        ([0.0, 0.5, 1.1], {"at_most": 1.0}, False),
        (float("nan"), {"at_most": 1.0}, False),
        (float("inf"), {"at_least": 1.0}, False),
    ],
)
def test_numeric__passes_only_if_the_criterion_is_met(measured, criterion, passes):
    assert build("numeric", "B1.a", "s", measured, reason="test", **criterion).passed is passes
    if passes:
        claims.numeric("B1.a", "s", measured, reason="test", **criterion)
    else:
        with pytest.raises(claims.CheckFailed, match=r"FAILED . B1.a numeric . s"):
            claims.numeric("B1.a", "s", measured, reason="test", **criterion)


@pytest.mark.parametrize(
    ("measured", "passes"),
    [(2.0, True), (1.0, False), ([2.0, 3.0], True), ([2.0, 0.5], False), (float("nan"), False)],
)
def test_control__passes_only_if_every_entry_violates(measured, passes):
    assert build("control", "B1.a", "s", measured, **OK).passed is passes
    if not passes:
        with pytest.raises(claims.CheckFailed):
            claims.control("B1.a", "s", measured, **OK)


def test_symbolic__raises_for_a_wrong_identity():
    x = sp.Symbol("x")
    claims.symbolic("B1.a", "s", (x + 1) ** 2, x**2 + 2 * x + 1)
    with pytest.raises(claims.CheckFailed, match="residual 2\\*x"):
        claims.symbolic("B1.a", "s", (x + 1) ** 2, x**2 + 1)


def test_trained__needs_a_hash():
    claims.trained("B1.a", "s", 0.0, checkpoint="a" * 64, **OK)
    for wrong in ("abc", "x" * 64, "a" * 65):
        with pytest.raises(ValueError, match="sha256"):
            claims.trained("B1.a", "s", 0.0, checkpoint=wrong, **OK)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"claim": "Z9.z"}, "registered in claims.toml, got 'Z9.z'"),
        ({"reason": " "}, "reason must say"),
        ({"at_least": 0.0}, "exactly one"),
        ({"at_most": None, "equals": 1.0}, "equals needs one"),
        ({"tolerance": 1.0}, "tolerance belongs to equals"),
        ({"at_most": None}, "exactly one .* got none"),
        ({"measured": []}, "at least one number"),
        ({"at_most": None, "between": (2.0, 1.0)}, r"\(low, high\)"),
        ({"at_most": float("nan")}, "at_most must be finite"),
    ],
)
def test_numeric__refuses_an_incomplete_check(arguments, message):
    full = {"claim": "B1.a", "statement": "s", "measured": 0.0, **OK, **arguments}
    full = {key: value for key, value in full.items() if value is not None}
    with pytest.raises(ValueError, match=message):
        claims.numeric(full.pop("claim"), full.pop("statement"), full.pop("measured"), **full)


def test_check__shows_itself_in_three_ways():
    check = build("numeric", "B1.a", "a < b & c", [0.25, 0.5], seed=3, n=7, **OK)
    bundle = check._repr_mimebundle_()
    assert json.loads(json.dumps(bundle[MIME])) == asdict(check)
    assert "a &lt; b &amp; c" in bundle["text/html"]
    assert "measured 0.25 to 0.5 (2 values), wanted at most 1" in bundle["text/plain"]


def _record(claim="B1.a", kind="numeric", chapter="01_piecewise_affine", passed=True):
    measured = np.float64(2.0 if kind == "control" else 0.0)
    check = build("numeric" if kind == "symbolic" else kind, claim, "s", measured, **OK)
    return {**asdict(check), "kind": kind, "passed": passed, "chapter": chapter, "anchor": "x"}


def _complete(chapter):
    ids = [c.id for c in claims.registry().values() if c.chapter == chapter]
    return [_record(i, kind, chapter) for i in ids for kind in ("symbolic", "numeric", "control")]


def test_ledger__complete_chapter_has_no_problem():
    table, problems = claims.ledger(_complete("01_piecewise_affine"), ["01_piecewise_affine"])
    assert problems == []
    status = {entry["id"]: entry["status"] for entry in table["claims"]}
    assert status["B1.a"] == "checked" and status["B3.a"] == "open"
    counts = table["counts"]
    assert counts["checked"] + counts["open"] == counts["claims"] == len(claims.registry())
    checked = [entry["verdict"] for entry in table["claims"] if entry["status"] == "checked"]
    assert counts["verdicts"] == {v: checked.count(v) for v in counts["verdicts"]}
    assert sum(counts["verdicts"].values()) == counts["checked"]  # an open claim has no verdict
    assert counts["records"] == counts["symbolic"] + counts["numeric"] + counts["control"]


@pytest.mark.parametrize("kind", ["symbolic", "numeric", "control"])
def test_ledger__missing_kind_is_a_problem(kind):
    records = [
        r for r in _complete("01_piecewise_affine") if (r["claim"], r["kind"]) != ("B2.b", kind)
    ]
    _, problems = claims.ledger(records, ["01_piecewise_affine"])
    assert (
        len(problems) == 1 and f"B2.b (Error of the Gaussian mixture) has no {kind}" in problems[0]
    )


def test_ledger__bad_records_are_problems():
    bad = [{**_record(), "claim": "Z9.z"}, _record(passed=False)]
    _, problems = claims.ledger([*_complete("01_piecewise_affine"), *bad], ["01_piecewise_affine"])
    assert any("unknown claim Z9.z" in p for p in problems)
    assert any("did not pass" in p for p in problems)
    _, problems = claims.ledger([_record(chapter="02_gaussianity")], [])
    assert any("belongs to 01_piecewise_affine" in p for p in problems)


def test_harvest__numbers_the_records_of_a_notebook(tmp_path):
    checks = [build("numeric", claim, "s", 0.0, **OK) for claim in ("B1.a", "B2.b", "B1.a")]
    cells = [
        {"cell_type": "markdown", "source": ""},
        *({"outputs": [{"data": c._repr_mimebundle_()}, {"name": "stdout"}]} for c in checks),
    ]
    path = tmp_path / "01_piecewise_affine.ipynb"
    path.write_text(json.dumps({"cells": cells}))
    found = claims.harvest(path)
    assert [r["anchor"] for r in found] == ["check-b1-a-1", "check-b2-b-1", "check-b1-a-2"]
    assert {r["chapter"] for r in found} == {"01_piecewise_affine"}


def test_registry__cannot_be_changed():
    with pytest.raises(TypeError):
        claims.registry()["B1.a"] = None


def test_check__displays_itself_in_a_notebook_only_and_needs_none(monkeypatch):
    shown = []
    monkeypatch.setattr("IPython.display.display", shown.append)
    monkeypatch.setattr("IPython.get_ipython", lambda: None)
    claims.numeric("B1.a", "s", 0.0, **OK)
    assert not shown
    monkeypatch.setattr("IPython.get_ipython", object)
    claims.numeric("B1.a", "in a notebook", 0.0, **OK)
    assert [check.statement for check in shown] == ["in a notebook"]
    monkeypatch.setitem(sys.modules, "IPython", None)  # not installed
    claims.numeric("B1.a", "s", 0.0, **OK)
    with pytest.raises(claims.CheckFailed, match=r"B1\.a"):
        claims.numeric("B1.a", "s", 2.0, **OK)
    assert len(shown) == 1
