"""Figures over seeds: one number a method, or one curve."""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from .. import stats, validation
from .schema import Record, is_number, lookup


class Row(NamedTuple):
    """Mean over seeds of one method, with its t interval.

    `seeds` counts the runs that have the number, `missing` those that have none. The mean is None
    where no run has it, the ends of the interval are where only one has.
    """

    suite: str
    method: str
    title: str
    seeds: int
    missing: int
    mean: float | None
    low: float | None
    high: float | None


class Curve(NamedTuple):
    """Mean over seeds along training, with its t interval at each step (None for one seed)."""

    steps: np.ndarray
    mean: np.ndarray
    low: np.ndarray | None
    high: np.ndarray | None
    seeds: int


def table(
    records: Iterable[Record], key: str = "final.accuracy.linear", *, level: float = 0.95
) -> list[Row]:
    r"""Return the mean over seeds of one number, for each method.

    .. math:: \bar x \pm t_{n-1,(1+\text{level})/2}\; \hat s/\sqrt n
        \quad\text{over the } n \text{ seeds of a method}

    Parameters
    ----------
    records : iterable of Record
        Runs of any suites and methods.
    key : str
        Dotted path of the number in a record.
    level : float
        Confidence level, in (0, 1).

    Returns
    -------
    list of Row
        One a method of a suite, in the order in which they first appear.

    Raises
    ------
    ValueError
        If there is no record, a method has a seed twice, a value is no number, or no record has
        the key.

    Notes
    -----
    A value that is null in the file (a statistic that a collapsed network does not have) or absent
    counts as missing; the mean is over the others and says how many they are.

    Examples
    --------
    >>> run = Record("digits", "vicreg", 0, "VICReg", {}, {"name": "digits"}, "0.1", "2.6", "cpu",
    ...              12.5, None, 1000, [], {"accuracy": {"linear": 0.9}}, None)
    >>> table([run])[0].mean, table([run])[0].low
    (0.9, None)
    """
    level = validation.probability("level", level)
    rows = [_row(runs, key, level) for runs in _groups(records)]
    if all(row.mean is None for row in rows):
        raise ValueError(f"key must be the path of a number, but no record has {key!r}")
    return rows


def curve(records: Iterable[Record], path: str, *, level: float = 0.95) -> Curve:
    """Return the mean over seeds of one number along the training of one method.

    Parameters
    ----------
    records : iterable of Record
        Runs of one method of one suite with different seeds.
    path : str
        Dotted path of the number in an entry of the history, such as "loss" or
        "representation.mean_hsic".
    level : float
        Confidence level, in (0, 1).

    Returns
    -------
    Curve
        At the steps where every run has the number.

    Raises
    ------
    ValueError
        If the records are of several methods, a seed appears twice, a value is no number, or
        there is no step at which every run has the number.

    Examples
    --------
    >>> run = Record("digits", "vicreg", 0, "VICReg", {}, {"name": "digits"}, "0.1", "2.6", "cpu",
    ...              12.5, None, 1000, [{"step": 5, "epoch": 1, "loss": 2.0}], {"accuracy": {}},
    ...              None)
    >>> curve([run], "loss").steps, curve([run], "loss").mean
    (array([5]), array([2.]))
    """
    level = validation.probability("level", level)
    groups = _groups(records)
    if len(groups) > 1:
        names = ", ".join(f"{runs[0].suite}/{runs[0].method}" for runs in groups)
        raise ValueError(f"records must be of one method of one suite, got {names}")
    runs = groups[0]
    series = [_series(run, path) for run in runs]
    steps = sorted(set.intersection(*(set(one) for one in series)))
    if not steps:
        raise ValueError(
            f"path must be that of a number that every run has at some common step, got {path!r}"
        )
    values = np.array([[one[step] for step in steps] for one in series])
    low = high = None
    if len(runs) > 1:
        low, high = (
            np.array(side)
            for side in zip(
                *(stats.mean_interval(column, level)[1:3] for column in values.T), strict=True
            )
        )
    return Curve(np.array(steps), values.mean(0), low, high, len(runs))


def _groups(records: Iterable[Record]) -> list[list[Record]]:
    """Return the runs of each method of each suite, checked to have different seeds."""
    groups: dict[tuple[str, str], list[Record]] = {}
    for record in records:
        group = groups.setdefault((record.suite, record.method), [])
        if any(record.seed == other.seed for other in group):
            raise ValueError(f"records must differ, got the run {record.key} twice")
        group.append(record)
    if not groups:
        raise ValueError("records must hold at least 1 record, got none")
    return list(groups.values())


def _row(runs: list[Record], key: str, level: float) -> Row:
    """Return the row of the runs of one method."""
    found = [_number(run, key, run.value(key)) for run in runs]
    values = [value for value in found if value is not None]
    mean = float(np.mean(values)) if values else None
    low = high = None
    if len(values) > 1:
        mean, low, high, _ = stats.mean_interval(values, level)
    first = runs[0]
    missing = len(found) - len(values)
    return Row(first.suite, first.method, first.title, len(values), missing, mean, low, high)


def _series(run: Record, path: str) -> dict[int, float]:
    """Return the number at each step of a run that has it."""
    found = {}
    for entry in run.history:
        value = _number(run, path, lookup(entry, path))
        if value is not None:
            found[entry["step"]] = value
    return found


def _number(run: Record, path: str, value: object) -> float | None:
    """Return a number of a record, or None where it has none."""
    if value is None:
        return None
    if not is_number(value):
        raise ValueError(f"{path} must be a number in {run.key}, got {type(value).__name__}")
    return float(value)
