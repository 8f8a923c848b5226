"""What two views of a scene have in common: the spectrum of the noise between them.

It is known before any network is trained, so it predicts which factors a representation keeps.
"""

import heapq
import math
from collections.abc import Iterator, Mapping
from itertools import groupby
from typing import NamedTuple

from .. import validation
from .scene_factors import SCENE_FACTORS, SHAPES, noise_levels


class SceneFunction(NamedTuple):
    """A product of cosines of the factors, by its orders (a zero is left out)."""

    orders: dict[str, int]
    correlation: float


def view_correlation(noise: float, order: int = 1) -> float:
    r"""Return the correlation between two views of a cosine of one factor.

    .. math::
        \operatorname{corr}\bigl(\cos \pi j u', \cos \pi j u''\bigr) = e^{-(\pi j s)^2},
        \qquad u', u'' = \operatorname{reflect}(u + s\,\xi), \quad u \sim U[0, 1]

    Parameters
    ----------
    noise : float
        Standard deviation :math:`s` of the noise of one view, not negative.
    order : int
        Order :math:`j` of the cosine, at least 1.

    Returns
    -------
    float
        A number in [0, 1].

    Raises
    ------
    TypeError, ValueError
        If `noise` is negative or `order` is no integer of at least 1.

    Notes
    -----
    One view multiplies the conditional mean of :math:`\cos \pi j u` by
    :math:`e^{-(\pi j s)^2/2}`: the cosine is even and has period 2, so it does not see the
    mirrors, and the characteristic function of the Gaussian gives the factor. Two views are
    independent given the scene, hence the square. Cosines of all orders are a basis of the square
    integrable functions on [0, 1], so nothing else is left to ask.

    Examples
    --------
    >>> round(view_correlation(0.1), 4), round(view_correlation(0.1, order=2), 4)
    (0.906, 0.6738)
    """
    noise = validation.nonnegative("noise", noise)
    order = validation.integer("order", order, at_least=1)
    exponent = math.pi * order * noise
    return math.exp(-exponent * exponent)  # a power would overflow, a product is infinite


def leading_functions(count: int, noise: Mapping[str, float] | None = None) -> list[SceneFunction]:
    r"""Return the functions of the factors on which two views agree most.

    .. math::
        \prod_k \sqrt2 \cos(\pi j_k u_k), \qquad
        \rho_j = \exp\Bigl(-\pi^2 \sum_k j_k^2 s_k^2\Bigr)

    Parameters
    ----------
    count : int
        How many, at least 1; the constant function is not counted.
    noise : mapping from factor to float, optional
        Standard deviations of the noise of one view, read by `noise_levels`.

    Returns
    -------
    list of SceneFunction
        By falling correlation; functions of one correlation (to 12 digits of its logarithm) by
        rising total order.

    Raises
    ------
    TypeError, ValueError
        If `count` is below 1 or `noise` is not allowed.

    Notes
    -----
    A view never changes the shape class. So each product stands for four functions of one
    correlation, one for each class, and the class itself for three of correlation 1.
    A factor without noise gives functions of correlation 1 without end, listed before all others.

    Examples
    --------
    >>> for orders, correlation in leading_functions(3):
    ...     print(orders, round(correlation, 3))
    {'x': 1} 0.976
    {'y': 1} 0.965
    {'x': 1, 'y': 1} 0.942
    """
    count = validation.integer("count", count, at_least=1)
    levels = noise_levels(noise)
    ordered = _by_cost(tuple(levels.values()))
    return [_function(next(ordered)[1], levels) for _ in range(count)]


def predicted_r2(dim: int, noise: Mapping[str, float] | None = None) -> dict[str, float]:
    r"""Predict how well each factor is linear in the best representation of a given dimension.

    .. math::
        R^2_k = \sum_{j \text{ odd},\; \cos \pi j u_k \text{ kept}} \frac{96}{\pi^4 j^4}

    The best representation spans the `dim` functions of the scene on which two views agree most.
    It is the one that minimises the invariance term when all features are uncorrelated and of
    variance one.

    Parameters
    ----------
    dim : int
        Number of features, at least 1.
    noise : mapping from factor to float, optional
        Standard deviations of the noise of one view, read by `noise_levels`.

    Returns
    -------
    dict from str to float
        The share of each factor's variance that a linear read-out explains, in [0, 1].

    Raises
    ------
    TypeError, ValueError
        If `dim` is below 1 or `noise` is not allowed.

    Notes
    -----
    Functions of equal correlation count only if there is room for all of them: otherwise any
    rotation among them is as good, and the theory does not say which are kept. The coefficients
    are those of :math:`u - \tfrac12 = -\tfrac{4}{\pi^2} \sum_{j \text{ odd}} j^{-2} \cos \pi j u`.
    The prediction is for the population: a network sees finitely many scenes and may not be able
    to compute the functions.

    Examples
    --------
    >>> {name: round(r2, 3) for name, r2 in predicted_r2(64).items()}
    {'hue': 0.0, 'size': 0.986, 'x': 0.986, 'y': 0.986, 'rotation': 0.986, 'background': 0.0, ...}
    """
    room = validation.integer("dim", dim, at_least=1) - (len(SHAPES) - 1)
    found = dict.fromkeys(SCENE_FACTORS, 0.0)
    ordered = _by_cost(tuple(noise_levels(noise).values()))
    for _, equals in groupby(ordered, key=lambda item: item[0]):
        kept = []
        for _, orders in equals:
            room -= len(SHAPES)
            if room < 0:
                return found
            kept.append(orders)
        for orders in kept:
            name, share = _linear_share(orders)
            found[name] += share
    raise AssertionError("the functions never end")  # pragma: no cover


def _by_cost(levels: tuple[float, ...]) -> Iterator[tuple[float, tuple[int, ...]]]:
    """Yield all orders but the constant's by rising cost, the sum of squares (j s)^2.

    Costs are rounded to 12 digits, so that those that agree but for the rounding of the levels,
    as of 0.3 and of three times 0.1, are equal.
    """
    start = (0,) * len(levels)
    heap, seen = [(0.0, 0, start)], {start}
    while True:
        cost, total, orders = heapq.heappop(heap)
        if total:
            yield cost, orders
        for k in range(len(orders)):
            raised = (*orders[:k], orders[k] + 1, *orders[k + 1 :])
            if raised not in seen:
                seen.add(raised)
                squares = sum(j * s * j * s for j, s in zip(raised, levels, strict=True))
                heapq.heappush(heap, (float(f"{squares:.12g}"), total + 1, raised))


def _function(orders: tuple[int, ...], levels: Mapping[str, float]) -> SceneFunction:
    """Return orders under the names of their factors, with the correlation of their product."""
    named = {name: j for name, j in zip(levels, orders, strict=True) if j}
    correlations = (view_correlation(levels[name], j) for name, j in named.items())
    return SceneFunction(named, math.prod(correlations))


def _linear_share(orders: tuple[int, ...]) -> tuple[str, float]:
    """Return a factor and the share of its variance that lies along the function of `orders`."""
    k = max(range(len(orders)), key=orders.__getitem__)
    alone_and_odd = sum(map(bool, orders)) == 1 and orders[k] % 2 == 1
    return SCENE_FACTORS[k], 96 / (math.pi * orders[k]) ** 4 if alone_and_odd else 0.0
