"""Tests of the file of claims: its form, its completeness and the wording of its fields."""

import re
import sys
import tomllib
from collections import Counter
from importlib.resources import files

import pytest

from vcreg_theory import claims

CHAPTERS = {
    "01_piecewise_affine",
    "02_gaussianity",
    "03_mutual_information",
    "04_entropy",
    "05_em_collapse",
    "06_generalization",
    "07_hsic",
    "08_pairwise_mutual",
    "09_ica",
    "10_projectors",
    "11_linear_dynamics",
    "12_weight_decay",
    "13_sample_complexity",
    "14_directcopy",
    "15_bridge",
}
VERDICTS = {
    "holds",
    "holds with an extra assumption",
    "refuted as stated, corrected form proved",
    "ours",
}
TYPES = {
    "id": str,
    "title": str,
    "paper": str,
    "place": str,
    "statement": str,
    "hypotheses": list,
    "refuted_by": str,
    "verdict": str,
    "chapter": str,
    "algebra": bool,
}
# The number of claims, A1 to A8 and so on, that each paper is divided into.
PARTS = {"A": 8, "B": 9, "C": 10}
LONGEST_STATEMENT = 600

TABLES = tomllib.loads(files("vcreg_theory").joinpath("claims.toml").read_text("utf-8"))["claim"]


def _prose(table: dict) -> list[str]:
    """The fields of a claim that a reader sees as text."""
    names = ("title", "place", "statement", "refuted_by")
    return [table[name] for name in names] + list(table["hypotheses"])


def _braces_balance(text: str) -> bool:
    """Whether every opening brace has its closing one, escaped braces aside."""
    depth = 0
    for brace in re.findall(r"(?<!\\)[{}]", text):
        depth += 1 if brace == "{" else -1
        if depth < 0:
            return False
    return depth == 0


@pytest.fixture(params=TABLES, ids=lambda table: table.get("id", "without-id"))
def table(request) -> dict:
    """One table of the file, for each of them."""
    return request.param


def test_claims__ids_are_unique():
    counts = Counter(table["id"] for table in TABLES)
    assert [name for name, count in counts.items() if count > 1] == []


@pytest.mark.parametrize("paper", PARTS)
def test_claims__every_part_of_each_paper_is_present(paper):
    found = {table["id"].partition(".")[0] for table in TABLES if table["paper"] == paper}
    assert found == {f"{paper}{part}" for part in range(1, PARTS[paper] + 1)}


def test_claims__letters_of_a_part_start_at_a():
    first = {table["id"].partition(".")[0]: [] for table in TABLES}
    for table in TABLES:
        part, _, letter = table["id"].partition(".")
        first[part].append(letter)
    assert {part: min(letters) for part, letters in first.items()} == dict.fromkeys(first, "a")


def test_claims__fields_are_complete_and_typed(table):
    assert {name: type(value) for name, value in table.items()} == TYPES
    assert all(table[name].strip() for name in TYPES if TYPES[name] is str)
    assert table["hypotheses"]
    assert all(isinstance(phrase, str) and phrase.strip() for phrase in table["hypotheses"])


def test_claims__id_is_well_formed_and_names_its_paper(table):
    assert re.fullmatch(r"[ABC]\d+\.[a-z]", table["id"])
    assert table["id"][0] == table["paper"]


def test_claims__verdict_and_chapter_are_allowed(table):
    assert table["verdict"] in VERDICTS
    assert table["chapter"] in CHAPTERS


def test_claims__statement_is_short_and_ends_in_a_full_stop(table):
    assert len(table["statement"]) <= LONGEST_STATEMENT
    assert table["statement"].endswith(".")


def test_claims__refutation_ends_in_a_full_stop(table):
    assert table["refuted_by"].endswith(".")


def test_claims__formulas_are_closed(table):
    for text in _prose(table):
        assert len(re.findall(r"(?<!\\)\$", text)) % 2 == 0, text
        assert len(re.findall(r"\\left\b", text)) == len(re.findall(r"\\right\b", text)), text
        assert _braces_balance(text), text


def test_claims__text_has_no_stray_control_characters(table):
    # "\to" or "\frac" in an ordinary TOML string turns into a tab or a form feed.
    assert all(text.isprintable() for text in _prose(table))


def test_claims__memory_is_marked_in_one_way_and_only_in_the_place(table):
    for text in (text for text in _prose(table) if text is not table["place"]):
        assert "recall" not in text.lower(), text
    place = table["place"]
    assert place.count("recall") == place.count("as we recall") <= 1
    assert "recall" not in place or place.endswith(", as we recall")


def test_registry__agrees_with_the_file():
    assert list(claims.registry()) == [table["id"] for table in TABLES]
    for table in TABLES:
        claim = claims.registry()[table["id"]]
        assert {name: getattr(claim, name) for name in TYPES} == {
            **table,
            "hypotheses": tuple(table["hypotheses"]),
        }


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: 2 * text, "claims.toml repeats A1.a"),
        (
            lambda text: text.replace("\nplace = ", "\nplaces = ", 1),
            r"missing \['place'\], unkn.*s'",
        ),
        (
            lambda text: text.replace('\nverdict = "', '\nverdict = "un', 1),
            "verdict must be one of",
        ),
    ],
)
def test_registry__refuses_a_file_of_another_form(change, message, tmp_path, monkeypatch):
    module = sys.modules[claims.Claim.__module__]
    text = files("vcreg_theory").joinpath("claims.toml").read_text("utf-8")
    (tmp_path / "claims.toml").write_text(change(text), encoding="utf-8")
    monkeypatch.setattr(module, "files", lambda package: tmp_path)
    with pytest.raises(ValueError, match=message):
        module.registry.__wrapped__()
