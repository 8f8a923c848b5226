"""Information between views of finitely many images, by quadrature."""

from typing import NamedTuple

import torch
from torch import Tensor

from .. import validation
from ..entropy import mixture_entropy_quadrature
from ..entropy.codes import codes
from ..entropy.components import Components, components


class ViewInformation(NamedTuple):
    """Information in nats, a bound on its numerical error, and the cap: the entropy of the image.

    For N equally likely images the cap is log N.
    """

    information: float
    error: float
    cap: float


def prototype_information(
    means: Tensor, variances: Tensor | float, weights: Tensor | None = None
) -> ViewInformation:
    r"""Return the information between a code with Gaussian noise and the image it belongs to.

    .. math:: I(Z; C) = H\Bigl(\sum_c w_c\, \mathcal N(m_c, \Sigma_c)\Bigr)
        - \sum_c w_c\, H(\mathcal N(m_c, \Sigma_c)) \;\le\; -\sum_c w_c \log w_c

    Given the image the views are independent, so :math:`I(Z; X') \le I(Z; C)`, with equality where
    X' tells the image.

    Parameters
    ----------
    means : Tensor, shape (K,), (K, 1) or (K, 2)
        Codes of the images without noise.
    variances : float or Tensor of shape (), (K,), (K, d) or (K, d, d)
        As in `entropy.mixture_entropy_quadrature`.
    weights : Tensor, shape (K,), optional
        Probabilities of the images; equal by default.

    Returns
    -------
    ViewInformation
        ``information`` by quadrature, its ``error`` and the ``cap``, the entropy of the image.

    Raises
    ------
    ValueError
        If the components are not valid, or the quadrature cannot resolve them.

    Notes
    -----
    Claim B4.c.

    Examples
    --------
    >>> found = prototype_information(torch.tensor([0.0, 100.0, 200.0]), 1.0)
    >>> abs(found.information - found.cap) < 1e-9  # log 3
    True
    """
    means, parts = _prototypes(means, variances, weights)
    total = mixture_entropy_quadrature(means, variances, weights)
    within = float(parts.weights.detach() @ parts.entropies.detach())
    return ViewInformation(total.entropy - within, total.error, _image_entropy(parts.weights))


def view_information(
    means: Tensor, variances: Tensor | float, weights: Tensor | None = None
) -> ViewInformation:
    r"""Return the information between the one-dimensional codes of two views of one image.

    .. math:: I(Z; Z') = 2 H(Z) - H(Z, Z'), \qquad
        (Z, Z') \sim \sum_c w_c\, \mathcal N\bigl((m_c, m_c), v_c I\bigr)

    Parameters
    ----------
    means : Tensor, shape (K,)
        Codes of the images without noise.
    variances : float or Tensor of shape () or (K,)
        Variance of the noise of every image, or of each.
    weights : Tensor, shape (K,), optional
        Probabilities of the images; equal by default.

    Returns
    -------
    ViewInformation
        ``information`` by quadrature in the plane, its ``error`` and the ``cap``.

    Raises
    ------
    ValueError
        If a shape or value is not allowed, or the quadrature cannot resolve the components.

    Notes
    -----
    Claim B4.c. At most `prototype_information`, by the data-processing inequality.

    Examples
    --------
    >>> found = view_information(torch.tensor([0.0, 100.0]), 1.0)
    >>> abs(found.information - found.cap) < 1e-8  # log 2
    True
    """
    validation.tensor("means", means, ndim=1, min_rows=1)
    if isinstance(variances, Tensor) and variances.ndim > 1:
        raise ValueError(f"variances must be one or a vector, got shape {tuple(variances.shape)}")
    means, parts = _prototypes(means, variances, weights)
    one = mixture_entropy_quadrature(means, variances, weights)
    both = mixture_entropy_quadrature(means.expand(-1, 2), variances, weights)
    information, error = 2 * one.entropy - both.entropy, 2 * one.error + both.error
    return ViewInformation(information, error, _image_entropy(parts.weights))


def _prototypes(
    means: Tensor, variances: Tensor | float, weights: Tensor | None
) -> tuple[Tensor, Components]:
    """Return the means as a matrix, and the checked components."""
    if isinstance(means, Tensor) and means.ndim == 1:
        means = means[:, None]
    means = codes("means", means, min_rows=1)
    return means, components(means, variances, weights, name="variances")


def _image_entropy(weights: Tensor) -> float:
    """Return the entropy of the image in nats."""
    return -float(torch.xlogy(weights.detach(), weights.detach()).sum())
