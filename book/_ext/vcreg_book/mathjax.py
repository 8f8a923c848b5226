"""MathJax from the installed package, so that a page asks nothing of the network."""

from importlib.util import find_spec
from pathlib import Path

from sphinx.util.fileutil import copy_asset

USED = ("tex-chtml.js", "input/tex/extensions", "output/chtml/fonts", "a11y", "sre")


def copy_mathjax(app, error):
    """Copy the parts of MathJax that pages load."""
    if error is not None or app.builder.format != "html":
        return
    source = Path(find_spec("sphinx-mathjax-offline").origin).parent / "static" / "mathjax"
    for part in USED:
        path = source / part
        target = Path(app.outdir, "_static", "mathjax", part)
        copy_asset(path, target if path.is_dir() else target.parent)


def setup(app):
    app.config.mathjax_path = "mathjax/tex-chtml.js"
    app.connect("build-finished", copy_mathjax)
