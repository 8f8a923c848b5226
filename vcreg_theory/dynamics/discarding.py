"""What weight decay discards whatever the linear predictor is."""

import numpy as np
from numpy.typing import ArrayLike
from scipy import linalg

from .. import validation
from .._types import FloatArray
from . import arrays
from .modes import broadcast, mode_critical_weight_decay


def universal_threshold(X: ArrayLike, Sigma: ArrayLike) -> float:
    r"""Return a weight decay above which every linear predictor lets all of W collapse.

    .. math:: \tfrac14 \lambda_{\max}(X \Sigma^{-1} X)

    Parameters
    ----------
    X, Sigma : array_like, shape (d, d)
        Cross-view and second moment of the views; `Sigma` positive definite.

    Returns
    -------
    float

    Raises
    ------
    ValueError
        If the moments are none or `Sigma` is singular.

    Notes
    -----
    Claim C4.f: it holds for predictors that are not symmetric and is at least
    `collapse_threshold`, equal to it where X and Sigma commute.

    Examples
    --------
    >>> universal_threshold(np.eye(2), np.diag([1.0, 3.0]))
    0.25
    """
    X, Sigma = arrays.moments(X, Sigma, indefinite=True)
    root = np.linalg.cholesky(arrays.definite("Sigma", Sigma))
    half = linalg.solve_triangular(root, X, lower=True)
    return float(np.linalg.norm(half, 2) ** 2 / 4)


def discarding_bound(
    t: ArrayLike,
    x: ArrayLike,
    c: ArrayLike,
    weight_decay: ArrayLike,
    *,
    target_rate: float | None = None,
) -> FloatArray:
    r"""Return a bound on what is left of a mode, under any linear predictor whatsoever.

    .. math:: \frac{\lVert w_j(t) \rVert}{\lVert w_j(0) \rVert} \le e^{-(\eta - \eta^\star_j) t}
        \quad\text{(tied target)}, \qquad
        \frac{\lVert w_j(t) \rVert^2}{\lVert w_j(0) \rVert^2} \le u(t), \quad
        \dot u = 2 \eta^\star_j v - 2 \eta u, \; \dot v = \beta (u - v)

    with :math:`u(0) = v(0) = 1` for a target that follows W at the rate :math:`\beta` and starts
    at it.

    Parameters
    ----------
    t : array_like
        Time, not negative.
    x, c : array_like
        Eigenvalues of X and Sigma at a common eigenvector, 0 < x <= c.
    weight_decay : array_like
        The decay :math:`\eta`, not negative.
    target_rate : float, optional
        The rate :math:`\beta`, positive; without it the target is tied.

    Returns
    -------
    ndarray

    Raises
    ------
    ValueError
        If an argument is out of range.

    Notes
    -----
    Claim C4.a; a statement on the flow, which large steps of descent violate. With a target that
    follows, the rate is not :math:`\eta - \eta^\star` but half the smaller root of
    :math:`l^2 - (2\eta + \beta) l + 2\beta(\eta - \eta^\star) = 0`; the threshold is the same.

    Examples
    --------
    >>> float(discarding_bound(10.0, 1.0, 1.0, 0.35).round(6))  # exp(-1)
    0.367879
    """
    x, c, eta = broadcast(x, c, weight_decay)
    found: FloatArray
    t, eta, level = np.broadcast_arrays(
        arrays.numbers("t", t, least=0), eta, mode_critical_weight_decay(x, c)
    )
    if target_rate is None:
        found = np.exp(-(eta - level) * t)[()]
        return found
    beta = validation.positive("target_rate", target_rate)
    # Slow and fast rate of (u, v); u = cosh and sinh of half their distance.
    middle = (2 * eta + beta) / 2
    half = np.sqrt((eta - beta / 2) ** 2 + 2 * beta * level)
    lean = (middle - 2 * eta + 2 * level) / half  # (du/dt at 0 + middle) / half
    slow, fast = np.exp(-(middle - half) * t), np.exp(-(middle + half) * t)
    found = np.sqrt(((1 + lean) * slow + (1 - lean) * fast) / 2)[()]
    return found
