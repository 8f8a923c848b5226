"""Linear independent component analysis by VCReg, how to judge it, and where it must fail."""

from .distances import (
    Match,
    amari_distance,
    amari_index,
    match_sources,
    mean_correlation_coefficient,
)
from .efficiency import (
    block_gains,
)
from .estimator import (
    VCRegICA,
)
from .families import (
    arcsine,
    gamma,
    gaussian,
    generalized_gaussian,
    gumbel,
    hyperbolic_secant,
    laplace,
    levels,
    logistic,
    sparse,
    student_t,
    three_point,
    triangular,
    uniform,
)
from .gains import (
    chance_amari_distance,
    chance_amari_index,
    cramer_rao_gain_variance,
    ica_gain_variance,
)
from .gaussian_mixtures import (
    bimodal,
    gaussian_mixture,
)
from .landscape import (
    CrossMoments,
    RotationLosses,
    cross_moments,
    rotation_losses,
    uniform_rule,
)
from .nonlinear import (
    DARMOIS_CORRELATION,
    darmois_outputs,
    signed_power,
    swirl,
    triangle_mixture,
)
from .signals import (
    as_sources,
    crops,
    differences,
    photographs,
)
from .sources import (
    Source,
    mixing_matrix,
    sample_sources,
)
from .steps import (
    PairStep,
    pair_steps,
)

__all__ = [
    "DARMOIS_CORRELATION",
    "CrossMoments",
    "Match",
    "PairStep",
    "RotationLosses",
    "Source",
    "VCRegICA",
    "amari_distance",
    "amari_index",
    "arcsine",
    "as_sources",
    "bimodal",
    "block_gains",
    "chance_amari_distance",
    "chance_amari_index",
    "cramer_rao_gain_variance",
    "crops",
    "cross_moments",
    "darmois_outputs",
    "differences",
    "gamma",
    "gaussian",
    "gaussian_mixture",
    "generalized_gaussian",
    "gumbel",
    "hyperbolic_secant",
    "ica_gain_variance",
    "laplace",
    "levels",
    "logistic",
    "match_sources",
    "mean_correlation_coefficient",
    "mixing_matrix",
    "pair_steps",
    "photographs",
    "rotation_losses",
    "sample_sources",
    "signed_power",
    "sparse",
    "student_t",
    "swirl",
    "three_point",
    "triangle_mixture",
    "triangular",
    "uniform",
    "uniform_rule",
]
