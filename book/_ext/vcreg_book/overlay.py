"""Show the executed notebook of a chapter in place of its source.

The pages are the ``.md`` files of ``book/chapters``; Make executes them into
``_build/executed/<profile>``. When Sphinx reads a chapter, the parser below hands MyST-NB the
executed notebook, whose cells carry the line numbers of the ``.md`` file. So warnings and edit
links point to the file an author edits, and no second source tree exists.
"""

import hashlib
import json
import shutil
from pathlib import Path

import nbformat
from myst_nb.core.read import is_myst_markdown_notebook
from myst_nb.sphinx_ import Parser
from sphinx.util import logging

from vcreg_theory import claims
from vcreg_theory.claims.checks import MIME

LOGGER = logging.getLogger(__name__)
PROMPTS = {"code_prompt_show": "Show the solution", "code_prompt_hide": "Hide the solution"}


def build_folder(env):
    """Return the folder of everything that is built, next to the book's source."""
    return Path(env.srcdir).parent / "_build"


def executed_notebook(env, docname):
    """Return where the executed notebook of ``docname`` is, in the profile built last."""
    build = build_folder(env)
    profile = build / "profile"
    name = profile.read_text().strip() if profile.exists() else "quick"
    return build / "executed" / name / f"{docname.rpartition('/')[2]}.ipynb"


def read(text, path):
    """Read the executed notebook at ``path``; a format reader of MyST-NB, ``text`` is unused."""
    notebook = nbformat.read(path, as_version=4)
    records = iter(claims.harvest(Path(path)))
    for cell in notebook.cells:
        if "hide-cell" in cell.metadata.get("tags", []):
            cell.metadata["mystnb"] = {**PROMPTS, **cell.metadata.get("mystnb", {})}
        for output in cell.get("outputs", []):
            if MIME in output.get("data", {}):
                output.data = {"text/markdown": check_directive(next(records))}
    return notebook


def check_directive(record):
    """Return the MyST directive that shows a check record."""
    fence = "`" * 8
    return f"{fence}{{check-record}}\n{json.dumps(record)}\n{fence}\n"


class ExecutedChapterParser(Parser):
    """MyST-NB's parser, reading a chapter's executed notebook where there is one."""

    def parse(self, inputstring, document):
        env = document.settings.env
        path = executed_notebook(env, env.docname)
        if not is_myst_markdown_notebook(inputstring):
            return super().parse(inputstring, document)
        env.note_dependency(str(path))
        if not path.exists():
            LOGGER.warning("not executed yet: run `make book`", location=env.docname)
            return super().parse(inputstring, document)
        source = json.loads(path.read_text(encoding="utf-8"))["metadata"].get("vcreg", {})
        if source.get("source_sha256") != hashlib.sha256(inputstring.encode()).hexdigest():
            LOGGER.warning("edited since it was executed: run `make book`", location=env.docname)
        config = env.mystnb_config
        reader = ("vcreg_book.overlay.read", {"path": str(path)}, False)
        env.mystnb_config = config.copy(
            custom_formats={".md": reader}, render_markdown_format="myst"
        )
        try:
            super().parse(inputstring, document)
        finally:
            env.mystnb_config = config


def offer_download(app, pagename, templatename, context, doctree):
    """Put the executed notebook beside the page's source, for the theme's download menu."""
    path = executed_notebook(app.env, pagename)
    if pagename.startswith("chapters/") and path.exists() and app.builder.name == "html":
        target = Path(app.outdir, "_sources", f"{pagename}.ipynb")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
        context["ipynb_source"] = f"{pagename}.ipynb"


def setup(app):
    app.add_source_parser(ExecutedChapterParser, override=True)
    app.connect("html-page-context", offer_download, priority=100)  # before the theme's menu
