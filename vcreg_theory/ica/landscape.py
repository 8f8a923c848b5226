"""Losses of rotated sources in closed form or by quadrature: where their minima lie."""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from .. import validation


class CrossMoments(NamedTuple):
    """Moments ``E y_a^3 y_b`` and ``E y_a^2 y_b^2 - 1``, each (d, d) with a zero diagonal."""

    cubic: Tensor
    square: Tensor

    @property
    def loss(self) -> Tensor:
        """Sum of squares over ordered pairs for `cubic` and pairs for `square`."""
        return self.cubic.square().sum() + self.square.square().sum() / 2


def cross_moments(rotation: Tensor, kurtosis: Tensor) -> CrossMoments:
    r"""Return the fourth cross-moments of rotated independent sources, :math:`y = Q s`.

    .. math::
        \mathbb E y_a^3 y_b = \sum_i \kappa_i Q_{ai}^3 Q_{bi}, \qquad
        \mathbb E y_a^2 y_b^2 - 1 = \sum_i \kappa_i Q_{ai}^2 Q_{bi}^2

    Parameters
    ----------
    rotation : Tensor, shape (d, d)
        An orthogonal matrix Q.
    kurtosis : Tensor, shape (d,)
        Excess kurtoses of the sources.

    Returns
    -------
    CrossMoments
        Differentiable.

    Raises
    ------
    ValueError
        If shapes do not fit or Q is not orthogonal to 1e-6.

    Notes
    -----
    Claim A6.b: with at most one kurtosis 0 they all vanish only at signed permutations; with four
    sources of kurtosis -1.2, 3, -1.2, 3 their loss has minima above 0.

    Examples
    --------
    >>> half = torch.tensor([[1.0, 1.0], [-1.0, 1.0]], dtype=torch.float64) / 2**0.5
    >>> round(cross_moments(half, torch.tensor([1.0, 3.0], dtype=torch.float64)).loss.item(), 12)
    1.5
    """
    q = validation.tensor("rotation", rotation, ndim=2)
    k = validation.tensor("kurtosis", kurtosis, ndim=1)
    if q.shape != (len(k), len(k)):
        raise ValueError(
            f"rotation must have shape {(len(k), len(k))} for {len(k)} kurtoses, "
            f"got {tuple(q.shape)}"
        )
    eye = torch.eye(len(q), dtype=q.dtype, device=q.device)
    if float((q @ q.T - eye).detach().abs().max()) > 1e-6:
        raise ValueError("rotation must be orthogonal, got Q Q^T off the identity")
    off = 1 - eye
    return CrossMoments(off * ((q**3 * k) @ q.T), off * ((q**2 * k) @ (q**2).T))


class RotationLosses(NamedTuple):
    """Losses of two rotated sources at each angle, shape (angles,).

    `cross` is the sum of squared covariances between the two blocks, `full` that of all different
    features, both as expected from batches (or exact, without a batch size).
    """

    cross: Tensor
    full: Tensor


def rotation_losses(
    projector: Callable[[Tensor], Tensor],
    points: Tensor,
    weights: Tensor,
    angles: Tensor,
    *,
    batch_size: int | None = None,
) -> RotationLosses:
    r"""Return the expected VCReg loss of two equal sources rotated by each angle.

    .. math::
        \mathbb E \hat C_{kl}^2 = C_{kl}^2 + \frac{\mu_{22} - C_{kl}^2}{B}
        + \frac{\sigma_k^2 \sigma_l^2 + C_{kl}^2}{B (B - 1)}

    summed over pairs of features, with exact moments under the law of the sources. The product of
    covariances from two independent batches has expectation :math:`C_{kl}^2`, the case without B.

    Parameters
    ----------
    projector : callable
        From (N, 2) to (N, 2 m), the features of the first output first, as
        `models.elementwise_projector` makes them.
    points, weights : Tensor, shape (q,)
        A quadrature rule of one source, of total weight 1; see `uniform_rule`.
    angles : Tensor, shape (r,)
        Rotations of the sources, in radians; 0 is the solution.
    batch_size : int, optional
        Size B of the batches, at least 2; by default infinite.

    Returns
    -------
    RotationLosses
        Not divided by the number of features.

    Raises
    ------
    ValueError
        If shapes do not fit, the projector returns an odd number of features, weights are not a law
        or the batch size is below 2.

    Notes
    -----
    Claims A1.e and A6.d: self terms and small batches can move the minimum from 0 to 45 degrees.

    Examples
    --------
    >>> points, weights = uniform_rule(20)
    >>> angles = torch.tensor([0.0, math.pi / 4], dtype=torch.float64)
    >>> cross = rotation_losses(torch.square, points, weights, angles).cross
    >>> [round(loss, 10) for loss in cross.tolist()]  # squares at 45 degrees: (-1.2 / 2)^2
    [0.0, 0.36]
    """
    validation.tensor("points", points, ndim=1)
    validation.tensor("weights", weights, ndim=1)
    validation.same_shape("points", points, "weights", weights)
    validation.tensor("angles", angles, ndim=1, min_rows=1)
    if bool((weights < 0).any()) or abs(float(weights.sum()) - 1) > 1e-6:
        raise ValueError(f"weights must be a law, got total {float(weights.sum())!r}")
    if batch_size is not None:
        validation.integer("batch_size", batch_size, at_least=2)
    pairs = torch.cartesian_prod(points, points)
    mass = torch.outer(weights, weights).flatten()
    found = [_losses(projector, pairs, mass, float(angle), batch_size) for angle in angles]
    return RotationLosses(*(torch.stack(v) for v in zip(*found, strict=True)))


def uniform_rule(q: int) -> tuple[Tensor, Tensor]:
    """Return Gauss-Legendre points and weights of the uniform law of variance one, in float64."""
    import numpy as np

    x, w = np.polynomial.legendre.leggauss(validation.integer("q", q, at_least=1))
    return torch.from_numpy(x * math.sqrt(3)), torch.from_numpy(w / 2)


def _losses(
    projector: Callable[[Tensor], Tensor],
    pairs: Tensor,
    mass: Tensor,
    angle: float,
    batch: int | None,
) -> tuple[Tensor, Tensor]:
    """Return the cross and the full loss at one angle."""
    cos, sin = math.cos(angle), math.sin(angle)
    turn = pairs.new_tensor([[cos, sin], [-sin, cos]])
    with torch.no_grad():
        z = projector(pairs @ turn.T)
    if z.ndim != 2 or len(z) != len(pairs) or not z.shape[1] or z.shape[1] % 2:
        raise ValueError(
            "projector must return as many features of each of the two outputs, shape "
            f"({len(pairs)}, 2 m), got {tuple(z.shape)}"
        )
    z = z - mass @ z
    weighted = z * mass[:, None]
    square = (weighted.T @ z).square()
    if batch is not None:
        variance = mass @ z.square()
        mixed = (weighted * z).T @ z.square()
        own = variance[:, None] * variance
        square = square + (mixed - square) / batch + (own + square) / (batch * (batch - 1))
    m = z.shape[1] // 2
    return square[:m, m:].sum(), square.sum() - square.diagonal().sum()
