"""BibTeX for what was used: the book, and the works that the used claims rest on."""

import re
import tomllib
from collections.abc import Iterable, Sequence
from functools import cache
from importlib.resources import files
from itertools import chain
from types import MappingProxyType
from typing import Any

from .. import __version__
from .naming import in_order, resolve
from .registry import registry

PACKAGE = "vcreg_theory"
TITLE = (
    "Checked theory of variance-covariance self-supervised learning: an executable book and the "
    "package vcreg_theory"
)
AUTHOR = "The vcreg_theory authors"
YEAR = 2026
KEY = "vcreg_theory"

_ENTRY = re.compile(r"^@\w+\{([^,\s]+),.*?^\}", re.MULTILINE | re.DOTALL)


def cite(names: Iterable[str]) -> str:
    """Return BibTeX entries for the book and for the works behind what was used.

    Parameters
    ----------
    names : iterable of str
        Claims (``"B2.b"``), parts (``"B2"``), or modules, functions and classes of the package
        (``"density.exit_probability"``), whose docstrings name their claims.

    Returns
    -------
    str
        One entry for the book, with a note that names the claims, and one for each work; a comment
        above each says for which claims it is cited.

    Raises
    ------
    ValueError
        If there is no name, or a name is none of the above or has no claim.

    Examples
    --------
    >>> print(cite(["A1.d"]))  # doctest: +ELLIPSIS
    % The book: claim A1.d (Rank floor)
    @misc{vcreg_theory,
      author = {{The vcreg_theory authors}},
      ...
    """
    if isinstance(names, str):
        raise TypeError(f"names must be an iterable of names, got the string {names!r}")
    ids = in_order(chain.from_iterable(resolve(name) for name in names))
    if not ids:
        raise ValueError("names must hold at least one name, for example 'B2.b'")
    return "\n\n".join([_book(ids), *_works(ids)])


def works(claim: str) -> tuple[str, ...]:
    """Return the keys of the works that a claim rests on, its paper first.

    Parameters
    ----------
    claim : str
        An identifier of the registry.

    Returns
    -------
    tuple of str
        Keys of `entries`.

    Examples
    --------
    >>> works("A1.d")
    ('mialon2022variance', 'welch1974lower')
    """
    if claim not in registry():
        raise ValueError(f"claim must be registered, got {claim!r}")
    table = _sources()
    keys = (table["papers"][registry()[claim].paper], table["origins"].get(claim))
    return (*filter(None, keys), *table["used"].get(claim, ()))


@cache
def entries() -> MappingProxyType[str, str]:
    """Return the BibTeX entries of all works that claims rest on, by key.

    Examples
    --------
    >>> entries()["mialon2022variance"].splitlines()[0]
    '@misc{mialon2022variance,'
    """
    text = files(f"{PACKAGE}.claims").joinpath("references.bib").read_text("utf-8")
    return MappingProxyType({found[1]: found[0] for found in _ENTRY.finditer(text)})


@cache
def _sources() -> dict[str, dict[str, Any]]:
    """Return the table of works: one for each paper, further ones for some claims."""
    return tomllib.loads(files(f"{PACKAGE}.claims").joinpath("sources.toml").read_text("utf-8"))


def _list(ids: Sequence[str]) -> str:
    """Return "claims B2.b (title) and B2.c (title)"."""
    parts = [f"{name} ({registry()[name].title})" for name in ids]
    text = " and ".join(filter(None, [", ".join(parts[:-1]), parts[-1]]))
    return f"claim{'s' if len(ids) > 1 else ''} {text}"


def _book(ids: Sequence[str]) -> str:
    """Return the entry of the book."""
    names = _list(ids)
    fields = {
        "author": f"{{{AUTHOR}}}",
        "title": TITLE,
        "year": str(YEAR),
        "note": f"Version {__version__}; {names}",
    }
    lines = [f"  {key} = {{{value}}}," for key, value in fields.items()]
    return "\n".join([f"% The book: {names}", f"@misc{{{KEY},", *lines, "}"])


def _works(ids: Sequence[str]) -> Iterable[str]:
    """Yield the entries of the works, each with the claims it is cited for."""
    users: dict[str, list[str]] = {}
    for name in ids:
        for key in works(name):
            users.setdefault(key, []).append(name)
    papers = set(_sources()["papers"].values())
    for key in sorted(users, key=lambda key: key not in papers):
        reasons: dict[str, list[str]] = {}
        for name in users[key]:
            reasons.setdefault(_reason(name, key), []).append(name)
        why = "; ".join(f"{reason} {', '.join(named)}" for reason, named in reasons.items())
        yield f"% {why[0].upper()}{why[1:]}\n{entries()[key]}"


def _reason(claim: str, key: str) -> str:
    """Return why a work is cited for a claim."""
    table = _sources()
    paper = table["papers"][registry()[claim].paper]
    if registry()[claim].verdict != "ours" and table["origins"].get(claim, paper) == key:
        return "source of"
    return "on its subject:" if key == paper else "used by"
