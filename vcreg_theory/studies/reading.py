"""Figures of a study's file: one column over seeds, and intervals of means, ratios, next draws."""

from typing import Any

import numpy as np
from scipy import stats as scipy_stats

from .. import stats, validation
from ..stats import intervals
from .study import Row


def rows(content: dict[str, Any], cell: str) -> list[Row]:
    """Return the rows of one cell, by seed.

    Parameters
    ----------
    content : dict
        As `study.read` returns it.
    cell : str
        Name of a cell of the design.

    Returns
    -------
    list of dict
        At least one.

    Raises
    ------
    ValueError
        If the design has no such cell, or no row of it is finished.

    Examples
    --------
    >>> toy = {"design": {"cells": {"a": {}}}, "rows": {"a-s1": {"cell": "a", "seed": 1}}}
    >>> rows(toy, "a")
    [{'cell': 'a', 'seed': 1}]
    """
    validation.member("cell", cell, content["design"]["cells"])
    found = [row for row in content["rows"].values() if row["cell"] == cell]
    if not found:
        raise ValueError(f"cell {cell!r} has no finished row")
    return sorted(found, key=lambda row: row["seed"])


def column(content: dict[str, Any], cell: str, path: str) -> np.ndarray:
    """Return one figure of a cell for each of its seeds.

    Parameters
    ----------
    content, cell
        As in `rows`.
    path : str
        Where the figure is in a row, with dots, for instance "after.hsic_normalised".

    Returns
    -------
    ndarray, shape (seeds,)
        In the order of the seeds.

    Raises
    ------
    ValueError
        As `rows`, and if a row has no such figure.

    Examples
    --------
    >>> toy = {"design": {"cells": {"a": {}}},
    ...        "rows": {"a-s1": {"cell": "a", "seed": 1, "after": {"hsic": 0.5}}}}
    >>> column(toy, "a", "after.hsic")
    array([0.5])
    """
    return np.array([_figure(row, path) for row in rows(content, cell)], dtype=float)


def _figure(row: Row, path: str) -> float:
    value: Any = row
    for part in path.split("."):
        value = value.get(part) if isinstance(value, dict) else None
        if value is None:
            raise ValueError(f"row {row['cell']}-s{row['seed']} has no figure {path!r}")
    return float(value)


def means(content: dict[str, Any], path: str) -> dict[str, float]:
    """Return the mean of one figure over seeds for every cell, in the order of the file.

    Examples
    --------
    >>> toy = {"design": {"cells": {"a": {}}}, "rows": {
    ...     f"a-s{k}": {"cell": "a", "seed": k, "figure": k} for k in (1, 2)}}
    >>> means(toy, "figure")
    {'a': 1.5}
    """
    names = content["design"]["cells"]
    done = {row["cell"] for row in content["rows"].values()}
    return {name: float(column(content, name, path).mean()) for name in names if name in done}


def difference_interval(x: Any, y: Any, level: float = 0.95) -> stats.Interval:
    """Bound the mean difference x - y of pairs of one seed each by Student's t interval.

    Parameters
    ----------
    x, y : array_like, shape (seeds,)
        Two cells, seed by seed.
    level : float
        Confidence level in (0, 1).

    Returns
    -------
    Interval

    Raises
    ------
    ValueError
        If sizes differ or are below 2, or `level` is outside (0, 1).

    Examples
    --------
    >>> difference_interval([2.0, 3.0], [1.0, 2.0]).estimate
    1.0
    """
    x, y = intervals.paired(x, y, min_size=2)
    return stats.mean_interval(x - y, level)


def ratio_interval(x: Any, y: Any, level: float = 0.95) -> stats.Interval:
    r"""Bound the geometric mean of ratios x / y of pairs of one seed each.

    .. math:: \exp\Bigl( \overline{\log (x/y)} \pm t\, \hat s / \sqrt n \Bigr)

    Parameters
    ----------
    x, y : array_like, shape (seeds,)
        Two cells, seed by seed; positive.
    level : float
        Confidence level in (0, 1).

    Returns
    -------
    Interval

    Raises
    ------
    ValueError
        As `difference_interval`, and if an entry is not positive.

    Examples
    --------
    >>> round(ratio_interval([2.0, 8.0], [1.0, 1.0]).estimate, 12)
    4.0
    """
    x, y = intervals.paired(x, y, min_size=2)
    for name, values in (("x", x), ("y", y)):
        if values.min() <= 0:
            raise ValueError(f"{name} must be positive, got {values.min():g}")
    found = stats.mean_interval(np.log(x) - np.log(y), level)
    estimate, low, high = (float(np.exp(value)) for value in found[:3])
    return stats.Interval(estimate, low, high, found.level)


def prediction_interval(x: Any, level: float = 0.95) -> stats.Interval:
    r"""Return where one more draw of positive numbers should lie, if their logarithms are normal.

    .. math:: \exp\Bigl( \overline{\log x} \pm t_{n-1}\, \hat s \sqrt{1 + 1/n} \Bigr)

    Parameters
    ----------
    x : array_like, shape (n,)
        Independent positive draws, at least 2.
    level : float
        Probability, in (0, 1), that a new draw lies inside.

    Returns
    -------
    Interval
        Its estimate is the geometric mean.

    Raises
    ------
    ValueError
        If there are fewer than 2 draws, one is not positive, or `level` is outside (0, 1).

    Examples
    --------
    >>> found = prediction_interval([1.0, 2.0, 4.0], 0.9)
    >>> round(found.estimate, 12), found.low < 1.0 < 4.0 < found.high
    (2.0, True)
    """
    x = validation.sample("x", x, min_size=2)
    level = validation.probability("level", level)
    if x.min() <= 0:
        raise ValueError(f"x must be positive, got {x.min():g}")
    logs = np.log(x)
    half = scipy_stats.t.isf((1 - level) / 2, x.size - 1) * logs.std(ddof=1)
    half *= (1 + 1 / x.size) ** 0.5
    estimate, low, high = (float(np.exp(logs.mean() + shift)) for shift in (0.0, -half, half))
    return stats.Interval(estimate, low, high, level)
