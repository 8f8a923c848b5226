"""The risk bound with explicit constants: every term of it, for all probes at once."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from .. import validation
from . import _inputs
from .deviation import hoeffding_deviation
from .invariance import pair_term
from .labels import LabelWeights, label_weights
from .probe import check_probe, errors, label_vectors, minimum_norm_probe, probe_risk

Pairs = float | Tensor | tuple[Tensor, Tensor, Tensor]


class RiskBound(NamedTuple):
    r"""Every term of the risk bound; `bound` is the sum of the next five.

    `invariance` is :math:`\lVert W \rVert \hat I`, `deviation` and `pair_deviation` what the
    labelled sample and the sample of pairs can hide of it, `residual` is :math:`\sqrt{v_n}` times
    the projected label norm, `missing` what classes without a label or a pair can cost. The others
    explain them: `probe_norm` :math:`\lVert W \rVert`, `mean_distance` :math:`\hat I`, `spread`
    :math:`v_n`, `training_risk` :math:`\sum_i a_i \lVert W^\top f(x_i) - y_i \rVert`, at most
    `residual`. `risk` is the risk on the test set, None without one, and `confidence` the
    probability with which the bound holds.
    """

    bound: Tensor
    invariance: Tensor
    deviation: Tensor
    pair_deviation: Tensor
    residual: Tensor
    missing: Tensor
    probe_norm: Tensor
    mean_distance: Tensor
    spread: Tensor
    training_risk: Tensor
    risk: Tensor | None
    confidence: float


class Labelled(NamedTuple):
    """A labelled sample, checked, in float64: features, label vectors, weights, the probe.

    `dtype` is that of the features as they came, or float32 for half precision.
    """

    features: Tensor
    targets: Tensor
    weights: LabelWeights
    probe: Tensor
    dtype: torch.dtype

    def errors(self, probe: Tensor) -> Tensor:
        """Return the error of a probe at each sample."""
        return errors(probe, self.features, self.targets)

    @property
    def residual(self) -> Tensor:
        """The root of the spread times the norm of the residuals, at least the training risk."""
        norm: Tensor = torch.linalg.vector_norm(self.errors(self.probe))
        return self.weights.spread.sqrt() * norm


def probe_risk_bound(
    features: Tensor,
    labels: Tensor,
    pairs: Pairs,
    rho: Tensor,
    delta: float,
    *,
    radius: float,
    probe: Tensor | None = None,
    model: nn.Module | None = None,
    test: tuple[Tensor, Tensor] | None = None,
    allow_missing: bool = False,
) -> RiskBound:
    r"""Bound the risk of a linear probe on frozen features, term by term.

    .. math:: R(W) \le \lVert W \rVert_{\mathrm{op}} \Big(\hat I
        + 2B \sqrt{\tfrac12 v_m \ln\tfrac1\delta} + 2B \sqrt{\tfrac12 v_n \ln\tfrac1\delta}\Big)
        + \sqrt{v_n}\, \lVert P_Z Y \rVert_F + \text{missing}

    Parameters
    ----------
    features : Tensor, shape (n, d)
        Features of the labelled sample; with `model`, its images.
    labels : Tensor of integers, shape (n,)
        Classes from 0 to K - 1, which stand for one-hot label vectors.
    pairs : float, or tuple (first, second, labels)
        The invariance :math:`\bar I` if it is known exactly, which has no deviation; or features
        (or images) of pairs of one class and the class of each pair. The pairs are independent:
        disjoint images, none of them used to train the encoder.
    rho : Tensor, shape (K,)
        True probabilities of the classes.
    delta : float
        Probability with which each sample may mislead, in (0, 1).
    radius : float
        B, at least the norm of every feature that can occur.
    probe : Tensor, shape (d, K), optional
        Any probe, also one chosen by the sample; `minimum_norm_probe` if left out.
    model : nn.Module, optional
        The encoder, if images are given in place of features.
    test : tuple (features, labels), optional
        Where the risk is measured; equally likely images.
    allow_missing : bool
        Whether classes may be absent from the sample or the pairs. Each adds what it can cost.

    Returns
    -------
    RiskBound

    Raises
    ------
    TypeError, ValueError
        If shapes or types do not fit, an entry is not finite, `rho` is no probability vector,
        `delta` is outside (0, 1), a feature is longer than `radius`, or a class is missing.

    Notes
    -----
    Claim B8.a. It holds for all probes at once, given the encoder and the classes of the samples,
    with probability at least :math:`1 - \delta`, or :math:`1 - 2\delta` with sampled pairs. Two
    views of one image are no pair of one class: with these the bound is false, claim B8.d.

    Examples
    --------
    >>> z, y = torch.eye(2), torch.tensor([0, 1])
    >>> found = probe_risk_bound(z, y, 0.5, torch.tensor([0.5, 0.5]), 0.05, radius=1.0)
    >>> round(float(found.invariance), 6), round(float(found.deviation), 4), found.confidence
    (0.5, 1.7308, 0.95)
    """
    if model is not None:
        features, pairs, test = _encoded(model, features, pairs, test)
    delta = validation.probability("delta", delta)
    sample = labelled_sample(features, labels, rho, probe, allow_missing)
    rho = _inputs.distribution("rho", rho).to(sample.features.device)
    pair = pair_term(pairs, rho, allow_missing, sample.features.shape[1])
    radius = check_radius(radius, features, pairs, test)
    norm = torch.linalg.matrix_norm(sample.probe, 2)
    terms = (
        norm * pair.mean,
        norm * hoeffding_deviation(2 * radius, sample.weights.spread, delta),
        norm * hoeffding_deviation(2 * radius, pair.spread, delta),
        sample.residual,
        sample.weights.missing * (norm * radius + 1) + norm * 2 * radius * pair.missing,
    )
    training = (sample.weights.weights * sample.errors(sample.probe)).sum()
    numbers = (sum(terms), *terms, norm, pair.mean, sample.weights.spread, training)
    risk = None if test is None else probe_risk(sample.probe, *test).to(sample.dtype)
    rounded = (torch.as_tensor(value).to(sample.dtype) for value in numbers)
    return RiskBound._make((*rounded, risk, 1 - (2 if pair.sampled else 1) * delta))


def labelled_sample(
    features: Tensor, labels: Tensor, rho: Tensor, probe: Tensor | None, allow_missing: bool
) -> Labelled:
    """Return the labelled sample, checked, with the least-norm probe if none is given."""
    features = _inputs.features("features", features)
    _inputs.classes("labels", labels, len(features), len(_inputs.distribution("rho", rho)))
    weights = label_weights(labels, rho.to(labels.device), allow_missing=allow_missing)
    weights = LabelWeights(*(part.to(features.device) for part in weights))
    targets = label_vectors(labels, features, len(rho))
    if probe is None:
        probe = minimum_norm_probe(features, targets)
    probe = check_probe(probe, features)
    _inputs.features("probe", probe, columns=len(rho))
    return Labelled(
        features.double(), targets, weights, probe.to(features).double(), features.dtype
    )


def check_radius(
    radius: float, features: Tensor, pairs: object, test: tuple[Tensor, Tensor] | None
) -> float:
    """Return the bound on the norm of features if all features at hand obey it."""
    seen = {"features": features}
    if isinstance(pairs, tuple):
        if len(pairs) != 3:
            raise ValueError(f"pairs must be a number or three tensors, got {len(pairs)} parts")
        for part in (0, 1):
            _inputs.features(f"pairs[{part}]", pairs[part], columns=features.shape[1])
            seen[f"pairs[{part}]"] = pairs[part]
    if test is not None:
        seen |= {"test": _inputs.features("test", test[0], columns=features.shape[1])}
    return _inputs.radius(radius, **seen)


def _encoded(
    model: nn.Module, images: Tensor, pairs: Pairs, test: tuple[Tensor, Tensor] | None
) -> tuple[Tensor, Pairs, tuple[Tensor, Tensor] | None]:
    """Return the features of images: those of the sample, of the pairs and of the test set."""
    from ..readout import features as encode

    if isinstance(pairs, tuple):
        pairs = (encode(model, pairs[0]), encode(model, pairs[1]), *pairs[2:])
    return encode(model, images), pairs, test and (encode(model, test[0]), test[1])
