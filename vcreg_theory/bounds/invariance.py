"""How far apart features of one class are: the invariance terms of the bounds."""

from typing import NamedTuple

import torch
from torch import Tensor

from .. import validation
from . import _inputs
from .labels import label_weights
from .probe import check_probe

_BLOCK = 1024  # rows of a distance matrix at a time


def class_invariance(features: Tensor, labels: Tensor, rho: Tensor | None = None) -> Tensor:
    r"""Return the mean distance of two independent images of one class, exactly.

    .. math:: \bar I = \sum_y \rho(y) \frac1{N_y^2} \sum_{i,j \in y} \lVert f(x_i) - f(x_j) \rVert

    for a finite population in which the images of a class are equally likely; an image meets itself
    with probability :math:`1/N_y`.

    Parameters
    ----------
    features : Tensor, shape (N, d)
        Features of the whole population.
    labels : Tensor of integers, shape (N,)
        Classes 0, 1, ...
    rho : Tensor, shape (K,), optional
        Probabilities of the classes; their shares of the population if left out.

    Returns
    -------
    Tensor
        A number; differentiable.

    Raises
    ------
    TypeError, ValueError
        If shapes or types do not fit, or a class of positive probability has no image.

    Notes
    -----
    Claim B8.a: the pairs are of one class, not two views of one image. On a mere sample this is a
    V-statistic, not an expectation, and no deviation term of this package covers it: use disjoint
    pairs with `pair_invariance`.

    Examples
    --------
    >>> class_invariance(torch.tensor([[0.0], [4.0], [9.0]]), torch.tensor([0, 0, 1]))
    tensor(1.3333)
    """
    features = _inputs.features("features", features)
    labels = _inputs.classes("labels", labels, len(features)).to(features.device)
    if rho is None:
        rho = torch.bincount(labels).double() / len(labels)
    weights = label_weights(labels, rho.to(features.device)).weights
    total = features.new_zeros((), dtype=torch.float64)
    for label in torch.unique(labels).tolist():
        rows = torch.nonzero(labels == label).flatten()
        group = features[rows].double()
        total = total + weights[rows[0]] * _distances(group) / len(rows)
    return total.to(features.dtype)


def pair_invariance(
    first: Tensor,
    second: Tensor,
    labels: Tensor | None = None,
    rho: Tensor | None = None,
    *,
    allow_missing: bool = False,
) -> Tensor:
    r"""Return the mean distance over given pairs, each class by its probability.

    .. math:: \hat I = \sum_j a_j \lVert f(x_j^+) - f(x_j^{++}) \rVert, \qquad
        a_j = \rho(y_j) / m_{y_j}

    and :math:`a_j = 1/m` without labels.

    Parameters
    ----------
    first, second : Tensor, shape (m, d)
        Features of the two images, or of the two views, of each pair.
    labels : Tensor of integers, shape (m,), optional
        Class of each pair.
    rho : Tensor, shape (K,), optional
        Probabilities of the classes, given together with `labels`.
    allow_missing : bool
        Whether classes of positive probability may have no pair; they count as zero.

    Returns
    -------
    Tensor
        A number; differentiable.

    Raises
    ------
    TypeError, ValueError
        If shapes or types do not fit, or a class is missing and that is not allowed.

    Notes
    -----
    Claims B8.a and B8.d.

    Examples
    --------
    >>> pair_invariance(torch.zeros(2, 1), torch.tensor([[1.0], [3.0]]))
    tensor(2.)
    """
    first = _inputs.features("first", first)
    second = _inputs.features("second", second)
    validation.same_shape("first", first, "second", second)
    if (labels is None) != (rho is None):
        raise ValueError("labels and rho must be given together, got one of them")
    distances: Tensor = torch.linalg.vector_norm(first.double() - second.double(), dim=1)
    if labels is None or rho is None:
        return distances.mean().to(first.dtype)
    labels = _inputs.classes("labels", labels, len(first), len(rho))
    weights = label_weights(labels, rho, allow_missing=allow_missing).weights
    return (weights.to(distances.device) * distances).sum().to(first.dtype)


def readout_invariance(
    probe: Tensor, features: Tensor, labels: Tensor, rho: Tensor | None = None
) -> Tensor:
    r"""Return the mean distance of a probe's predictions on two images of one class, exactly.

    .. math:: \mathbb E \lVert W^\top f(x^+) - W^\top f(x^{++}) \rVert
        \le \lVert W \rVert_{\mathrm{op}} \bar I

    Parameters
    ----------
    probe : Tensor, shape (d, K)
        As of `minimum_norm_probe`.
    features, labels, rho : Tensor
        As of `class_invariance`.

    Returns
    -------
    Tensor
        A number; differentiable.

    Raises
    ------
    TypeError, ValueError
        As `class_invariance`.

    Notes
    -----
    Claim B8.a has the right-hand side. To put the left-hand side in its place gives no bound for a
    probe that was fitted to the sample, see `readout_bound`.

    Examples
    --------
    >>> z, y = torch.tensor([[0.0], [4.0], [9.0]]), torch.tensor([0, 0, 1])
    >>> readout_invariance(torch.tensor([[0.5]]), z, y)
    tensor(0.6667)
    """
    features = _inputs.features("features", features)
    probe = check_probe(probe, features)
    found = class_invariance(features.double() @ probe.double(), labels, rho)
    return found.to(features.dtype)


class PairTerm(NamedTuple):
    """Mean distance of pairs, its deviation for a range of one, and what unseen classes can add."""

    mean: Tensor
    spread: Tensor
    missing: Tensor
    sampled: bool


def pair_term(pairs: object, rho: Tensor, allow_missing: bool, columns: int) -> PairTerm:
    """Return the invariance term of a number, which is exact, or of sampled pairs with classes."""
    zero = torch.zeros((), dtype=torch.float64, device=rho.device)
    if not isinstance(pairs, tuple):
        return PairTerm(_inputs.nonnegative("pairs", pairs).to(rho.device), zero, zero, False)
    if len(pairs) != 3:
        raise ValueError(
            f"pairs must be a number or (first, second, labels), got {len(pairs)} parts"
        )
    first = _inputs.features("pairs[0]", pairs[0], columns=columns).double()
    second = _inputs.features("pairs[1]", pairs[1], columns=columns).double()
    mean = pair_invariance(first, second, pairs[2], rho, allow_missing=allow_missing)
    found = label_weights(pairs[2], rho, allow_missing=allow_missing)
    return PairTerm(mean.to(rho.device), found.spread, found.missing, True)


def _distances(group: Tensor) -> Tensor:
    """Return the sum of all distances over the number of rows, block by block."""
    exact = "donot_use_mm_for_euclid_dist"  # products lose small distances
    parts = [torch.cdist(block, group, compute_mode=exact).sum() for block in group.split(_BLOCK)]
    return torch.stack(parts).sum()
