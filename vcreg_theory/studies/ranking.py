"""How well a signal without labels ranks models by their accuracy."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from .. import stats, validation
from ..seeding import numpy_generator
from ..stats import intervals

Statistic = Callable[..., np.ndarray]


class Ranking(NamedTuple):
    """Rank correlation of a signal with accuracies, with its bootstrap interval over models.

    `pvalue` is that of shuffled labels, two-sided: the share of shufflings of the signal, itself
    counted as one, whose rank correlation is at least as far from 0.
    """

    interval: stats.Interval
    pvalue: float


def ranking(
    signal: Any,
    accuracy: Any,
    level: float = 0.95,
    *,
    seed: int = 0,
    n_resamples: int = 4999,
) -> Ranking:
    """Return Spearman's rank correlation with an interval and a test by shuffled labels.

    Parameters
    ----------
    signal, accuracy : array_like, shape (n,)
        One number a model, at least 8 models.
    level : float
        Confidence level in (0, 1).
    seed : int
        Seed of resampling and shuffling.
    n_resamples : int
        Number of resamples and of shufflings, at least 99.

    Returns
    -------
    Ranking

    Raises
    ------
    ValueError
        As `stats.correlation_interval`.

    Notes
    -----
    Claims A8.a and A8.b. The percentile interval is somewhat short for few models, see
    `stats.correlation_interval`; the test by shuffling has its level exactly.

    Examples
    --------
    >>> found = ranking(np.arange(12.0), -np.arange(12.0), n_resamples=199)
    >>> found.interval.estimate, found.pvalue
    (-1.0, 0.005)
    """
    interval = stats.correlation_interval(
        signal, accuracy, level, "spearman", seed=seed, n_resamples=n_resamples
    )
    x, y = _pairs(signal, accuracy)
    generator = numpy_generator(seed, "shuffled labels")
    order = generator.permuted(np.tile(np.arange(x.size), (n_resamples, 1)), axis=1)
    shuffled = intervals.spearman(x[order], np.broadcast_to(y, order.shape))
    # Two shufflings of equal value may differ by rounding.
    beyond = int((abs(shuffled) >= abs(interval.estimate) - 1e-12).sum())
    return Ranking(interval, (1 + beyond) / (1 + n_resamples))


def rank_difference(
    first: Any,
    second: Any,
    accuracy: Any,
    level: float = 0.95,
    *,
    seed: int = 0,
    n_resamples: int = 4999,
) -> stats.Interval:
    r"""Return how much more strongly one signal ranks models than another, with its interval.

    .. math:: |\rho(\text{second}, \text{accuracy})| - |\rho(\text{first}, \text{accuracy})|

    Parameters
    ----------
    first, second, accuracy : array_like, shape (n,)
        One number a model, at least 8 models.
    level, seed, n_resamples
        As in `ranking`.

    Returns
    -------
    Interval
        By the percentile bootstrap over models.

    Raises
    ------
    ValueError
        If sizes differ, there are fewer than 8 models, or a variable is constant.

    Examples
    --------
    >>> x = np.arange(12.0)
    >>> rank_difference(x, -x, x).estimate
    0.0
    """

    def statistic(a: np.ndarray, b: np.ndarray, y: np.ndarray) -> np.ndarray:
        return abs(intervals.spearman(b, y)) - abs(intervals.spearman(a, y))

    return _bootstrap(statistic, (first, second, accuracy), level, seed, n_resamples)


def partial_ranking(
    signal: Any,
    accuracy: Any,
    given: Any,
    level: float = 0.95,
    *,
    seed: int = 0,
    n_resamples: int = 4999,
) -> stats.Interval:
    r"""Return the rank correlation of a signal with accuracy that another signal leaves.

    .. math:: \frac{\rho_{xy} - \rho_{xz}\, \rho_{yz}}
        {\sqrt{(1 - \rho_{xz}^2)(1 - \rho_{yz}^2)}}

    Parameters
    ----------
    signal, accuracy, given : array_like, shape (n,)
        x, y and z, one number a model; at least 8 models.
    level, seed, n_resamples
        As in `ranking`.

    Returns
    -------
    Interval
        By the percentile bootstrap over models; resamples in which z ranks as x or y are left out.

    Raises
    ------
    ValueError
        If sizes differ, there are fewer than 8 models, a variable is constant, or z ranks models
        exactly as x or y does.

    Examples
    --------
    >>> g = np.random.default_rng(0)
    >>> z = g.normal(size=300)
    >>> x, y = z + g.normal(size=300), z + g.normal(size=300)
    >>> abs(partial_ranking(x, y, z, n_resamples=99).estimate) < 0.2
    True
    """

    def statistic(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
        xy, xz, yz = intervals.spearman(x, y), intervals.spearman(x, z), intervals.spearman(y, z)
        spare = (1 - xz**2) * (1 - yz**2)
        spare = np.where(spare > 1e-12, spare, np.nan)  # rounding of equal ranks
        left: np.ndarray = np.clip((xy - xz * yz) / np.sqrt(spare), -1, 1)
        return left

    return _bootstrap(statistic, (signal, accuracy, given), level, seed, n_resamples)


def _pairs(*variables: Any) -> list[np.ndarray]:
    """Return the variables if they have one size of at least 8, and each varies."""
    names = ("first", "second", "third")
    found = [
        validation.sample(name, x, min_size=8) for name, x in zip(names, variables, strict=False)
    ]
    if len({x.size for x in found}) > 1:
        raise ValueError(f"all variables must have the same size, got {[x.size for x in found]}")
    for name, x in zip(names, found, strict=False):
        intervals.not_constant(f"the {name} variable", x)
    return found


def _bootstrap(
    statistic: Statistic, variables: tuple[Any, ...], level: float, seed: int, n_resamples: int
) -> stats.Interval:
    found = _pairs(*variables)
    level = validation.probability("level", level)
    n_resamples = validation.integer("n_resamples", n_resamples, at_least=99)
    estimate = float(statistic(*found))
    if not np.isfinite(estimate):
        raise ValueError("the variables rank the models in one way: nothing is left to compare")
    size = found[0].size
    chosen = numpy_generator(seed, "ranking").integers(size, size=(n_resamples, size))
    draws = statistic(*(x[chosen] for x in found))
    low, high = np.nanquantile(draws, [(1 - level) / 2, (1 + level) / 2])
    return stats.Interval(estimate, float(low), float(high), level)
