"""The ledger page, the role that quotes its figures in prose, and ``ledger.json`` on the site."""

import json
import shutil
from functools import lru_cache
from itertools import groupby
from pathlib import Path

from docutils import nodes
from sphinx import addnodes
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective, SphinxRole

from .cards import verdict_badge
from .overlay import build_folder
from .records import WORDS, badge, inline, paragraph, shown

LOGGER = logging.getLogger(__name__)
PAPERS = {
    "A": "Paper A: variance-covariance regularization and pairwise independence",
    "B": "Paper B: an information-theoretic view of VICReg",
    "C": "Paper C: linear non-contrastive dynamics",
}


def load(env):
    """Return the ledger, or None with a warning if the chapters have not been run."""
    path = build_folder(env) / "ledger.json"
    env.note_dependency(str(path))
    if not path.exists():
        LOGGER.warning("no ledger yet: run `make book`", location=env.docname)
        return None
    return read(path, path.stat().st_mtime_ns)


@lru_cache(maxsize=1)
def read(path, modified):
    """Return the ledger of a file, read once for as long as the file does not change."""
    return json.loads(path.read_text(encoding="utf-8"))


def statuses(env):
    """Return which claims are checked and which are open; all are open without a ledger."""
    ledger = load(env) or {"claims": ()}
    return {claim["id"]: claim["status"] for claim in ledger["claims"]}


class LedgerRole(SphinxRole):
    """``{ledger}`claims` ``: one of the ledger's counts; a dot reaches into a nested count."""

    def run(self):
        value = (load(self.env) or {}).get("counts")
        for key in self.text.split("."):
            value = value.get(key) if isinstance(value, dict) else None
        if value is None or isinstance(value, dict):
            LOGGER.warning("the ledger counts no %r", self.text, location=self.get_location())
        return [nodes.Text(str(value))], []


def record_link(record):
    """Return a link to the check record in its chapter; a missing one fails the strict build."""
    target = {"refdomain": "std", "reftype": "ref", "reftarget": record["anchor"]}
    return addnodes.pending_xref("", **target, refexplicit=True, refwarn=True)


class LedgerTable(SphinxDirective):
    """One table per paper: claim and verdict, and every check with its figure and its place."""

    def run(self):
        ledger = load(self.env)
        if ledger is None:
            return []
        note = nodes.paragraph("", "The same as data: ")
        note += nodes.reference("", "ledger.json", refuri="ledger.json", internal=False)
        claims = sorted(ledger["claims"], key=lambda claim: claim["paper"])
        parts = [self.part(*group) for group in groupby(claims, lambda claim: claim["paper"])]
        return [*parts, note]

    def part(self, paper, claims):
        """Return the section of one paper."""
        title = PAPERS.get(paper, paper)
        section = nodes.section(ids=[f"ledger-{nodes.make_id(paper)}"], names=[])
        section += [nodes.title("", title), self.table(list(claims))]
        return section

    def table(self, claims):
        table = nodes.table(classes=["ledger", "colwidths-given"])
        group = nodes.tgroup("", *(nodes.colspec(colwidth=w) for w in (60, 40)), cols=2)
        titles = (nodes.paragraph("", title) for title in ("Claim", "Verdict and checks"))
        head = nodes.row("", *(nodes.entry("", title) for title in titles))
        body = nodes.tbody("", *(self.row(claim) for claim in claims))
        group += [nodes.thead("", head), body]
        table += group
        return table

    def row(self, claim):
        """Return the row of one claim; an open one has no verdict, for nothing was checked."""
        checked = claim["status"] == "checked"
        name = nodes.strong("", f"{claim['id']} ", *inline(self, claim["title"]))
        head = nodes.paragraph("", "", name)
        if checked:
            head += [nodes.Text(" "), *inline(self, f"{{prf:ref}}`{claim['id']}`")]
            outcome = [verdict_badge(claim["verdict"])]
        else:
            outcome = [badge("open", "badge-open"), nodes.Text(" chapter not yet written")]
        statement = paragraph(self, claim["statement"], "claim-fact")
        outcome = nodes.paragraph("", "", *outcome)
        checks = self.checks(claim["records"]) if checked else ()
        return nodes.row("", nodes.entry("", head, statement), nodes.entry("", outcome, *checks))

    def checks(self, records):
        """Return one line per kind: its figures, each a link to the record."""
        for kind in WORDS:
            line = nodes.paragraph("", "", badge(kind, f"badge-{kind}"), classes=["ledger-kind"])
            for record in (r for r in records if r["kind"] == kind):
                link = record_link(record)
                link += nodes.inline("", "", *inline(self, shown(record["measured"])))
                line += [nodes.Text(" "), link, nodes.Text(",")]
            if len(line) > 1:
                line.pop()
                yield line


def publish(app, error):
    """Copy the ledger beside the pages."""
    path = build_folder(app.env) / "ledger.json"
    if error is None and path.exists() and app.builder.format == "html":
        shutil.copyfile(path, Path(app.outdir, "ledger.json"))


def setup(app):
    app.add_directive("ledger-table", LedgerTable)
    app.add_role("ledger", LedgerRole())
    app.connect("build-finished", publish)
