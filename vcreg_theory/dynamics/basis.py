"""Bases in which the moments of views are diagonal: canonical modes and common eigenvectors."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import linalg

from .._types import FloatArray
from . import arrays

_MIXTURES = 8  # combinations of the matrices that are tried for their common eigenvectors


class CanonicalModes(NamedTuple):
    """Invariance ratios `rho` of shape (d,), descending, and the modes, the columns of `V`."""

    rho: FloatArray
    V: FloatArray


class CommonModes(NamedTuple):
    """Eigenvalues `x` of X and `c` of Sigma, shape (d,), in their common basis, columns of `V`."""

    x: FloatArray
    c: FloatArray
    V: FloatArray


def canonical_modes(X: ArrayLike, Sigma: ArrayLike) -> CanonicalModes:
    r"""Return the canonical modes of two views and their invariance ratios.

    .. math:: X v_j = \rho_j \Sigma v_j, \qquad V^\top \Sigma V = I, \quad
        V^\top X V = \operatorname{diag}(\rho)

    Parameters
    ----------
    X, Sigma : array_like, shape (d, d)
        Cross-view and second moment of views; `Sigma` positive definite.

    Returns
    -------
    CanonicalModes

    Raises
    ------
    ValueError
        If the moments are none (see `view_moments`) or `Sigma` is singular.

    Notes
    -----
    The ratios are those of claims C4.c and C10.e: the canonical correlations of the two views.

    Examples
    --------
    >>> canonical_modes(np.eye(2), np.diag([1.0, 4.0])).rho.tolist()
    [1.0, 0.25]
    """
    X, Sigma = arrays.moments(X, Sigma, indefinite=True)
    rho, V = linalg.eigh(X, arrays.definite("Sigma", Sigma))
    return CanonicalModes(rho[::-1], V[:, ::-1])


def common_modes(X: ArrayLike, Sigma: ArrayLike, W: ArrayLike | None = None) -> CommonModes:
    r"""Return a common eigenbasis of commuting moments, one that `W` is aligned with if given.

    .. math:: X = V \operatorname{diag}(x) V^\top, \quad \Sigma = V \operatorname{diag}(c) V^\top,
        \quad W = U \operatorname{diag}(s) V^\top

    Parameters
    ----------
    X, Sigma : array_like, shape (d, d)
        Cross-view and second moment of views.
    W : array_like, shape (k, d), optional
        Weights whose right singular vectors the basis must hold as well. Where X and Sigma have
        equal eigenvalues, as on the invariant directions of the block model, this chooses V.

    Returns
    -------
    CommonModes
        In ascending order of an eigenvalue that tells the modes apart; the order has no meaning.

    Raises
    ------
    ValueError
        If the matrices do not commute, up to the rounding that `arrays.SLACK` allows.

    Notes
    -----
    The hypothesis of claim C3.a. The eigenvectors of a generic combination of commuting matrices
    diagonalise each; a fixed few combinations are tried and the best is taken, as any one may be
    unlucky in that two modes get almost equal values.

    Examples
    --------
    >>> x, c, V = common_modes(np.eye(2), np.array([[2.0, 1.0], [1.0, 2.0]]))
    >>> c.round(12).tolist()
    [1.0, 3.0]
    """
    X, Sigma = arrays.moments(X, Sigma, indefinite=True)
    matrices = [X, Sigma]
    if W is not None:
        W = arrays.matrix("W", W, shape=(None, len(X)))
        matrices.append(W.T @ W)
    V, gap = _joint_eigenvectors(matrices)
    if gap > arrays.SLACK:
        names = "X and Sigma" if W is None else "X, Sigma and W^T W"
        raise ValueError(
            f"{names} must commute, got {gap:.3g} of the largest entry off the diagonal in the "
            "best common basis"
        )
    return CommonModes((V * (X @ V)).sum(0), (V * (Sigma @ V)).sum(0), V)


def _joint_eigenvectors(matrices: list[FloatArray]) -> tuple[FloatArray, float]:
    """Return the most nearly common eigenvectors, and the largest relative entry they leave."""
    scaled = [m / max(np.abs(m).max(), np.finfo(np.float64).tiny) for m in matrices]
    best: tuple[FloatArray, float] | None = None
    for trial in range(1, _MIXTURES + 1):
        weights = np.sin(trial * np.sqrt(np.arange(2, 2 + len(scaled))))  # fixed and generic
        V = np.linalg.eigh(sum(w * m for w, m in zip(weights, scaled, strict=True)))[1]
        gap = max(_off_diagonal(V.T @ m @ V) for m in scaled)
        if best is None or gap < best[1]:
            best = V, gap
    assert best is not None
    return best


def _off_diagonal(matrix: FloatArray) -> float:
    """Return the largest entry off the diagonal, in absolute value."""
    return float(np.abs(matrix - np.diag(matrix.diagonal())).max())
