"""What can be read from frozen features: classes, by a line or by neighbours, and factors."""

from .factors import cosine_targets, factor_r2
from .fewshot import FewShotReadout, few_shot_readout
from .linear import LinearReadout, linear_readout
from .logistic import Logistic, fit_logistic
from .neighbours import NeighbourReadout, knn_readout
from .network import features

__all__ = [
    "FewShotReadout",
    "LinearReadout",
    "Logistic",
    "NeighbourReadout",
    "cosine_targets",
    "factor_r2",
    "features",
    "few_shot_readout",
    "fit_logistic",
    "knn_readout",
    "linear_readout",
]
