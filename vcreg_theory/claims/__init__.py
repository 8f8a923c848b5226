"""The claim ledger: what is claimed, which checks ran, and what they found.

`registry` reads the claims; `symbolic`, `numeric`, `control` and `trained` record one check each
and raise if it does not pass; `harvest` and `ledger` collect the records of executed chapters.
"""

from .checks import Check, CheckFailed, control, numeric, symbolic, trained
from .ledger import harvest, ledger
from .registry import Claim, registry

__all__ = [
    "Check",
    "CheckFailed",
    "Claim",
    "control",
    "harvest",
    "ledger",
    "numeric",
    "registry",
    "symbolic",
    "trained",
]
