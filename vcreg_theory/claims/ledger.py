"""The ledger: the check records of executed chapters beside the claims they belong to."""

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from .. import __version__
from .checks import KINDS, MIME
from .registry import VERDICTS, Claim, registry


def harvest(notebook: str | Path) -> list[dict[str, Any]]:
    """Return the check records of one executed notebook.

    Parameters
    ----------
    notebook : path
        An executed ``.ipynb`` file; its stem names the chapter.

    Returns
    -------
    list of dict
        The fields of `Check`, with ``chapter`` and ``anchor``, the place of the record on the
        chapter's page.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    """
    path = Path(notebook)
    cells = json.loads(path.read_text("utf-8"))["cells"]
    counter: Counter[str] = Counter()
    records = []
    for cell in cells:
        for output in cell.get("outputs", ()):
            record = output.get("data", {}).get(MIME)
            if record is not None:
                counter[record["claim"]] += 1
                name = anchor(record["claim"], counter[record["claim"]])
                records.append({**record, "chapter": path.stem, "anchor": name})
    return records


def anchor(claim: str, number: int) -> str:
    """Return the anchor of a claim's k-th record in a chapter.

    Examples
    --------
    >>> anchor("B1.a", 2)
    'check-b1-a-2'
    """
    return f"check-{claim.lower().replace('.', '-')}-{number}"


def ledger(
    records: Iterable[dict[str, Any]], chapters: Iterable[str]
) -> tuple[dict[str, Any], list[str]]:
    """Return the ledger and the list of its problems.

    Parameters
    ----------
    records : iterable of dict
        Records as `harvest` returns them.
    chapters : iterable of str
        Names of the chapters that exist; the claims of all others are open.

    Returns
    -------
    ledger : dict
        ``version``, ``counts`` and ``claims``, each with ``status`` and ``records``; JSON types.
    problems : list of str
        Records of unknown claims, in the wrong chapter or not passed, and claims whose chapter
        exists but that lack a numeric or control record, or a symbolic one where there is algebra.
    """
    records, written = list(records), set(chapters)
    problems = [problem for record in records for problem in _record_problems(record)]
    entries = []
    for claim in registry().values():
        own = [r for r in records if r["claim"] == claim.id]
        checked = claim.chapter in written
        if checked:
            problems += _missing_kinds(claim, own)
        status = "checked" if checked else "open"
        entries.append({**asdict(claim), "status": status, "records": own})
    counts = {
        "claims": len(entries),
        "checked": sum(e["status"] == "checked" for e in entries),
        "open": sum(e["status"] == "open" for e in entries),
        "records": len(records),
        **{kind: sum(r["kind"] == kind for r in records) for kind in KINDS},
        "verdicts": _by_verdict(entries),
    }
    return {"version": __version__, "counts": counts, "claims": entries}, problems


def _by_verdict(entries: Iterable[dict[str, Any]]) -> dict[str, int]:
    """Count the checked claims with each verdict; an open claim has none yet."""
    counter = Counter(entry["verdict"] for entry in entries if entry["status"] == "checked")
    return {verdict: counter[verdict] for verdict in VERDICTS}


def _record_problems(record: dict[str, Any]) -> list[str]:
    where = f"{record['chapter']}: a {record['kind']} record"
    claim = registry().get(record["claim"])
    if claim is None:
        return [f"{where} names the unknown claim {record['claim']}"]
    problems = []
    if not record["passed"]:
        problems.append(f"{where} of {claim.id} did not pass: {record['statement']}")
    if record["chapter"] != claim.chapter and record["kind"] != "trained":
        problems.append(f"{where} of {claim.id} belongs to {claim.chapter}")
    return problems


def _missing_kinds(claim: Claim, records: list[dict[str, Any]]) -> list[str]:
    needed = ["numeric", "control"] + ["symbolic"] * claim.algebra
    found = {record["kind"] for record in records}
    return [
        f"{claim.chapter}: {claim.id} ({claim.title}) has no {kind} record"
        for kind in needed
        if kind not in found
    ]
