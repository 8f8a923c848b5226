"""What was found wrong, or true only under a hypothesis that is easily left out."""

import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from types import MappingProxyType

from .registry import registry

# A claim with one of these verdicts has a finding; one that simply holds has none.
CORRECTED = ("holds with an extra assumption", "refuted as stated, corrected form proved")


@dataclass(frozen=True)
class Finding:
    """One statement as it is commonly read, and what is wrong with it or missing from it.

    Attributes
    ----------
    claim : str
        The claim that says what does hold.
    read : str
        The statement as it is commonly read or repeated, in MyST; not a quotation.
    found : str
        The counterexample, or the hypothesis or error term that was missing.
    """

    claim: str
    read: str
    found: str


@cache
def findings() -> MappingProxyType[str, Finding]:
    """Return every finding by the claim it belongs to, in the order of the registry.

    Returns
    -------
    Mapping of str to Finding

    Raises
    ------
    ValueError
        If an entry is of an unknown claim or has other fields, or a claim lacks its entry.

    Examples
    --------
    >>> print(findings()["C4.c"].read)
    Weight decay discards the features that vary most under augmentation.
    """
    tables = tomllib.loads(
        files("vcreg_theory.claims").joinpath("findings.toml").read_text("utf-8")
    )
    if unknown := sorted(set(tables) - set(registry())):
        raise ValueError(f"findings.toml: not in claims.toml: {', '.join(unknown)}")
    for name, table in tables.items():
        if set(table) != {"read", "found"}:
            raise ValueError(f"findings.toml: {name} must have the fields read and found")
        if registry()[name].verdict == "holds":
            raise ValueError(f"findings.toml: {name} simply holds")
    lacking = [c.id for c in registry().values() if c.verdict in CORRECTED and c.id not in tables]
    if lacking:
        raise ValueError(f"findings.toml: no entry for {', '.join(lacking)}")
    return MappingProxyType({c: Finding(c, **tables[c]) for c in registry() if c in tables})
