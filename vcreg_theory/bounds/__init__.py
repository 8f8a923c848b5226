"""What labels of a few images say about all images, when a linear probe reads frozen features.

`risk` has the proved bound with every constant; `conditioning` the norm of the probe in it;
`hidden`, `rademacher` and `complexity` the bounds of the paper's form; `readout` the one by the
invariance of predictions, and the proxy that is none; `informal` what the paper adds up.
`invariance`, `labels`, `probe` and `deviation` are their parts, `networks` the norms of supervised
bounds, `populations` finite populations on which expectations are sums, the memoriser among them.
`study` evaluates all of it on recorded encoders.

Features are rows, so a probe W of shape (d, K) predicts ``z @ W``, and the projector acts on labels
from the left. Everything is computed in float64, which autocast leaves alone, and returned in the
dtype of the features.
"""

from .complexity import NormLevel, norm_level, probe_rademacher
from .conditioning import ProbeNormBound, probe_norm_bound
from .deviation import hoeffding_deviation
from .hidden import HiddenLabelBound, hidden_label_bound
from .informal import InformalBound, informal_bound
from .invariance import class_invariance, pair_invariance, readout_invariance
from .labels import LabelWeights, label_frequencies, label_weights, one_hot
from .networks import layer_matrices
from .norms import NetworkNorms, network_norms
from .populations import (
    Memoriser,
    MemoriserLimits,
    Population,
    clusters,
    draw,
    memoriser,
    memoriser_limits,
)
from .probe import minimum_norm_probe, probe_risk, residual_projector
from .rademacher import RademacherBound, rademacher_bound
from .readout import ReadoutBound, readout_bound
from .risk import RiskBound, probe_risk_bound

__all__ = [
    "HiddenLabelBound",
    "InformalBound",
    "LabelWeights",
    "Memoriser",
    "MemoriserLimits",
    "NetworkNorms",
    "NormLevel",
    "Population",
    "ProbeNormBound",
    "RademacherBound",
    "ReadoutBound",
    "RiskBound",
    "class_invariance",
    "clusters",
    "draw",
    "hidden_label_bound",
    "hoeffding_deviation",
    "informal_bound",
    "label_frequencies",
    "label_weights",
    "layer_matrices",
    "memoriser",
    "memoriser_limits",
    "minimum_norm_probe",
    "network_norms",
    "norm_level",
    "one_hot",
    "pair_invariance",
    "probe_norm_bound",
    "probe_rademacher",
    "probe_risk",
    "probe_risk_bound",
    "rademacher_bound",
    "readout_bound",
    "readout_invariance",
    "residual_projector",
]
