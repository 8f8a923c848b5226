"""The book's Sphinx extension: executed chapters, claim cards, check records, ledger, lists."""

from . import (
    api,
    benchmarks,
    cards,
    findings,
    ledger,
    mathjax,
    numbers,
    overlay,
    quotes,
    records,
    theorems,
)


def setup(app):
    """Register every part; each module has one."""
    parts = (
        overlay,
        api,
        records,
        cards,
        ledger,
        findings,
        quotes,
        theorems,
        mathjax,
        numbers,
        benchmarks,
    )
    for part in parts:
        part.setup(app)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
