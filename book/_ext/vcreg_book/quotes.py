"""Figures in prose, taken from the ledger and from the records of trained networks."""

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective, SphinxRole

from vcreg_theory import claims
from vcreg_theory import records as stored

from .ledger import load, record_link
from .records import inline, shown

LOGGER = logging.getLogger(__name__)


class MeasuredRole(SphinxRole):
    """``{measured}`B8.e: words` ``: the figure of the one record whose statement has the words."""

    def run(self):
        claim, _, words = (part.strip() for part in self.text.partition(":"))
        if claim not in claims.registry() or not words:
            LOGGER.warning("measured: not a claim and words: %r", self.text, location=self.where)
            return [nodes.Text(self.text)], []
        entries = (load(self.env) or {"claims": ()})["claims"]
        entry = next((e for e in entries if e["id"] == claim), None)
        if entry is None or entry["status"] != "checked":
            return [nodes.Text("(not measured yet)")], []
        found = [r for r in entry["records"] if words in r["statement"]]
        if len(found) != 1:
            message = "measured: %d records of %s have %r in their statement, not one"
            LOGGER.warning(message, len(found), claim, words, location=self.where)
            return [nodes.Text(self.text)], []
        link = record_link(found[0])
        link += nodes.inline("", shown(found[0]["measured"]).strip(), classes=["claim-id"])
        return [link], []

    @property
    def where(self):
        """Return the place of the role in the page, for messages."""
        return self.get_location()


class RecordsTable(SphinxDirective):
    """``{records-table} final.accuracy.linear``: means over seeds, a method a row.

    Options: ``suites``, and ``methods`` in the order of the rows; ``percent`` multiplies by 100.
    """

    required_arguments = 1
    option_spec = {  # noqa: RUF012
        "suites": directives.unchanged_required,
        "methods": directives.unchanged_required,
        "percent": directives.flag,
    }

    def run(self):
        suites, methods = self.options["suites"].split(), self.options["methods"].split()
        self.env.note_dependency(str(stored.default_folder()))
        rows = {suite: self.rows(suite) for suite in suites}
        if missing := [m for m in methods if not any(m in rows[suite] for suite in suites)]:
            raise self.error(f"records-table: no record of {', '.join(missing)}")
        titles = {m: next(rows[s][m].title for s in suites if m in rows[s]) for m in methods}
        seeds = {s: max(row.seeds for row in rows[s].values()) for s in suites}
        head = ["method"] + [f"{s} ({n} seed{'s' * (n > 1)})" for s, n in seeds.items()]
        body = [[titles[m], *(self.entry(rows[s].get(m)) for s in suites)] for m in methods]
        return [self.table(head, body)]

    def rows(self, suite):
        """Return the means of one suite by method."""
        table = stored.table(stored.load(suite), self.arguments[0])
        return {row.method: row for row in table}

    def entry(self, row):
        """Return a mean with the half-width of its interval."""
        if row is None or row.mean is None:
            return ""
        scale, form = (100, ".1f") if "percent" in self.options else (1, ".3g")
        text = f"{scale * row.mean:{form}}"
        return text if row.low is None else f"{text} ± {scale * (row.high - row.low) / 2:{form}}"

    def table(self, head, body):
        """Return the table of the texts."""
        group = nodes.tgroup("", *(nodes.colspec(colwidth=1) for _ in head), cols=len(head))
        group += [nodes.thead("", self.row(head)), nodes.tbody("", *map(self.row, body))]
        return nodes.table("", group)

    def row(self, texts):
        """Return one row."""
        cells = (nodes.paragraph("", "", *inline(self, text)) for text in texts)
        return nodes.row("", *(nodes.entry("", cell) for cell in cells))


def setup(app):
    app.add_role("measured", MeasuredRole())
    app.add_directive("records-table", RecordsTable)
