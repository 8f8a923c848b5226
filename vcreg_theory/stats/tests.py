"""Tests of p-values, counts and proportions against a law known in advance."""

from typing import Any, Literal, NamedTuple

import numpy as np
from scipy import stats

from .. import validation
from .._types import FloatArray


class TestResult(NamedTuple):
    """A test statistic with its p-value."""

    statistic: float
    pvalue: float


# The name starts with Test, yet it is no pytest class.
TestResult.__test__ = False  # type: ignore[attr-defined]


class ChiSquareResult(NamedTuple):
    """Pearson's statistic, its p-value, and the degrees of freedom left after merging bins."""

    statistic: float
    pvalue: float
    dof: int


def uniform_pvalues_test(pvalues: Any) -> TestResult:
    r"""Test by Kolmogorov and Smirnov whether independent p-values are uniform.

    .. math:: D = \sup_{0\le u\le1} \Big| \frac1m \#\{i: p_i \le u\} - u \Big|

    The p-values must be independent (pooling the coordinates of one noise sample is not), and
    from continuous statistics: those of a discrete one are not uniform under its null hypothesis.

    Parameters
    ----------
    pvalues : Tensor or ndarray, shape (m,)
        Independent p-values in [0, 1], m at least 5.

    Returns
    -------
    TestResult
        The distance `D` and its p-value.

    Raises
    ------
    ValueError
        If there are fewer than 5 p-values or one is outside [0, 1].

    Examples
    --------
    >>> result = uniform_pvalues_test((np.arange(10) + 0.5) / 10)
    >>> round(result.statistic, 12), round(result.pvalue, 3)
    (0.05, 1.0)
    """
    pvalues = validation.sample("pvalues", pvalues, min_size=5)
    if pvalues.min() < 0 or pvalues.max() > 1:
        raise ValueError(f"pvalues must lie in [0, 1], got {pvalues.min():g} to {pvalues.max():g}")
    result = stats.kstest(pvalues, "uniform")
    return TestResult(float(result.statistic), float(result.pvalue))


def _merge_small(
    counts: FloatArray, expected: FloatArray, minimum: float
) -> tuple[FloatArray, FloatArray]:
    """Pool the bins of smallest expectation until every bin that remains reaches `minimum`.

    Which bins are pooled depends on the expectations alone, never on the counts, so the null law
    of the statistic is untouched.
    """
    order = np.argsort(expected, kind="stable")
    counts, expected = counts[order], expected[order]
    pooled = int((expected < minimum).sum())
    if pooled == 0:
        return counts, expected
    reached = np.flatnonzero(np.cumsum(expected)[pooled - 1 :] >= minimum)
    cut = pooled + int(reached[0]) if reached.size else counts.size
    return (
        np.append(counts[:cut].sum(), counts[cut:]),
        np.append(expected[:cut].sum(), expected[cut:]),
    )


def chi2_test(counts: Any, probabilities: Any, min_expected: float = 5.0) -> ChiSquareResult:
    r"""Test counts against known probabilities by Pearson's chi-square.

    .. math:: X^2 = \sum_b \frac{(O_b - nP_b)^2}{nP_b} \sim \chi^2_{B-1}

    over the :math:`B` bins left once those of small expectation are pooled. A count in a bin of
    probability zero refutes the model outright: the p-value is 0 and the statistic infinite.

    Parameters
    ----------
    counts : Tensor or ndarray, shape (bins,)
        Whole numbers of observations.
    probabilities : Tensor or ndarray, shape (bins,)
        Probabilities under the null hypothesis, sum 1 to within 1e-6.
    min_expected : float
        Smallest expectation of a bin that is kept apart.

    Returns
    -------
    ChiSquareResult

    Raises
    ------
    ValueError
        If shapes differ, counts are not whole and nonnegative, probabilities are no probability
        vector, or fewer than 2 bins remain.

    Examples
    --------
    >>> chi2_test([10, 20, 29, 1], [0.2, 0.3, 0.48, 0.02]).dof
    2
    """
    counts = validation.sample("counts", counts, min_size=2)
    probabilities = validation.sample("probabilities", probabilities, min_size=2)
    min_expected = validation.positive("min_expected", min_expected)
    if counts.size != probabilities.size:
        raise ValueError(
            f"counts and probabilities must have the same size, "
            f"got {counts.size} and {probabilities.size}"
        )
    if counts.min() < 0 or np.any(counts != np.round(counts)) or counts.sum() == 0:
        raise ValueError("counts must be whole, nonnegative and not all zero")
    if probabilities.min() < 0 or abs(probabilities.sum() - 1) > 1e-6:
        raise ValueError(
            f"probabilities must be nonnegative with sum 1, got minimum {probabilities.min():g} "
            f"and sum {probabilities.sum():g}"
        )
    impossible = bool(counts[probabilities == 0].sum())
    expected = counts.sum() * probabilities / probabilities.sum()
    counts, expected = _merge_small(counts, expected, min_expected)
    if counts.size < 2:
        raise ValueError(
            f"counts must fill at least 2 bins of expectation {min_expected:g}, got one"
        )
    if impossible:
        return ChiSquareResult(np.inf, 0.0, counts.size - 1)
    result = stats.chisquare(counts, expected)
    return ChiSquareResult(float(result.statistic), float(result.pvalue), counts.size - 1)


def binomial_test(
    successes: int,
    n: int,
    probability: float,
    alternative: Literal["two-sided", "less", "greater"] = "two-sided",
) -> TestResult:
    """Test a success probability by the exact binomial law.

    Parameters
    ----------
    successes, n : int
        Number of successes in `n` independent trials.
    probability : float
        Success probability under the null hypothesis, in [0, 1].
    alternative : {"two-sided", "less", "greater"}
        Side on which the true probability may lie.

    Returns
    -------
    TestResult
        The measured proportion and the p-value.

    Raises
    ------
    TypeError, ValueError
        If the counts are not integers with ``0 <= successes <= n``, or `probability` is outside
        [0, 1].

    Examples
    --------
    >>> round(binomial_test(8, 10, 0.5, "greater").pvalue, 6)
    0.054688
    """
    successes, n = validation.successes(successes, n)
    if not 0 <= validation.real("probability", probability) <= 1:
        raise ValueError(f"probability must lie in [0, 1], got {probability!r}")
    validation.member("alternative", alternative, ("two-sided", "less", "greater"))
    result = stats.binomtest(successes, n, probability, alternative)
    return TestResult(successes / n, float(result.pvalue))
