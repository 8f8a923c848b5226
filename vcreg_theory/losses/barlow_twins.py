"""Redundancy reduction between two views: the loss of Barlow Twins."""

from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from .. import validation
from ._covariance import column_products, column_squares, gram
from ._fused import Values, fused
from ._inputs import centre, embeddings, refuse_nonfinite


class BarlowTwinsTerms(NamedTuple):
    """The Barlow Twins loss and its two terms, each a scalar tensor; the terms carry no weight."""

    loss: Tensor
    diagonal: Tensor
    off_diagonal: Tensor


def barlow_twins_loss(
    za: Tensor, zb: Tensor, *, off_diagonal: float = 5e-3, eps: float = 1e-5
) -> BarlowTwinsTerms:
    r"""Return the loss that asks the correlations across two views to be the identity matrix.

    .. math::
        \sum_k (1 - C_{kk})^2 + \lambda \sum_{k \neq l} C_{kl}^2, \qquad
        C = \frac1n \hat Z^\top \hat Z', \qquad
        \hat z_{ik} = \frac{z_{ik} - \bar z_k}{\sqrt{\frac1n \sum_j (z_{jk} - \bar z_k)^2
        + \varepsilon}} .

    Each view is standardised on its own and with the biased variance, as batch normalisation does:
    with :math:`n - 1` there and :math:`n` in :math:`C`, identical views would have correlation
    :math:`(n - 1) / n`.

    Parameters
    ----------
    za, zb : Tensor, shape (n, d)
        Embeddings of the two views of one batch, row by row; n at least 2. Half precision is
        converted to float32.
    off_diagonal : float
        The weight :math:`\lambda`, not negative.
    eps : float
        Number added to the variance, not negative. With zero the loss is not defined where a
        coordinate is constant on the batch.

    Returns
    -------
    BarlowTwinsTerms
        The weighted sum and the unweighted terms, sums over coordinates, all differentiable.

    Raises
    ------
    ValueError
        If shapes differ, n < 2 or d < 1, a parameter is out of range, or, looked for on the CPU
        only, an entry or the loss is not finite.

    Notes
    -----
    Claims A5.a and B9.b. For n < d the off-diagonal term uses the Gram matrices:
    :math:`\lVert C\rVert_F^2 = \langle\hat Z\hat Z^\top, \hat Z'\hat Z'^\top\rangle / n^2`. The
    gradient of the loss is computed with its value.

    Examples
    --------
    >>> z = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
    >>> [round(float(t), 4) for t in barlow_twins_loss(z, -z, eps=0.0)]
    [8.0, 8.0, 0.0]
    """
    za, zb = embeddings(za=za, zb=zb)
    weight = validation.nonnegative("off_diagonal", off_diagonal)
    eps = validation.nonnegative("eps", eps)
    terms = fused(partial(_fast, weight, eps), partial(_plain, weight, eps), za, zb)
    refuse_nonfinite(terms[0], za=za, zb=zb)
    return BarlowTwinsTerms(*terms)


def _plain(weight: float, eps: float, za: Tensor, zb: Tensor) -> Values:
    """Return the loss and its terms, for autograd."""
    n, d = za.shape
    (a, squares_a), (b, squares_b) = centre(za), centre(zb)
    a, b = a * (squares_a / n + eps).rsqrt(), b * (squares_b / n + eps).rsqrt()
    correlations = (a * b).sum(0) / n
    if n < d:
        total = ((a @ a.T) * (b @ b.T)).sum() / n**2
        off_diagonal = total - correlations.square().sum()
    else:
        matrix = a.T @ b / n
        off_diagonal = (matrix - torch.diag(matrix.diagonal())).square().sum()
    diagonal = (1 - correlations).square().sum()
    return diagonal + weight * off_diagonal, diagonal, off_diagonal


def _fast(weight: float, eps: float, za: Tensor, zb: Tensor) -> tuple[Values, Values]:
    """Return the loss and its terms, and the gradients of the loss."""
    n, d = za.shape
    (a, scale_a), (b, scale_b) = _standardise(za, eps), _standardise(zb, eps)
    correlations = column_products(a, b) / n
    diagonal = (1 - correlations).square().sum()
    columns = (correlations - 1) * (2 / n)
    if n < d:
        products_a, products_b = gram(a), gram(b)
        total = (products_a * products_b).sum() / n**2
        off_diagonal = total - correlations.square().sum()
        columns = columns - correlations * (2 * weight / n)
        towards_a = torch.mul(b, columns).addmm_(products_b, a, alpha=2 * weight / n**2)
        towards_b = torch.mul(a, columns).addmm_(products_a, b, alpha=2 * weight / n**2)
    else:
        matrix = (a.T @ b).div_(n).fill_diagonal_(0)
        off_diagonal = matrix.square().sum()
        towards_a = torch.mul(b, columns).addmm_(b, matrix.T, alpha=2 * weight / n)
        towards_b = torch.mul(a, columns).addmm_(a, matrix, alpha=2 * weight / n)
    gradients = (_unstandardise(towards_a, a, scale_a), _unstandardise(towards_b, b, scale_b))
    return (diagonal + weight * off_diagonal, diagonal, off_diagonal), gradients


def _standardise(z: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """Return the standardised columns and the factors that scaled them."""
    centred = z - z.mean(0)
    scale = (column_squares(centred) / len(z) + eps).rsqrt()
    return centred.mul_(scale), scale


def _unstandardise(gradient: Tensor, standard: Tensor, scale: Tensor) -> Tensor:
    """Return the gradient with respect to `z` from that with respect to its standardised form.

    Its columns have mean zero, as those of the other view have, of which they are combinations.
    """
    along = column_products(gradient, standard) / len(standard)
    return gradient.addcmul_(standard, along, value=-1).mul_(scale)
