"""The bound of the paper's form: a reference probe, fitted to labels that stay hidden."""

from typing import NamedTuple

import torch
from torch import Tensor

from .. import validation
from . import _inputs
from .deviation import hoeffding_deviation
from .invariance import pair_term
from .probe import check_probe
from .rademacher import RademacherBound
from .risk import Pairs, check_radius, labelled_sample


class HiddenLabelBound(NamedTuple):
    r"""Every term of the bound with a reference probe; `bound` is the sum of the next seven.

    `invariance` is :math:`\lVert W - V \rVert \hat I`, `hidden` is :math:`2 R(V)` or twice its
    bound, `distance` is :math:`\lVert W - V \rVert`.
    """

    bound: Tensor
    invariance: Tensor
    deviation: Tensor
    pair_deviation: Tensor
    residual: Tensor
    hidden: Tensor
    hidden_deviation: Tensor
    missing: Tensor
    distance: Tensor
    confidence: float


def hidden_label_bound(
    features: Tensor,
    labels: Tensor,
    pairs: Pairs,
    rho: Tensor,
    delta: float,
    *,
    radius: float,
    reference: Tensor,
    reference_risk: float | Tensor | RademacherBound,
    probe: Tensor | None = None,
    allow_missing: bool = False,
) -> HiddenLabelBound:
    r"""Bound the risk of a probe by its distance from a probe of other labels.

    .. math:: R(W) \le \lVert W - V \rVert_{\mathrm{op}}
        \Big(\hat I + 2B \sqrt{\tfrac12 v_m \ln\tfrac1\delta}
        + 2B \sqrt{\tfrac12 v_n \ln\tfrac1\delta}\Big) + \sqrt{v_n}\, \lVert P_Z Y \rVert_F
        + 2 R(V) + (\lVert V \rVert_{\mathrm{op}} B + 1) \sqrt{\tfrac12 v_n \ln\tfrac1\delta}

    Parameters
    ----------
    features, labels, pairs, rho, delta, radius, probe, allow_missing
        As of `probe_risk_bound`.
    reference : Tensor, shape (d, K)
        V, independent of the labelled sample, for instance fitted to hidden labels.
    reference_risk : float or RademacherBound
        R(V) if it is known, or a bound on it, which holds with a probability of its own.

    Returns
    -------
    HiddenLabelBound

    Raises
    ------
    TypeError, ValueError
        As `probe_risk_bound`.

    Notes
    -----
    Claim B8.c. The `confidence` is :math:`1 - 2\delta`, less another :math:`\delta` for sampled
    pairs and that of the bound on R(V). A missing class costs at most
    :math:`\lVert W - V \rVert B` times its probability.

    Examples
    --------
    >>> z, y = torch.eye(2), torch.tensor([0, 1])
    >>> found = hidden_label_bound(z, y, 0.5, torch.tensor([0.5, 0.5]), 0.05, radius=1.0,
    ...                            reference=torch.eye(2), reference_risk=0.1)
    >>> float(found.distance), round(float(found.hidden), 6), found.confidence
    (0.0, 0.2, 0.9)
    """
    delta = validation.probability("delta", delta)
    sample = labelled_sample(features, labels, rho, probe, allow_missing)
    radius = check_radius(radius, features, pairs, None)
    v = check_probe(reference, features, "reference").to(sample.probe)
    validation.same_shape("reference", v, "probe", sample.probe)
    rho = _inputs.distribution("rho", rho).to(v.device)
    pair = pair_term(pairs, rho, allow_missing, len(v))
    lost = (3 if pair.sampled else 2) * delta
    if isinstance(reference_risk, RademacherBound):
        risk = _inputs.nonnegative("reference_risk", reference_risk.bound)
        missed = 1 - reference_risk.confidence
    else:
        risk, missed = _inputs.nonnegative("reference_risk", reference_risk), 0.0
    distance = torch.linalg.matrix_norm(sample.probe - v, 2)
    spread = sample.weights.spread
    largest = torch.linalg.matrix_norm(v, 2) * radius + 1
    terms = (
        distance * pair.mean,
        distance * hoeffding_deviation(2 * radius, spread, delta),
        distance * hoeffding_deviation(2 * radius, pair.spread, delta),
        sample.residual,
        2 * risk.to(v.device),
        hoeffding_deviation(largest, spread, delta),
        distance * radius * (sample.weights.missing + 2 * pair.missing),
    )
    numbers = (sum(terms), *terms, distance)
    rounded = (torch.as_tensor(value).to(sample.dtype) for value in numbers)
    return HiddenLabelBound._make((*rounded, 1 - lost - missed))
