"""Every quantity of one encoder on one labelled sample."""

import math
from collections.abc import Sequence
from typing import NamedTuple, TypedDict

import torch
from torch import Tensor

from ..hidden import hidden_label_bound
from ..invariance import class_invariance, pair_invariance, readout_invariance
from ..labels import label_frequencies, one_hot
from ..norms import Stack
from ..probe import errors, minimum_norm_probe, probe_risk
from ..rademacher import RademacherBound, rademacher_bound
from ..readout import readout_bound
from ..risk import RiskBound, probe_risk_bound
from .recorded import Encoder


class Common(TypedDict):
    """What every bound of a sample is given."""

    radius: float
    probe: Tensor
    allow_missing: bool


class Setting(NamedTuple):
    """What an encoder brings to every draw."""

    encoder: Encoder
    rho: Tensor
    radius: float
    second_moment: float
    stack: Stack
    reference: Tensor
    constants: dict[str, float]


def setting_of(encoder: Encoder) -> Setting:
    """Return what does not depend on the sample."""
    features, labels = encoder.population
    n_classes = int(torch.cat([labels, encoder.hidden.labels]).max()) + 1
    rho = label_frequencies(labels, n_classes)
    targets = one_hot(encoder.hidden.labels, n_classes)
    reference = minimum_norm_probe(encoder.hidden.features, targets)
    residual = torch.linalg.vector_norm(encoder.hidden.features @ reference - targets)
    constants = {
        "mean_distance": class_invariance(features, labels, rho),
        "view_distance": pair_invariance(*encoder.views),
        "hidden_residual": 2 * residual / math.sqrt(len(targets)),
        "reference_risk": probe_risk(reference, features, labels),
    }
    return Setting(
        encoder,
        rho,
        float(features.norm(dim=1).max()),
        float(features.square().sum(1).mean()),
        Stack.of(_with_constant(encoder.matrices)),
        reference,
        {name: float(value) for name, value in constants.items()},
    )


def hidden_reference(
    setting: Setting, rows: Tensor, delta: float
) -> tuple[Tensor, RademacherBound]:
    """Return a probe of a second sample of the population, and a bound on its risk."""
    features, labels = (part[rows] for part in setting.encoder.population)
    k = len(setting.rho)
    probe = minimum_norm_probe(features, one_hot(labels, k))
    options = {"radius": setting.radius, "second_moment": setting.second_moment}
    return probe, rademacher_bound(features, labels, delta, n_classes=k, probe=probe, **options)


def case(
    setting: Setting, rows: Tensor, hidden: tuple[Tensor, RademacherBound], delta: float
) -> dict[str, float | Tensor]:
    """Return every quantity of one encoder on one sample."""
    population, rho = setting.encoder.population, setting.rho
    z, y = population.features[rows], population.labels[rows]
    k, known = len(rho), setting.constants
    probe = minimum_norm_probe(z, one_hot(y, k))
    common: Common = {"radius": setting.radius, "probe": probe, "allow_missing": True}
    distance = known["mean_distance"]
    direct = probe_risk_bound(z, y, distance, rho, delta, test=population, **common)
    own = readout_invariance(probe, *population, rho)
    readout = readout_bound(z, y, own, rho, delta, **common)

    def with_reference(v: Tensor, risk: float | RademacherBound) -> Tensor:
        return hidden_label_bound(
            z, y, distance, rho, delta, reference=v, reference_risk=risk, **common
        ).bound

    moment = {"radius": setting.radius, "second_moment": setting.second_moment}
    residual = float((z @ probe - one_hot(y, k)).norm()) / math.sqrt(len(rows))
    return {
        **_risks(direct, probe, setting, rows),
        "main": direct.invariance + direct.residual,
        "readout_invariance": own,
        "readout_proxy": readout.proxy,
        "readout_bound": readout.bound,
        "hidden_bound": with_reference(setting.reference, known["reference_risk"]),
        "hidden_complete": with_reference(*hidden),
        "rademacher_bound": rademacher_bound(z, y, delta, n_classes=k, probe=probe, **moment).bound,
        "sample_residual": residual,
        "informal_class": distance + known["hidden_residual"] + residual,
        "informal_view": known["view_distance"] + known["hidden_residual"] + residual,
        "label_rate": 1 / math.sqrt(len(rows)),
        **known,
        **_supervised(setting, probe, len(rows)),
    }


def _risks(
    found: RiskBound, probe: Tensor, setting: Setting, rows: Tensor
) -> dict[str, float | Tensor]:
    """Return the terms of the bound, with the risks on the sample and outside it."""
    terms = found._asdict()
    distances = errors(probe, *setting.encoder.population)
    unseen = torch.ones(len(distances), dtype=torch.bool)
    unseen[rows] = False
    terms["training_risk"] = distances[rows].mean()
    terms["unseen_risk"] = distances[unseen].mean()
    terms["gap"] = terms["unseen_risk"] - terms["training_risk"]
    return terms


def _supervised(setting: Setting, probe: Tensor, n: int) -> dict[str, float]:
    """Return the leading terms of supervised bounds, for the norms as they are."""
    top = torch.cat([probe, probe.new_zeros(1, probe.shape[1])]).T
    found = setting.stack.put(top).norms()
    scale = setting.encoder.input_norm / math.sqrt(n)
    # Golowich, Rakhlin and Shamir (2018, Theorem 1) for each output, Maurer's factor of root two
    # for their vector, and two for symmetrisation; the other three are without their constants.
    peeled = 2 * math.sqrt(2) * probe.shape[1] * (math.sqrt(2 * math.log(2) * found.depth) + 1)
    return {
        "spectral": scale * found.spectral,
        "frobenius": peeled * scale * found.frobenius,
        "path_1": found.path_1 / math.sqrt(n),
        "path_2": scale * found.path_2,
        "network_lipschitz": found.lipschitz,
    }


def _with_constant(matrices: Sequence[Tensor]) -> list[Tensor]:
    """Return the layers with the constant coordinate kept to the end, for a probe on top."""
    last = matrices[-1]
    constant = last.new_zeros(1, last.shape[1])
    constant[0, -1] = 1
    return [*matrices[:-1], torch.cat([last, constant])]
