"""The largest step with which gradient descent settles at an aligned fixed point of DirectSet."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from .. import validation
from .._types import BoolArray, FloatArray
from .modes import broadcast, discriminant_root, mode_critical_weight_decay, mode_fixed_points
from .stability import pair_jacobians, swap_rates


class StepBounds(NamedTuple):
    """Bounds on the step, one for each kind of block; infinite where there is no such block."""

    aligned: float
    pair: float
    transverse: float
    dead: float

    @property
    def largest(self) -> float:
        """The least of the bounds: descent settles below it and not above."""
        return min(self)


def step_bounds(
    x: ArrayLike,
    c: ArrayLike,
    weight_decay: float,
    alpha: float,
    *,
    held: ArrayLike | None = None,
    rows: int | None = None,
    correlation: str = "clean",
) -> StepBounds:
    r"""Return the largest stable steps of gradient descent near an aligned fixed point.

    .. math:: \frac{1}{\alpha p_{i+} \sqrt{D_i}}, \qquad
        \frac{2}{\lvert \operatorname{tr} J_{ij} \rvert}, \qquad
        \frac{2}{p_{i+}^2 c_k - p_{i+} x_k + \eta}, \qquad \frac2\eta

    for a mode i that is held, two of them, a row that holds i and a mode k that is not held, and a
    row that holds none.

    Parameters
    ----------
    x, c : array_like, shape (d,)
        Signal and view variance of the modes, 0 < x <= c.
    weight_decay : float
        The decay :math:`\eta`, not negative.
    alpha : float
        Power of the correlation, positive.
    held : array_like of bool, shape (d,), optional
        The modes that the fixed point keeps; by default all below their threshold.
    rows : int, optional
        Rows of W, at least the number of modes that are held; d by default.
    correlation : {"clean", "augmented", "gram"}
        What the predictor is set from.

    Returns
    -------
    StepBounds

    Raises
    ------
    ValueError
        If an argument is out of range, or the fixed point does not exist or is not linearly stable
        under the flow, so that no step is small enough.

    Notes
    -----
    Claim C4.g: local convergence, to the fixed points QW with Q orthogonal. Nothing is said of the
    first steps. The pair of two held modes can be the stiffest block, mostly for alpha < 1.

    Examples
    --------
    >>> bounds = step_bounds([1.0, 1.0], [1.0, 31.0], 0.1, 1.0)
    >>> [round(b, 4) for b in bounds]
    [1.455, inf, 0.0847, 20.0]
    >>> bounds.largest == bounds.transverse
    True
    """
    x, c, eta, power = broadcast(np.atleast_1d(x), np.atleast_1d(c), weight_decay, alpha)
    kept = _kept(x, c, eta, held)
    d = len(x)
    k = validation.integer("rows", d if rows is None else rows, at_least=max(1, int(kept.sum())))
    p = mode_fixed_points(x, c, eta).upper
    aligned = 2 * power * p * discriminant_root(x, c, eta)
    traces = pair_jacobians(x, c, eta, power, correlation=correlation).trace(axis1=2, axis2=3)
    pairs = kept[:, None] & kept & ~np.eye(d, dtype=bool)
    swaps = swap_rates(x, c, eta)
    dead = eta[:1] if eta[0] > 0 and min(k, d) > kept.sum() else eta[:0]
    return StepBounds(
        _bound(aligned[kept], "a mode that is held is not below its threshold"),
        _bound(-traces[pairs], "two modes that are held drive each other away"),
        _bound(-swaps[kept][:, ~kept], "a mode that is not held displaces one that is"),
        _bound(dead),
    )


def _kept(x: FloatArray, c: FloatArray, eta: FloatArray, held: ArrayLike | None) -> BoolArray:
    """Return the mask of the modes that are held."""
    live = eta < mode_critical_weight_decay(x, c)
    if held is None:
        return live
    kept = np.asarray(held)
    if kept.dtype != bool or kept.shape != x.shape:
        raise ValueError(
            f"held must be {x.shape} booleans, one a mode, got {kept.dtype} of shape {kept.shape}"
        )
    if (kept & ~live).any():
        raise ValueError("held must be modes below their threshold, got one above it")
    return kept


def _bound(rates: FloatArray, unstable: str = "") -> float:
    """Return the largest step at which every rate of decay is stable."""
    if rates.size and not rates.min() > 0:
        raise ValueError(f"the fixed point must be linearly stable, but {unstable}")
    return float(2 / rates.max()) if rates.size else np.inf
