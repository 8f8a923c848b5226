"""Stored benchmarks: when a run fails, what the page shows, and claims of speed in prose."""

import importlib
import json
import math
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
STORED = json.loads((ROOT / "data" / "benchmarks.json").read_text(encoding="utf-8"))
ENTRIES = STORED["ratios"] | STORED["growth"]
PAGES = sorted(ROOT.joinpath("book").rglob("*.md"))
FENCED = re.compile(r"^(`{3,}|:{3,})\{(?:code-cell|math)\}.*?^\1\s*$", re.MULTILINE | re.DOTALL)
CLAIM = re.compile(  # a figure: a predictor that learns "four times as fast" is theory
    r"\b(\d[\d,.]*)\s?(?:x|×|times|-fold)\s+"
    r"(?:as fast|faster|slower|quicker|cheaper|less memory|the (?:speed|time|memory|cost) of)"
)
QUOTED = re.compile(r"\{bench\}`(\w+)(?:\.\w+)?`")
IN_README = re.compile(r"([\d.,]+)(?: times|x|×)[^\n]*<!-- bench: (\w+) -->")


def prose(text):
    """Return a page without code cells, whose figures are measured when it is built."""
    return FENCED.sub("", text)


@pytest.fixture
def results(monkeypatch):
    """Return the module that compares the benchmarks of a run with those stored."""
    monkeypatch.syspath_prepend(ROOT / "tests" / "benchmarks")
    yield importlib.import_module("results")
    for name in ("results", "measuring"):
        sys.modules.pop(name, None)


def noted(results, **facts):
    """Return results that hold one ratio."""
    found = results.Results(group="losses")
    own, theirs = facts.pop("own", [1.0, 1.0, 1.0]), facts.pop("theirs", [2.0, 3.0, 4.0])
    found.ratio("a", "A", peer="B", own=own, theirs=theirs, **facts)
    return found


def test_ratio__is_of_medians_with_its_spread(results):
    found = noted(results, own=[1.0, 3.0, 2.0], theirs=[2.0, 9.0, 8.0], calls=2).found["ratios"]
    entry = found["a"]
    assert (entry.ratio, entry.least, entry.most) == (4.0, 2.0, 4.0)
    assert (entry.own, entry.theirs) == (1.0, 4.0)


def test_failures__at_a_quarter_less(results):
    found = noted(results)
    for before, fails in ((3.9, False), (4.1, True), (1.0, False)):
        stored = {"ratios": {"a": {"ratio": before}}}
        assert bool(found.failures(stored)) == fails
    assert not found.failures({})
    assert "stored" in found.tables({})[1]


def test_failures__slope_half_a_power_too_steep(results):
    sizes = [10, 100, 1000]
    for power, fails in ((1.4, False), (1.6, True), (0.2, False)):
        found = results.Results()
        times = [[float(n) ** power] * 3 for n in sizes]
        entry = found.growth("g", "G", variable="n", sizes=sizes, times=times, exponent=1)
        assert math.isclose(entry.slope, power, rel_tol=1e-12)
        assert bool(found.failures({})) == fails


def test_missed__ratio_floor_and_memory(results):
    floor = ("a floor", [0.5, 0.5, 0.5])
    goals = {"goal": 3.1, "floor": floor, "floor_goal": 0.6, "mib": 3.0, "mib_goal": 2.0}
    assert len(noted(results, **goals).missed()) == 3
    reached = {"goal": 3.0, "floor": floor, "floor_goal": 0.5, "mib": 2.0, "mib_goal": 2.0}
    assert noted(results, **reached).missed() == []


def test_note__refuses_a_name_used_twice_or_with_a_dot(results):
    found = noted(results)
    for name in ("a", "b.c"):
        with pytest.raises(ValueError, match=f"'{name}'"):
            found.ratio(name, "A", peer="B", own=[1.0], theirs=[1.0])


def test_store__a_part_keeps_the_rest_of_the_same_machine(results, tmp_path):
    path = tmp_path / "stored.json"
    results.store(noted(results), partial=False, path=path)
    other = results.Results()
    other.ratio("b", "B", peer="C", own=[1.0], theirs=[5.0])
    results.store(other, partial=True, path=path)
    assert set(results.load(path)["ratios"]) == {"a", "b"}
    results.store(other, partial=False, path=path)
    assert set(results.load(path)["ratios"]) == {"b"}
    elsewhere = results.load(path)
    elsewhere["machine"]["processor"] = "another"
    path.write_text(json.dumps(elsewhere))
    with pytest.raises(ValueError, match="store all of them anew"):
        results.store(other, partial=True, path=path)


def test_stored__is_complete_and_in_order():
    assert STORED["machine"]["threads"] == 1
    for name, entry in ENTRIES.items():
        figure = entry.get("ratio", entry.get("slope"))
        assert entry["rounds"] >= 1, name
        # four digits are stored
        assert entry["least"] * 0.999 <= figure <= entry["most"] * 1.001, name
        assert (ROOT / "tests" / "benchmarks" / f"test_{entry['group']}.py").exists(), name


def test_page__shows_every_group():
    page = (ROOT / "book" / "performance.md").read_text(encoding="utf-8")
    shown = " ".join(re.findall(r"^```\{benchmarks\} (.*)$", page, re.MULTILINE)).split()
    assert sorted(shown) == sorted({entry["group"] for entry in STORED["ratios"].values()})


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.stem)
def test_prose__quotes_stored_figures_and_no_others(page):
    text = prose(page.read_text(encoding="utf-8"))
    assert set(QUOTED.findall(text)) <= set(ENTRIES)
    assert [found[0] for found in CLAIM.finditer(text)] == []


def test_readme__claims_no_more_than_is_stored():
    """A claim of speed names its benchmark in a comment at the end of its line."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for line in text.splitlines():
        backed = IN_README.findall(line)
        assert bool(backed) or not CLAIM.search(line), line
        for amount, name in backed:
            assert float(amount.replace(",", "").rstrip(".")) <= STORED["ratios"][name]["ratio"]


def test_claims__are_recognised():
    for text in ("12 times faster", "3x faster", "5× as fast", "1,000 times slower"):
        assert CLAIM.search(f"It is {text} than that."), text
    for text in ("{bench}`a` times faster", "8 x 8 pixels", "the fastest", "3 times larger"):
        assert not CLAIM.search(f"It is {text}."), text


def test_build__page_with_the_stored_figures(tmp_path):
    book = tmp_path / "book"
    (book / "chapters").mkdir(parents=True)
    (book / "chapters" / "16_trained_networks.md").write_text("# Networks\n")
    page = (ROOT / "book" / "performance.md").read_text(encoding="utf-8")
    name = next(iter(STORED["ratios"]))
    (book / "performance.md").write_text(f"{page}\nQuoted: {{bench}}`{name}`.\n")
    (book / "index.md").write_text(f"# A book\n\nThe ratio is {{bench}}`{name}`.\n")
    pages = [{"file": "performance"}, {"file": "chapters/16_trained_networks"}]
    contents = {"format": "jb-book", "root": "index", "chapters": pages}
    (book / "_toc.yml").write_text(yaml.safe_dump(contents))
    (book / "references.bib").write_text("@misc{a, title={A}, author={B}, year={2026}}\n")
    shutil.copytree(ROOT / "book" / "_static", book / "_static")
    (book / "_ext").symlink_to(ROOT / "book" / "_ext")
    shutil.copy(ROOT / "_config.yml", tmp_path)
    (tmp_path / "data").mkdir()
    shutil.copy(ROOT / "data" / "benchmarks.json", tmp_path / "data")
    program = str(Path(sys.executable).with_name("jupyter-book"))
    command = [program, "build", "book", "-q", "-W", "-n", "--keep-going"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    site = tmp_path / "_build" / "html"
    html = (site / "performance.html").read_text()
    for entry in STORED["ratios"]:
        assert f'id="bench-{entry.lower().replace("_", "-")}"' in html
    assert json.loads((site / "benchmarks.json").read_text()) == STORED
    assert STORED["machine"]["processor"] in html
