"""Intervals, slopes and calibrated tests: the statistics behind every "measured" of the book.

The calculations are SciPy's wherever SciPy has them; these modules fix the choices (which
interval, which test), check the input and name the results.
"""

from .intervals import (
    Interval,
    correlation_interval,
    mean_interval,
    proportion_interval,
    slope_interval,
)
from .tests import (
    ChiSquareResult,
    TestResult,
    binomial_test,
    chi2_test,
    uniform_pvalues_test,
)

__all__ = [
    "ChiSquareResult",
    "Interval",
    "TestResult",
    "binomial_test",
    "chi2_test",
    "correlation_interval",
    "mean_interval",
    "proportion_interval",
    "slope_interval",
    "uniform_pvalues_test",
]
