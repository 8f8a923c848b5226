"""Where variance and covariance of the features enter: the norm of the probe."""

from typing import NamedTuple

import torch
from torch import Tensor

from . import _inputs
from .probe import rounding_limit

_ORTHOGONAL = 1e-6  # relative size up to which an inner product of labels counts as rounding


class ProbeNormBound(NamedTuple):
    r"""Bounds on the operator norm of the least-squares probe.

    `conditioning` is :math:`\kappa`, the least eigenvalue of :math:`Z^\top Z / n`; `orthogonal` the
    bound for pairwise orthogonal labels (None for other labels), `general` the one for all labels;
    both are infinite where the features have a rank below their dimension, unless all labels are
    zero.
    """

    conditioning: Tensor
    orthogonal: Tensor | None
    general: Tensor


def probe_norm_bound(z: Tensor, y: Tensor) -> ProbeNormBound:
    r"""Bound the norm of the least-squares probe by the conditioning of the features.

    .. math:: \frac1n Z^\top Z \succeq \kappa I \;\Rightarrow\;
        \lVert W \rVert_{\mathrm{op}} \le \sqrt{\frac{\max_y n_y}{n \kappa}}
        \;\text{ (one-hot labels)}, \qquad
        \lVert W \rVert_{\mathrm{op}} \le \frac1{\sqrt\kappa} \;\text{ (labels of norm} \le 1)

    Parameters
    ----------
    z : Tensor, shape (n, d)
        Features of the labelled sample: :math:`\kappa` is measured there, and is 0 for n < d.
    y : Tensor, shape (n, K)
        Label vectors of norm at most one.

    Returns
    -------
    ProbeNormBound

    Raises
    ------
    TypeError, ValueError
        If the matrices are not finite or differ in rows, or a label is longer than one.

    Notes
    -----
    Claim B8.b. Pairwise orthogonal: two labels are equal or have inner product zero.

    Examples
    --------
    >>> z = torch.tensor([[2.0, 0.0], [0.0, 2.0], [0.0, 2.0], [0.0, 2.0]])
    >>> found = probe_norm_bound(z, torch.eye(2)[[0, 1, 1, 1]])
    >>> found.conditioning, found.orthogonal, found.general
    (tensor(1.), tensor(0.8660), tensor(1.))
    """
    z = _inputs.features("z", z)
    y = _inputs.targets("y", y, len(z)).to(z.device)
    longest = float(y.double().norm(dim=1).max())
    if longest > 1 + 8 * torch.finfo(y.dtype).eps:
        raise ValueError(f"y must have rows of norm at most 1, got one of norm {longest:g}")
    kappa = torch.zeros((), dtype=torch.float64, device=z.device)
    if len(z) >= z.shape[1]:
        values = torch.linalg.svdvals(z.double())
        if float(values[-1]) > rounding_limit(z, None) * float(values[0]):
            kappa = values[-1].square() / len(z)
    largest = _largest_class(y)
    orthogonal = None
    if largest is not None:  # labels that are all zero have the probe zero
        bound = (len(z) * kappa).rsqrt() if largest else torch.zeros_like(kappa)
        orthogonal = (largest**0.5 * bound).to(z.dtype)
    return ProbeNormBound(kappa.to(z.dtype), orthogonal, kappa.rsqrt().to(z.dtype))


def _largest_class(y: Tensor) -> int | None:
    """Return the largest number of equal labels that are not zero, if labels are orthogonal."""
    vectors, counts = torch.unique(y, dim=0, return_counts=True)
    gram = vectors.double() @ vectors.double().T
    outside = gram - gram.diag().diag()
    if bool((outside.abs() > _ORTHOGONAL * gram.diag().max()).any()):
        return None
    counts = counts[gram.diag() > 0]
    return int(counts.max()) if len(counts) else 0
