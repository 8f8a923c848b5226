r"""Mixtures of equal spheres fitted by gradient flow or expectation-maximisation, and collapse.

The likelihood is :math:`\sum_n \log \frac1K \sum_k \mathcal N(x_n; \mu_k, \sigma^2 I)`, with fixed
weights and variance, in the centroids :math:`\mu_k` and, where they are trainable, the inputs
:math:`x_n`. `assignments` has the likelihood and the responsibilities; `flow` and `em` move the
points; `energy` says how fast they must collapse, `two_points` how slowly they do, `stability` for
which variances centroids collapse when inputs are fixed; `spread` measures collapse in nats.
"""

from ._integrate import IntegrationFailed
from .assignments import (
    likelihood_supremum,
    log_likelihood,
    nearest,
    nearest_cost,
    responsibilities,
)
from .em import em_iterate, em_jacobian, em_step
from .energy import collapse_rate, diameter, energy, energy_rate
from .flow import ASSIGNMENTS, MixtureTrajectory, mixture_gradient_flow
from .spread import location_entropy, trajectory_entropy
from .stability import collapse_curvature, critical_variance, sufficient_variance
from .two_points import (
    two_point_collapse_time,
    two_point_fixed_points,
    two_point_time_asymptote,
    two_point_velocity,
)

__all__ = [
    "ASSIGNMENTS",
    "IntegrationFailed",
    "MixtureTrajectory",
    "collapse_curvature",
    "collapse_rate",
    "critical_variance",
    "diameter",
    "em_iterate",
    "em_jacobian",
    "em_step",
    "energy",
    "energy_rate",
    "likelihood_supremum",
    "location_entropy",
    "log_likelihood",
    "mixture_gradient_flow",
    "nearest",
    "nearest_cost",
    "responsibilities",
    "sufficient_variance",
    "trajectory_entropy",
    "two_point_collapse_time",
    "two_point_fixed_points",
    "two_point_time_asymptote",
    "two_point_velocity",
]
