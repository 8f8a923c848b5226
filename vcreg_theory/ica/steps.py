"""One step towards independence: Gauss-Newton on the cross-block loss, which is Fisher scoring."""

from typing import NamedTuple

import torch
from torch import Tensor

from .. import validation

_LEAST = 0.05  # information beyond a Gaussian's below which steps are damped


def rotation(cross: Tensor, information: Tensor) -> Tensor:
    """Return the generator of the best rotation, from M = psi y^T / n and the information."""
    excess = (information[:, None] + information - 2).clamp(min=2 * _LEAST)
    return (cross.T - cross) / excess


def relative(cross: Tensor, information: Tensor) -> Tensor:
    """Return the best relative change of the unmixing matrix, its diagonal zero."""
    bounded = information.clamp(min=1 + _LEAST)
    step = (cross.T - bounded * cross) / (bounded[:, None] * bounded - 1)
    return step.fill_diagonal_(0)


class PairStep(NamedTuple):
    """Steps computed twice: from the blocks (`gauss_newton`) and from scores (`scoring`)."""

    gauss_newton: Tensor
    scoring: Tensor


def pair_steps(y: Tensor, features: Tensor, slopes: Tensor, *, orthogonal: bool = True) -> PairStep:
    r"""Return the Gauss-Newton step of block-whitened VCReg and the step of Fisher scoring.

    With :math:`\tilde C_{ij} = C_{ii}^{-1/2} C_{ij} C_{jj}^{-1/2}` the first minimises, by pairs

    .. math::
        \lVert \tilde C_{ij} + \theta_{ij} \tilde a_i \tilde b_j^\top
        + \theta_{ji} \tilde b_i \tilde a_j^\top \rVert_F^2, \qquad
        a_i = \mathbb E \varphi_i', \quad b_i = \mathbb E \varphi_i y_i,

    over both angles, or over :math:`\theta_{ij} = -\theta_{ji}` if `orthogonal`. The second is

    .. math::
        \theta_{ij} = -\frac{M_{ij} - M_{ji}}{J_i + J_j - 2}
        \quad\text{or}\quad
        \theta_{ij} = -\frac{J_j M_{ij} - M_{ji}}{J_i J_j - 1}, \qquad
        M = \tfrac1n \hat\Psi^\top Y

    with the scores :math:`\hat\psi_i = \Phi_i C_{ii}^{-1} a_i` and the information
    :math:`J_i = a_i^\top C_{ii}^{-1} a_i`. They are equal when :math:`y_i` is in the span of its
    features and has variance 1, and, if `orthogonal`, y is white.

    Parameters
    ----------
    y : Tensor, shape (n, d)
        Estimated sources, centred, of variance one.
    features, slopes : Tensor, shape (n, d, m)
        Features of each source and their derivatives, at the samples.
    orthogonal : bool
        Whether the step is a rotation.

    Returns
    -------
    PairStep
        Two matrices of shape (d, d) with zero diagonals: ``y + y @ step.T`` is the step.

    Raises
    ------
    ValueError
        If shapes do not fit or a block of features is singular.

    Notes
    -----
    Claim A6.c. The estimator `VCRegICA` takes the second form, on features tabulated on cells.

    Examples
    --------
    >>> y = torch.rand(50, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    >>> y = torch.linalg.qr(y - y.mean(0)).Q * 50**0.5
    >>> found = pair_steps(y, torch.stack([y, y**3], 2), torch.stack([y**0, 3 * y**2], 2))
    >>> torch.allclose(found.gauss_newton, found.scoring)
    True
    """
    validation.tensor("y", y, ndim=2, min_rows=2)
    validation.tensor("features", features, ndim=3)
    validation.same_shape("features", features, "slopes", slopes)
    if features.shape[:2] != y.shape:
        raise ValueError(
            f"features must have shape (n, d, m) with (n, d) = {tuple(y.shape)}, "
            f"got {tuple(features.shape)}"
        )
    n = len(y)
    centred = features - features.mean(0)
    blocks = torch.einsum("nik,njl->ijkl", centred, centred) / n
    a, b = slopes.mean(0), torch.einsum("nik,ni->ik", centred, y) / n
    own = torch.stack([blocks[i, i] for i in range(y.shape[1])])
    factor, info = torch.linalg.cholesky_ex(own)
    if bool(info.any()):
        raise ValueError("features must have nonsingular covariance in every block")
    return PairStep(
        _gauss_newton(factor, blocks, a, b, orthogonal), _scoring(own, centred, a, y, orthogonal)
    )


def _gauss_newton(factor: Tensor, blocks: Tensor, a: Tensor, b: Tensor, orthogonal: bool) -> Tensor:
    """Least squares in whitened coordinates, pair by pair."""

    def white(v: Tensor) -> Tensor:
        solved: Tensor = torch.linalg.solve_triangular(factor, v[..., None], upper=False)
        return solved[..., 0]

    half = torch.linalg.solve_triangular(factor[:, None], blocks, upper=False)
    cross = torch.linalg.solve_triangular(factor, half.mT, upper=False).mT
    a, b = white(a), white(b)
    one = a[:, None, :, None] * b[None, :, None, :]  # derivative by theta_ij
    two = b[:, None, :, None] * a[None, :, None, :]  # derivative by theta_ji
    columns = [one - two] if orthogonal else [one, two]
    design = torch.stack(columns, -1).flatten(2, 3)
    angles: Tensor = torch.linalg.pinv(design) @ -cross.flatten(2, 3)[..., None]
    return angles[..., 0, 0].clone().fill_diagonal_(0)


def _scoring(own: Tensor, centred: Tensor, a: Tensor, y: Tensor, orthogonal: bool) -> Tensor:
    """Fisher scoring with regressed scores."""
    weights = torch.linalg.solve(own, a[..., None])[..., 0]
    cross = torch.einsum("nik,ik->in", centred, weights) @ y / len(y)
    info = (weights * a).sum(1)
    step: Tensor
    if orthogonal:
        step = (cross.T - cross) / (info[:, None] + info - 2)
    else:
        step = (cross.T - info * cross) / (info[:, None] * info - 1)
    return step.fill_diagonal_(0)
