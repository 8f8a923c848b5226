"""Variance, invariance and covariance: the losses of VICReg and of VCReg."""

from functools import partial
from typing import NamedTuple, cast

import torch
from torch import Tensor

from .. import validation
from ._covariance import Hinge, add_regularizers, column_squares, regularizers
from ._fused import Values, fused
from ._inputs import embeddings, refuse_nonfinite

CONVENTIONS = ("official", "paper")
"""How `vicreg_loss` may normalise: as the released code does, or as the paper."""


class VICRegTerms(NamedTuple):
    """The VICReg loss and its three terms, each a scalar tensor; the terms carry no weight."""

    loss: Tensor
    invariance: Tensor
    variance: Tensor
    covariance: Tensor


class VCRegTerms(NamedTuple):
    """The VCReg loss and its two terms, each a scalar tensor; the terms carry no weight."""

    loss: Tensor
    variance: Tensor
    covariance: Tensor


class _Weights(NamedTuple):
    """Weights of the terms, and the factors in the two terms that the conventions set apart."""

    invariance: float
    variance: float
    covariance: float
    squared_distance: float = 1.0
    view: float = 1.0


def vicreg_loss(
    za: Tensor,
    zb: Tensor,
    *,
    invariance: float = 25.0,
    variance: float = 25.0,
    covariance: float = 1.0,
    gamma: float = 1.0,
    eps: float = 1e-4,
    convention: str = "official",
) -> VICRegTerms:
    r"""Return the variance-invariance-covariance loss of two batches of embeddings.

    .. math::
        \lambda\, s(Z, Z') + \mu\, v(Z, Z') + \nu\, c(Z, Z'), \qquad
        v(Z) = \frac1d \sum_k \bigl(\gamma - \sqrt{C_{kk} + \varepsilon}\bigr)_+, \qquad
        c(Z) = \frac1d \sum_{k \neq l} C_{kl}^2 ,

    with :math:`C` the d x d covariance matrix of a batch, normalised by :math:`n - 1`.

    Parameters
    ----------
    za, zb : Tensor, shape (n, d)
        Embeddings of the two views of one batch, row by row; n at least 2. Half precision is
        converted to float32.
    invariance, variance, covariance : float
        The weights :math:`\lambda, \mu, \nu`, not negative.
    gamma : float
        Target standard deviation, positive.
    eps : float
        Number added to the variance inside the root, not negative. With zero the gradient is NaN
        where a coordinate is constant on the batch; with a positive number it vanishes there, and
        it is small where the standard deviation is small beside the root of `eps`.
    convention : {"official", "paper"}
        How the terms of the two views combine. "official", the released code:
        :math:`s` is the mean over samples and coordinates of the squared difference and :math:`v`
        the mean of the two views' terms. "paper": :math:`s` is the mean over samples of the squared
        distance and :math:`v` the sum. In both :math:`c` is the sum.

    Returns
    -------
    VICRegTerms
        The weighted sum and the unweighted terms, all differentiable.

    Raises
    ------
    ValueError
        If shapes differ, n < 2 or d < 1, a parameter is out of range, or, looked for on the CPU
        only, an entry or the loss is not finite.

    Notes
    -----
    Claims A1 and B4. For n < d the covariance term uses the Gram matrix, since
    :math:`\lVert C\rVert_F = \lVert ZZ^\top\rVert_F/(n-1)` for centred :math:`Z`; no d x d matrix
    is formed then. The gradient of the loss is computed with its value. Gradients of single terms
    and second derivatives are right too, at the price of one more evaluation.

    Examples
    --------
    >>> z = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
    >>> terms = vicreg_loss(z, z)
    >>> [round(float(t), 4) for t in terms]
    [0.0, 0.0, 0.0, 0.0]
    """
    za, zb = embeddings(za=za, zb=zb)
    hinge = _hinge(gamma, eps)
    weights = _Weights(
        validation.nonnegative("invariance", invariance),
        validation.nonnegative("variance", variance),
        validation.nonnegative("covariance", covariance),
    )
    if validation.member("convention", convention, CONVENTIONS) == "paper":
        weights = weights._replace(squared_distance=float(za.shape[1]))
    else:
        weights = weights._replace(view=0.5)
    terms = fused(partial(_fast, weights, hinge), partial(_plain, weights, hinge), za, zb)
    refuse_nonfinite(terms[0], za=za, zb=zb)
    return VICRegTerms(*terms)


def vcreg_loss(
    z: Tensor,
    *,
    variance: float = 25.0,
    covariance: float = 1.0,
    gamma: float = 1.0,
    eps: float = 1e-4,
) -> VCRegTerms:
    r"""Return the variance-covariance loss of one batch of embeddings.

    .. math::
        \mu\, v(Z) + \nu\, c(Z), \qquad
        v(Z) = \frac1d \sum_k \bigl(\gamma - \sqrt{C_{kk} + \varepsilon}\bigr)_+, \qquad
        c(Z) = \frac1d \sum_{k \neq l} C_{kl}^2 .

    Parameters
    ----------
    z : Tensor, shape (n, d)
        Embeddings; n at least 2. Half precision is converted to float32.
    variance, covariance : float
        The weights :math:`\mu, \nu`, not negative. The official `vicreg_loss` is its invariance
        term plus this loss of each view with half the weight of the variance.
    gamma, eps : float
        As for `vicreg_loss`.

    Returns
    -------
    VCRegTerms
        The weighted sum and the unweighted terms, all differentiable.

    Raises
    ------
    ValueError
        As for `vicreg_loss`.

    Notes
    -----
    Claim A1.

    Examples
    --------
    >>> z = torch.tensor([[-1.0, -1.0], [1.0, 1.0]])  # both variances and the covariance are 2
    >>> [round(float(t), 4) for t in vcreg_loss(z)]
    [4.0, 0.0, 4.0]
    """
    (z,) = embeddings(z=z)
    weights = _Weights(
        0.0,
        validation.nonnegative("variance", variance),
        validation.nonnegative("covariance", covariance),
    )
    hinge = _hinge(gamma, eps)
    terms = fused(partial(_fast, weights, hinge), partial(_plain, weights, hinge), z)
    refuse_nonfinite(terms[0], z=z)
    return VCRegTerms(*terms)


def _hinge(gamma: float, eps: float) -> Hinge:
    return Hinge(validation.positive("gamma", gamma), validation.nonnegative("eps", eps))


def _plain(weights: _Weights, hinge: Hinge, *views: Tensor) -> Values:
    """Return the loss and its terms of one or two views, for autograd."""
    pairs = [regularizers(z, hinge) for z in views]
    invariance = None
    if len(views) == 2:
        invariance = weights.squared_distance * (views[0] - views[1]).square().mean()
    return _sum(weights, invariance, pairs)


def _fast(weights: _Weights, hinge: Hinge, *views: Tensor) -> tuple[Values, Values]:
    """Return the loss and its terms, and the gradients of the loss."""
    invariance = None
    if len(views) == 2:
        difference = views[0] - views[1]
        factor = weights.squared_distance / difference.numel()
        invariance = factor * column_squares(difference).sum()
        first = difference.mul_(2 * factor * weights.invariance)
        gradients: Values = (first, -first)
    else:
        gradients = (torch.zeros_like(views[0]),)
    work = torch.empty_like(views[0])
    variance = weights.view * weights.variance
    pairs = [
        add_regularizers(z, hinge, variance, weights.covariance, gradient, work)
        for z, gradient in zip(views, gradients, strict=True)
    ]
    return _sum(weights, invariance, pairs), gradients


def _sum(
    weights: _Weights, invariance: Tensor | None, pairs: list[tuple[Tensor, Tensor]]
) -> Values:
    """Return the weighted sum and the terms, from the variance and covariance of each view."""
    variance = weights.view * cast(Tensor, sum(v for v, _ in pairs))
    covariance = cast(Tensor, sum(c for _, c in pairs))
    loss = weights.variance * variance + weights.covariance * covariance
    if invariance is None:
        return loss, variance, covariance
    return loss + weights.invariance * invariance, invariance, variance, covariance
