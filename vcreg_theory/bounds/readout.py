"""Invariance of the predictions in place of the features': a proxy, and what makes it a bound."""

from typing import NamedTuple

import torch
from torch import Tensor

from .. import validation
from . import _inputs
from .complexity import level_of, probe_rademacher
from .deviation import hoeffding_deviation
from .invariance import pair_term
from .risk import Pairs, check_radius, labelled_sample


class ReadoutBound(NamedTuple):
    r"""Every term of the bound by readout invariance; `bound` is the sum of the last six numbers.

    `proxy` is `invariance` plus `residual`, and no bound. `norm` is the C of the complexity term.
    """

    bound: Tensor
    proxy: Tensor
    invariance: Tensor
    residual: Tensor
    complexity: Tensor
    deviation: Tensor
    pair_deviation: Tensor
    missing: Tensor
    norm: float
    confidence: float


def readout_bound(
    features: Tensor,
    labels: Tensor,
    pairs: Pairs,
    rho: Tensor,
    delta: float,
    *,
    radius: float,
    norm: float | None = None,
    probe: Tensor | None = None,
    allow_missing: bool = False,
) -> ReadoutBound:
    r"""Bound the risk of a probe by the invariance of its predictions.

    .. math:: R(W) \le \mathbb E \lVert W^\top (f(x^+) - f(x^{++})) \rVert
        + \sqrt{v_n}\, \lVert P_Z Y \rVert_F + 4 \sqrt2\, C B \sqrt{K v_n}
        + 2 C B \sqrt{\tfrac12 v_n \ln\tfrac1\delta}, \qquad \lVert W \rVert_F \le C

    Parameters
    ----------
    features, labels, rho, delta, radius, probe, allow_missing
        As of `probe_risk_bound`.
    pairs : float, or tuple (first, second, labels)
        The expectation for the probe, exact as of `readout_invariance`; or features of pairs that
        are independent of each other and of the labelled sample, which the probe depends on.
    norm : float, optional
        C, at least the Frobenius norm of the probe, fixed before the sample is seen. If left out,
        the grid of `norm_level` from 1 / `radius` on.

    Returns
    -------
    ReadoutBound

    Raises
    ------
    TypeError, ValueError
        As `probe_risk_bound`, and if the probe is longer than `norm`.

    Notes
    -----
    Claims B8.a and B8.c. The first two terms, called `proxy`, do not bound the risk: W is fitted to
    the sample, on which its predictions then vary less than elsewhere.

    Examples
    --------
    >>> z, y = torch.eye(2).repeat(50, 1), torch.arange(2).repeat(50)
    >>> found = readout_bound(z, y, 0.1, torch.tensor([0.5, 0.5]), 0.05, radius=1.0, norm=2.0)
    >>> [round(float(found[k]), 4) for k in (1, 4, 5)]
    [0.1, 1.6, 0.4895]
    """
    delta = validation.probability("delta", delta)
    sample = labelled_sample(features, labels, rho, probe, allow_missing)
    radius = check_radius(radius, features, pairs, None)
    rho = _inputs.distribution("rho", rho).to(sample.features.device)
    operator = torch.linalg.matrix_norm(sample.probe, 2)
    if isinstance(pairs, tuple):
        first, second = (part.to(sample.probe) @ sample.probe for part in pairs[:2])
        pairs = (first, second, *pairs[2:])
    pair = pair_term(pairs, rho, allow_missing, sample.probe.shape[1])
    level = level_of(sample.probe, norm, delta, radius)
    spread = sample.weights.spread
    # Differences of features are at most 2 B long, and symmetrisation costs a factor of 2.
    complexity = 2 * probe_rademacher(level.norm, len(rho), 4 * radius**2, 1) * spread.sqrt()
    terms = (
        pair.mean,
        sample.residual,
        complexity,
        hoeffding_deviation(2 * level.norm * radius, spread, level.delta),
        operator * hoeffding_deviation(2 * radius, pair.spread, delta),
        sample.weights.missing * (operator * radius + 1) + 2 * operator * radius * pair.missing,
    )
    numbers = (sum(terms), terms[0] + terms[1], *terms)
    rounded = (torch.as_tensor(value).to(sample.dtype) for value in numbers)
    return ReadoutBound._make((*rounded, level.norm, 1 - (2 if pair.sampled else 1) * delta))
