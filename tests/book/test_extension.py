"""The Sphinx extension, in strict builds of a book of one chapter."""

import hashlib
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
import yaml

from vcreg_theory import claims, records
from vcreg_theory.claims.checks import MIME
from vcreg_theory.claims.findings import findings

CLAIM = next(iter(claims.registry()))
CHAPTER = """\
# A chapter

```{{claim-card}} {card}
```

```{{prf:theorem}} With $x$
:label: {claim}

It holds.
```

```{{code-cell}} ipython3
check()
```
"""
INDEX = """\
# A book

```{ledger-table}
```

{ledger}`claims` claims, {ledger}`verdicts.ours` of them ours.

```{theorem-index}
```
"""
LISTS = f"""
{{claim}}`{CLAIM}` is checked, {{claim}}`C10.f` is open.
The second figure is {{measured}}`{CLAIM}: second`, that of C10.f is {{measured}}`C10.f: none`.

```{{findings}} holds with an extra assumption
```

```{{results}} ours
```

```{{records-table}} final.accuracy.linear
:suites: digits cifar10_cpu
:methods: vicreg random
:percent:
```
"""


def record(claim, statement):
    keys = {"kind": "numeric", "measured": "0.5", "expected": "", "criterion": "at most 1"}
    more = {"reason": "since $y < 1$", "passed": True, "seed": 0, "n": 3, "device": "cpu"}
    times = {"seconds": 12345.0, "checkpoint": None}
    return {"claim": claim, "statement": statement, **keys, **more, **times}


def executed(text, records):
    """Return the chapter as a notebook whose last cell displayed the records."""
    prose = text[text.index("# A chapter") : text.index("```{code-cell}")]
    outputs = [nbformat.v4.new_output("display_data", {MIME: r}) for r in records]
    cells = [
        nbformat.v4.new_markdown_cell(prose, id="c000"),
        nbformat.v4.new_code_cell("check()", execution_count=1, outputs=outputs, id="c001"),
    ]
    language = {"name": "python", "pygments_lexer": "ipython3"}
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    digest = hashlib.sha256(text.encode()).hexdigest()
    lines = [text.split("\n").index(start) for start in ("# A chapter", "```{code-cell} ipython3")]
    own = {"vcreg": {"source_sha256": digest}, "source_map": [lines[0], lines[1] + 1]}
    metadata = {"kernelspec": kernel, "language_info": language, **own}
    return nbformat.v4.new_notebook(cells=cells, metadata=metadata)


@pytest.fixture
def build(root, tmp_path, write_chapter):
    """Return a function that builds a book of one chapter strictly."""

    def run(records, card=CLAIM, edited="", index=INDEX + LISTS):
        book, built = tmp_path / "book", tmp_path / "_build"
        chapter = write_chapter(
            book / "chapters" / "07_a.md", CHAPTER.format(card=card, claim=CLAIM)
        )
        path = built / "executed" / "quick" / "07_a.ipynb"
        path.parent.mkdir(parents=True)
        nbformat.write(executed(chapter.read_text(), records), path)
        chapter.write_text(chapter.read_text() + edited)
        ledger, _ = claims.ledger(claims.harvest(path), [])
        for entry in ledger["claims"]:
            entry["status"] = "checked" if entry["id"] == CLAIM else "open"
        (built / "ledger.json").write_text(json.dumps(ledger))
        (book / "index.md").write_text(index)
        part = {"caption": "I", "numbered": 1, "chapters": [{"file": "chapters/07_a"}]}
        contents = {"format": "jb-book", "root": "index", "parts": [part]}
        (book / "_toc.yml").write_text(yaml.safe_dump(contents))
        (book / "references.bib").write_text("@misc{a, title={A}, author={B}, year={2026}}\n")
        shutil.copytree(root / "book" / "_static", book / "_static")
        (book / "_ext").symlink_to(root / "book" / "_ext")
        shutil.copy(root / "_config.yml", tmp_path)
        program = str(Path(sys.executable).with_name("jupyter-book"))
        command = [program, "build", "book", "-q", "-W", "-n", "--keep-going"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
        return done.returncode, done.stderr, built / "html"

    return run


def test_build__shows_records_ledger_and_download(build):
    status, errors, site = build([record(CLAIM, "first $z$"), record(CLAIM, "second")])
    assert status == 0, errors
    page = (site / "chapters" / "07_a.html").read_text()
    anchors = [f"check-{CLAIM.lower().replace('.', '-')}-{k}" for k in (1, 2)]
    for anchor in anchors:
        assert f'id="{anchor}"' in page
        assert f'href="chapters/07_a.html#{anchor}"' in (site / "index.html").read_text()
    assert r"\(y &lt; 1\)" in page and r"\(z\)" in page
    assert "12345" not in page
    assert "With" in (site / "index.html").read_text()
    assert "_sources/chapters/07_a.ipynb" in page
    assert (site / "_sources" / "chapters" / "07_a.ipynb").exists()
    assert json.loads((site / "ledger.json").read_text())["counts"]["records"] == 2
    assert (site / "_static" / "mathjax" / "tex-chtml.js").exists()
    assert "cdn.jsdelivr" not in page and "unpkg" not in page
    index = (site / "index.html").read_text()
    links = {f"#{CLAIM}": CLAIM, f"#{anchors[1]}": "0.5"}  # a theorem's, a record's
    for anchor, text in links.items():
        link = rf'href="chapters/07_a.html{re.escape(anchor)}"[^>]*>(?:<[^>]*>)+{re.escape(text)}<'
        assert re.search(link, index), link
    assert "(not measured yet)" in index and "(not checked yet)" in index
    correction = findings()["C4.c"].found.partition(".")[0]
    assert "As it is read" in index and correction in index
    assert "15 bridge (not written yet)" in index
    runs = records.table(records.load("digits"))
    mean = next(run.mean for run in runs if run.method == "vicreg")
    assert re.search(rf"<p>{100 * mean:.1f} ± \d", index)
    # the only chapter of this book, but the seventh by its name
    assert "Theorem 7.1" in page
    assert re.search(r'section-number">7\.', page)


def test_build__fails_on_unknown_theorem_unknown_claim_and_edited_chapter(build):
    missing = "Z99.z"
    status, errors, _ = build([record(missing, "x")], card=f"{CLAIM} Y88.y", edited="\nMore.\n")
    assert status != 0
    assert f"prf:ref reference target not found: {missing}" in errors
    assert re.search(r"chapters/07_a\.md:25: .*not found: Z99.z", errors)
    assert "not in claims.toml: Y88.y" in errors
    assert "edited since it was executed" in errors


def test_build__fails_on_a_figure_or_a_claim_that_is_not_there(build):
    wrong = f"""
{{claim}}`Z9.z`, {{measured}}`Z9.z: x`, {{ledger}}`verdicts.none`,
{{measured}}`{CLAIM}: neither`, {{measured}}`{CLAIM}: s`.

```{{findings}} holds somewhat
```

```{{records-table}} final.accuracy.linear
:suites: digits
:methods: no_method
```
"""
    both = [record(CLAIM, "first is"), record(CLAIM, "second is")]
    status, errors, _ = build(both, index=INDEX + wrong)
    assert status != 0
    for message in (
        "claim: not in claims.toml: Z9.z",
        "measured: not a claim and words: 'Z9.z: x'",
        "the ledger counts no 'verdicts.none'",
        f"measured: 0 records of {CLAIM} have 'neither'",
        f"measured: 2 records of {CLAIM} have 's'",
        "'holds somewhat' must be one of holds,",
        "records-table: no record of no_method",
    ):
        assert message in errors, errors
