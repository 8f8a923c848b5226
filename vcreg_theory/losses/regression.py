"""Regression of one view's embedding on the other's: the loss of BYOL, SimSiam and DirectPred."""

from typing import NamedTuple

import torch
from torch import Tensor

from ._inputs import embeddings, full_precision, refuse_nonfinite, unit_rows


class RegressionTerms(NamedTuple):
    """The regression loss and the mean cosine it is made of, scalar tensors."""

    loss: Tensor
    cosine: Tensor


def regression_loss(p: Tensor, z: Tensor, *, stop_gradient: bool = True) -> RegressionTerms:
    r"""Return the mean squared distance of predictions and targets on the unit sphere.

    .. math::
        \frac1n \sum_i \Bigl\lVert \frac{p_i}{\lVert p_i \rVert}
        - \frac{z_i}{\lVert z_i \rVert} \Bigr\rVert^2 = 2 - \frac2n \sum_i \cos(p_i, z_i) .

    This is one direction. BYOL adds the direction with the views exchanged; SimSiam's loss, half
    the sum of the two negative cosines, is a quarter of that sum less 1. The mean in place of the
    sum halves the gradient and so the learning rate.

    Parameters
    ----------
    p : Tensor, shape (n, d)
        Predictions from one view. Half precision is converted to float32. A row of length zero has
        cosine 0 and gets no gradient.
    z : Tensor, shape (n, d)
        Targets, the embeddings of the other view.
    stop_gradient : bool
        Whether the targets are constants. Without it both arguments receive a gradient.

    Returns
    -------
    RegressionTerms
        The loss, between 0 and 4, and the mean cosine.

    Raises
    ------
    ValueError
        If shapes differ, n or d is 0, or, looked for on the CPU only, an entry is not finite.

    Examples
    --------
    >>> p, z = torch.tensor([[2.0, 0.0], [0.0, 1.0]]), torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    >>> [float(t) for t in regression_loss(p, z)]
    [1.0, 0.5]
    """
    p, z = embeddings(min_rows=1, p=p, z=z)
    if not isinstance(stop_gradient, bool):
        raise TypeError(f"stop_gradient must be True or False, got {stop_gradient!r}")
    with full_precision(p):
        a, b = unit_rows(p), unit_rows(z.detach() if stop_gradient else z)
        cosine = torch.linalg.vecdot(a, b).mean()
        loss = 2 - 2 * cosine
    refuse_nonfinite(loss, p=p, z=z)
    return RegressionTerms(loss, cosine)
