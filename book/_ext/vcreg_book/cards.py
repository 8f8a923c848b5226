"""The claim card at the head of a chapter, generated from the claim registry."""

from docutils import nodes
from sphinx.util.docutils import SphinxDirective

from vcreg_theory import claims

from .records import badge, inline, paragraph

VERDICTS = {
    "holds": "verdict-holds",
    "holds with an extra assumption": "verdict-assumption",
    "refuted as stated, corrected form proved": "verdict-refuted",
    "ours": "verdict-ours",
}


def verdict_badge(verdict):
    """Return the coloured label of a claim's verdict."""
    return badge(verdict, "badge-verdict", VERDICTS.get(verdict, ""))


def origin(claim):
    """Return where the claim comes from, in words."""
    return "Ours" if claim.place == "ours" else f"Paper {claim.paper}, {claim.place}"


class ClaimCard(SphinxDirective):
    """``{claim-card} B1.a B1.b``: what the chapter claims, under which hypotheses, how refuted."""

    required_arguments = 1
    final_argument_whitespace = True

    def run(self):
        ids = self.arguments[0].split()
        registry = claims.registry()
        if unknown := [name for name in ids if name not in registry]:
            raise self.error(f"claim-card: not in claims.toml: {', '.join(unknown)}")
        card = nodes.admonition(classes=["claim-card"])
        title = "The claim of this chapter" if len(ids) == 1 else "The claims of this chapter"
        card += nodes.title("", title)
        card += [self.entry(registry[name]) for name in ids]
        return [card]

    def entry(self, claim):
        """Return one claim: a head line, the statement, and a list of facts about it."""
        theorem = inline(self, f"{{prf:ref}}`{claim.id}`")
        head = nodes.paragraph(classes=["claim-head"])
        name = nodes.strong("", f"{claim.id} ", *inline(self, claim.title), nodes.Text(" "))
        head += [name, verdict_badge(claim.verdict)]
        facts = nodes.field_list(classes=["claim-facts"])
        hypotheses = nodes.bullet_list()
        for text in claim.hypotheses:
            hypotheses += nodes.list_item("", paragraph(self, text))
        facts += self.fact("Proved in", nodes.paragraph("", "", *theorem))
        if claim.hypotheses:
            facts += self.fact("Hypotheses", hypotheses)
        facts += self.fact("Refuted by", paragraph(self, claim.refuted_by))
        facts += self.fact("Source", paragraph(self, origin(claim)))
        return nodes.container("", head, paragraph(self, claim.statement), facts, classes=["claim"])

    def fact(self, name, body):
        """Return one field of the list of facts."""
        return nodes.field("", nodes.field_name("", name), nodes.field_body("", body))


def setup(app):
    app.add_directive("claim-card", ClaimCard)
