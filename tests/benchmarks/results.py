"""What the benchmarks found: ratios to peers and laws of growth, compared with those stored.

A ratio is the peer's median over ours, so that more is better for all of them; its spread is the
smallest and largest ratio of one round. Stored ratios are in ``data/benchmarks.json``, which the
book's page on performance shows. A ratio that falls below three quarters of the stored one fails
the run.
"""

import json
import math
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import date
from pathlib import Path

import numpy as np
from measuring import Samples, load_average, machine, median

STORED = Path(__file__).resolve().parents[2] / "data" / "benchmarks.json"
ALLOWED_FALL = 0.25  # the rounds of one run spread by less where the machine is not too busy
ALLOWED_EXCESS = 0.5  # of a slope above the exponent: caches cost a few tenths
HEADS = {
    "ratios": ("benchmark", "peer", "ratio", "least", "most", "goal", "stored", "of floor", "MiB"),
    "growth": ("growth", "in", "slope", "least", "most", "theory", "stored"),
}


@dataclass(frozen=True)
class Ratio:
    """How many times a peer's time (or error) ours is; floor, goal and memory where known."""

    group: str
    title: str
    peer: str
    ratio: float
    least: float
    most: float
    rounds: int
    own: float
    theirs: float
    unit: str = "s"
    goal: float | None = None
    floor: str | None = None
    floor_fraction: float | None = None
    floor_goal: float | None = None
    mib: float | None = None
    mib_goal: float | None = None
    peer_mib: float | None = None
    extrapolated: str | None = None
    load: float = 0.0

    def row(self, name: str, stored: dict | None) -> tuple[str, ...]:
        """Return the cells of the printed table."""
        memory = [shown(m) for m in (self.mib, self.peer_mib) if m is not None]
        figures = (self.ratio, self.least, self.most, self.goal, stored and stored["ratio"])
        fraction = "" if self.floor_fraction is None else f"{self.floor_fraction:.0%}"
        return (name, self.peer, *map(shown, figures), fraction, " / ".join(memory))

    def failure(self, stored: dict | None) -> str | None:
        """Return what has become worse than the stored ratio allows."""
        if stored is None or self.ratio >= (1 - ALLOWED_FALL) * stored["ratio"]:
            return None
        return f"ratio to {self.peer} fell from {shown(stored['ratio'])} to {shown(self.ratio)}"

    def missed(self) -> list[str]:
        """Return the goals that are not reached."""
        found = []
        if self.goal is not None and self.ratio < self.goal:
            found.append(f"ratio {shown(self.ratio, 4)}, goal {shown(self.goal)}")
        if self.floor_goal is not None and self.floor_fraction < self.floor_goal:
            found.append(f"{self.floor_fraction:.0%} of the floor, goal {self.floor_goal:.0%}")
        if self.mib is not None and self.mib_goal is not None and self.mib > self.mib_goal:
            found.append(f"{shown(self.mib)} MiB, goal {shown(self.mib_goal)}")
        return found


@dataclass(frozen=True)
class Growth:
    """The slope of the logarithm of time over that of a size, beside the theoretical exponent."""

    group: str
    title: str
    variable: str
    sizes: list[int]
    seconds: list[float]
    slope: float
    least: float
    most: float
    rounds: int
    exponent: float
    load: float

    def row(self, name: str, stored: dict | None) -> tuple[str, ...]:
        """Return the cells of the printed table."""
        figures = (self.slope, self.least, self.most, self.exponent, stored and stored["slope"])
        return (name, self.variable, *map(shown, figures))

    def failure(self, stored: dict | None) -> str | None:
        """Return by how much the slope exceeds its exponent, if by too much."""
        if self.slope <= self.exponent + ALLOWED_EXCESS:
            return None
        return f"slope {self.slope:.2f} in {self.variable}, theory {shown(self.exponent)}"

    def missed(self) -> list[str]:
        """Return nothing: theory is no goal."""
        return []


def shown(value: float | None, digits: int = 3) -> str:
    """Return a figure with few digits."""
    if value is None:
        return ""
    return f"{value:.{digits}g}" if abs(value) < 1000 else f"{value:,.0f}"


@dataclass
class Results:
    """The figures of one run, by name."""

    group: str = ""
    found: dict[str, dict[str, Ratio | Growth]] = field(
        default_factory=lambda: {"ratios": {}, "growth": {}}
    )

    def ratio(
        self,
        name: str,
        title: str,
        *,
        peer: str,
        own: Samples,
        theirs: Samples,
        floor: tuple[str, Samples] | None = None,
        calls: int = 1,
        **facts: object,
    ) -> Ratio:
        """Note the peer's time over ours; `calls` of both were timed together.

        `floor` is what the floor is, and its seconds; `facts` are further fields of `Ratio`.
        """
        rounds = [b / a for a, b in zip(own, theirs, strict=True)]
        if floor is not None:
            fraction = median(floor[1]) / median(own)
            facts |= {"floor": floor[0], "floor_fraction": fraction}
        return self.note(
            name,
            title=title,
            peer=peer,
            ratio=median(theirs) / median(own),
            least=min(rounds),
            most=max(rounds),
            rounds=len(rounds),
            own=median(own) / calls,
            theirs=median(theirs) / calls,
            **facts,
        )

    def note(self, name: str, **facts: object) -> Ratio:
        """Note a ratio that was computed elsewhere."""
        found = Ratio(group=self.group, load=load_average(), **facts)
        return self._keep("ratios", name, found)

    def growth(
        self,
        name: str,
        title: str,
        *,
        variable: str,
        sizes: Sequence[int],
        times: Sequence[Samples],
        exponent: float,
    ) -> Growth:
        """Note how time grows with a size; `times` holds the rounds of each size."""
        logs = np.log(sizes)
        slopes = np.polyfit(logs, np.log(np.array(times)), 1)[0]
        medians = [median(samples) for samples in times]
        found = Growth(
            group=self.group,
            title=title,
            variable=variable,
            sizes=list(map(int, sizes)),
            seconds=medians,
            slope=float(np.polyfit(logs, np.log(medians), 1)[0]),
            least=float(slopes.min()),
            most=float(slopes.max()),
            rounds=len(slopes),
            exponent=exponent,
            load=load_average(),
        )
        return self._keep("growth", name, found)

    def _keep(self, kind: str, name: str, found: Ratio | Growth) -> Ratio | Growth:
        if not re.fullmatch(r"\w+", name):  # a dot would lead to a field of the entry
            raise ValueError(f"name must be made of letters, digits and _, got {name!r}")
        if name in self.found[kind]:
            raise ValueError(f"two benchmarks are called {name!r}")
        self.found[kind][name] = found
        return found

    def __iter__(self):
        """Yield kind, name and figures."""
        for kind, group in self.found.items():
            for name, found in group.items():
                yield kind, name, found

    def failures(self, stored: dict) -> list[str]:
        """Return one line for each figure that became worse by more than is allowed."""
        lines = []
        for kind, name, found in self:
            failure = found.failure(stored.get(kind, {}).get(name))
            lines += [f"{name}: {failure}"] if failure else []
        return lines

    def missed(self) -> list[str]:
        """Return one line for each goal that is not reached."""
        return [f"{name}: {line}" for _, name, found in self for line in found.missed()]

    def tables(self, stored: dict) -> list[str]:
        """Return the lines of the tables."""
        lines = []
        for kind, head in HEADS.items():
            before = stored.get(kind, {})
            rows = [found.row(name, before.get(name)) for name, found in self.found[kind].items()]
            lines += table([head, *rows]) if rows else []
        return lines


def table(rows: list[tuple[str, ...]]) -> list[str]:
    """Return rows as lines: text to the left, figures to the right, all but the first two."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        text = [cell.ljust(width) for cell, width in zip(row[:2], widths[:2], strict=True)]
        figures = [cell.rjust(width) for cell, width in zip(row[2:], widths[2:], strict=True)]
        lines.append("  ".join(text + figures).rstrip())
    return ["", lines[0], "-" * len(max(lines, key=len)), *lines[1:]]


def load(path: Path = STORED) -> dict:
    """Return what is stored, or nothing."""
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def doubts(stored: dict) -> list[str]:
    """Return why a comparison with the stored figures may mislead, one line for each reason."""
    here, lines = machine(), []
    if load_average() > here["cores"]:
        lines.append(f"(the load average is {load_average():.1f}: measure again in a quiet moment)")
    if stored.get("machine") != here:
        lines.append(f"(stored on {stored.get('machine')}, this is {here})")
    return lines


def store(results: Results, *, partial: bool, path: Path = STORED) -> None:
    """Write what was found; a partial run keeps all other figures of the same machine."""
    here, before = machine(), load(path) if partial else {}
    if before and before["machine"] != here:
        raise ValueError(
            f"stored were figures of {before['machine']}, this is {here}: store all of them anew"
        )
    new = {"machine": here, "date": date.today().isoformat()}
    for kind, group in results.found.items():
        figures = before.get(kind, {}) | {name: facts(found) for name, found in group.items()}
        new[kind] = {name: figures[name] for name in sorted(figures, key=natural)}
    path.write_text(json.dumps(new, indent=1) + "\n", encoding="utf-8")


def natural(name: str) -> list[str | int]:
    """Return a key that sorts names with 256 before those with 1024."""
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name)]


def facts(found: Ratio | Growth) -> dict:
    """Return what is known of a benchmark, numbers to four digits, and the goals it misses."""

    def short(value: object) -> object:
        if isinstance(value, list):
            return [short(entry) for entry in value]
        return float(f"{value:.4g}") if isinstance(value, float) and math.isfinite(value) else value

    known = asdict(found) | {"missed": found.missed() or None}
    return {key: short(value) for key, value in known.items() if value is not None}
