"""Correlations over encoders of which several share a method, with intervals."""

from typing import Any, NamedTuple

import numpy as np
from scipy import stats as scipy_stats

from ... import stats, validation
from ..._types import FloatArray, IndexArray
from ...seeding import numpy_generator
from ...stats import intervals
from .evaluation import Study

Times = FloatArray | IndexArray
_METHODS = ("pearson", "spearman")


class Correlation(NamedTuple):
    """Correlation of one quantity with a target over encoders, both kinds."""

    quantity: str
    pearson: stats.Interval
    spearman: stats.Interval


def clustered_correlation(
    x: Any,
    y: Any,
    groups: Any,
    *,
    level: float = 0.95,
    method: str = "pearson",
    seed: int = 0,
    n_resamples: int = 4999,
) -> stats.Interval:
    """Bound a correlation by the percentile bootstrap over groups of pairs.

    Pairs of one group (the seeds of one method) resemble each other; groups are resampled whole.

    Parameters
    ----------
    x, y : array_like, shape (n,)
        Pairs.
    groups : array_like, shape (n,)
        Group of each pair, at least 8 groups.
    level : float
        Confidence level in (0, 1).
    method : {"pearson", "spearman"}
        Linear correlation, or that of the ranks.
    seed : int
        Seed of the resampling.
    n_resamples : int
        Number of resamples, at least 99.

    Returns
    -------
    Interval

    Raises
    ------
    TypeError, ValueError
        If sizes differ, a variable is constant, there are fewer than 8 groups, or an option is out
        of range.

    Notes
    -----
    With few groups such an interval is a little too short: at level 0.95 it covered 0.92 of the
    time for 17 groups of three normal pairs that correlate by 0.8 within a group, where one that
    takes all 51 pairs for independent covered 0.78 (300 repetitions). It answers for the choice of
    groups, not for that of data sets or architectures.

    Examples
    --------
    >>> x = np.arange(24.0)
    >>> clustered_correlation(x, -x, np.arange(24) // 3).low
    -1.0
    """
    x, y = intervals.paired(x, y, min_size=8)
    names, members = np.unique(np.asarray(groups), return_inverse=True)
    if members.shape != x.shape:
        raise ValueError(f"groups must agree with x and y, got {members.shape} and {x.shape}")
    if len(names) < 8:
        raise ValueError(f"groups must hold at least 8 groups, got {len(names)}")
    intervals.not_constant("x", x)
    intervals.not_constant("y", y)
    level = validation.probability("level", level)
    validation.member("method", method, _METHODS)
    n_resamples = validation.integer("n_resamples", n_resamples, at_least=99)
    generator = numpy_generator(seed, "clustered_correlation")
    chosen = generator.integers(len(names), size=(n_resamples, len(names)))
    times = np.stack([(chosen == k).sum(1) for k in range(len(names))], 1)[:, members]
    draws = _weighted(x, y, times, method)
    draws = draws[np.isfinite(draws)]
    low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2])
    estimate = float(_weighted(x, y, np.ones((1, x.size)), method)[0])
    return stats.Interval(estimate, float(low), float(high), level)


def correlations(
    found: Study,
    quantities: tuple[str, ...],
    target: str = "gap",
    *,
    size: int,
    level: float = 0.95,
    seed: int = 0,
) -> list[Correlation]:
    """Return the correlations over encoders of some quantities with a target, at one size.

    Parameters
    ----------
    found : Study
        As of `evaluate`.
    quantities : tuple of str
        Names in ``found.values``, each averaged over draws.
    target : str
        "gap", "risk" or another name.
    size : int
        One of ``found.sizes``.
    level : float
        Confidence level in (0, 1).
    seed : int
        Seed of the resampling.

    Returns
    -------
    list of Correlation

    Raises
    ------
    ValueError
        If a name or the size is unknown, or a quantity is constant.

    Notes
    -----
    Claim B8.e.

    Examples
    --------
    >>> values = {"a": np.arange(8.0).reshape(8, 1, 1)}
    >>> toy = Study(tuple("abcdefgh"), (0,) * 8, ("",) * 8, (9,), 0.05, values)
    >>> correlations(toy, ("a",), "a", size=9)[0].pearson.estimate
    1.0
    """
    place = found.sizes.index(validation.member("size", size, found.sizes))
    for name in (*quantities, target):
        validation.member("quantities", name, found.values)
    y = found.values[target][:, place].mean(1)
    rows = []
    for name in quantities:
        x = found.values[name][:, place].mean(1)
        both = (
            clustered_correlation(x, y, found.methods, level=level, method=method, seed=seed)
            for method in _METHODS
        )
        rows.append(Correlation(name, *both))
    return rows


def _weighted(x: FloatArray, y: FloatArray, times: Times, method: str) -> FloatArray:
    """Return the correlation of pairs repeated as often as each row of `times` says."""
    found: FloatArray
    if method == "spearman":
        x, y = _ranks(x, times), _ranks(y, times)
    total = times.sum(1, keepdims=True)
    x = x - (times * x).sum(1, keepdims=True) / total
    y = y - (times * y).sum(1, keepdims=True) / total
    with np.errstate(invalid="ignore", divide="ignore"):  # a constant resample is left out
        found = (times * x * y).sum(1) / np.sqrt((times * x * x).sum(1) * (times * y * y).sum(1))
    clipped: FloatArray = np.clip(found, -1, 1)
    return clipped


def _ranks(x: FloatArray, times: Times) -> FloatArray:
    """Return mid-ranks of numbers repeated as often as each row of `times` says."""
    dense = scipy_stats.rankdata(x, method="dense").astype(int) - 1
    onto = np.eye(dense.max() + 1)[dense]  # entry to distinct value
    counts = times @ onto
    middle = counts.cumsum(1) - (counts - 1) / 2
    ranks: FloatArray = middle[:, dense]
    return ranks
