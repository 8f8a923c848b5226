"""Intervals for means, proportions, correlations and slopes."""

import warnings
from typing import Any, Literal, NamedTuple

import numpy as np
from scipy import stats

from .. import validation
from .._types import FloatArray
from ..seeding import numpy_generator


class Interval(NamedTuple):
    """An estimate with the confidence interval ``[low, high]`` at `level`."""

    estimate: float
    low: float
    high: float
    level: float


def paired(x: Any, y: Any, min_size: int) -> tuple[FloatArray, FloatArray]:
    """Return two samples of one size."""
    x = validation.sample("x", x, min_size=min_size)
    y = validation.sample("y", y, min_size=min_size)
    if x.size != y.size:
        raise ValueError(f"x and y must have the same size, got {x.size} and {y.size}")
    return x, y


def not_constant(name: str, x: FloatArray) -> None:
    """Raise if all entries are equal."""
    if np.all(x == x[0]):
        raise ValueError(f"{name} must vary, got {x.size} times the value {x[0]:g}")


def mean_interval(x: Any, level: float = 0.95) -> Interval:
    r"""Bound the mean of a population by Student's t interval.

    .. math:: \bar x \pm t_{n-1,(1+\text{level})/2}\; \hat s/\sqrt n

    Exact for independent normal draws; for others it holds by the central limit theorem.

    Parameters
    ----------
    x : Tensor or ndarray, shape (n,)
        Independent draws, n at least 2.
    level : float
        Confidence level in (0, 1).

    Returns
    -------
    Interval

    Raises
    ------
    ValueError
        If `x` has fewer than 2 entries or a NaN, or `level` is outside (0, 1).

    Examples
    --------
    >>> interval = mean_interval([1.0, 2.0, 3.0])
    >>> round(interval.low, 3), round(interval.high, 3)
    (-0.484, 4.484)
    """
    x = validation.sample("x", x, min_size=2)
    level = validation.probability("level", level)
    half = stats.t.isf((1 - level) / 2, x.size - 1) * x.std(ddof=1) / x.size**0.5
    return Interval(float(x.mean()), float(x.mean() - half), float(x.mean() + half), level)


def proportion_interval(successes: int, n: int, level: float = 0.95) -> Interval:
    """Bound a probability by the Clopper-Pearson interval.

    It inverts two one-sided exact binomial tests, so its coverage is never below `level`.

    Parameters
    ----------
    successes, n : int
        Number of successes in `n` independent trials.
    level : float
        Confidence level in (0, 1).

    Returns
    -------
    Interval

    Raises
    ------
    TypeError, ValueError
        If the counts are not integers with ``0 <= successes <= n``, or `level` is outside (0, 1).

    Examples
    --------
    >>> round(proportion_interval(0, 100).high, 4)
    0.0362
    """
    successes, n = validation.successes(successes, n)
    level = validation.probability("level", level)
    interval = stats.binomtest(successes, n).proportion_ci(level, method="exact")
    return Interval(successes / n, float(interval.low), float(interval.high), level)


def _pearson(x: FloatArray, y: FloatArray, axis: int = -1) -> FloatArray:
    x = x - x.mean(axis=axis, keepdims=True)
    y = y - y.mean(axis=axis, keepdims=True)
    norms = np.linalg.norm(x, axis=axis) * np.linalg.norm(y, axis=axis)
    with np.errstate(invalid="ignore"):  # a constant resample gives NaN, reported by the caller
        found: FloatArray = np.clip((x * y).sum(axis=axis) / norms, -1.0, 1.0)
    return found


def spearman(x: FloatArray, y: FloatArray, axis: int = -1) -> FloatArray:
    """Return rank correlations along an axis; NaN where a variable is constant."""
    return _pearson(stats.rankdata(x, axis=axis), stats.rankdata(y, axis=axis), axis)


def correlation_interval(
    x: Any,
    y: Any,
    level: float = 0.95,
    method: Literal["pearson", "spearman"] = "pearson",
    *,
    seed: int = 0,
    n_resamples: int = 4999,
) -> Interval:
    """Bound a correlation by the percentile bootstrap over pairs.

    The pairs must be independent; nothing is assumed of their law. Fisher's z interval assumes
    a bivariate normal law and does not improve with n where that fails: at n = 200 its coverage
    at level 0.95 was 0.80 on log-normal pairs and 0.86 on Student pairs with 6 degrees of freedom
    (400 repetitions). The percentile bootstrap had 0.94 on both and 0.94 on normal pairs, and
    0.90 on all three at n = 20, so read it with care below about 50 pairs.

    Parameters
    ----------
    x, y : Tensor or ndarray, shape (n,)
        Pairs, n at least 8.
    level : float
        Confidence level in (0, 1).
    method : {"pearson", "spearman"}
        Linear correlation, or that of the ranks.
    seed : int
        Seed of the resampling.
    n_resamples : int
        Number of bootstrap resamples, at least 99.

    Returns
    -------
    Interval

    Raises
    ------
    ValueError
        If sizes differ, a variable is constant, or resamples are constant because a variable
        takes one of its values nearly always.

    Examples
    --------
    >>> x = np.arange(20.0)
    >>> round(correlation_interval(x, x**3, method="spearman").low, 12)
    1.0
    """
    x, y = paired(x, y, min_size=8)
    not_constant("x", x)
    not_constant("y", y)
    level = validation.probability("level", level)
    validation.member("method", method, ("pearson", "spearman"))
    n_resamples = validation.integer("n_resamples", n_resamples, at_least=99)
    statistic = _pearson if method == "pearson" else spearman
    generator = numpy_generator(seed, "correlation_interval")
    with warnings.catch_warnings():  # NaN draws are refused below, in the words of this package
        warnings.simplefilter("ignore", stats.DegenerateDataWarning)
        draws = stats.bootstrap(
            (x, y),
            statistic,
            paired=True,
            vectorized=True,
            n_resamples=n_resamples,
            batch=max(1, 2**20 // x.size),  # keeps memory near 8 MB an array
            method="percentile",
            random_state=generator,  # the keyword that SciPy 1.14 and later all know
        ).bootstrap_distribution
    if np.isnan(draws).any():
        raise ValueError("x or y has too few distinct values: some resamples are constant")
    low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(statistic(x, y)), float(low), float(high), level)


def slope_interval(x: Any, y: Any, level: float = 0.95, *, log: bool = False) -> Interval:
    r"""Bound a least-squares slope by its t interval.

    .. math:: \hat b = \frac{\sum_i (x_i-\bar x)(y_i-\bar y)}{\sum_i (x_i-\bar x)^2}

    with :math:`n-2` degrees of freedom: exact when `y` is a line in `x` plus independent normal
    errors of one variance. With ``log=True`` the line is fitted to logarithms, so that the slope
    is the exponent of a power law and the errors are relative ones.

    Parameters
    ----------
    x, y : Tensor or ndarray, shape (n,)
        Points, n at least 3; positive where `log` is true.
    level : float
        Confidence level in (0, 1).
    log : bool
        Whether to fit ``log y`` against ``log x``.

    Returns
    -------
    Interval

    Raises
    ------
    ValueError
        If sizes differ, `x` is constant, or `log` is true and an entry is not positive.

    Examples
    --------
    >>> x = np.array([1.0, 2.0, 4.0, 8.0])
    >>> round(slope_interval(x, 5 * x**-2, log=True).estimate, 12)
    -2.0
    """
    x, y = paired(x, y, min_size=3)
    level = validation.probability("level", level)
    if log:
        for name, values in (("x", x), ("y", y)):
            if values.min() <= 0:
                raise ValueError(f"{name} must be positive where log=True, got {values.min():g}")
        x, y = np.log(x), np.log(y)
    not_constant("x", x)
    fit = stats.linregress(x, y)
    half = stats.t.isf((1 - level) / 2, x.size - 2) * fit.stderr
    return Interval(float(fit.slope), float(fit.slope - half), float(fit.slope + half), level)
