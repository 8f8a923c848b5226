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
        """Return one claim: name and verdict, statement, and what it rests on."""
        name = nodes.strong("", f"{claim.id} ", *inline(self, claim.title), nodes.Text(" "))
        theorem = inline(self, f"{{prf:ref}}`{claim.id}`")
        head = nodes.paragraph("", "", name, verdict_badge(claim.verdict), nodes.Text(" "))
        head += theorem
        parts = [head, paragraph(self, claim.statement)]
        hypotheses = "; ".join(text.rstrip(".") for text in claim.hypotheses) or "none"
        facts = {"Under": hypotheses, "Refuted by": claim.refuted_by, "Source": origin(claim)}
        parts += [self.fact(label, text) for label, text in facts.items()]
        return nodes.container("", *parts, classes=["claim"])

    def fact(self, label, text):
        """Return one fact as a paragraph with its name in front."""
        name = nodes.inline("", f"{label} ", classes=["claim-key"])
        return nodes.paragraph("", "", name, *inline(self, text), classes=["claim-fact"])


def setup(app):
    app.add_directive("claim-card", ClaimCard)
