"""Mutual information between views, its lower bounds, and the log-determinant behind VICReg.

`decoders` has the variational bound and its isotropic form, `invariance` how VICReg's invariance
term follows from it; `gaussian` and `discrete` have information and bounds that are exact, `views`
information by quadrature, and `cases` the two test cases in which everything is known. On the
side of the covariance, `correlations` compares the log-determinant with the covariance penalty,
`maximisers` has the covariance of largest log-determinant under each constraint, and `shrinkage`
says when VICReg gives up variance. Everything is in nats.
"""

from .cases import GaussianViews, TwoImages
from .correlations import (
    Equicorrelation,
    LogDetRemainder,
    equicorrelation,
    equicorrelation_terms,
    hadamard_gap,
    logdet_remainder,
    remainder_constant,
)
from .decoders import (
    barber_agakov_bound,
    gaussian_log_density,
    isotropic_bound,
    optimal_scale,
    optimal_variance,
)
from .discrete import discrete_decoder_bound, discrete_mutual_information
from .gaussian import (
    DecoderBound,
    correlation_information,
    gaussian_entropy,
    gaussian_mutual_information,
    linear_decoder_bound,
)
from .invariance import decoder_variance, expected_squared_distance, jensen_bound
from .maximisers import (
    feasibility_margin,
    metric_maximiser,
    spectral_maximiser,
    trace_maximiser,
    variances_maximiser,
)
from .shrinkage import equal_variance, pair_variance, shrinkage_threshold
from .views import ViewInformation, prototype_information, view_information

__all__ = [
    "DecoderBound",
    "Equicorrelation",
    "GaussianViews",
    "LogDetRemainder",
    "TwoImages",
    "ViewInformation",
    "barber_agakov_bound",
    "correlation_information",
    "decoder_variance",
    "discrete_decoder_bound",
    "discrete_mutual_information",
    "equal_variance",
    "equicorrelation",
    "equicorrelation_terms",
    "expected_squared_distance",
    "feasibility_margin",
    "gaussian_entropy",
    "gaussian_log_density",
    "gaussian_mutual_information",
    "hadamard_gap",
    "isotropic_bound",
    "jensen_bound",
    "linear_decoder_bound",
    "logdet_remainder",
    "metric_maximiser",
    "optimal_scale",
    "optimal_variance",
    "pair_variance",
    "prototype_information",
    "remainder_constant",
    "shrinkage_threshold",
    "spectral_maximiser",
    "trace_maximiser",
    "variances_maximiser",
    "view_information",
]
