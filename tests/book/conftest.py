import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
HEADER = """\
---
jupytext:
  text_representation:
    extension: .md
    format_name: myst
    format_version: 0.13
kernelspec:
  display_name: Python 3
  language: python
  name: python3
---
"""


@pytest.fixture(scope="session")
def root():
    """Return the repository's root."""
    return ROOT


@pytest.fixture
def tools(monkeypatch):
    """Make the scripts of ``tools`` importable."""
    monkeypatch.syspath_prepend(ROOT / "tools")
    yield
    for name in ("dependencies", "failure", "kernel", "execute", "mutants", "mutate", "structure"):
        sys.modules.pop(name, None)


@pytest.fixture(scope="session")
def write_chapter():
    """Return a function that writes a chapter of the given text below a jupytext header."""

    def write(path, text):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(HEADER + text)
        return path

    return write
