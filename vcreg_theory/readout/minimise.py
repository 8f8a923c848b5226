"""L-BFGS for a smooth convex function, to as small a gradient as its rounding allows."""

from collections import deque
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

MEMORY, MAX_TRIALS = 20, 30
SUFFICIENT, CURVATURE = 1e-4, 0.9  # the constants of Wolfe's conditions

Objective = Callable[[Tensor], tuple[Tensor, Tensor]]


class Minimum(NamedTuple):
    """Where the search ended, with the value and the gradient there, and the steps it took."""

    x: Tensor
    value: float
    gradient: Tensor
    iterations: int


def minimise(function: Objective, x: Tensor, *, tolerance: float, max_iterations: int) -> Minimum:
    """Minimise a convex function of a vector.

    torch's own L-BFGS learns no curvature from steps whose product with the change of the gradient
    is below an absolute 1e-10, which for a mean loss happens far from the optimum.

    Parameters
    ----------
    function : callable
        Maps a vector to the value and the gradient.
    x : Tensor, shape (p,)
        Where to start. The Hessian should be near the identity there, or the first step is poor.
    tolerance : float
        Largest entry of the gradient at which the search ends.
    max_iterations : int
        Number of steps after which it ends in any case.

    Returns
    -------
    Minimum
    """
    value, gradient = function(x)
    pairs: deque[tuple[Tensor, Tensor, Tensor]] = deque(maxlen=MEMORY)
    for iteration in range(max_iterations):
        if float(gradient.abs().max()) <= tolerance:
            return Minimum(x, float(value), gradient, iteration)
        direction = _direction(gradient, pairs)
        found = _search(function, x, float(value), gradient, direction)
        if found is None:  # rounding hides every further descent
            return Minimum(x, float(value), gradient, iteration)
        step, value, new = found
        change = new - gradient
        x, gradient = x + step, new
        product = step @ change
        if float(product) > 0:
            pairs.append((step, change, product.reciprocal()))
    return Minimum(x, float(value), gradient, max_iterations)


def _direction(gradient: Tensor, pairs: deque[tuple[Tensor, Tensor, Tensor]]) -> Tensor:
    """Return minus the gradient times the inverse Hessian that the last steps tell of."""
    q = -gradient
    shares = []
    for step, change, inverse in reversed(pairs):
        shares.append(inverse * (step @ q))
        q = torch.addcmul(q, shares[-1], change, value=-1)
    if pairs:
        _, change, inverse = pairs[-1]
        q = q / (inverse * (change @ change))
    for (step, change, inverse), share in zip(pairs, reversed(shares), strict=True):
        q = torch.addcmul(q, share - inverse * (change @ q), step)
    return q


def _search(
    function: Objective, x: Tensor, value: float, gradient: Tensor, direction: Tensor
) -> tuple[Tensor, Tensor, Tensor] | None:
    """Return a step along the direction that meets Wolfe's weak conditions, found by bisection."""
    slope = float(gradient @ direction)
    blur = torch.finfo(x.dtype).eps ** (2 / 3) * abs(value)
    low, high, t = 0.0, float("inf"), 1.0
    for _ in range(MAX_TRIALS):
        step = t * direction
        new_value, new_gradient = function(x + step)
        new_slope = float(new_gradient @ direction)
        rise = float(new_value) - value
        # Near the minimum the decrease drowns in the rounding of the value, but not in that of
        # the slopes: there they decide, by what the condition on the value says of a parabola.
        flat = rise <= blur and new_slope <= (2 * SUFFICIENT - 1) * slope
        if not (rise <= SUFFICIENT * t * slope or flat):
            high = t
        elif new_slope < CURVATURE * slope:
            low = t
        else:
            return step, new_value, new_gradient
        t = 2 * low if high == float("inf") else (low + high) / 2
    return None
