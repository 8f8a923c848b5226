r"""The two matrices through which data enter the linear dynamics, and their modes.

With views :math:`x_1, x_2` independent and identically distributed given the input,
:math:`X = \mathbb E[x_1 x_2^\top]` and :math:`\Sigma = \mathbb E[x_1 x_1^\top] = X + X'`, where
:math:`X'` is the covariance that the augmentation adds.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from .. import validation
from .._types import FloatArray
from . import arrays

Sampler = Callable[[np.random.Generator], tuple[FloatArray, FloatArray]]


class Moments(NamedTuple):
    """Cross-view moment `X` and second moment `Sigma` of views, both of shape (d, d)."""

    X: FloatArray
    Sigma: FloatArray


class BlockMoments(NamedTuple):
    """Moments of the block model, with the projection `P_S` on its invariant directions."""

    X: FloatArray
    Sigma: FloatArray
    P_S: FloatArray


def view_moments(x1: ArrayLike, x2: ArrayLike, *, center: bool = False) -> Moments:
    r"""Estimate the moments of views from n pairs.

    .. math:: \hat X = \frac1{2n} \sum_i (x_{1i} x_{2i}^\top + x_{2i} x_{1i}^\top), \qquad
        \hat\Sigma = \frac1{2n} \sum_i (x_{1i} x_{1i}^\top + x_{2i} x_{2i}^\top)

    Parameters
    ----------
    x1, x2 : array_like, shape (n, d)
        One pair of views a row.
    center : bool
        Whether the mean of all 2n views is subtracted first. The dynamics of a network without
        offset follow the moments that are not centred.

    Returns
    -------
    Moments

    Raises
    ------
    ValueError
        If the views are not two finite matrices of one shape.

    Notes
    -----
    Claims C1.c and C5.a. :math:`\hat\Sigma \pm \hat X` are positive semi-definite for every sample;
    :math:`\hat X` itself is not when n is small.

    Examples
    --------
    >>> X, Sigma = view_moments([[1.0, 0.0]], [[1.0, 2.0]])
    >>> X.tolist(), Sigma.tolist()
    ([[1.0, 1.0], [1.0, 0.0]], [[1.0, 1.0], [1.0, 2.0]])
    """
    x1 = arrays.matrix("x1", x1)
    x2 = arrays.matrix("x2", x2, shape=x1.shape)
    if center:
        mean: FloatArray = (x1.mean(0) + x2.mean(0)) / 2
        x1, x2 = x1 - mean, x2 - mean
    cross = x1.T @ x2 / len(x1)
    return Moments((cross + cross.T) / 2, (x1.T @ x1 + x2.T @ x2) / (2 * len(x1)))


def commuting_moments(
    x: ArrayLike, c: ArrayLike, *, generator: np.random.Generator | None = None
) -> Moments:
    r"""Return moments with given eigenvalues in common modes.

    .. math:: X = V \operatorname{diag}(x) V^\top, \qquad \Sigma = V \operatorname{diag}(c) V^\top

    Parameters
    ----------
    x, c : array_like, shape (d,)
        Eigenvalues, 0 < x <= c.
    generator : numpy.random.Generator, optional
        Draws the basis V from the uniform law on rotations; without it V = I.

    Returns
    -------
    Moments

    Raises
    ------
    ValueError
        If an eigenvalue is out of range, or `x` and `c` are not vectors of one size.

    Notes
    -----
    The setting of claim C3.a.

    Examples
    --------
    >>> commuting_moments([1.0, 2.0], [1.0, 3.0]).Sigma.tolist()
    [[1.0, 0.0], [0.0, 3.0]]
    """
    x, c = arrays.modes(x, c)
    if x.ndim != 1:
        raise ValueError(f"x and c must be vectors, got shape {x.shape}")
    basis = np.eye(len(x)) if generator is None else random_rotation(len(x), generator)
    return Moments((basis * x) @ basis.T, (basis * c) @ basis.T)


def block_moments(
    d: int, rank: int, sigma2: float, *, generator: np.random.Generator | None = None
) -> BlockMoments:
    r"""Return the moments of the block model: isotropic inputs, some directions augmented.

    .. math:: X = I, \qquad \Sigma = I + \sigma^2 P_B, \qquad P_S = I - P_B

    Parameters
    ----------
    d : int
        Dimension of the input.
    rank : int
        Number of directions that the augmentation leaves alone, from 0 to d.
    sigma2 : float
        Variance that the augmentation adds in the others, not negative.
    generator : numpy.random.Generator, optional
        Draws the invariant subspace from the uniform law; without it the first `rank` coordinates
        span it.

    Returns
    -------
    BlockMoments

    Raises
    ------
    ValueError
        If a size or the variance is out of range.

    Notes
    -----
    The model of claims C4.b and C5.a.

    Examples
    --------
    >>> block_moments(3, 1, 2.0).Sigma.diagonal()
    array([1., 3., 3.])
    """
    d = validation.integer("d", d, at_least=1)
    rank = validation.integer("rank", rank, at_least=0)
    if rank > d:
        raise ValueError(f"rank must be at most d = {d}, got {rank}")
    sigma2 = validation.nonnegative("sigma2", sigma2)
    basis = np.eye(d) if generator is None else random_rotation(d, generator)
    P_S = basis[:, :rank] @ basis[:, :rank].T
    return BlockMoments(np.eye(d), np.eye(d) + sigma2 * (np.eye(d) - P_S), P_S)


def random_rotation(d: int, generator: np.random.Generator) -> FloatArray:
    """Return an orthogonal matrix of shape (d, d) from the uniform law (Haar measure).

    Examples
    --------
    >>> q = random_rotation(3, np.random.default_rng(0))
    >>> bool(np.allclose(q @ q.T, np.eye(3)))
    True
    """
    d = validation.integer("d", d, at_least=1)
    q, r = np.linalg.qr(generator.standard_normal((d, d)))
    # Without the signs the law is that of LAPACK's convention.
    found: FloatArray = q * np.sign(r.diagonal())
    return found


def view_sampler(X: ArrayLike, Sigma: ArrayLike, n: int) -> Sampler:
    r"""Return a function that draws n pairs of Gaussian views with given moments.

    .. math:: x_1 = \bar x + e_1, \quad x_2 = \bar x + e_2, \qquad
        \bar x \sim N(0, X), \quad e_i \sim N(0, \Sigma - X)

    Parameters
    ----------
    X, Sigma : array_like, shape (d, d)
        Cross-view and second moment; X and Sigma - X positive semi-definite.
    n : int
        Number of pairs in a draw.

    Returns
    -------
    callable
        Called with a `numpy.random.Generator`, it returns views x1 and x2 of shape (n, d).

    Raises
    ------
    ValueError
        If the moments are none, or `n` is below 1.

    Notes
    -----
    The data of claims C5.a and C5.b.

    Examples
    --------
    >>> x1, x2 = view_sampler(*block_moments(2, 1, 0.5)[:2], 10)(np.random.default_rng(0))
    >>> bool((x1[:, 0] == x2[:, 0]).all()), x1.shape
    (True, (10, 2))
    """
    X, Sigma = arrays.moments(X, Sigma)
    n = validation.integer("n", n, at_least=1)
    signal, noise = _root(X), _root(Sigma - X)

    def draw(generator: np.random.Generator) -> tuple[FloatArray, FloatArray]:
        mean = generator.standard_normal((n, len(X))) @ signal
        first, second = generator.standard_normal((2, n, len(X))) @ noise
        return mean + first, mean + second

    return draw


def _root(covariance: FloatArray) -> FloatArray:
    """Return the symmetric root of a positive semi-definite matrix, exact where it is diagonal."""
    values, vectors = np.linalg.eigh(covariance)
    root: FloatArray = (vectors * np.sqrt(values.clip(min=0))) @ vectors.T
    return root
