"""A chapter has the number of its file: ``chapters/12_weight_decay`` is chapter 12.

Sphinx counts the chapters that are there, so a chapter that is still to be written would move the
numbers of all later ones, of their theorems and of their figures.
"""

import re

from docutils import nodes
from sphinx import addnodes
from sphinx_external_toc.collectors import TocTreeCollectorWithStyles


def number_of(docname):
    """Return the number in the name of a chapter's file, or None for other pages."""
    found = re.match(r"chapters/(\d+)_", docname)
    return int(found[1]) if found else None


def renumber(env, docname, number):
    """Put the chapter's number first in the numbers of its sections."""
    numbers = env.toc_secnumbers[docname]
    for anchor, value in numbers.items():
        numbers[anchor] = type(value)((number, *value[1:])) if value else value
    for entry in env.tocs[docname].findall(addnodes.compact_paragraph):
        reference = next(entry.findall(nodes.reference))
        if reference.get("secnumber"):
            reference["secnumber"] = [number, *reference["secnumber"][1:]]
    title = env.titles[docname]
    if title.get("secnumber"):
        title["secnumber"] = [number]


def use_file_numbers():
    """Wrap the numbering of sections; figures and theorems are numbered after it."""
    assign = TocTreeCollectorWithStyles.assign_section_numbers
    if getattr(assign, "by_file", False):
        return

    def assign_by_file(collector, env):
        before = {docname: dict(numbers) for docname, numbers in env.toc_secnumbers.items()}
        assign(collector, env)
        for docname in env.toc_secnumbers:
            if (number := number_of(docname)) is not None:
                renumber(env, docname, number)
        return [doc for doc, now in env.toc_secnumbers.items() if now != before.get(doc)]

    assign_by_file.by_file = True
    TocTreeCollectorWithStyles.assign_section_numbers = assign_by_file


def setup(app):
    """Wrap once for all builds of this process."""
    use_file_numbers()
