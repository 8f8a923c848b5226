"""Every chapter keeps to the template."""

import ast
import re
from pathlib import Path

import pytest
from jupytext.myst import myst_to_notebook

CHAPTERS = sorted((Path(__file__).resolve().parents[2] / "book" / "chapters").glob("*.md"))
HEADINGS = ("Overview", "Parameters", "Scope", "Exercises", "References")  # in this order
HIDDEN = {"hide-cell", "hide-input", "remove-cell", "remove-input"}
PARAMETERS = {"profile", "seed", "device"}


@pytest.fixture(params=CHAPTERS, ids=lambda path: path.stem)
def chapter(request):
    return request.param


@pytest.fixture
def text(chapter):
    return chapter.read_text(encoding="utf-8")


@pytest.fixture
def notebook(text):
    return myst_to_notebook(text)


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def tags(cell):
    return set(cell.metadata.get("tags", []))


def visible_lines(cell):
    """Return how many lines of code a reader sees without unfolding anything."""
    return 0 if tags(cell) & HIDDEN else sum(bool(line.strip()) for line in cell.source.split("\n"))


def test_chapter__has_a_jupytext_header(notebook):
    form = notebook.metadata["jupytext"]["text_representation"]
    assert (form["extension"], form["format_name"]) == (".md", "myst")
    assert notebook.metadata["kernelspec"]["name"] == "python3"


def test_chapter__has_one_cell_with_the_common_parameters(notebook):
    cells = [cell for cell in code_cells(notebook) if "parameters" in tags(cell)]
    assert len(cells) == 1
    assigned = {
        name.id
        for name in ast.walk(ast.parse(cells[0].source))
        if isinstance(name, ast.Name) and isinstance(name.ctx, ast.Store)
    }
    assert assigned >= PARAMETERS


def test_chapter__states_and_controls_its_claims(chapter, text, tools):
    import structure

    assert structure.problems(chapter) == []
    assert "claims.control(" in text or "{claim-card}" not in text


def test_structure__names_what_is_missing(tmp_path, tools):
    import structure

    path = tmp_path / "02_gaussianity.md"
    path.write_text("```{claim-card} B3.a B3.c\n```\n:label: B3.a\n:label: B3.bb\n")
    found = "\n".join(structure.problems(path))
    assert "B3.b is not named in the claim-card" in found
    assert 'B3.b has no theorem with ":label: B3.b"' in found
    assert '":label: B3.bb" names no claim of this chapter' in found


def test_structure__a_chapter_without_claims_has_no_card(tmp_path, tools):
    import structure

    path = tmp_path / "99_report.md"
    path.write_text("## Overview\n")
    assert structure.problems(path) == []
    path.write_text("```{claim-card} B3.a\n```\n")
    assert len(structure.problems(path)) == 1


def test_chapter__has_the_headings_of_the_template(text):
    found = re.findall(r"^## +(.*)$", text, re.MULTILINE)
    places = [next((i for i, h in enumerate(found) if h.startswith(w)), None) for w in HEADINGS]
    assert None not in places, dict(zip(HEADINGS, places, strict=True))
    assert places == sorted(places)


def test_chapter__shows_little_code(notebook):
    lengths = [visible_lines(cell) for cell in code_cells(notebook)]
    hint = "hide a cell with the tag hide-input, or move code to the package"
    assert max(lengths) <= 30, f"a cell shows {max(lengths)} lines, more than 30: {hint}"
    assert sum(lengths) <= 220, f"the chapter shows {sum(lengths)} lines, more than 220: {hint}"


def test_chapter__figures_have_caption_name_and_alt_text(notebook):
    for cell in code_cells(notebook):
        if "plt.show(" in cell.source or "mystnb" in cell.metadata:
            options = cell.metadata.get("mystnb", {})
            figure, image = options.get("figure", {}), options.get("image", {})
            given = {"caption": figure.get("caption"), "name": figure.get("name")}
            given["alt"] = image.get("alt")
            assert all(given.values()), f"{given}\n{cell.source}"
