"""Non-contrastive learning without negative pairs: predictors set from statistics, and theory.

`predictors`, `average` and `correlation` serve training, on tensors. The rest is the theory of
linear networks, on arrays in float64:

- data: `moments` and `basis`, the two matrices through which data enter;
- matrices: `gradients`, `equations`, `flow`, `descent`, with rules of the predictor in `directset`
  and `rules`, and the cases that are solved exactly in `collapse`, `balance` and `alignment`;
- modes: `modes`, `times`, `trajectories`, `stability`, `steps`, `eigenbasis` and `phases`, where
  the moments commute and every question has an answer in numbers;
- thresholds: `thresholds` and `discarding` for moments of any kind;
- relatives: `potentials` and `isoloss` for contrastive learning, `cosine` for the cosine loss, and
  `vicreg_population`, `waterfilling` and `covariances` for VICReg and its LogDet form;
- samples: `samples` for few unlabelled pairs and `downstream` for few labels.
"""

from .alignment import (
    alignment_threshold,
    commutator_bound,
    commutator_damping,
    commutator_integral_bound,
    commutator_norm,
)
from .average import EMACorrelation
from .balance import balanced_predictor, imbalance, ridge_predictor
from .basis import CanonicalModes, CommonModes, canonical_modes, common_modes
from .collapse import (
    TargetRates,
    TraceObjective,
    no_predictor_flow,
    no_predictor_rates,
    no_stop_gradient_bound,
    no_stop_gradient_flow,
    trace_objective,
)
from .cosine import (
    CosineDrive,
    cosine_drive,
    cosine_fixed_point,
    cosine_limit,
    cosine_threshold,
)
from .covariances import (
    diagonal_margin,
    diagonal_variances,
    equal_variances,
    tilted_covariance,
    vicreg_optimum,
)
from .descent import descend, descend_sampled
from .directset import DirectSet
from .discarding import discarding_bound, universal_threshold
from .downstream import labels_needed, min_norm_excess_risk, ols_excess_risk, ridge_excess_risk
from .eigenbasis import Aligned, align, simulate_modes, solve_commuting
from .equations import Diverged, Equations, Trajectory
from .flow import simulate
from .gradients import (
    SemiGradient,
    full_gradient,
    noncontrastive_loss,
    optimal_predictor,
    semi_gradient,
)
from .isoloss import contrastive_spectrum, isoloss_fixed_point, isoloss_trajectory
from .modes import (
    BlockFixedPoints,
    FixedPoints,
    basin_boundary,
    critical_weight_decay,
    fixed_points,
    mode_critical_weight_decay,
    mode_fixed_points,
)
from .moments import (
    BlockMoments,
    Moments,
    block_moments,
    commuting_moments,
    random_rotation,
    view_moments,
    view_sampler,
)
from .phases import Limit, mode_limit, phase_diagram
from .potentials import (
    contrastive_gradient,
    contrastive_potential,
    decay_potential,
    metastable_weight_decay,
    mode_potential,
)
from .predictors import (
    directcopy_predictor,
    directpred_predictor,
    directset_predictor,
)
from .rules import Given, Learned, Optimal
from .samples import (
    ProjectionError,
    SampleThresholds,
    leakage_factor,
    nuisance_bound,
    nuisance_bound_limit,
    projection_error,
    sample_thresholds,
)
from .stability import RelaxationRates, pair_jacobians, relaxation_rates, swap_rates
from .steps import StepBounds, step_bounds
from .thresholds import CollapseThreshold, collapse_threshold, rank_one_fixed_point
from .times import critical_gap, ghost_time, mode_time
from .trajectories import mode_trajectory, weight_trajectory
from .vicreg_population import linear_vicreg_loss
from .waterfilling import WaterFilling, logdet_spectrum, vicreg_spectrum, water_level

__all__ = [
    "Aligned",
    "BlockFixedPoints",
    "BlockMoments",
    "CanonicalModes",
    "CollapseThreshold",
    "CommonModes",
    "CosineDrive",
    "DirectSet",
    "Diverged",
    "EMACorrelation",
    "Equations",
    "FixedPoints",
    "Given",
    "Learned",
    "Limit",
    "Moments",
    "Optimal",
    "ProjectionError",
    "RelaxationRates",
    "SampleThresholds",
    "SemiGradient",
    "StepBounds",
    "TargetRates",
    "TraceObjective",
    "Trajectory",
    "WaterFilling",
    "align",
    "alignment_threshold",
    "balanced_predictor",
    "basin_boundary",
    "block_moments",
    "canonical_modes",
    "collapse_threshold",
    "common_modes",
    "commutator_bound",
    "commutator_damping",
    "commutator_integral_bound",
    "commutator_norm",
    "commuting_moments",
    "contrastive_gradient",
    "contrastive_potential",
    "contrastive_spectrum",
    "cosine_drive",
    "cosine_fixed_point",
    "cosine_limit",
    "cosine_threshold",
    "critical_gap",
    "critical_weight_decay",
    "decay_potential",
    "descend",
    "descend_sampled",
    "diagonal_margin",
    "diagonal_variances",
    "directcopy_predictor",
    "directpred_predictor",
    "directset_predictor",
    "discarding_bound",
    "equal_variances",
    "fixed_points",
    "full_gradient",
    "ghost_time",
    "imbalance",
    "isoloss_fixed_point",
    "isoloss_trajectory",
    "labels_needed",
    "leakage_factor",
    "linear_vicreg_loss",
    "logdet_spectrum",
    "metastable_weight_decay",
    "min_norm_excess_risk",
    "mode_critical_weight_decay",
    "mode_fixed_points",
    "mode_limit",
    "mode_potential",
    "mode_time",
    "mode_trajectory",
    "no_predictor_flow",
    "no_predictor_rates",
    "no_stop_gradient_bound",
    "no_stop_gradient_flow",
    "noncontrastive_loss",
    "nuisance_bound",
    "nuisance_bound_limit",
    "ols_excess_risk",
    "optimal_predictor",
    "pair_jacobians",
    "phase_diagram",
    "projection_error",
    "random_rotation",
    "rank_one_fixed_point",
    "relaxation_rates",
    "ridge_excess_risk",
    "ridge_predictor",
    "sample_thresholds",
    "semi_gradient",
    "simulate",
    "simulate_modes",
    "solve_commuting",
    "step_bounds",
    "swap_rates",
    "tilted_covariance",
    "trace_objective",
    "universal_threshold",
    "vicreg_optimum",
    "vicreg_spectrum",
    "view_moments",
    "view_sampler",
    "water_level",
    "weight_trajectory",
]
