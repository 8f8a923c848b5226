"""Independent outputs that are not the sources: why independence does not undo nonlinear mixing."""

from typing import Any

import numpy as np

from .. import validation
from .._types import FloatArray


def triangle_mixture(sources: Any) -> FloatArray:
    r"""Return the sum and the difference of two sources, :math:`x = (s_1 + s_2, s_1 - s_2)`.

    Parameters
    ----------
    sources : array_like, shape (n, 2)
        Entries in [0, 1].

    Returns
    -------
    ndarray, shape (n, 2)

    Examples
    --------
    >>> triangle_mixture([[0.25, 0.5]])
    array([[ 0.75, -0.25]])
    """
    s = _unit_pairs("sources", sources)
    return np.stack([s[:, 0] + s[:, 1], s[:, 0] - s[:, 1]], 1)


def darmois_outputs(mixture: Any) -> FloatArray:
    r"""Return the Darmois construction on `triangle_mixture`, in closed form.

    .. math::
        y_1 = F(x_1) = \begin{cases} x_1^2 / 2 & x_1 \le 1 \\ 1 - (2 - x_1)^2 / 2 & x_1 > 1
        \end{cases}, \qquad y_2 = \frac{x_2 + r}{2 r}, \quad r = \min(x_1, 2 - x_1)

    :math:`y_1` is the distribution function of :math:`x_1` and :math:`y_2` that of :math:`x_2`
    given :math:`x_1`. For uniform sources the outputs are exactly independent and uniform, yet each
    is a mixture of both sources: correlations 7/10, 7/10 and 2/3, -2/3.

    Parameters
    ----------
    mixture : array_like, shape (n, 2)
        As `triangle_mixture` returns them.

    Returns
    -------
    ndarray, shape (n, 2)
        In [0, 1]; 1/2 where the second is undefined, at the corners r = 0.

    Raises
    ------
    ValueError
        If a row is not a sum and a difference of two numbers in [0, 1].

    Notes
    -----
    Claim A6.e; Darmois (1951), Hyvarinen and Pajunen (1999).

    Examples
    --------
    >>> darmois_outputs([[1.0, 0.5], [0.5, 0.0]])
    array([[0.5  , 0.75 ],
           [0.125, 0.5  ]])
    """
    x = _pairs("mixture", mixture)
    r = np.minimum(x[:, 0], 2 - x[:, 0])
    if (r < -1e-12).any() or (np.abs(x[:, 1]) > r + 1e-12).any():
        raise ValueError("mixture must hold sums and differences of numbers in [0, 1]")
    first = np.where(x[:, 0] <= 1, x[:, 0] ** 2 / 2, 1 - (2 - x[:, 0]) ** 2 / 2)
    second = np.full_like(first, 0.5)
    inside = r > 0
    second[inside] = (x[inside, 1] + r[inside]) / (2 * r[inside])
    return np.stack([first, second.clip(0, 1)], 1)


def swirl(sources: Any, strength: float) -> FloatArray:
    r"""Turn two independent uniform sources into two others, by angles that grow outwards.

    .. math::
        y = \Phi\bigl(R(a \lVert g \rVert^2)\, g\bigr), \qquad g = \Phi^{-1}(s)

    with the normal distribution function entry by entry and R a rotation. The Gaussian law of g is
    invariant under it, so the outputs are exactly independent and uniform for every strength a.

    Parameters
    ----------
    sources : array_like, shape (n, 2)
        Entries strictly between 0 and 1.
    strength : float
        The number a, in radians.

    Returns
    -------
    ndarray, shape (n, 2)

    Raises
    ------
    ValueError
        If the shape is wrong or an entry is not strictly between 0 and 1.

    Notes
    -----
    Claim A6.e; Hyvarinen and Pajunen (1999).

    Examples
    --------
    >>> swirl([[0.5, 0.5], [0.3, 0.9]], 0.0)
    array([[0.5, 0.5],
           [0.3, 0.9]])
    """
    from scipy.special import ndtr, ndtri

    s = _unit_pairs("sources", sources)
    if ((s <= 0) | (s >= 1)).any():
        raise ValueError("sources must lie strictly between 0 and 1")
    g = ndtri(s)
    angle = validation.real("strength", strength) * (g**2).sum(1)
    cos, sin = np.cos(angle), np.sin(angle)
    turned = np.stack([cos * g[:, 0] - sin * g[:, 1], sin * g[:, 0] + cos * g[:, 1]], 1)
    return ndtr(turned)


def signed_power(mixture: Any, power: float) -> FloatArray:
    r"""Return :math:`\operatorname{sign}(u) |u|^p`, the distortion of a post-nonlinear mixture.

    Parameters
    ----------
    mixture : array_like, shape (n, d)
        A linear mixture of sources.
    power : float
        The power, positive; 1 leaves the mixture linear.

    Returns
    -------
    ndarray, shape (n, d)

    Raises
    ------
    ValueError
        If an entry is not finite or the power is not positive.

    Notes
    -----
    Claim A6.e: no linear map recovers the sources of a distorted mixture.

    Examples
    --------
    >>> signed_power([[-2.0, 3.0]], 2.0)
    array([[-4.,  9.]])
    """
    u = np.asarray(mixture, dtype=np.float64)
    if not np.isfinite(u).all():
        raise ValueError("mixture must be finite")
    return np.copysign(np.abs(u) ** validation.positive("power", power), u)


DARMOIS_CORRELATION = 41 / 60
"""Mean correlation coefficient of `darmois_outputs` with uniform sources, (7/10 + 2/3) / 2."""


def _pairs(name: str, value: Any) -> FloatArray:
    """Return a finite float64 array with two columns."""
    array = np.asarray(value, dtype=np.float64)
    if array.ndim != 2 or array.shape[1] != 2 or not np.isfinite(array).all():
        raise ValueError(f"{name} must be finite and have shape (n, 2), got shape {array.shape}")
    return array


def _unit_pairs(name: str, value: Any) -> FloatArray:
    """Return an array with two columns and entries in [0, 1]."""
    array = _pairs(name, value)
    if ((array < 0) | (array > 1)).any():
        raise ValueError(f"{name} must lie in [0, 1]")
    return array
