r"""Loss and gradients of linear non-contrastive learning, in terms of the moments of the views.

Network :math:`W`, predictor :math:`W_p`, target :math:`W_a`, and
:math:`L = \frac12 \mathbb E \lVert W_p W x_1 - W_a x_2 \rVert^2`.
"""

from typing import Any, NamedTuple, cast

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from .._types import FloatArray
from . import arrays


class SemiGradient(NamedTuple):
    """Gradients of the loss in the weights `W` (k, d) and `W_p` (k, k), the target held fixed."""

    W: FloatArray
    W_p: FloatArray


def noncontrastive_loss(W: Any, W_p: Any, W_a: Any, X: Any, Sigma: Any) -> Any:
    r"""Return the expected squared distance of prediction and target, halved.

    .. math:: L = \tfrac12 \operatorname{tr} (W_p W \Sigma W^\top W_p^\top)
        - \operatorname{tr} (W_p W X W_a^\top) + \tfrac12 \operatorname{tr} (W_a \Sigma W_a^\top)

    Parameters
    ----------
    W, W_a : array_like or Tensor, shape (k, d)
        Weights of network and target.
    W_p : array_like or Tensor, shape (k, k)
        Predictor.
    X, Sigma : array_like or Tensor, shape (d, d)
        Cross-view and second moment of the views.

    Returns
    -------
    float, or a scalar Tensor where `W` is one
        Tensors may require gradients, and must all be tensors of one dtype then.

    Raises
    ------
    ValueError
        If a shape does not fit, an entry is not finite, or the moments are none.

    Notes
    -----
    Claim C1.a. The views need not be Gaussian, and the moments are not centred.

    Examples
    --------
    >>> one, zero = np.eye(1), np.zeros((1, 1))
    >>> noncontrastive_loss(one, one, one, one, 3 * one), noncontrastive_loss(*[one] * 5)
    (2.0, 0.0)
    """
    _checked(W, W_p, W_a, X, Sigma)
    if not isinstance(W, Tensor):
        W, W_p, W_a, X, Sigma = (np.asarray(m, dtype=float) for m in (W, W_p, W_a, X, Sigma))
    elif not all(isinstance(m, Tensor) and m.dtype == W.dtype for m in (W_p, W_a, X, Sigma)):
        raise TypeError("W_p, W_a, X and Sigma must be tensors of the dtype of W, as W is a tensor")
    prediction = W_p @ W
    loss = (
        (prediction @ Sigma * prediction).sum() / 2
        - (prediction @ X * W_a).sum()
        + (W_a @ Sigma * W_a).sum() / 2
    )
    return loss if isinstance(loss, torch.Tensor) else float(loss)


def semi_gradient(
    W: ArrayLike, W_p: ArrayLike, W_a: ArrayLike, X: ArrayLike, Sigma: ArrayLike
) -> SemiGradient:
    r"""Return the gradients of the loss with stop-gradient on the target.

    .. math:: \nabla_W L = -W_p^\top G, \qquad \nabla_{W_p} L = -G W^\top, \qquad
        G = W_a X - W_p W \Sigma

    Parameters
    ----------
    W, W_p, W_a, X, Sigma : array_like
        As in `noncontrastive_loss`.

    Returns
    -------
    SemiGradient

    Raises
    ------
    ValueError
        As in `noncontrastive_loss`.

    Notes
    -----
    Claim C1.a. With `W_a = W` this is no gradient of a function of W.

    Examples
    --------
    >>> semi_gradient([[2.0]], [[1.0]], [[2.0]], [[1.0]], [[3.0]])
    SemiGradient(W=array([[4.]]), W_p=array([[8.]]))
    """
    W, W_p, W_a, X, Sigma = _checked(W, W_p, W_a, X, Sigma)
    G = W_a @ X - W_p @ W @ Sigma
    return SemiGradient(-W_p.T @ G, -G @ W.T)


def full_gradient(W: ArrayLike, W_p: ArrayLike, X: ArrayLike, Sigma: ArrayLike) -> FloatArray:
    r"""Return the gradient in W without stop-gradient, the target tied to the network.

    .. math:: \nabla_W L = (W_p^\top W_p + I) W X' + (W_p - I)^\top (W_p - I) W X,
        \qquad X' = \Sigma - X

    Parameters
    ----------
    W, W_p, X, Sigma : array_like
        As in `noncontrastive_loss`, where :math:`W_a = W`.

    Returns
    -------
    ndarray, shape (k, d)

    Raises
    ------
    ValueError
        As in `noncontrastive_loss`.

    Notes
    -----
    Claim C1.b. The predictor is held fixed. The loss is of degree two in W, hence
    :math:`\langle W, \nabla_W L \rangle = 2 L`.

    Examples
    --------
    >>> full_gradient([[2.0]], [[1.0]], [[1.0]], [[3.0]])
    array([[8.]])
    """
    W, W_p, _, X, Sigma = _checked(W, W_p, W, X, Sigma)
    gap = W_p - np.eye(len(W_p))
    return W_p.T @ W_p @ W @ (Sigma - X) + W @ (Sigma - X) + gap.T @ gap @ W @ X


def optimal_predictor(W: ArrayLike, X: ArrayLike, Sigma: ArrayLike) -> FloatArray:
    r"""Return the predictor of least loss for tied weights.

    .. math:: W_p = W X W^\top (W \Sigma W^\top)^{-1}

    Parameters
    ----------
    W : array_like, shape (k, d)
        Weights such that :math:`W \Sigma W^\top` is invertible.
    X, Sigma : array_like, shape (d, d)
        Cross-view and second moment of the views.

    Returns
    -------
    ndarray, shape (k, k)

    Raises
    ------
    ValueError
        If :math:`W \Sigma W^\top` is singular to rounding, or as in `noncontrastive_loss`.

    Notes
    -----
    Claims C2.d and C2.e; it makes :math:`G W^\top` vanish.

    Examples
    --------
    >>> optimal_predictor([[1.0, 0.0]], np.eye(2), np.diag([4.0, 1.0]))
    array([[0.25]])
    """
    W = arrays.matrix("W", W)
    W, _, _, X, Sigma = _checked(W, np.eye(len(W)), W, X, Sigma)
    return solve_predictor(W, X, Sigma)


def solve_predictor(W: FloatArray, X: FloatArray, Sigma: FloatArray) -> FloatArray:
    """Return the optimal predictor of checked arguments."""
    second = W @ Sigma @ W.T
    values = np.linalg.eigvalsh(second)
    if not values[0] > len(W) * np.finfo(np.float64).eps * values[-1]:
        raise ValueError(
            f"W Sigma W^T must be invertible, got eigenvalues from {values[0]:.3g} "
            f"to {values[-1]:.3g}"
        )
    # Both factors are symmetric.
    return cast(FloatArray, np.linalg.solve(second, W @ X @ W.T)).T


def _checked(W: Any, W_p: Any, W_a: Any, X: Any, Sigma: Any) -> tuple[FloatArray, ...]:
    """Return weights and moments as arrays whose shapes fit."""
    X, Sigma = arrays.moments(X, Sigma, indefinite=True)
    W = arrays.matrix("W", W, shape=(None, len(X)))
    W_p = arrays.matrix("W_p", W_p, shape=(len(W), len(W)))
    return W, W_p, arrays.matrix("W_a", W_a, shape=W.shape), X, Sigma
