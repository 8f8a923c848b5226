"""Lists of claims by verdict: what was found wrong or missing, and what is new."""

import re
from itertools import groupby

from docutils import nodes
from sphinx import addnodes
from sphinx.util.docutils import SphinxDirective, SphinxRole

from vcreg_theory import claims
from vcreg_theory.claims.findings import findings
from vcreg_theory.claims.registry import VERDICTS

from .ledger import statuses
from .records import inline

IDS = re.compile(r"\b([ABC]\d+\.[a-z])\b")


def claim_link(env, name, text=None):
    """Return a link to a claim's theorem, or plain text while its chapter is not written."""
    label = nodes.inline("", text or name, classes=["claim-id"])
    if statuses(env).get(name) != "checked":
        return label
    target = {"refdomain": "prf", "reftype": "ref", "reftarget": name, "refdoc": env.docname}
    # the label is an element: sphinx-proof would put "Theorem 1.2" in the place of a text
    return addnodes.pending_xref("", nodes.inline("", "", label), **target, refexplicit=True)


def linked(directive, text):
    """Return the nodes of one line of MyST in which every claim's identifier is a link."""
    parts = [part for part in IDS.split(text) if part]
    for part in parts:
        known = IDS.fullmatch(part) and part in claims.registry()
        yield from [claim_link(directive.env, part)] if known else inline(directive, part)


class ClaimRole(SphinxRole):
    """``{claim}`B2.b` ``: the identifier, as a link to the theorem."""

    def run(self):
        if self.text not in claims.registry():
            message = self.inliner.reporter.error(f"claim: not in claims.toml: {self.text}")
            return [nodes.Text(self.text)], [message]
        return [claim_link(self.env, self.text)], []


class ByVerdict(SphinxDirective):
    """What all directives of this module share: the verdict in their argument, and its claims."""

    required_arguments = 1
    final_argument_whitespace = True

    def chosen(self):
        """Return the claims with the verdict of the argument."""
        verdict = " ".join(self.arguments[0].split())
        if verdict not in VERDICTS:
            raise self.error(f"{self.name}: {verdict!r} must be one of {', '.join(VERDICTS)}")
        return [claim for claim in claims.registry().values() if claim.verdict == verdict]


class Findings(ByVerdict):
    """``{findings} holds with an extra assumption``: each claim, its reading, what is missing."""

    def run(self):
        table = findings()
        found = [self.entry(c, table[c.id]) for c in self.chosen() if c.id in table]
        if not found:
            return [nodes.paragraph("", "No registered claim has this verdict.")]
        return [nodes.container("", *found, classes=["findings"])]

    def entry(self, claim, finding):
        """Return one finding: the claim, how it is read, and what is wrong with that."""
        head = nodes.paragraph("", "", nodes.strong("", "", claim_link(self.env, claim.id)))
        head += [nodes.Text(" "), *inline(self, claim.title)]
        if statuses(self.env).get(claim.id) != "checked":
            head += nodes.Text(" (not checked yet)")
        read = nodes.paragraph("", "", key("As it is read"), *linked(self, finding.read))
        text = nodes.paragraph("", "", key("What we found"), *linked(self, finding.found))
        return nodes.container("", head, read, text, classes=["claim"])


def key(text):
    """Return the name in front of a fact."""
    return nodes.inline("", f"{text} ", classes=["claim-key"])


class Results(ByVerdict):
    """``{results} ours``: the claims with this verdict, one list for each chapter."""

    def run(self):
        parts = []
        for chapter, group in groupby(self.chapters(), lambda claim: claim.chapter):
            items = nodes.bullet_list(classes=["theorem-index"])
            items += [nodes.list_item("", self.line(claim)) for claim in group]
            parts += [nodes.paragraph("", "", self.page(chapter)), items]
        return parts

    def chapters(self):
        """Return the claims in the order of their chapters."""
        return sorted(self.chosen(), key=lambda claim: claim.chapter)

    def page(self, chapter):
        """Return a link to a chapter under its title, or its file's name while it is missing."""
        docname = f"chapters/{chapter}"
        if docname not in self.env.found_docs:
            return nodes.Text(f"{chapter.replace('_', ' ')} (not written yet)")
        target = {"refdomain": "std", "reftype": "doc", "reftarget": f"/{docname}"}
        return addnodes.pending_xref(
            "", nodes.inline("", docname), **target, refdoc=self.env.docname, refexplicit=False
        )

    def line(self, claim):
        """Return the identifier, as a link, and the title of one claim."""
        link = claim_link(self.env, claim.id)
        return nodes.paragraph("", "", link, nodes.Text(" "), *inline(self, claim.title))


def setup(app):
    app.add_role("claim", ClaimRole())
    app.add_directive("findings", Findings)
    app.add_directive("results", Results)
