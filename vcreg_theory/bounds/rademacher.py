"""The risk bound of a probe by the complexity of all probes: no invariance enters."""

from typing import NamedTuple

import torch
from torch import Tensor

from .. import validation
from . import _inputs
from .complexity import level_of, probe_rademacher
from .deviation import hoeffding_deviation
from .probe import check_probe, errors, label_vectors, minimum_norm_probe


class RademacherBound(NamedTuple):
    r"""Every term of the complexity bound; `bound` is the sum of the next three.

    `norm` is the C of the complexity term, fixed in advance or a level of the grid.
    """

    bound: Tensor
    residual: Tensor
    complexity: Tensor
    deviation: Tensor
    norm: float
    confidence: float


def rademacher_bound(
    features: Tensor,
    labels: Tensor,
    delta: float,
    *,
    radius: float,
    n_classes: int,
    probe: Tensor | None = None,
    norm: float | None = None,
    second_moment: float | None = None,
) -> RademacherBound:
    r"""Bound the risk of a probe by its residual and the complexity of all probes of its norm.

    .. math:: R(W) \le \frac1{\sqrt m} \lVert P_Z Y \rVert_F
        + 2 C \sqrt{\frac{2 K\, \mathbb E \lVert f \rVert^2}{m}}
        + (CB + 1) \sqrt{\frac{\ln(1/\delta)}{2m}}

    Parameters
    ----------
    features : Tensor, shape (m, d)
        Features of an i.i.d. labelled sample that the encoder does not depend on.
    labels : Tensor of integers, shape (m,)
        Classes from 0 to `n_classes` - 1.
    delta : float
        Probability with which the sample may mislead, in (0, 1).
    radius : float
        B, at least the norm of every feature that can occur.
    n_classes : int
        Number of classes K.
    probe : Tensor, shape (d, K), optional
        Any probe; `minimum_norm_probe` if left out.
    norm : float, optional
        C, at least the Frobenius norm of the probe, fixed before the sample is seen. If left out,
        a grid of all :math:`2^{j-1} / B` that shares out `delta`, see `norm_level`.
    second_moment : float, optional
        :math:`\mathbb E \lVert f \rVert^2` if known, an expectation and not a mean over the sample;
        :math:`B^2` if left out.

    Returns
    -------
    RademacherBound

    Raises
    ------
    TypeError, ValueError
        If shapes or types do not fit, a number is out of range, or the probe is longer than `norm`.

    Notes
    -----
    Claim B8.c, its last term. No invariance enters: it holds for the memoriser too.

    Examples
    --------
    >>> z, y = torch.eye(2).repeat(50, 1), torch.arange(2).repeat(50)
    >>> found = rademacher_bound(z, y, 0.05, radius=1.0, n_classes=2, norm=2.0)
    >>> [round(float(value), 4) for value in found[:4]]
    [1.1672, 0.0, 0.8, 0.3672]
    """
    features = _inputs.features("features", features)
    n_classes = validation.integer("n_classes", n_classes, at_least=1)
    radius = _inputs.radius(radius, features=features)
    if second_moment is None:
        second_moment = radius**2
    targets = label_vectors(labels, features, n_classes)
    probe = check_probe(minimum_norm_probe(features, targets) if probe is None else probe, features)
    level = level_of(probe, norm, validation.probability("delta", delta), radius)
    m = len(features)
    found = errors(probe.to(features).double(), features.double(), targets)
    complexity = 2 * probe_rademacher(level.norm, n_classes, second_moment, m)
    terms = (
        torch.linalg.vector_norm(found) / m**0.5,
        torch.as_tensor(complexity, dtype=torch.float64, device=features.device),
        hoeffding_deviation(level.norm * radius + 1, 1 / m, level.delta).to(features.device),
    )
    rounded = (torch.as_tensor(value).to(features.dtype) for value in (sum(terms), *terms))
    return RademacherBound._make((*rounded, level.norm, 1 - delta))
