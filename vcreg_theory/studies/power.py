"""How many models it takes to see that a signal ranks them."""

import math

import numpy as np
from scipy import stats as scipy_stats

from .. import validation

SPREAD = 1.06  # variance of Fisher's transform of Spearman's correlation, times N - 3


def models_needed(correlation: float, *, power: float = 0.8, level: float = 0.05) -> int:
    r"""Return the number of models for a rank correlation to be seen with a given power.

    .. math:: N = 3 + 1.06 \left( \frac{z_{1 - \alpha/2} + z_{\beta}}
        {\operatorname{artanh} \rho} \right)^2, \text{ rounded up,}

    the normal approximation of a two-sided test at level :math:`\alpha` with power :math:`\beta`,
    where Fisher's transform of Spearman's correlation has variance :math:`1.06 / (N - 3)`.

    Parameters
    ----------
    correlation : float
        Spearman's correlation of the population, in (-1, 1), not 0.
    power, level : float
        In (0, 1); power above half the level.

    Returns
    -------
    int

    Raises
    ------
    ValueError
        If a number is out of range.

    Notes
    -----
    Claim A8.c. The other tail is neglected: less than 1e-4 of power where that is at least 0.5.

    Examples
    --------
    >>> models_needed(0.5)
    31
    """
    value = _inside("correlation", correlation)
    if value == 0:
        raise ValueError("correlation must not be 0, which no number of models shows")
    return math.ceil(3 + SPREAD * (_quantiles(power, level) / math.atanh(value)) ** 2)


def detectable_correlation(models: int, *, power: float = 0.8, level: float = 0.05) -> float:
    r"""Return the smallest rank correlation that a number of models shows with a given power.

    .. math:: \rho = \tanh\Bigl( (z_{1 - \alpha/2} + z_{\beta}) \sqrt{1.06 / (N - 3)} \Bigr)

    Parameters
    ----------
    models : int
        Number N of models, at least 4.
    power, level : float
        As in `models_needed`.

    Returns
    -------
    float

    Raises
    ------
    ValueError
        If a number is out of range.

    Notes
    -----
    Claim A8.c.

    Examples
    --------
    >>> round(detectable_correlation(18), 2)
    0.63
    """
    models = validation.integer("models", models, at_least=4)
    return math.tanh(_quantiles(power, level) * math.sqrt(SPREAD / (models - 3)))


def rank_test_power(
    models: int,
    correlation: float,
    *,
    generator: np.random.Generator,
    draws: int = 10000,
    level: float = 0.05,
) -> tuple[int, int]:
    r"""Simulate the two-sided test of Spearman's correlation on normal pairs.

    The correlation of the normal pair is :math:`2 \sin(\pi \rho / 6)`, for which Spearman's of the
    population is :math:`\rho`. The p-value is that of the t approximation, as in SciPy.

    Parameters
    ----------
    models : int
        Pairs a test, at least 4.
    correlation : float
        Spearman's correlation :math:`\rho` of the population, in (-1, 1).
    generator : numpy.random.Generator
        Draws the pairs.
    draws : int
        Number of simulated tests, at least 1.
    level : float
        Level of the test.

    Returns
    -------
    rejected, draws : int

    Raises
    ------
    ValueError
        If a number is out of range.

    Notes
    -----
    Claim A8.c.

    Examples
    --------
    >>> rejected, draws = rank_test_power(31, 0.9, generator=np.random.default_rng(0), draws=200)
    >>> rejected / draws > 0.99
    True
    """
    models = validation.integer("models", models, at_least=4)
    draws = validation.integer("draws", draws, at_least=1)
    level = validation.probability("level", level)
    pearson = 2 * math.sin(math.pi * _inside("correlation", correlation) / 6)
    x, e = generator.standard_normal((2, draws, models))
    ranks = [
        scipy_stats.rankdata(v, axis=1) for v in (x, pearson * x + (1 - pearson**2) ** 0.5 * e)
    ]
    mean, square = (models + 1) / 2, (models**2 - 1) / 12
    r = ((ranks[0] - mean) * (ranks[1] - mean)).mean(1) / square
    with np.errstate(divide="ignore"):
        t = abs(r) * np.sqrt((models - 2) / (1 - r**2))
    return int((2 * scipy_stats.t.sf(t, models - 2) <= level).sum()), draws


def _inside(name: str, value: float) -> float:
    value = validation.real(name, value)
    if not -1 < value < 1:
        raise ValueError(f"{name} must lie in (-1, 1), got {value:g}")
    return value


def _quantiles(power: float, level: float) -> float:
    """Return the sum of the two normal quantiles."""
    power, level = validation.probability("power", power), validation.probability("level", level)
    if power <= level / 2:
        raise ValueError(f"power must be above half the level, {level / 2:g}, got {power:g}")
    return float(scipy_stats.norm.isf(level / 2) + scipy_stats.norm.ppf(power))
