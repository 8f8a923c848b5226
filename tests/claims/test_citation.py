"""Citations: from names to claims, from claims to BibTeX, and the packaged references."""

import re
import tomllib
from importlib.resources import files
from pathlib import Path

import pytest
import yaml

from vcreg_theory import claims, cli
from vcreg_theory.claims import citation, naming

ROOT = Path(__file__).resolve().parents[2]
SOURCES = tomllib.loads(
    files("vcreg_theory.claims").joinpath("sources.toml").read_text(encoding="utf-8")
)
ENTRY = re.compile(r"@(\w+)\{([^,]+),\n(.*?)\n\}", re.DOTALL)


def fields(entry):
    """Return the fields of one BibTeX entry, read without the code under test."""
    body = ENTRY.fullmatch(entry)[3]
    found = re.findall(r"^  (\w+)\s*= \{(.*?)\},?$", body, re.MULTILINE | re.DOTALL)
    return dict(found)


def keys(text):
    """Return the keys of all entries of a BibTeX text, in order."""
    return [found[2] for found in ENTRY.finditer(text)]


def part(name):
    """Return the claims of a part."""
    return [claim for claim in claims.registry() if claim.partition(".")[0] == name]


@pytest.fixture
def place(monkeypatch):
    """Return a function that gives a function of the package another docstring."""
    from vcreg_theory import density

    def document(text):
        monkeypatch.setattr(density.exit_probability, "__doc__", text)
        return "density.exit_probability"

    return document


def test_resolve__a_claim_is_itself_and_a_part_all_of_its_claims():
    assert naming.resolve("B2.b") == ("B2.b",)
    assert list(naming.resolve("C1")) == part("C1") != []  # and none of C10


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Claim: B2.c.", ["B2.c"]),
        ("Claim B2.c; exact.", ["B2.c"]),
        ("Claims B2.b and B3.c.", ["B2.b", "B3.c"]),
        ("Claims A1.a, B2.b, and B3.c: three of them.", ["A1.a", "B2.b", "B3.c"]),
        ("Claims B2.b to B2.d.", ["B2.b", "B2.c", "B2.d"]),
        ("Claims B2.b and C4. Samples in B4.a are not named.", ["B2.b", *part("C4")]),
        ("First.\n\nNotes\n-----\nClaims B2.b\nand B3.c.", ["B2.b", "B3.c"]),
        ("Claim B2.b. And more: claim B3.c.", ["B2.b"]),
    ],
)
def test_resolve__reads_the_claims_of_a_docstring(place, text, expected):
    assert list(naming.resolve(place(text))) == expected


def test_resolve__takes_names_with_the_package_and_modules():
    assert naming.resolve("vcreg_theory.density.exit_probability") == ("B2.c",)
    assert set(naming.resolve("density")) >= {"B2.a", "B2.b", "B2.c"}


def test_resolve__a_module_form_has_the_claims_of_its_function():
    assert naming.resolve("losses.WMSELoss") == naming.resolve("losses.wmse_loss") != ()


@pytest.mark.parametrize("name", ["B99", "Z1.a", "density.nothing", "_types", "os", ""])
def test_resolve__rejects_unknown_names(name):
    with pytest.raises(ValueError, match=re.escape(repr(name))):
        naming.resolve(name)


def test_resolve__suggests_what_is_near():
    with pytest.raises(ValueError, match=r"near it: .*B2\.d"):
        naming.resolve("B2.z")


def test_resolve__a_function_without_claim_is_an_error():
    with pytest.raises(ValueError, match=r"stats\.slope_interval.* names no claim"):
        naming.resolve("stats.slope_interval")


def test_cite__names_the_book_and_the_works_once_each():
    text = citation.cite(["B2.b", "A6.c", "B2.b", "density.exit_probability"])
    assert keys(text) == ["vcreg_theory", "mialon2022variance", "shwartzziv2023information"]
    note = fields(text.split("\n\n")[0].partition("\n")[2])["note"]
    for name in ("A6.c", "B2.b", "B2.c"):
        assert f"{name} ({claims.registry()[name].title})" in note
    assert "% Source of B2.b; on its subject: B2.c\n@inproceedings{shwartzziv2023" in text
    assert "% On its subject: A6.c\n@misc{mialon2022variance" in text


def test_cite__tells_the_source_of_a_claim_from_its_paper_and_from_what_it_uses():
    text = citation.cite(["C2.a", "A1.d"])
    papers, others = ["mialon2022variance", "wang2021demystifying"], ["tian2021", "welch1974"]
    assert [key.rstrip("abcdefghijklmnopqrstuvwxyz") for key in keys(text)[3:]] == others[::-1]
    assert keys(text)[1:3] == papers
    assert "% On its subject: C2.a\n@misc{wang2021" in text
    assert "% Source of C2.a\n@inproceedings{tian2021" in text
    assert "% Used by A1.d\n@article{welch1974" in text


@pytest.mark.parametrize("name", claims.registry())
def test_cite__every_claim_has_a_well_formed_citation(name):
    entries = [part.partition("\n")[2] for part in citation.cite([name]).split("\n\n")]
    assert len(entries) == 1 + len(citation.works(name)) == 1 + len(set(citation.works(name)))
    for entry in entries:
        assert ENTRY.fullmatch(entry), entry
        assert entry.count("{") == entry.count("}")
        assert {"author", "title", "year"} <= set(fields(entry)), entry
    # what would stop LaTeX where the note is typeset
    assert not set(claims.registry()[name].title) & set("$%&#_^~\\{}")


def test_cite__rejects_nothing_and_a_bare_string():
    with pytest.raises(ValueError, match="at least one name"):
        citation.cite([])
    with pytest.raises(TypeError, match="iterable of names"):
        citation.cite("B2.b")


def test_works__rejects_an_unknown_claim():
    with pytest.raises(ValueError, match="registered"):
        citation.works("B2")


def test_sources__name_claims_and_packaged_entries_only():
    named = [SOURCES["origins"], SOURCES["used"]]
    assert all(set(table) <= set(claims.registry()) for table in named)
    used = {key for name in claims.registry() for key in citation.works(name)}
    assert used == set(citation.entries())
    assert set(SOURCES["papers"]) == {claim.paper for claim in claims.registry().values()}


def test_sources__a_place_in_another_work_is_an_origin():
    # the registry says in words that Tian et al. or Tang et al. state a claim
    elsewhere = {}
    for claim in claims.registry().values():
        if author := re.match(r"(Tian|Tang)\b", claim.place):
            elsewhere[claim.id] = author[1].lower()
    origins = {name: re.match("[a-z]+", key)[0] for name, key in SOURCES["origins"].items()}
    assert origins == elsewhere != {}


def test_references__are_those_of_the_book():
    # the package carries its own copy, so that an installed one can cite; they must not drift
    book = (ROOT / "book" / "references.bib").read_text(encoding="utf-8")
    for entry in citation.entries().values():
        assert entry in book


def test_cite__agrees_with_the_citation_file():
    facts = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert facts["title"] == citation.TITLE
    assert facts["authors"] == [{"name": citation.AUTHOR}]
    assert facts["date-released"].year == citation.YEAR
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert facts["version"] == project["version"]
    assert facts["license"] == project["license"]
    urls = {reference["url"].rpartition("/")[2] for reference in facts["references"]}
    papers = {fields(citation.entries()[key])["eprint"] for key in SOURCES["papers"].values()}
    assert urls == papers


def test_citation_file__has_the_fields_of_its_schema():
    facts = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert {"cff-version", "message", "title", "authors"} <= set(facts)  # required by version 1.2.0
    assert facts["cff-version"] == "1.2.0" and facts["type"] in {"software", "dataset"}
    for thing in (facts, *facts["references"]):
        people = [set(author) for author in thing["authors"]]
        assert people
        assert all(p == {"name"} or p == {"family-names", "given-names"} for p in people)
    for reference in facts["references"]:
        assert {"type", "title", "authors"} <= set(reference)
        assert reference["type"] in {"article", "conference-paper"}


def test_command__prints_bibtex(capsys):
    assert cli.main(["cite", "B2.b", "density.exit_probability"]) == 0
    assert capsys.readouterr().out == citation.cite(["B2.b", "B2.c"]) + "\n"


def test_command__names_what_it_does_not_know(capsys):
    assert cli.main(["cite", "B2.z"]) == 1
    output = capsys.readouterr()
    assert not output.out and "error: no claim is called 'B2.z'" in output.err
