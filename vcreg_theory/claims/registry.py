"""The claims of the book, read from ``claims.toml``."""

import tomllib
from dataclasses import dataclass, fields
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Any

VERDICTS = (
    "holds",
    "holds with an extra assumption",
    "refuted as stated, corrected form proved",
    "ours",
)


@dataclass(frozen=True)
class Claim:
    """One claim: what is stated, under which hypotheses, and what would refute it.

    Attributes
    ----------
    id : str
        Identifier, also the label of the theorem in the chapter (``"B1.a"``).
    title : str
        A short name.
    paper : str
        The paper it belongs to, A, B or C.
    place : str
        The place in that paper; ``"ours"`` if it is not in the paper.
    statement : str
        One sentence, in MyST with TeX.
    hypotheses : tuple of str
        Everything the proof uses.
    refuted_by : str
        The observation that would refute it.
    verdict : str
        One of `VERDICTS`.
    chapter : str
        The chapter that proves and checks it.
    algebra : bool
        Whether there is an identity to check symbolically.
    """

    id: str
    title: str
    paper: str
    place: str
    statement: str
    hypotheses: tuple[str, ...]
    refuted_by: str
    verdict: str
    chapter: str
    algebra: bool


@cache
def registry() -> MappingProxyType[str, Claim]:
    """Return every registered claim by its identifier, in the order of the file.

    Returns
    -------
    Mapping of str to Claim

    Raises
    ------
    ValueError
        If a claim lacks a field, has an unknown one or an unknown verdict, or repeats an id.

    Examples
    --------
    >>> registry()["B1.a"].chapter
    '01_piecewise_affine'
    """
    tables = tomllib.loads(files("vcreg_theory").joinpath("claims.toml").read_text("utf-8"))
    claims = [_claim(table) for table in tables["claim"]]
    repeated = {c.id for c in claims if sum(c.id == other.id for other in claims) > 1}
    if repeated:
        raise ValueError(f"claims.toml repeats {', '.join(sorted(repeated))}")
    return MappingProxyType({claim.id: claim for claim in claims})


def _claim(table: dict[str, Any]) -> Claim:
    name = table.get("id", "a claim without id")
    expected = {f.name for f in fields(Claim)}
    if set(table) != expected:
        raise ValueError(
            f"claim {name}: missing {sorted(expected - set(table))}, "
            f"unknown {sorted(set(table) - expected)}"
        )
    if table["verdict"] not in VERDICTS:
        raise ValueError(f"claim {name}: verdict must be one of {VERDICTS}")
    return Claim(**{**table, "hypotheses": tuple(table["hypotheses"])})
