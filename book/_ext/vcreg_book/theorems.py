"""The index of theorems, and repairs to the markup of sphinx-proof."""

from docutils import nodes
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util.docutils import SphinxDirective
from sphinx.util.nodes import make_refnode

REPEATED = {"proof", "proof-content"}  # ids sphinx-proof gives to every theorem and proof


class theorem_index(nodes.General, nodes.Element):
    """The place of the index, filled once all numbers are known."""


class TheoremIndex(SphinxDirective):
    """``{theorem-index}``: every numbered statement with its number, title and chapter."""

    def run(self):
        self.env.metadata[self.env.docname]["theorem_index"] = True
        return [theorem_index()]


class FillTheoremIndex(SphinxPostTransform):
    """Replace the placeholder by one list per chapter."""

    default_priority = 8

    def run(self, **kwargs):
        for place in list(self.document.findall(theorem_index)):
            place.replace_self([part for doc in self.documents() for part in self.chapter(doc)])

    def documents(self):
        """Return the documents that state something, in the order of the book."""
        holding = {entry["docname"] for entry in self.env.proof_list.values()}
        order = self.env.toctree_includes.get(self.env.config.root_doc, [])
        return [doc for doc in order if doc in holding]

    def chapter(self, docname):
        """Return the title and the list of one chapter."""
        yield nodes.rubric("", self.env.titles[docname].astext())
        items = nodes.bullet_list(classes=["theorem-index"])
        for node in self.env.get_doctree(docname).findall(nodes.Element):
            if "realtype" in node:
                items += nodes.list_item("", self.line(node, docname))
        yield items

    def line(self, node, docname):
        """Return one statement: its name as a link, then its title."""
        numbers = self.env.toc_fignumbers.get(docname, {}).get(node["countertype"], {})
        number = ".".join(map(str, numbers.get(node["ids"][0], ())))
        name = nodes.Text(f"{node['realtype'].title()} {number}".strip())
        link = make_refnode(self.app.builder, self.env.docname, docname, node["ids"][0], name)
        title = [child.deepcopy() for child in node[0].children]
        return nodes.paragraph("", "", link, *title)


class DropRepeatedIds(SphinxPostTransform):
    """Remove ids that occur more than once in a page; numbering, which needs them, is done."""

    default_priority = 9

    def run(self, **kwargs):
        for node in self.document.findall(nodes.Element):
            if REPEATED & set(node.get("ids", ())):
                node["ids"] = [name for name in node["ids"] if name not in REPEATED]


def index_documents(app, env):
    """Write the pages with an index again whenever anything changed."""
    found = [doc for doc, data in env.metadata.items() if data.get("theorem_index")]
    for doc in found:  # MathJax is loaded on pages that had a formula before the index was filled
        env.get_domain("math").data["has_equations"][doc] = True
    return found


def setup(app):
    app.add_node(theorem_index)
    app.add_directive("theorem-index", TheoremIndex)
    app.add_post_transform(FillTheoremIndex)
    app.add_post_transform(DropRepeatedIds)
    app.connect("env-updated", index_documents)
