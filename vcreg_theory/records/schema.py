"""What a record holds, and the check that a file holds it."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from numbers import Integral, Real
from typing import Any, TypeGuard

SCHEMA = 1
"""Version of the form of a record."""

GROUPS = ("terms", "representation", "embedding", "accuracy", "factors")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.()=+-]*")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Record:
    """Hold everything a reader needs to judge a trained network and to train it again.

    Parameters
    ----------
    suite, method : str
        The experiment and the method, names that can be part of a file name.
    seed : int
        Seed of the run, not negative; (suite, method, seed) names the record.
    title : str
        The method as figures call it.
    config : dict
        The whole configuration.
    data : dict of str
        Identity of the data: name, origin, hash.
    package, torch, device : str
        Versions, and the device that trained.
    wall_seconds : float
        Time that training took.
    images_per_second : float or None
        Training speed, two views an image.
    parameters : int
        Number of weights of encoder and projector, frozen ones included.
    history : list of dict
        Entries of rising ``step``, each with ``epoch``, ``loss`` (None where none was taken) and
        any of the groups ``terms, representation, embedding, accuracy, factors``.
    final : dict
        The groups of the finished network; ``accuracy`` is always there.
    checkpoint : dict or None
        ``file, sha256, dtype`` of the stored weights; None if they were not kept.
    schema : int
        Version of this list.
    other : dict
        Further entries of the file, kept as they are.

    Raises
    ------
    TypeError, ValueError
        If an entry has another type or range than stated; the message names it.

    Examples
    --------
    >>> run = Record("digits", "vicreg", 0, "VICReg", {}, {"name": "digits"}, "0.1", "2.6", "cpu",
    ...              12.5, None, 1000, [], {"accuracy": {"linear": 0.9}}, None)
    >>> run.key, run.value("final.accuracy.linear")
    ('digits-vicreg-s0', 0.9)
    """

    suite: str
    method: str
    seed: int
    title: str
    config: dict[str, Any]
    data: dict[str, str]
    package: str
    torch: str
    device: str
    wall_seconds: float
    images_per_second: float | None
    parameters: int
    history: list[dict[str, Any]] = field(repr=False)
    final: dict[str, Any] = field(repr=False)
    checkpoint: dict[str, str] | None
    schema: int = SCHEMA
    other: dict[str, Any] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        """Refuse entries that do not fit."""
        _require("schema", self.schema, lambda v: v == SCHEMA, f"be {SCHEMA}")
        for name in ("suite", "method"):
            _require(
                name, getattr(self, name), _is_name, "be a name of letters, digits and ._-+=()"
            )
        for name in ("title", "package", "torch", "device"):
            _require(name, getattr(self, name), _is_text, "be a string that is not empty")
        for name in ("config", "data", "final", "other"):
            _require(name, getattr(self, name), _is_dict, "be a dict with strings as keys")
        for name in ("seed", "parameters"):
            _require(name, getattr(self, name), _is_count, "be an integer, not negative")
        _require("wall_seconds", self.wall_seconds, _is_positive, "be a number, not negative")
        if self.images_per_second is not None:
            _require(
                "images_per_second", self.images_per_second, _is_positive, "be a number or null"
            )
        for name, value in self.data.items():
            _require(f"data.{name}", value, lambda v: isinstance(v, str), "be a string")
        _check_final(self.final)
        _check_checkpoint(self.checkpoint)
        _check_history(self.history)

    @property
    def key(self) -> str:
        """The name of the record: suite, method and seed."""
        return f"{self.suite}-{self.method}-s{self.seed}"

    def value(self, path: str) -> Any:
        """Return the entry at a dotted path such as "final.accuracy.linear"; None if absent."""
        return lookup(self.to_dict(), path)

    def to_dict(self) -> dict[str, Any]:
        """Return the content of the file."""
        content = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "other"}
        return {**self.other, **content}

    @classmethod
    def from_dict(cls, content: Any) -> "Record":
        """Return the record of the content of a file."""
        _require("record", content, _is_dict, "be a dict with strings as keys")
        _require("schema", content.get("schema"), lambda v: v == SCHEMA, f"be {SCHEMA}")
        names = {f.name for f in fields(cls)} - {"other"}
        missing = sorted(names - set(content))
        if missing:
            raise ValueError(f"record must have the fields {', '.join(missing)}")
        known = {name: value for name, value in content.items() if name in names}
        return cls(**known, other={k: v for k, v in content.items() if k not in names})


def lookup(content: Mapping[str, Any], path: str) -> Any:
    """Return the entry at a dotted path of nested dicts, or None if there is none.

    Parameters
    ----------
    content : mapping
        For instance one entry of a record's history.
    path : str
        Names with dots between, such as "accuracy.linear".

    Examples
    --------
    >>> lookup({"accuracy": {"linear": 0.9}}, "accuracy.linear")
    0.9
    """
    value: Any = content
    for name in path.split("."):
        if not isinstance(value, Mapping) or name not in value:
            return None
        value = value[name]
    return value


def is_number(value: Any) -> TypeGuard[float]:
    """Return whether a value is a real number and not a truth value."""
    return isinstance(value, Real) and not isinstance(value, bool)


def _require(name: str, value: Any, test: Callable[[Any], bool], wanted: str) -> None:
    if not test(value):
        shown = repr(value)
        shown = shown if len(shown) <= 60 else f"{shown[:57]}..."
        raise ValueError(f"{name} must {wanted}, got {shown}")


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value)


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and bool(_NAME.fullmatch(value))


def _is_dict(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(key, str) for key in value)


def _is_count(value: Any) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool) and int(value) >= 0


def _is_positive(value: Any) -> bool:
    return is_number(value) and 0 <= value < float("inf")


def _check_groups(where: str, entry: dict[str, Any]) -> None:
    for name in GROUPS:
        if name in entry:
            _require(f"{where}.{name}", entry[name], _is_dict, "be a dict with strings as keys")


def _check_final(final: dict[str, Any]) -> None:
    _require("final.accuracy", final.get("accuracy"), _is_dict, "be a dict with strings as keys")
    _check_groups("final", final)


def _check_checkpoint(checkpoint: Any) -> None:
    if checkpoint is None:
        return
    _require("checkpoint", checkpoint, _is_dict, "be a dict with strings as keys, or null")
    for name in ("file", "dtype"):
        _require(f"checkpoint.{name}", checkpoint.get(name), _is_text, "be a string")
    _require(
        "checkpoint.sha256",
        checkpoint.get("sha256"),
        lambda v: isinstance(v, str) and bool(_SHA256.fullmatch(v)),
        "be 64 hexadecimal digits",
    )


def _check_history(history: Any) -> None:
    _require("history", history, lambda v: isinstance(v, list), "be a list")
    last = -1
    for place, entry in enumerate(history):
        where = f"history[{place}]"
        _require(where, entry, _is_dict, "be a dict with strings as keys")
        _require(f"{where}.step", entry.get("step"), _is_count, "be an integer, not negative")
        if entry["step"] <= last:
            raise ValueError(f"{where}.step must be above that before, {last}, got {entry['step']}")
        last = entry["step"]
        _require(f"{where}.epoch", entry.get("epoch"), _is_positive, "be a number, not negative")
        if entry.get("loss") is not None:
            _require(f"{where}.loss", entry["loss"], is_number, "be a number or null")
        _check_groups(where, entry)
