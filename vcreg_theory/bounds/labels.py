"""Label vectors, class frequencies, and the weights that turn a sample into an expectation."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from .. import validation
from . import _inputs


class LabelWeights(NamedTuple):
    r"""Weights of a labelled sample.

    `weights` are :math:`a_i = \rho(y_i) / n_{y_i}`, `spread` is
    :math:`v_n = \sum_i a_i^2 = \sum_y \rho(y)^2 / n_y` over the classes of the sample, `missing`
    the probability of the other classes. All float64.
    """

    weights: Tensor
    spread: Tensor
    missing: Tensor


def one_hot(labels: Tensor, n_classes: int, *, dtype: torch.dtype = torch.float64) -> Tensor:
    """Return label vectors with a single one.

    Parameters
    ----------
    labels : Tensor of integers, shape (n,)
        Classes from 0 to `n_classes` - 1.
    n_classes : int
        Number of classes K.
    dtype : torch.dtype
        Of the result.

    Returns
    -------
    Tensor, shape (n, K)

    Raises
    ------
    TypeError, ValueError
        If the labels are no integers or out of range.

    Examples
    --------
    >>> one_hot(torch.tensor([1, 0]), 2, dtype=torch.float32)
    tensor([[0., 1.],
            [1., 0.]])
    """
    n_classes = validation.integer("n_classes", n_classes, at_least=1)
    rows = len(labels) if isinstance(labels, Tensor) and labels.ndim else 0
    return functional.one_hot(_inputs.classes("labels", labels, rows, n_classes), n_classes).to(
        dtype
    )


def label_frequencies(
    labels: Tensor,
    n_classes: int,
    *,
    smoothing: float = 0.0,
    dtype: torch.dtype = torch.float64,
) -> Tensor:
    r"""Return the share of each class among labels.

    .. math:: \hat\rho(y) = \frac{n_y + \lambda}{n + K \lambda}

    Parameters
    ----------
    labels : Tensor of integers, shape (n,)
        Classes from 0 to `n_classes` - 1.
    n_classes : int
        Number of classes K.
    smoothing : float
        The ridge :math:`\lambda`, not negative, which draws the shares to 1/K.
    dtype : torch.dtype
        Of the result.

    Returns
    -------
    Tensor, shape (K,)

    Raises
    ------
    TypeError, ValueError
        If the labels are no integers or out of range, or `smoothing` is negative.

    Notes
    -----
    The bounds are proved for the true probabilities :math:`\rho`. Shares of a whole finite
    population are those; shares of the labelled sample are not.

    Examples
    --------
    >>> label_frequencies(torch.tensor([0, 0, 1]), 2, smoothing=1.0)
    tensor([0.6000, 0.4000], dtype=torch.float64)
    """
    smoothing = validation.nonnegative("smoothing", smoothing)
    counts = one_hot(labels, n_classes).sum(0) + smoothing
    return (counts / counts.sum()).to(dtype)


def label_weights(labels: Tensor, rho: Tensor, *, allow_missing: bool = False) -> LabelWeights:
    r"""Return the weights under which a labelled sample stands for the classes' probabilities.

    .. math:: a_i = \frac{\rho(y_i)}{n_{y_i}}, \qquad v_n = \sum_y \frac{\rho(y)^2}{n_y} \ge \frac1n

    with equality if and only if :math:`n_y = n \rho(y)` for every class.

    Parameters
    ----------
    labels : Tensor of integers, shape (n,)
        Classes from 0 to K - 1.
    rho : Tensor, shape (K,)
        Probabilities of the classes.
    allow_missing : bool
        Whether classes of positive probability may be absent; a bound then pays for them.

    Returns
    -------
    LabelWeights

    Raises
    ------
    TypeError, ValueError
        If `rho` is no probability vector, a label is out of range or of probability zero, or a
        class is absent and `allow_missing` is false.

    Notes
    -----
    Claim B8.a.

    Examples
    --------
    >>> found = label_weights(torch.tensor([0, 0, 1]), torch.tensor([0.5, 0.5]))
    >>> found.weights, float(found.spread)
    (tensor([0.2500, 0.2500, 0.5000], dtype=torch.float64), 0.375)
    """
    rho = _inputs.distribution("rho", rho)
    rows = len(labels) if isinstance(labels, Tensor) and labels.ndim else 0
    labels = _inputs.classes("labels", labels, rows, len(rho)).to(rho.device)
    counts = torch.bincount(labels, minlength=len(rho))
    impossible = torch.nonzero((counts > 0) & (rho == 0)).flatten().tolist()
    if impossible:
        raise ValueError(f"rho must be positive for every label, but is 0 for classes {impossible}")
    absent = (counts == 0) & (rho > 0)
    if bool(absent.any()) and not allow_missing:
        raise ValueError(
            f"labels must hold every class of positive probability, but classes "
            f"{torch.nonzero(absent).flatten().tolist()} are missing; allow_missing=True adds "
            "what they can cost"
        )
    weights = (rho / counts.clamp(min=1))[labels]
    return LabelWeights(weights, weights.square().sum(), rho[absent].sum())
