"""Nearest-neighbour read-out: what the neighbours of an image say about its class."""

from typing import NamedTuple

import torch
from torch import Tensor

from .. import stats, validation
from .scaling import FOLDS, check_features, check_labels

BLOCK = 2**24  # similarities held at once


class NeighbourReadout(NamedTuple):
    """The accuracy of a vote of neighbours, its interval, and the number of neighbours asked."""

    accuracy: float
    interval: stats.Interval
    k: int
    predictions: Tensor


def knn_readout(
    train_features: Tensor,
    train_labels: Tensor,
    test_features: Tensor,
    test_labels: Tensor,
    *,
    k: int = 200,
    temperature: float | None = 0.1,
    level: float = 0.95,
) -> NeighbourReadout:
    r"""Classify test features by a weighted vote of their nearest training features.

    .. math::
        \hat y = \arg\max_c \sum_{i \in N_k(h)} e^{\cos(h, h_i)/\tau}\, 1[y_i = c],

    with :math:`N_k(h)` the k training features of largest cosine similarity.

    Parameters
    ----------
    train_features, test_features : Tensor, shape (n, d) and (m, d)
        Frozen features. A zero feature has similarity zero to all others.
    train_labels, test_labels : Tensor of integers, shape (n,) and (m,)
        Classes.
    k : int
        Number of neighbours, at least 1; more than a fifth of the training features are not
        asked, so on small sets fewer vote.
    temperature : float, optional
        The temperature :math:`\tau`, positive. None gives every neighbour one vote.
    level : float
        Confidence level of the interval, in (0, 1).

    Returns
    -------
    NeighbourReadout
        `k` is the number that voted. `interval` is the exact binomial interval of the accuracy
        over the draw of test images.

    Raises
    ------
    TypeError, ValueError
        If shapes or dtypes do not fit, an entry is not finite, or an option is out of range.

    Notes
    -----
    The protocol of Wu, Xiong, Yu and Lin (2018). Of classes with equal votes the smallest label
    wins. Similarities are computed in blocks of test rows, in the dtype of the training features
    (float32 at least).

    Examples
    --------
    >>> x, y = torch.eye(10).repeat(2, 1), torch.arange(10).repeat(2)
    >>> found = knn_readout(x, y, 5 * torch.eye(10)[:2], torch.tensor([0, 5]), k=1)
    >>> found.accuracy, found.predictions.tolist()
    (0.5, [0, 1])
    """
    train_features = check_features("train_features", train_features)
    columns = train_features.shape[1]
    test_features = check_features("test_features", test_features, columns=columns)
    train_labels = check_labels("train_labels", train_labels, train_features)
    test_labels = check_labels("test_labels", test_labels, test_features)
    k = validation.integer("k", k, at_least=1)
    if temperature is not None:
        temperature = validation.positive("temperature", temperature)
    k = min(k, max(1, len(train_features) // FOLDS))
    classes, votes_for = torch.unique(train_labels, return_inverse=True)
    bank = _unit(train_features)
    block = max(1, BLOCK // len(bank))
    winners = [
        _vote(rows, bank, votes_for, len(classes), k, temperature)
        for rows in _unit(test_features.to(bank)).split(block)
    ]
    predictions = classes[torch.cat(winners)]
    correct = int((predictions == test_labels).sum())
    interval = stats.proportion_interval(correct, len(test_labels), level)
    return NeighbourReadout(interval.estimate, interval, k, predictions)


def _unit(features: Tensor) -> Tensor:
    """Return rows of length one; zero rows stay zero."""
    # Dividing by the largest entry first keeps the squares of tiny and huge rows in range.
    largest = features.abs().amax(1, keepdim=True)
    scaled = features / torch.where(largest > 0, largest, 1.0)
    lengths: Tensor = scaled.norm(dim=1, keepdim=True)
    return scaled / lengths.clamp(min=1.0)


def _vote(
    rows: Tensor, bank: Tensor, labels: Tensor, n_classes: int, k: int, temperature: float | None
) -> Tensor:
    """Return the position of the winning class for each row."""
    near = (rows @ bank.T).topk(k, dim=1)
    if temperature is None:
        weights = torch.ones_like(near.values)
    else:  # the exponent is at most zero, so small temperatures do not overflow
        weights = ((near.values - near.values[:, :1]) / temperature).exp()
    votes = weights.new_zeros(len(rows), n_classes)
    return votes.scatter_add_(1, labels[near.indices], weights).argmax(1)
