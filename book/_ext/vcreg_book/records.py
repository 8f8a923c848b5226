"""The directive that shows one check record, which the overlay writes into chapters."""

import json

from docutils import nodes
from sphinx.util.docutils import SphinxDirective

WORDS = {
    "symbolic": "symbolic check",
    "numeric": "numeric check",
    "control": "negative control",
    "trained": "trained network",
}
FIGURES = ("measured", "criterion", "n", "seed", "device", "checkpoint")
NEEDLESS = {"symbolic": {"n", "seed", "device"}, "numeric": {"device"}, "control": {"device"}}


def badge(text, *classes):
    """Return a small coloured label."""
    return nodes.inline("", text, classes=["badge", *classes])


def shown(value):
    """Return a measured value as short text."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def inline(directive, text):
    """Return the nodes of one line of MyST, so that ``$x$`` becomes a formula."""
    if not any(mark in text for mark in "$`{"):
        return [nodes.Text(text)]
    parsed, messages = directive.state.inline_text(text, directive.lineno)
    return [*parsed, *messages]


def paragraph(directive, text, *classes):
    """Return a paragraph of MyST text."""
    return nodes.paragraph("", "", *inline(directive, text), classes=list(classes))


class CheckRecord(SphinxDirective):
    """An admonition: kind, theorem, statement, the figures, and why the criterion is what it is."""

    has_content = True

    def run(self):
        record = json.loads("\n".join(self.content))
        kind, claim, anchor = record["kind"], record["claim"], record["anchor"]
        box = nodes.admonition(classes=["check-record", f"check-{kind}"], ids=[anchor])
        label = WORDS[kind]
        theorem = inline(self, f"{{prf:ref}}`{claim}`")
        title = nodes.title("", "", badge(label, f"badge-{kind}"), nodes.Text(" "), *theorem)
        title += nodes.inline("", f" {claim}", classes=["check-claim"])
        box += [title, paragraph(self, record["statement"]), self.figures(record)]
        self.env.domaindata["std"]["anonlabels"][anchor] = (self.env.docname, anchor)
        return [box]

    def figures(self, record):
        """Return the line of what was measured, by which criterion, under what conditions, why."""
        line = nodes.paragraph(classes=["check-figures"])
        for key in FIGURES:
            value = record.get(key)
            if value in (None, "") or key in NEEDLESS.get(record["kind"], ()):
                continue
            text = f"{value:.12}" if key == "checkpoint" else shown(value)
            name = nodes.inline("", f"{key} ", classes=["check-key"])
            line += nodes.inline("", "", name, *inline(self, text), classes=["check-figure"])
            line += nodes.Text(" ")
        if record.get("reason"):
            line += nodes.inline("", "", *inline(self, record["reason"]), classes=["check-key"])
        return line


def setup(app):
    app.add_directive("check-record", CheckRecord)
