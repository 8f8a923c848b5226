"""Estimators and bounds of differential entropy, in nats.

`gaussian` has the log-determinant estimator and its exact bias; `pairwise` the two-sided bounds for
a Gaussian mixture; `kernel` their form for equal components at the samples, and the kernel density
estimate; `neighbours` the nearest-neighbour estimator; `quadrature` a reference with a controlled
error for mixtures in one and two dimensions; `scale` brings codes to one scale, without which
entropies of different encoders cannot be compared.

Everything is computed in float64, which autocast leaves alone, and returned in the input's dtype.
"""

from .gaussian import logdet_bias, logdet_entropy
from .kernel import isotropic_pairwise_entropy, kde_entropy
from .neighbours import knn_entropy
from .pairwise import EntropyBounds, pairwise_entropy_bounds
from .quadrature import QuadratureEntropy, mixture_entropy_quadrature
from .scale import effective_rank, standardise, whiten

__all__ = [
    "EntropyBounds",
    "QuadratureEntropy",
    "effective_rank",
    "isotropic_pairwise_entropy",
    "kde_entropy",
    "knn_entropy",
    "logdet_bias",
    "logdet_entropy",
    "mixture_entropy_quadrature",
    "pairwise_entropy_bounds",
    "standardise",
    "whiten",
]
