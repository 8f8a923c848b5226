r"""Alignment of a learned predictor with the correlation of the outputs.

Views with :math:`\Sigma = c I`, a target :math:`W_a = \tau W`, a predictor that learns at the rate
:math:`\alpha_p` with the network's weight decay :math:`\eta`, and :math:`F = W W^\top`. Unless said
otherwise :math:`X = I`; the bounds of claim C8.b hold for every X.
"""

import numpy as np
from numpy.typing import ArrayLike

from .. import validation
from .._types import FloatArray
from . import arrays
from .balance import imbalance


def commutator_norm(A: ArrayLike, B: ArrayLike, *, relative: bool = True) -> float:
    r"""Return how far two matrices are from commuting.

    .. math:: \frac{\lVert A B - B A \rVert_F}{\lVert A \rVert_F \lVert B \rVert_F}

    Parameters
    ----------
    A, B : array_like, shape (k, k)
        Square matrices.
    relative : bool
        Whether the norm is divided as shown. Where both matrices decay the bare norm tends to 0
        whether they align or not.

    Returns
    -------
    float
        At most the root of 2 if relative; 0 for a zero matrix.

    Raises
    ------
    ValueError
        If the matrices are not square and of one size.

    Notes
    -----
    Claims C8.a to C8.e.

    Examples
    --------
    >>> round(commutator_norm(np.diag([1.0, -1.0]), [[0.0, 1.0], [1.0, 0.0]]), 6)
    1.414214
    """
    A = arrays.matrix("A", A)
    A = arrays.matrix("A", A, shape=(len(A), len(A)))
    B = arrays.matrix("B", B, shape=A.shape)
    norm = float(np.linalg.norm(A @ B - B @ A))
    scale = float(np.linalg.norm(A) * np.linalg.norm(B)) if relative else 1.0
    return norm / scale if scale > 0 else 0.0


def commutator_damping(
    F: ArrayLike,
    W_p: ArrayLike,
    c: float,
    weight_decay: float,
    *,
    rate: float = 1.0,
    target_scale: float = 1.0,
) -> FloatArray:
    r"""Return the matrix that damps the commutator of correlation and symmetrised predictor.

    .. math:: \dot L = -(K L + L K), \quad L = [F, W_p], \qquad
        K = \tfrac{\alpha_p c}{2} F + \tfrac32 \eta I - \tau W_p + c W_p^2

    Parameters
    ----------
    F : array_like, shape (k, k)
        Correlation :math:`W W^\top`, positive semi-definite.
    W_p : array_like, shape (k, k)
        Predictor, symmetric.
    c : float
        View variance, positive.
    weight_decay : float
        The decay :math:`\eta`, not negative.
    rate, target_scale : float
        The rate :math:`\alpha_p`, positive, and the scale :math:`\tau` of the target.

    Returns
    -------
    ndarray, shape (k, k)
        Positive definite, whatever `F` and `W_p`, above `alignment_threshold`.

    Raises
    ------
    ValueError
        If an argument is out of range, or a matrix is not symmetric.

    Notes
    -----
    Claim C8.a.

    Examples
    --------
    >>> commutator_damping([[1.0]], [[0.5]], 2.0, 0.1)  # 1 + 0.15 - 0.5 + 0.5
    array([[1.15]])
    """
    F = arrays.semidefinite("F", F)
    W_p = arrays.symmetric("W_p", W_p, size=len(F))
    c, rate = validation.positive("c", c), validation.positive("rate", rate)
    eta = validation.nonnegative("weight_decay", weight_decay)
    tau = validation.real("target_scale", target_scale)
    return rate * c / 2 * F + 1.5 * eta * np.eye(len(F)) - tau * W_p + c * W_p @ W_p


def alignment_threshold(c: float, *, target_scale: float = 1.0) -> float:
    r"""Return the weight decay above which the commutator falls at every moment.

    .. math:: \frac{\tau^2}{6 c}

    Parameters
    ----------
    c : float
        View variance, positive.
    target_scale : float
        The scale :math:`\tau` of the target.

    Returns
    -------
    float

    Raises
    ------
    ValueError
        If `c` is not positive.

    Notes
    -----
    Claim C8.a; below it the commutator may grow at first and still tends to zero, by
    `commutator_integral_bound`.

    Examples
    --------
    >>> round(alignment_threshold(2.0), 6)
    0.083333
    """
    return validation.real("target_scale", target_scale) ** 2 / (6 * validation.positive("c", c))


def commutator_integral_bound(
    W: ArrayLike, W_p: ArrayLike, c: float, *, rate: float = 1.0
) -> float:
    r"""Return a bound on the commutator, squared and summed over all time.

    .. math:: \int_0^\infty \lVert [F, W_p] \rVert_F^2\, dt \le \lVert M(0) \rVert_F^2 / c

    Parameters
    ----------
    W : array_like, shape (k, d)
        Weights at time 0.
    W_p : array_like, shape (k, k)
        Symmetric predictor at time 0.
    c : float
        View variance, positive.
    rate : float
        The rate :math:`\alpha_p`, positive.

    Returns
    -------
    float

    Raises
    ------
    ValueError
        If an argument is out of range or the predictor is not symmetric.

    Notes
    -----
    Claim C8.b: for a symmetrised predictor, :math:`\Sigma = c I`, every X and every weight decay, 0
    included. M is `imbalance`.
    Of :math:`\lVert M(0) \rVert_F^2 / c` the rest is :math:`\frac{4\eta}c \int \lVert M \rVert_F^2`
    and what is left of :math:`\lVert M \rVert_F^2 / c` at the end.

    Examples
    --------
    >>> commutator_integral_bound(np.eye(2), np.zeros((2, 2)), 4.0)
    0.5
    """
    W_p = arrays.symmetric("W_p", W_p)
    return float(np.square(imbalance(W, W_p, rate=rate)).sum()) / validation.positive("c", c)


def commutator_bound(
    t: float, W_p: ArrayLike, imbalance_at_start: ArrayLike, *, weight_decay: float = 0.0
) -> float:
    r"""Return a bound on the commutator at one time.

    .. math:: \lVert [F, W_p] \rVert_F
        \le 2 \lVert W_p \rVert\, e^{-2\eta t}\, \lVert M(0) \rVert_F

    Parameters
    ----------
    t : float
        Time, not negative.
    W_p : array_like, shape (k, k)
        Symmetric predictor at that time.
    imbalance_at_start : array_like, shape (k, k)
        M(0), see `imbalance`.
    weight_decay : float
        The decay :math:`\eta`, not negative.

    Returns
    -------
    float

    Raises
    ------
    ValueError
        If an argument is out of range or the predictor is not symmetric.

    Notes
    -----
    Claim C8.b: for a symmetrised predictor, :math:`\Sigma = c I` and every X.

    Examples
    --------
    >>> commutator_bound(0.0, [[3.0]], [[0.5]])
    3.0
    """
    W_p = arrays.symmetric("W_p", W_p)
    first = arrays.matrix("imbalance_at_start", imbalance_at_start, shape=W_p.shape)
    t = validation.nonnegative("t", t)
    decay = np.exp(-2 * validation.nonnegative("weight_decay", weight_decay) * t)
    return float(2 * np.linalg.norm(W_p, 2) * decay * np.linalg.norm(first))
