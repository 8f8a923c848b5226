"""The page on performance: tables of the stored benchmarks, and their figures in prose."""

import json
import shutil
from pathlib import Path

from docutils import nodes
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective, SphinxRole

from .records import badge, inline

LOGGER = logging.getLogger(__name__)
RATIOS = ("what", "compared with", "ratio (spread)", "goal", "of floor", "MiB", "time")
GROWTH = ("what", "sizes", "slope (spread)", "theory")
UNITS = ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns"))


def stored(env):
    """Return the file of the stored benchmarks."""
    return Path(env.srcdir).parent / "data" / "benchmarks.json"


def load(env):
    """Return the stored benchmarks; without any, there are no figures, with a warning."""
    path = stored(env)
    env.note_dependency(str(path))
    if not path.exists():
        LOGGER.warning("no benchmarks: run `make bench ARGS=--store`", location=env.docname)
        return {"ratios": {}, "growth": {}, "machine": {"versions": {}}}
    return json.loads(path.read_text(encoding="utf-8"))


def number(value, digits=2):
    """Return a figure with two digits, or three from one hundred on; a missing one is empty."""
    if value is None:
        return ""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.{digits}g}"


def duration(seconds):
    """Return seconds in a readable unit."""
    scale, unit = next((u for u in UNITS if abs(seconds) >= u[0]), UNITS[-1])
    return f"{seconds / scale:.3g}\u00a0{unit}"


def spread(entry, key):
    """Return a figure, and its smallest and largest value over rounds, as two lines."""
    least, most = number(entry["least"], 3), number(entry["most"], 3)
    return number(entry[key], 3), f"({least} to {most})" if entry["rounds"] > 1 else "(one round)"


class Tables(SphinxDirective):
    """What the tables share."""

    def cell(self, *texts):
        """Return a cell of one line, or more, of MyST."""
        lines = [nodes.paragraph("", "", *inline(self, text)) for text in texts if text]
        return nodes.entry("", *lines)

    def table(self, head, rows):
        """Return a table from the titles of its columns and rows of cells, each with its name.

        Columns in which no row has anything are left out.
        """
        used = [k for k in range(len(head)) if any(cells[k].astext() for _, cells in rows)]
        head = [head[k] for k in used]
        group = nodes.tgroup("", *(nodes.colspec(colwidth=1) for _ in head), cols=len(head))
        body = nodes.tbody("")
        for name, cells in rows:
            body += nodes.row("", *(cells[k] for k in used), ids=[nodes.make_id(f"bench-{name}")])
        group += [nodes.thead("", nodes.row("", *map(self.cell, head))), body]
        return nodes.table("", group, classes=["benchmarks"])


class RatioTable(Tables):
    """``{benchmarks} losses``: the ratios of one or more groups, which are files of benchmarks."""

    required_arguments = 1
    final_argument_whitespace = True

    def run(self):
        groups, ratios = self.arguments[0].split(), load(self.env)["ratios"]
        chosen = {k: entry for k, entry in ratios.items() if entry["group"] in groups}
        if ratios and (empty := set(groups) - {entry["group"] for entry in chosen.values()}):
            raise self.error(f"benchmarks: nothing stored of {', '.join(sorted(empty))}")
        return [self.table(RATIOS, [(k, self.row(entry)) for k, entry in chosen.items()])]

    def row(self, entry):
        """Return the cells of one ratio."""
        goal = self.cell(number(entry.get("goal")))
        if "missed" in entry:
            goal += nodes.paragraph("", "", badge("missed", "badge-control"))
        fraction = f"{entry['floor_fraction']:.0%}" if "floor_fraction" in entry else ""
        memory = [number(entry[key]) for key in ("mib", "peer_mib") if key in entry]
        times = [f"{entry['own']:.3g}"] if entry["unit"] != "s" else [duration(entry["own"])]
        return [
            self.cell(entry["title"]),
            self.cell(entry["peer"]),
            self.cell(*spread(entry, "ratio")),
            goal,
            self.cell(fraction),
            self.cell(", ".join(memory)),
            self.cell(*times),
        ]


class GrowthTable(Tables):
    """``{benchmark-growth}``: the slopes, beside the exponents of theory."""

    def run(self):
        entries = load(self.env)["growth"].items()
        return [self.table(GROWTH, [(name, self.row(entry)) for name, entry in entries])]

    def row(self, entry):
        sizes = f"{entry['variable']} = {', '.join(f'{size:,}' for size in entry['sizes'])}"
        slope, exponent = self.cell(*spread(entry, "slope")), number(entry["exponent"])
        return [self.cell(entry["title"]), self.cell(sizes), slope, self.cell(exponent)]


class Machine(Tables):
    """``{benchmark-machine}``: on what, when, and with which versions it was measured."""

    def run(self):
        found = load(self.env)
        machine, entries = found["machine"], [*found["ratios"].values(), *found["growth"].values()]
        loads = [entry["load"] for entry in entries] or [0.0]
        versions = ", ".join(f"{name} {number}" for name, number in machine["versions"].items())
        facts = {
            "processor": machine.get("processor"),
            "cores, threads used": f"{machine.get('cores')}, {machine.get('threads')}",
            "instructions": machine.get("instructions"),
            "versions": versions,
            "date": found.get("date"),
            "load average meanwhile": f"{min(loads):.1f} to {max(loads):.1f}",
        }
        rows = [(name, [self.cell(name), self.cell(str(value))]) for name, value in facts.items()]
        note = nodes.paragraph("", "All figures of this page as data: ")
        link = "benchmarks.json"
        note += nodes.reference("", link, refuri=link, internal=False)
        return [self.table(("measured", "on"), rows), note]


class Missed(Tables):
    """``{missed-goals}``: every goal that is not reached, with the reason its content gives.

    A line of the content is the beginning of some names, a colon, and the reason.
    """

    has_content = True
    none = "Every goal is reached."
    unexplained = "We know no reason but the spread of such measurements."

    def run(self):
        reasons = dict(line.split(": ", 1) for line in self.content if line.strip())
        facts = {k: self.fact(entry) for k, entry in load(self.env)["ratios"].items()}
        items = nodes.bullet_list(classes=["benchmarks"])
        for reason in [*reasons, ""]:
            lines = [fact for k, fact in facts.items() if fact and self.start(k, reasons) == reason]
            lines = list(dict.fromkeys(lines))
            items += [self.item(*lines, reasons.get(reason, self.unexplained))] if lines else []
        return [items if len(items) else nodes.paragraph("", self.none)]

    def fact(self, entry):
        """Return what to say of a benchmark, or nothing."""
        if "missed" not in entry:
            return ""
        return f"{entry['title']}, against {entry['peer']}: {'; '.join(entry['missed'])}."

    def start(self, name, reasons):
        """Return the longest of the beginnings that fits."""
        return max((start for start in reasons if name.startswith(start)), key=len, default="")

    def item(self, *texts):
        """Return paragraphs as one item of a list."""
        return nodes.list_item("", *(nodes.paragraph("", "", *inline(self, t)) for t in texts if t))


class Slower(Missed):
    """``{slower-than-peers}``: where a peer is the faster and no goal was set."""

    none = "Nowhere."
    unexplained = ""

    def fact(self, entry):
        if "missed" in entry or entry["ratio"] >= 1:
            return ""
        return f"{entry['title']}, against {entry['peer']}: ratio {number(entry['ratio'])}."


class BenchRole(SphinxRole):
    """``{bench}`import` ``: a stored ratio or slope; a dot names another field of the entry."""

    def run(self):
        found, (name, _, field) = load(self.env), self.text.partition(".")
        entry = found["ratios"].get(name) or found["growth"].get(name) or {}
        value = entry.get(field or ("slope" if "slope" in entry else "ratio"))
        if value is None:
            LOGGER.warning("no benchmark %r is stored", self.text, location=self.get_location())
        text = value if isinstance(value, str) else number(value)
        if field in ("own", "theirs") and entry.get("unit") == "s":
            text = duration(value)
        target = "#" + nodes.make_id(f"bench-{name}")
        link = self.env.docname == "performance"
        return [nodes.reference("", text, refuri=target) if link else nodes.Text(text)], []


def publish(app, error):
    """Copy the stored benchmarks beside the pages."""
    path = stored(app.env)
    if error is None and path.exists() and app.builder.format == "html":
        shutil.copyfile(path, Path(app.outdir, "benchmarks.json"))


def setup(app):
    app.add_directive("benchmarks", RatioTable)
    app.add_directive("benchmark-growth", GrowthTable)
    app.add_directive("benchmark-machine", Machine)
    app.add_directive("missed-goals", Missed)
    app.add_directive("slower-than-peers", Slower)
    app.add_role("bench", BenchRole())
    app.connect("build-finished", publish)
