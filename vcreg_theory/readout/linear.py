"""Linear read-out: how well a linear classifier does on frozen features."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from .. import stats, validation
from .logistic import Logistic, Problem
from .scaling import FOLDS, check_features, check_labels, held_out

PENALTIES = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5)


class LinearReadout(NamedTuple):
    """The accuracy of a linear classifier on test features, and the classifier.

    `interval` is the exact binomial 95 % interval of the accuracy over the draw of test images,
    `held_out` the cross-entropy, in nats, of held-out training images for each penalty tried (empty
    if none was).
    """

    accuracy: float
    interval: stats.Interval
    penalty: float
    held_out: dict[float, float]
    predictions: Tensor
    classifier: Logistic


def linear_readout(
    train_features: Tensor,
    train_labels: Tensor,
    test_features: Tensor,
    test_labels: Tensor,
    *,
    penalty: float | Sequence[float] | None = None,
    level: float = 0.95,
) -> LinearReadout:
    r"""Fit a linear classifier to training features and score it on test features.

    .. math:: \hat y = \arg\max_k\, (h W + b)_k

    with :math:`W, b` of `fit_logistic`: multinomial logistic regression on standardised features.

    Parameters
    ----------
    train_features, test_features : Tensor, shape (n, d) and (m, d)
        Frozen features, float32 or float64.
    train_labels, test_labels : Tensor of integers, shape (n,) and (m,)
        Classes. A test class that is not among the training classes counts as an error.
    penalty : float or sequence of float, optional
        The ridge penalty, or several to choose from; by default 0.1, 0.01, ... 0.00001. Choosing
        takes the smallest cross-entropy on a fifth of the *training* images (every fifth of each
        class after a fixed shuffle), the larger penalty on ties, then fits all of them again.
    level : float
        Confidence level of the interval, in (0, 1).

    Returns
    -------
    LinearReadout

    Raises
    ------
    TypeError, ValueError
        If shapes or dtypes do not fit, an entry is not finite, a penalty is not positive, or
        there is a choice to make and no class has five training images.

    Notes
    -----
    No randomness: the same tensors give the same result. Cost: an eigendecomposition of the
    d x d correlation matrix and a rotation of the features for each of the two fits, then two
    products of (n, d) by (d, K) an iteration.

    Examples
    --------
    >>> x = torch.tensor([[-2.0], [-1.0], [1.0], [2.0]])
    >>> y = torch.tensor([0, 0, 1, 1])
    >>> linear_readout(x, y, x, y, penalty=0.1).accuracy
    1.0
    """
    train_features = check_features("train_features", train_features)
    columns = train_features.shape[1]
    test_features = check_features("test_features", test_features, columns=columns)
    train_labels = check_labels("train_labels", train_labels, train_features)
    test_labels = check_labels("test_labels", test_labels, test_features)
    grid = _grid(penalty)
    losses = {} if len(grid) == 1 else _try(train_features, train_labels, grid)
    chosen = min(grid, key=lambda value: losses.get(value, 0.0))  # the largest on ties
    classifier = Problem(train_features, train_labels).fit(chosen, 1e-7)
    predictions = classifier.predict(test_features)
    correct = int((predictions == test_labels).sum())
    interval = stats.proportion_interval(correct, len(test_labels), level)
    return LinearReadout(interval.estimate, interval, chosen, losses, predictions, classifier)


def _grid(penalty: float | Sequence[float] | None) -> list[float]:
    """Return the penalties to try, the largest first."""
    if penalty is None:
        return list(PENALTIES)
    values = list(penalty) if isinstance(penalty, Sequence) else [penalty]
    if not values:
        raise ValueError("penalty must hold at least 1 number, got an empty sequence")
    return sorted({validation.positive("penalty", value) for value in values}, reverse=True)


def _try(features: Tensor, labels: Tensor, grid: list[float]) -> dict[float, float]:
    """Return the mean cross-entropy of held-out training rows for each penalty.

    Accuracies of a few held-out images tie, and rounding would then choose; losses do not.
    """
    mask = held_out(labels)
    if not bool(mask.any()):
        raise ValueError(
            f"penalty must be one number where no class has {FOLDS} training images to hold one "
            f"out, got {len(grid)} penalties and {len(labels)} images"
        )
    # Single precision and a loose tolerance: enough to rank penalties, not to report an optimum.
    problem = Problem(features[~mask], labels[~mask], torch.float32)
    fits = {value: problem.fit(value, 1e-4) for value in grid}
    return {value: fit.cross_entropy(features[mask], labels[mask]) for value, fit in fits.items()}
