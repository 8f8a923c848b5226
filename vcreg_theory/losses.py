"""Losses of joint-embedding self-supervised learning, returned with their terms.

Statistics are computed in float32 at least, whatever autocast says: a half-precision covariance
overflows at feature scales that occur in training.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from . import validation

CONVENTIONS = ("official", "paper")


class VICRegTerms(NamedTuple):
    """The VICReg loss and its three terms, each a scalar tensor; the terms carry no weight."""

    loss: Tensor
    invariance: Tensor
    variance: Tensor
    covariance: Tensor


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

    with :math:`C` the covariance matrix of a batch, normalised by :math:`n - 1`.

    Parameters
    ----------
    za, zb : Tensor, shape (n, d)
        Embeddings of the two views of one batch, row by row; n at least 2.
    invariance, variance, covariance : float
        The weights :math:`\lambda, \mu, \nu`, not negative.
    gamma : float
        Target standard deviation, positive.
    eps : float
        Number added to the variance inside the root, not negative. With zero the loss has no
        gradient where a coordinate is constant on the batch.
    convention : {"official", "paper"}
        How the terms of the two views combine. "official", the released code:
        :math:`s` is the mean over samples and coordinates of the squared difference and :math:`v`
        the mean of the two views' terms. "paper": :math:`s` is the mean over samples of the squared
        distance and :math:`v` the sum. In both :math:`c` is the sum.

    Returns
    -------
    VICRegTerms
        The weighted sum and the unweighted terms.

    Raises
    ------
    ValueError
        If shapes differ, n < 2 or d < 1, an entry is not finite, or a parameter is out of range.

    Notes
    -----
    Claims A1 and B4. For n < d the covariance term uses the Gram matrix, since
    :math:`\lVert C\rVert_F = \lVert ZZ^\top\rVert_F/(n-1)` for centred :math:`Z`; no d x d matrix
    is formed then.

    Examples
    --------
    >>> z = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
    >>> terms = vicreg_loss(z, z)
    >>> [round(float(t), 4) for t in terms]
    [0.0, 0.0, 0.0, 0.0]
    """
    za, zb = _embeddings(za, zb)
    validation.nonnegative("invariance", invariance)
    validation.nonnegative("variance", variance)
    validation.nonnegative("covariance", covariance)
    validation.nonnegative("eps", eps)
    validation.positive("gamma", gamma)
    validation.member("convention", convention, CONVENTIONS)
    with torch.autocast(za.device.type, enabled=False):
        s = (za - zb).square().mean()
        (va, ca), (vb, cb) = (_regularizers(z, gamma, eps) for z in (za, zb))
        v = (va + vb) / 2
        if convention == "paper":
            s, v = s * za.shape[1], 2 * v
        c = ca + cb
        return VICRegTerms(invariance * s + variance * v + covariance * c, s, v, c)


class VICRegLoss(nn.Module):
    """Return the scalar VICReg loss of two batches; the arguments are those of `vicreg_loss`.

    Examples
    --------
    >>> z = torch.eye(3)
    >>> VICRegLoss(invariance=1.0)(z, z).ndim
    0
    """

    def __init__(self, **options: Any):
        super().__init__()
        self.options = options
        vicreg_loss(torch.zeros(2, 1), torch.zeros(2, 1), **options)  # refuse bad options now

    def forward(self, za: Tensor, zb: Tensor) -> Tensor:
        """Return the loss of embeddings of shape (n, d)."""
        return vicreg_loss(za, zb, **self.options).loss


def _embeddings(za: Tensor, zb: Tensor) -> tuple[Tensor, Tensor]:
    """Return both batches in float32 at least, checked."""
    if isinstance(za, Tensor) and isinstance(zb, Tensor):
        half = (torch.float16, torch.bfloat16)
        za, zb = (z.float() if z.dtype in half else z for z in (za, zb))
    validation.tensor("za", za, ndim=2, min_rows=2)
    validation.tensor("zb", zb, ndim=2, min_rows=2)
    validation.same_shape("za", za, "zb", zb)
    if za.shape[1] == 0:
        raise ValueError(f"za and zb must have at least 1 column, got shape {tuple(za.shape)}")
    return za, zb


def _regularizers(z: Tensor, gamma: float, eps: float) -> tuple[Tensor, Tensor]:
    """Return the variance hinge and the squared off-diagonal covariances per coordinate."""
    n, d = z.shape
    centred = z - z.mean(0)
    variances = centred.square().sum(0) / (n - 1)
    hinge = torch.relu(gamma - torch.sqrt(variances + eps)).mean()
    if n < d:
        total = (centred @ centred.T).square().sum() / (n - 1) ** 2
        return hinge, (total - variances.square().sum()) / d
    covariances = centred.T @ centred / (n - 1)
    return hinge, (covariances - torch.diag(variances)).square().sum() / d
