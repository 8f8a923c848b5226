"""The informal form of the paper's bound, to compare with what is proved."""

from typing import NamedTuple

import torch
from torch import Tensor

from . import _inputs
from .probe import errors, label_vectors, minimum_norm_probe


class InformalBound(NamedTuple):
    """The terms of the paper's informal statement; no theorem, and `total` is no bound."""

    total: Tensor
    invariance: Tensor
    hidden: Tensor
    residual: Tensor


def informal_bound(
    features: Tensor,
    labels: Tensor,
    hidden_features: Tensor,
    hidden_labels: Tensor,
    invariance: float | Tensor,
    *,
    n_classes: int,
) -> InformalBound:
    r"""Return the three terms that the paper's informal statement adds up.

    .. math:: I(f) + \frac2{\sqrt m} \lVert P_{\bar Z} \bar Y \rVert_F
        + \frac1{\sqrt n} \lVert P_Z Y \rVert_F

    Parameters
    ----------
    features, labels : Tensor, shape (n, d) and (n,)
        The labelled sample.
    hidden_features, hidden_labels : Tensor, shape (m, d) and (m,)
        The sample whose labels are not seen, so that its term cannot be computed in practice.
    invariance : float
        Mean distance of pairs, for instance of `pair_invariance`.
    n_classes : int
        Number of classes.

    Returns
    -------
    InformalBound

    Raises
    ------
    TypeError, ValueError
        If shapes or types do not fit.

    Notes
    -----
    Theorem 3 of the paper as we recall it, without its constant and its deviations. Not a theorem:
    features times 1/1000 have the same probe predictions and a thousandth of the first term.

    Examples
    --------
    >>> z, y = torch.tensor([[1.0], [1.0]]), torch.tensor([0, 1])
    >>> [round(float(value), 4) for value in informal_bound(z, y, z, y, 0.1, n_classes=2)]
    [2.2213, 0.1, 1.4142, 0.7071]
    """
    features = _inputs.features("features", features)
    norms = []
    for name, z, y in (("", features, labels), ("hidden_", hidden_features, hidden_labels)):
        z = _inputs.features(f"{name}features", z, columns=features.shape[1])
        targets = label_vectors(y, z, n_classes)
        found = errors(minimum_norm_probe(z, targets).double(), z.double(), targets)
        norms.append(torch.linalg.vector_norm(found) / len(z) ** 0.5)
    given = _inputs.nonnegative("invariance", invariance).to(norms[0].device)
    terms = (given, 2 * norms[1].to(given.device), norms[0])
    rounded = (torch.as_tensor(value).to(features.dtype) for value in (sum(terms), *terms))
    return InformalBound(*rounded)
