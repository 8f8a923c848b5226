"""Balance of network and learned predictor, and the predictors that stand still."""

import numpy as np
from numpy.typing import ArrayLike

from .. import validation
from .._types import FloatArray
from . import arrays


def imbalance(W: ArrayLike, W_p: ArrayLike, *, rate: float = 1.0) -> FloatArray:
    r"""Return by how much network and predictor are out of balance.

    .. math:: M = W W^\top - \alpha_p^{-1} W_p^\top W_p

    Parameters
    ----------
    W : array_like, shape (k, d)
        Weights of the network.
    W_p : array_like, shape (k, k)
        Predictor.
    rate : float
        The rate :math:`\alpha_p` at which the predictor learns, positive.

    Returns
    -------
    ndarray, shape (k, k)

    Raises
    ------
    ValueError
        If a shape does not fit or the rate is not positive.

    Notes
    -----
    Claim C2.a: with equal weight decay it is :math:`e^{-2\eta t}` times its start, for any data
    and target. Claim C8.b: of a symmetrised predictor its norm falls at least as fast.

    Examples
    --------
    >>> imbalance([[2.0]], [[1.0]], rate=0.5)
    array([[2.]])
    """
    W = arrays.matrix("W", W)
    W_p = arrays.matrix("W_p", W_p, shape=(len(W), len(W)))
    return W @ W.T - W_p.T @ W_p / validation.positive("rate", rate)


def balanced_predictor(W: ArrayLike, *, rate: float = 1.0) -> FloatArray:
    r"""Return the symmetric predictor that is in balance with the network.

    .. math:: W_p = (\alpha_p W W^\top)^{1/2}

    Parameters
    ----------
    W : array_like, shape (k, d)
        Weights of the network.
    rate : float
        The rate :math:`\alpha_p`, positive.

    Returns
    -------
    ndarray, shape (k, k)

    Raises
    ------
    ValueError
        If W is no finite matrix or the rate is not positive.

    Notes
    -----
    Claim C8.d: a learned predictor that starts there stays there if :math:`\Sigma = c I`.

    Examples
    --------
    >>> balanced_predictor([[3.0, 4.0]])
    array([[5.]])
    """
    W = arrays.matrix("W", W)
    rate = validation.positive("rate", rate)
    U, s, _ = np.linalg.svd(W, full_matrices=False)
    found: FloatArray = (U * (np.sqrt(rate) * s)) @ U.T
    return found


def ridge_predictor(
    F: ArrayLike, c: float, weight_decay: float, *, rate: float = 1.0, target_scale: float = 1.0
) -> FloatArray:
    r"""Return the only predictor that stands still under weight decay, given the correlation.

    .. math:: W_p = \tau \alpha_p F (\alpha_p c F + \eta I)^{-1}

    Parameters
    ----------
    F : array_like, shape (k, k)
        Correlation :math:`W W^\top`, positive semi-definite.
    c : float
        View variance, positive.
    weight_decay : float
        The decay :math:`\eta`, positive.
    rate, target_scale : float
        The rate :math:`\alpha_p`, positive, and the scale :math:`\tau` of the target.

    Returns
    -------
    ndarray, shape (k, k)

    Raises
    ------
    ValueError
        If an argument is out of range, or `F` is not symmetric and positive semi-definite.

    Notes
    -----
    Claim C8.c; it commutes with F, whether or not symmetry was imposed.

    Examples
    --------
    >>> ridge_predictor([[1.0]], 1.0, 1.0)
    array([[0.5]])
    """
    F = arrays.semidefinite("F", F)
    slope = validation.positive("rate", rate) * validation.positive("c", c)
    tau = validation.real("target_scale", target_scale)
    ridge = slope * F + validation.positive("weight_decay", weight_decay) * np.eye(len(F))
    found = tau * rate * np.linalg.solve(ridge, F)
    return (found + found.T) / 2
