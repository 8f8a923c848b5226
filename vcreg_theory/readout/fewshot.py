"""Few-shot read-out: how well a ridge classifier does with a handful of labels a class."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from .. import validation
from .scaling import check_features, check_labels

PENALTIES = (1e1, 1e0, 1e-1, 1e-2, 1e-3)


class FewShotReadout(NamedTuple):
    """Mean accuracy on test features over draws, and accuracy and penalty of each draw."""

    accuracy: float
    accuracies: Tensor
    penalties: Tensor


def few_shot_readout(
    train_features: Tensor,
    train_labels: Tensor,
    test_features: Tensor,
    test_labels: Tensor,
    *,
    generator: torch.Generator,
    shots: int = 5,
    draws: int = 20,
    penalties: Sequence[float] = PENALTIES,
) -> FewShotReadout:
    r"""Fit a ridge classifier to a few labelled features a class and score it on test features.

    .. math:: B = \arg\min_B \frac1n \lVert Y - H B \rVert_F^2
        + \lambda\, \frac{\lVert H \rVert_F^2}{n^2}\, \lVert B \rVert_F^2, \qquad
        \hat y = \arg\max_k\, (h^\top B + \bar y)_k ,

    for the centred features H and centred class indicators Y of the n shots. A factor on all
    features changes nothing, and the features are not standardised, so that directions of small
    variance count little.

    Parameters
    ----------
    train_features, test_features : Tensor, shape (n, d) and (m, d)
        Frozen features, float32 or float64.
    train_labels, test_labels : Tensor of integers, shape (n,) and (m,)
        Classes.
    generator : torch.Generator
        On the CPU; it draws the shots. Two representations that are to be compared should see the
        same draws: give each a generator with the same seed.
    shots : int
        Labelled images a class to fit, at least 1. As many others are drawn to choose the penalty,
        by their mean squared error; the fit is not repeated with them.
    draws : int
        Number of independent draws.
    penalties : sequence of float
        Values of :math:`\lambda` to choose from, positive.

    Returns
    -------
    FewShotReadout

    Raises
    ------
    TypeError, ValueError
        If shapes or dtypes do not fit, an entry is not finite, a class has fewer than twice the
        shots among the training images, or an option is out of range.

    Notes
    -----
    Claims C9.a and C9.d.

    Examples
    --------
    >>> x = torch.linspace(-1, 1, 20).unsqueeze(1)
    >>> y = (x.squeeze(1) > 0).long()
    >>> few_shot_readout(x, y, x, y, generator=torch.Generator().manual_seed(0)).accuracy > 0.9
    True
    """
    train = check_features("train_features", train_features).double()
    test = check_features("test_features", test_features, columns=train.shape[1]).double()
    train, test = _in_range(train, test)
    labels = check_labels("train_labels", train_labels, train)
    wanted = check_labels("test_labels", test_labels, test)
    shots = validation.integer("shots", shots, at_least=1)
    draws = validation.integer("draws", draws, at_least=1)
    grid = sorted({validation.positive("penalties", value) for value in penalties}, reverse=True)
    if not grid:
        raise ValueError("penalties must hold at least 1 number, got none")
    classes, codes = labels.unique(return_inverse=True)
    indicators = torch.eye(len(classes), dtype=torch.float64, device=train.device)[codes]
    accuracies, chosen = [], []
    for _ in range(draws):
        fit, hold = _draw(codes, len(classes), shots, generator)
        ridge = _Ridge(train[fit], indicators[fit])
        errors = [float((ridge(train[hold], v) - indicators[hold]).square().mean()) for v in grid]
        chosen.append(grid[errors.index(min(errors))])
        found = classes[ridge(test, chosen[-1]).argmax(1)]
        accuracies.append((found == wanted).double().mean())
    each = torch.stack(accuracies).cpu()
    return FewShotReadout(float(each.mean()), each, torch.tensor(chosen, dtype=torch.float64))


def _in_range(train: Tensor, test: Tensor) -> tuple[Tensor, Tensor]:
    """Return features, times a power of two if their squares would overflow or underflow."""
    largest = float(train.abs().max())
    if largest == 0 or 2.0**-400 < largest < 2.0**400:
        return train, test
    exponent = math.frexp(largest)[1]
    half = exponent // 2  # in two steps, since 2^1074 is too large
    train, test = (part * 2.0**-half * 2.0 ** (half - exponent) for part in (train, test))
    return train, test


def _draw(
    codes: Tensor, classes: int, shots: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Return the rows of the shots of each class, and of as many others."""
    order = torch.randperm(len(codes), generator=generator).to(codes.device)
    rows = [order[codes[order] == k][: 2 * shots] for k in range(classes)]
    fewest = min(len(found) for found in rows)
    if fewest < 2 * shots:
        raise ValueError(
            f"shots must be at most half of the images of each class, got {shots} shots where a "
            f"class has {fewest} training images"
        )
    return torch.cat([r[:shots] for r in rows]), torch.cat([r[shots:] for r in rows])


class _Ridge:
    """Ridge regression of centred targets on centred features, for any number of penalties."""

    def __init__(self, features: Tensor, targets: Tensor):
        self.centre, self.mean = features.mean(0), targets.mean(0)
        u, s, self.vh = torch.linalg.svd(features - self.centre, full_matrices=False)
        self.s, self.rotated = s, u.T @ (targets - self.mean)
        self.scale = s.square().sum() / len(features)

    def __call__(self, features: Tensor, penalty: float) -> Tensor:
        """Return the predictions for features; the mean target where the shots do not vary."""
        denominator = self.s.square() + penalty * self.scale
        gain = torch.where(denominator > 0, self.s / denominator, 0.0)
        weight: Tensor = self.vh.T @ (gain[:, None] * self.rotated)
        return (features - self.centre) @ weight + self.mean
