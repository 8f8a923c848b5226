"""Collect the checks of all executed chapters into ``ledger.json``; exit 1 on any problem."""

import argparse
import json
import sys
from pathlib import Path

from vcreg_theory import claims
from vcreg_theory.claims.findings import findings


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("output", type=Path)
    parser.add_argument("notebooks", type=Path, nargs="*")
    options = parser.parse_args()
    records = [record for path in options.notebooks for record in claims.harvest(path)]
    ledger, problems = claims.ledger(records, [path.stem for path in options.notebooks])
    if problems:
        sys.exit("".join(f"ledger: {problem}\n" for problem in problems))
    for entry in ledger["claims"]:
        finding = findings().get(entry["id"])
        entry["finding"] = finding and {"read": finding.read, "found": finding.found}
    checked = [entry for entry in ledger["claims"] if entry["status"] == "checked"]
    ledger["counts"]["findings"] = sum(entry["finding"] is not None for entry in checked)
    options.output.write_text(json.dumps(ledger, indent=1, ensure_ascii=False) + "\n", "utf-8")


if __name__ == "__main__":
    main()
