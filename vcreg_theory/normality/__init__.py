"""When is the output of a network Gaussian? Tests on samples, and their prediction from kinks.

`samples` tests a sample for normality; `kinks` predicts skewness, excess kurtosis and power of a
test from the facets of a piecewise-affine network near an input; `moments` and `lines` hold the
exact one-dimensional moments the prediction is checked against; `levels` reads off noise levels.
"""

from .kinks import dagostino_power, half_power_noise, predicted_skew_kurtosis, rejection_bound
from .levels import crossing_noise, safe_noise
from .lines import kinks_along, moments_along
from .moments import PiecewiseMoments, piecewise_linear_moments
from .samples import (
    MardiaResult,
    NormalityResult,
    dagostino_pearson,
    henze_zirkler,
    mardia,
    project_to_row_space,
)

__all__ = [
    "MardiaResult",
    "NormalityResult",
    "PiecewiseMoments",
    "crossing_noise",
    "dagostino_pearson",
    "dagostino_power",
    "half_power_noise",
    "henze_zirkler",
    "kinks_along",
    "mardia",
    "moments_along",
    "piecewise_linear_moments",
    "predicted_skew_kurtosis",
    "project_to_row_space",
    "rejection_bound",
    "safe_noise",
]
