"""Findings: readings and corrections, tied to the registry."""

import re
import tomllib
from importlib.resources import files

import pytest

from vcreg_theory import claims
from vcreg_theory.claims import findings as module

TABLES = tomllib.loads(
    files("vcreg_theory.claims").joinpath("findings.toml").read_text(encoding="utf-8")
)
LONGEST = {"read": 160, "found": 320}
ENTRY = '["{}"]\nread = "It holds."\nfound = "It does not."\n'


@pytest.fixture
def write(monkeypatch, tmp_path):
    """Return a function that puts another file in the place of ``findings.toml``."""

    def write(text):
        (tmp_path / "findings.toml").write_text(text, encoding="utf-8")
        monkeypatch.setattr(module, "files", lambda package: tmp_path)
        module.findings.cache_clear()

    yield write
    module.findings.cache_clear()


def needed():
    """Return the claims that must have a finding."""
    return [c.id for c in claims.registry().values() if c.verdict in module.CORRECTED]


def test_findings__has_every_claim_that_was_corrected_and_none_that_simply_holds():
    verdicts = {name: claims.registry()[name].verdict for name in module.findings()}
    assert set(needed()) <= set(verdicts)
    assert set(verdicts.values()) <= {*module.CORRECTED, "ours"}


def test_findings__follow_the_order_of_the_registry():
    found = list(module.findings())
    assert found == [name for name in claims.registry() if name in found]


@pytest.mark.parametrize("name", TABLES)
def test_findings__are_short_sentences_with_closed_formulas(name):
    for key, text in TABLES[name].items():
        assert len(text) <= LONGEST[key], (key, len(text))
        assert text.endswith(".") and text.isprintable()
        assert len(re.findall(r"(?<!\\)\$", text)) % 2 == 0
        assert "recall" not in text.lower()
        assert "*" not in text and "_" not in re.sub(r"\$.*?\$", "", text)  # no markup but TeX
    assert TABLES[name]["read"].count(".") == 1  # one sentence


@pytest.mark.parametrize("name", TABLES)
def test_findings__refer_to_claims_that_exist(name):
    for other in re.findall(r"\b[ABC]\d+\.[a-z]\b", TABLES[name]["found"]):
        assert other in claims.registry() and other != name


def test_findings__a_claim_without_entry_is_an_error(write):
    first, *others = needed()
    write("".join(ENTRY.format(name) for name in others))
    with pytest.raises(ValueError, match=rf"no entry for {re.escape(first)}$"):
        module.findings()


def test_findings__reject_unknown_claims_fields_and_claims_that_hold(write):
    complete = "".join(ENTRY.format(name) for name in needed())
    holds = next(c.id for c in claims.registry().values() if c.verdict == "holds")
    write(complete + ENTRY.format("Z9.z"))
    with pytest.raises(ValueError, match=r"not in claims\.toml: Z9\.z"):
        module.findings()
    write(complete + ENTRY.format(holds))
    with pytest.raises(ValueError, match=f"{re.escape(holds)} simply holds"):
        module.findings()
    write(complete + 'why = "An unknown field."\n')
    with pytest.raises(ValueError, match="must have the fields read and found"):
        module.findings()
    write("".join(ENTRY.format(name) for name in reversed(needed())))
    assert list(module.findings()) == needed()
