"""Which files a chapter's results depend on."""

import pytest

PACKAGE = {
    "__init__.py": "from importlib import import_module",
    "losses.py": "import torch\nfrom . import validation",
    "validation.py": "",
    "piecewise/__init__.py": "from .regions import f",
    "piecewise/regions.py": "from ..validation import check\nfrom . import exits",
    "piecewise/exits.py": "def f():\n    from vcreg_theory import seeding",
    "seeding.py": "",
    "claims/__init__.py": "from .registry import registry",
    "claims/registry.py": "import tomllib",
    "claims.toml": "",
}


@pytest.fixture
def package(tmp_path):
    """Write a small package and return its root."""
    for name, text in PACKAGE.items():
        path = tmp_path / "vcreg_theory" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


def names(root, code):
    """Return the files of the package that ``code`` may read, relative to it."""
    from dependencies import closure

    return {str(file.relative_to(root / "vcreg_theory")) for file in closure(root, code)}


PIECEWISE = {"piecewise/__init__.py", "piecewise/regions.py", "piecewise/exits.py"}
BELOW_PIECEWISE = {"__init__.py", "validation.py", "seeding.py"} | PIECEWISE


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("import numpy", set()),
        ("from vcreg_theory import losses", {"__init__.py", "losses.py", "validation.py"}),
        ("import vcreg_theory.losses as l", {"__init__.py", "losses.py", "validation.py"}),
        ("from vcreg_theory.piecewise import f", BELOW_PIECEWISE),
        ("def g():\n    from vcreg_theory.piecewise.exits import f", BELOW_PIECEWISE),
        ("import vcreg_theory", set(PACKAGE)),
        ("from vcreg_theory import *", set(PACKAGE)),
        (
            "from vcreg_theory import claims, seeding",
            {"__init__.py", "claims/__init__.py", "claims/registry.py", "claims.toml"}
            | {"seeding.py"},
        ),
    ],
)
def test_closure__follows_imports(tools, package, code, expected):
    assert names(package, code) == expected


def test_chapter_code__drops_options_and_magics(tools):
    from dependencies import chapter_code

    text = (
        "text\n\n```{code-cell} ipython3\n---\nmystnb:\n  figure: {name: a}\n---\nx = 1\n```\n"
        "\n```python\nimport no\n```\n"
        "\n```{code-cell} ipython3\n:tags: [a]\n\n%matplotlib inline\nif x:\n    !ls\n```\n"
    )
    assert chapter_code(text).split() == ["x", "=", "1", "pass", "if", "x:", "pass"]


def test_main__writes_one_rule_per_chapter_and_drops_old_ones(tools, package, write_chapter):
    from dependencies import main

    cell = "```{code-cell} ipython3\nfrom vcreg_theory import losses\n```\n"
    write_chapter(package / "book" / "chapters" / "01_a.md", cell)
    reader = cell.replace("losses", "losses, records")
    write_chapter(package / "book" / "chapters" / "02_b.md", reader)
    (package / "data").mkdir()
    (package / "data" / "a b.json").write_text("{}")
    stale = package / "_build" / "deps" / "00_old.d"
    stale.parent.mkdir(parents=True)
    stale.write_text("")
    main(package)
    rule = (package / "_build" / "deps" / "01_a.d").read_text()
    assert rule.startswith("_build/executed/$(PROFILE)/01_a.ipynb: \\\n")
    for name in ("vcreg_theory/losses.py", "requirements.txt"):
        assert f"  {name}" in rule
    assert "piecewise" not in rule
    assert "data/" not in rule
    assert "  data/a\\ b.json" in (package / "_build" / "deps" / "02_b.d").read_text()
    assert not stale.exists()
