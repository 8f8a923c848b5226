"""From a name that a user has at hand, a claim's or a function's, to claims."""

import re
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from importlib import import_module
from inspect import getdoc, getmodule, isclass, isfunction, ismodule
from itertools import chain
from typing import Any

from .registry import registry

PACKAGE = "vcreg_theory"
_ID = r"[ABC]\d{1,2}(?:\.[a-z])?"
_JOINT = r"(?:\s*,\s*(?:and\s+)?|\s+and\s+|\s+to\s+)"
_NAMED = re.compile(rf"\bClaims?:?\s+({_ID}(?:{_JOINT}{_ID})*)\b")
_RANGE = re.compile(rf"({_ID})\s+to\s+({_ID})")


def resolve(name: str) -> tuple[str, ...]:
    """Return the identifiers of the claims that a name stands for.

    Parameters
    ----------
    name : str
        A claim (``"B2.b"``), a part (``"B2"``), or a module, function or class of the package
        (``"density.exit_probability"``), whose docstring names its claims.

    Returns
    -------
    tuple of str
        In the order of the registry.

    Raises
    ------
    ValueError
        If the name is unknown, or what it names has no claim.

    Examples
    --------
    >>> resolve("B3")[:3]
    ('B3.a', 'B3.b', 'B3.c')
    >>> resolve("density.exit_probability")
    ('B2.c',)
    """
    if re.fullmatch(_ID, name):
        return _claims_of_id(name)
    place = _locate(name)
    ids = in_order(chain.from_iterable(map(_named, _docstrings(place))))
    if not ids:  # a module form such as VICRegLoss names the function that it calls
        ids = in_order(chain.from_iterable(map(_named, _docstrings_of_the_named(place))))
    if not ids:
        raise ValueError(f"the docstring of {name!r} names no claim; give the claim itself")
    return ids


def in_order(ids: Iterable[str]) -> tuple[str, ...]:
    """Return the identifiers once each, in the order of the registry."""
    wanted = set(ids)
    return tuple(name for name in registry() if name in wanted)


def _claims_of_id(name: str) -> tuple[str, ...]:
    """Return a claim, or all claims of a part."""
    found = tuple(c for c in registry() if name in (c, c.partition(".")[0]))
    if not found:
        parts = sorted({c.partition(".")[0] for c in registry()})
        near = get_close_matches(name, [*registry(), *parts], 3, 0.5)
        hint = f"; near it: {', '.join(near)}" if near else ""
        raise ValueError(f"no claim is called {name!r}{hint}")
    return found


def _named(text: str) -> Iterable[str]:
    """Yield the claims that a docstring names, as in "Claims B2.b, B4 and C3.a to C3.e"."""
    for found in _NAMED.finditer(text):
        for first, last in _RANGE.findall(found[1]):
            yield from _between(first, last)
        for name in re.findall(_ID, found[1]):
            yield from _claims_of_id(name)


def _between(first: str, last: str) -> tuple[str, ...]:
    """Return the claims from one identifier to another."""
    order = list(registry())
    start, end = _claims_of_id(first)[0], _claims_of_id(last)[-1]
    return tuple(order[order.index(start) : order.index(end) + 1])


def _locate(name: str) -> Any:
    """Return the module, function or class of a dotted name, with or without the package's."""
    module, *rest = name.removeprefix(f"{PACKAGE}.").split(".")
    try:
        if module.startswith("_"):
            raise AttributeError(name)
        place: Any = getattr(import_module(PACKAGE), module)
        for attribute in rest:
            place = getattr(place, attribute)
    except AttributeError:
        raise ValueError(
            f"{name!r} is neither a claim such as 'B2.b' nor a public name of the package such as "
            "'density.exit_probability'"
        ) from None
    return place


def _docstrings(place: Any) -> list[str]:
    """Return the docstring, and for a module or a class those of its public members as well."""
    members: Sequence[Any] = ()
    if ismodule(place):
        names = getattr(place, "__all__", [n for n in vars(place) if not n.startswith("_")])
        found = (getattr(place, name) for name in names)
        members = [m for m in found if isclass(m) or isfunction(m)]
    elif isclass(place):
        members = [m for name, m in vars(place).items() if isfunction(m) and name[0] != "_"]
    return [getdoc(thing) or "" for thing in (place, *members)]


def _docstrings_of_the_named(place: Any) -> list[str]:
    """Return the docstrings of what a docstring names in backticks, from the same module."""
    module = getmodule(place)
    names = re.findall(r"(?<!`)`(\w+)`", getdoc(place) or "")
    return [getdoc(getattr(module, name, None)) or "" for name in names]
