"""Least squares on frozen features: the probe of least norm, its residual and its risk."""

import torch
from torch import Tensor

from .. import validation
from . import _inputs
from .labels import one_hot


def residual_projector(z: Tensor, *, rtol: float | None = None) -> Tensor:
    r"""Return the projector that takes the features out of labels.

    .. math:: P = I - Z Z^+, \qquad P^2 = P = P^\top, \quad P Z = 0, \quad
        \operatorname{tr} P = n - \operatorname{rank} Z

    Parameters
    ----------
    z : Tensor, shape (n, d)
        Features, one row a sample.
    rtol : float, optional
        Singular values at most this share of the largest count as zero; max(n, d) spacings of the
        dtype of `z` by default.

    Returns
    -------
    Tensor, shape (n, n)
        Differentiable where Z has full rank.

    Raises
    ------
    TypeError, ValueError
        If `z` is no finite matrix or `rtol` is negative.

    Notes
    -----
    Claim B8.a, where features are columns and the projector acts on labels from the right. For
    noise with identity covariance, independent of Z, the expected squared norm of :math:`P\epsilon`
    is the trace. Singular vectors are orthonormal to rounding whatever the conditioning of Z, so
    :math:`PZ = 0` to rounding of Z; to form :math:`Z^+` would lose its condition number.

    Examples
    --------
    >>> residual_projector(torch.tensor([[1.0], [1.0]]))
    tensor([[ 0.5000, -0.5000],
            [-0.5000,  0.5000]])
    """
    z = _inputs.features("z", z)
    wide = z.double()
    identity = torch.eye(len(z), dtype=torch.float64, device=z.device)
    with torch.no_grad():
        _, values, rows = torch.linalg.svd(wide, full_matrices=False)
        kept = _kept(values, z, rtol)
        whiten = rows[kept].T / values[kept]
    basis = torch.linalg.qr(wide @ whiten).Q  # of the same span, which derivatives may follow
    projector: Tensor = identity - basis @ basis.T
    return projector.to(z.dtype)


def minimum_norm_probe(z: Tensor, y: Tensor, *, rtol: float | None = None) -> Tensor:
    r"""Return the least-squares probe of least norm.

    .. math:: W = Z^+ Y, \qquad \lVert ZW - Y \rVert_F = \lVert P Y \rVert_F
        = \min_V \lVert ZV - Y \rVert_F

    Parameters
    ----------
    z : Tensor, shape (n, d)
        Features, one row a sample. There is no intercept: append a constant feature for one.
    y : Tensor, shape (n, K)
        Label vectors.
    rtol : float, optional
        As in `residual_projector`.

    Returns
    -------
    Tensor, shape (d, K)
        Predictions are ``z @ probe``. Differentiable where the rank of `z` is locally constant.

    Raises
    ------
    TypeError, ValueError
        If the matrices are not finite or differ in rows, or `rtol` is negative.

    Notes
    -----
    Claims B8.a and B8.b.

    Examples
    --------
    >>> minimum_norm_probe(torch.tensor([[2.0, 0.0]]), torch.tensor([[1.0]]))
    tensor([[0.5000],
            [0.0000]])
    """
    z = _inputs.features("z", z)
    y = _inputs.targets("y", y, len(z)).to(z)
    limit = rounding_limit(z, rtol)
    inverse: Tensor = torch.linalg.pinv(z.double(), rtol=limit)
    return (inverse @ y.double()).to(z.dtype)


def probe_risk(probe: Tensor, features: Tensor, labels: Tensor) -> Tensor:
    r"""Return the mean distance of a probe's predictions from the labels.

    .. math:: R(W) = \frac1N \sum_i \lVert W^\top f(x_i) - y_i \rVert

    Parameters
    ----------
    probe : Tensor, shape (d, K)
        As of `minimum_norm_probe`.
    features : Tensor, shape (N, d)
        Features of a sample, or of a finite population of equally likely images.
    labels : Tensor of integers, shape (N,), or of floats, shape (N, K)
        Classes, which stand for one-hot vectors, or label vectors.

    Returns
    -------
    Tensor
        A number.

    Raises
    ------
    TypeError, ValueError
        If shapes or types do not fit.

    Examples
    --------
    >>> probe_risk(torch.eye(2), torch.tensor([[1.0, 0.0], [3.0, 1.0]]), torch.tensor([0, 1]))
    tensor(1.5000)
    """
    features = _inputs.features("features", features)
    probe = check_probe(probe, features)
    return errors(probe.double(), features.double(), labels).mean().to(features.dtype)


def check_probe(probe: Tensor, features: Tensor, name: str = "probe") -> Tensor:
    """Return a probe that fits features."""
    probe = _inputs.features(name, probe)
    if len(probe) != features.shape[1]:
        raise ValueError(
            f"{name} must have {features.shape[1]} rows, one a feature, got {tuple(probe.shape)}"
        )
    return probe


def label_vectors(labels: Tensor, features: Tensor, columns: int) -> Tensor:
    """Return label vectors in float64, one a row of `features`."""
    if isinstance(labels, Tensor) and not labels.is_floating_point():
        _inputs.classes("labels", labels, len(features), columns)
        return one_hot(labels, columns).to(features.device)
    labels = _inputs.targets("labels", labels, len(features))
    return _inputs.features("labels", labels, columns=columns).double()


def errors(probe: Tensor, features: Tensor, labels: Tensor) -> Tensor:
    """Return the distance of each prediction from its label."""
    difference = features @ probe - label_vectors(labels, features, probe.shape[1])
    distances: Tensor = torch.linalg.vector_norm(difference, dim=1)  # of slope 0, not NaN, at zero
    return distances


def rounding_limit(z: Tensor, rtol: float | None) -> float:
    """Return the relative size below which a singular value is rounding."""
    if rtol is None:
        return max(z.shape) * torch.finfo(z.dtype).eps
    return validation.nonnegative("rtol", rtol)


def _kept(values: Tensor, z: Tensor, rtol: float | None) -> Tensor:
    """Return which singular values count."""
    return values > rounding_limit(z, rtol) * values[0]
