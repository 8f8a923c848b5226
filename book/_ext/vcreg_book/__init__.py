"""The book's Sphinx extension: executed chapters, claim cards, check records, ledger, theorems."""

from . import api, cards, ledger, mathjax, numbers, overlay, records, theorems


def setup(app):
    """Register every part; each module has one."""
    for part in (overlay, api, records, cards, ledger, theorems, mathjax, numbers):
        part.setup(app)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
