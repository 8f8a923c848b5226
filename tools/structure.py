"""Check, before any chapter runs, that its claims stand in its card and have a theorem each.

A chapter that the registry does not name only reports; it has no card.
"""

import re
import sys
from pathlib import Path

from vcreg_theory import claims


def problems(path):
    """Return what is wrong with the claims of one chapter, one line each."""
    text = path.read_text(encoding="utf-8")
    own = {claim.id for claim in claims.registry().values() if claim.chapter == path.stem}
    cards = re.findall(r"^`{3,}\{claim-card\} *(.*)$", text, re.MULTILINE)
    labels = re.findall(r"^:label: *([ABC]\d+\.\w+)", text, re.MULTILINE)
    due = 1 if own else 0
    found = [f"has {len(cards)} claim cards, and must have {due}"] if len(cards) != due else []
    listed = set(" ".join(cards).split())
    found += [f"{name} is not named in the claim-card" for name in sorted(own - listed)]
    missing, unknown = sorted(own - set(labels)), sorted(set(labels) - own)
    found += [f'{name} has no theorem with ":label: {name}"' for name in missing]
    found += [f'":label: {name}" names no claim of this chapter' for name in unknown]
    return [f"{path}: {line}" for line in found]


def main():
    found = [line for path in map(Path, sys.argv[1:]) for line in problems(path)]
    if found:
        sys.exit("\n".join(found))


if __name__ == "__main__":
    main()
