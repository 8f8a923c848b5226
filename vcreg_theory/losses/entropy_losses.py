"""VICReg with an estimate of the entropy in place of the covariance term."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from .. import validation
from ._cholesky import log_det
from ._covariance import Hinge
from ._inputs import centre, embeddings, full_precision, refuse_nonfinite

KERNELS = {"chernoff": 8.0, "kl": 2.0}  # exponent: squared distance over this many variances
RAISE_EPS = "use a larger eps, more samples or fewer dimensions"


class LogDetTerms(NamedTuple):
    """The loss, its invariance term and the mean of log det(C + eps I) / 2 of the two views."""

    loss: Tensor
    invariance: Tensor
    entropy: Tensor


class PairDistTerms(NamedTuple):
    """The loss, its invariance and hinge terms and the mean pairwise entropy of the two views."""

    loss: Tensor
    invariance: Tensor
    hinge: Tensor
    entropy: Tensor


def vicreg_logdet_loss(
    za: Tensor, zb: Tensor, *, invariance: float = 25.0, entropy: float = 1.0, eps: float = 1e-4
) -> LogDetTerms:
    r"""Return the invariance term less the log-determinant entropy, averaged over the views.

    .. math::
        \frac{\lambda}{nd} \sum_i \lVert z_i - z_i' \rVert^2
        - \frac\beta4 \bigl[\log\det(C + \varepsilon I) + \log\det(C' + \varepsilon I)\bigr],

    with :math:`C` the covariance matrix of a batch, normalised by :math:`n - 1`. The bracket over 4
    is the mean of the two Gaussian entropies in nats, less :math:`\frac d2 \log 2\pi e`.

    Parameters
    ----------
    za, zb : Tensor, shape (n, d)
        Embeddings of the two views of one batch, row by row; n at least 2. Half precision is
        converted to float32.
    invariance, entropy : float
        The weights :math:`\lambda, \beta`, not negative. With :math:`\lambda = d/2` and
        :math:`\beta = 1` the loss is the negative of the bound on the information between views
        with unit decoder variance, up to a constant.
    eps : float
        The ridge :math:`\varepsilon`, not negative. The covariance of n samples has rank at most
        n - 1, so that n <= d needs a positive one; it sets the entropy of the missing directions.

    Returns
    -------
    LogDetTerms
        The weighted difference, the mean squared difference of the coordinates, and the mean of
        :math:`\frac12\log\det(C + \varepsilon I)` over the views, all differentiable.

    Raises
    ------
    ValueError
        If shapes differ, n < 2 or d < 1, a parameter is out of range, or, looked for on the CPU
        only, an entry or the loss is not finite or the covariance singular in double precision.

    Notes
    -----
    Claims B6.a and B9.d. The determinant is computed in double precision, for n < d from the n x n
    Gram matrix. At exact collapse the gradient is zero if `eps` is positive (B6.e).

    Examples
    --------
    >>> z = torch.tensor([[-1.0], [1.0]])  # variance 2
    >>> round(float(vicreg_logdet_loss(z, z, eps=0.0).loss + 0.5 * math.log(2)), 6)
    0.0
    """
    za, zb = embeddings(za=za, zb=zb)
    validation.nonnegative("invariance", invariance)
    validation.nonnegative("entropy", entropy)
    if validation.nonnegative("eps", eps) == 0 and len(za) <= za.shape[1]:
        raise ValueError(
            f"eps must be positive where n <= d, got 0.0 for shape {tuple(za.shape)}: "
            "the covariance is singular"
        )
    with full_precision(za):
        s = (za - zb).square().mean()
        h = (_half_log_det(za, eps) + _half_log_det(zb, eps)) / 2
        loss = invariance * s - entropy * h
    refuse_nonfinite(loss, za=za, zb=zb)
    return LogDetTerms(loss, s, h)


def vicreg_pairdist_loss(
    za: Tensor,
    zb: Tensor,
    *,
    invariance: float = 25.0,
    hinge: float = 25.0,
    entropy: float = 1.0,
    variance: float | None = None,
    kernel: str = "chernoff",
    gamma: float = 1.0,
    eps: float = 1e-4,
) -> PairDistTerms:
    r"""Return the invariance and hinge terms less the pairwise entropy, averaged over the views.

    .. math::
        \frac{\lambda}{nd} \sum_i \lVert z_i - z_i' \rVert^2 + \mu\, v(Z, Z')
        - \frac\beta2 \sum_{u \in \{z, z'\}} \hat H(u), \qquad
        \hat H(u) = -\frac1n \sum_i \log \frac1n \sum_j e^{-\lVert u_i - u_j \rVert^2 / c\sigma^2},

    with :math:`v` the variance term of the official `vicreg_loss`, and :math:`c = 8` or 2.
    :math:`\hat H` is the estimate of Kolchinsky and Tracey for the equal mixture of the n Gaussians
    of variance :math:`\sigma^2` around the embeddings, less the entropy of one of them: a lower
    bound with the Chernoff kernel, an upper bound with the Kullback-Leibler kernel.

    Parameters
    ----------
    za, zb : Tensor, shape (n, d)
        Embeddings of the two views of one batch, row by row; n at least 2. Half precision is
        converted to float32.
    invariance, hinge, entropy : float
        The weights :math:`\lambda, \mu, \beta`, not negative.
    variance : float, optional
        The variance :math:`\sigma^2` of a component in one coordinate, positive. By default the one
        at which the kernel is :math:`1/e` for the distance :math:`2 d \gamma^2` expected between
        two samples of standard deviation `gamma`: :math:`d\gamma^2/4` for the Chernoff and
        :math:`d\gamma^2` for the Kullback-Leibler kernel. This is a bandwidth and not the measured
        noise: with a small one every kernel vanishes, and the gradient with it.
    kernel : {"chernoff", "kl"}
        The divergence between components: Chernoff at 1/2, c = 8, or Kullback-Leibler, c = 2.
    gamma, eps : float
        Target standard deviation of the hinge, and the number added to the variance in its root.

    Returns
    -------
    PairDistTerms
        The weighted sum and the unweighted terms, all differentiable. The entropy is in nats and
        lies between 0 and log n.

    Raises
    ------
    ValueError
        If shapes differ, n < 2 or d < 1, a parameter is out of range, or, looked for on the CPU
        only, an entry or the loss is not finite.

    Notes
    -----
    Claims B6.b and B6.e.

    Examples
    --------
    >>> z = torch.tensor([[0.0], [100.0]])  # two components that do not overlap: log 2
    >>> round(float(vicreg_pairdist_loss(z, z, variance=1.0).entropy) - math.log(2), 6)
    0.0
    """
    za, zb = embeddings(za=za, zb=zb)
    weights = {"invariance": invariance, "hinge": hinge, "entropy": entropy}
    for name, weight in weights.items():
        validation.nonnegative(name, weight)
    target = Hinge(validation.positive("gamma", gamma), validation.nonnegative("eps", eps))
    scale = KERNELS[validation.member("kernel", kernel, KERNELS)]
    if variance is None:
        variance = 2 * za.shape[1] * target.gamma**2 / scale
    scale *= validation.positive("variance", variance)
    with full_precision(za):
        s = (za - zb).square().mean()
        (va, ha), (vb, hb) = (_hinge_and_pairwise(z, target, scale) for z in (za, zb))
        v, h = (va + vb) / 2, (ha + hb) / 2
        loss = invariance * s + hinge * v - entropy * h
    refuse_nonfinite(loss, za=za, zb=zb)
    return PairDistTerms(loss, s, v, h)


def _half_log_det(z: Tensor, eps: float) -> Tensor:
    """Return half the log-determinant of the covariance plus `eps` times the identity."""
    n, d = z.shape
    centred, _ = centre(z.double())
    smaller = centred @ centred.T if n < d else centred.T @ centred
    ridge = eps * torch.eye(len(smaller), dtype=smaller.dtype, device=smaller.device)
    inside = log_det(smaller / (n - 1) + ridge, RAISE_EPS)
    outside = (d - n) * math.log(eps) if n < d else 0.0
    return ((inside + outside) / 2).to(z.dtype)


def _hinge_and_pairwise(z: Tensor, hinge: Hinge, scale: float) -> tuple[Tensor, Tensor]:
    """Return the variance term, and the pairwise entropy with squared distances over `scale`."""
    n = len(z)
    centred, squares = centre(z)
    lengths = (centred * centred).sum(1)
    exponents = (2 * (centred @ centred.T) - lengths[:, None] - lengths) / scale
    # Rounding must not make a distance negative, nor that of a point to itself positive.
    itself = torch.eye(n, dtype=torch.bool, device=z.device)
    exponents = exponents.clamp(max=0).masked_fill(itself, 0)
    entropy = math.log(n) - exponents.logsumexp(1).mean()
    return hinge(squares / (n - 1)), entropy
