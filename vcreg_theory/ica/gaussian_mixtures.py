"""Mixtures of normal laws as sources."""

import math
from collections.abc import Sequence

import numpy as np
from scipy import special

from .. import validation
from .._types import FloatArray
from .sources import Source


def gaussian_mixture(
    means: Sequence[float], deviations: Sequence[float], weights: Sequence[float]
) -> Source:
    """Return a mixture of normal laws, shifted and scaled to mean zero and variance one.

    Parameters
    ----------
    means, deviations, weights : sequences of the same length
        Of the components; deviations and weights positive, weights in any units.

    Returns
    -------
    Source
        Its Fisher information is an integral, here by quadrature to about 1e-10, or to the spacing
        of numbers near the means in units of the least deviation.

    Raises
    ------
    ValueError
        If lengths differ, a number is out of range or deviations are too small next to the means:
        below 1e-10 of the farthest one from the middle or of the deviation of the mixture.

    Examples
    --------
    >>> two = gaussian_mixture([-2, 2], [1, 1], [1, 1])
    >>> round(two.kurtosis, 4), round(two.information, 3)  # 4 + 1 = 5 is the variance
    (-1.28, 3.628)
    """
    m, s, w = (np.asarray(v, dtype=np.float64) for v in (means, deviations, weights))
    if m.ndim != 1 or not m.size or not m.shape == s.shape == w.shape:
        raise ValueError(
            "means, deviations and weights must be vectors of one length, "
            f"got shapes {m.shape}, {s.shape} and {w.shape}"
        )
    for name, value, low in (("means", m, -np.inf), ("deviations", s, 0), ("weights", w, 0)):
        if not (np.isfinite(value) & (value > low)).all():
            raise ValueError(f"{name} must be finite{'' if low < 0 else ' and positive'}")
    w = w / w.sum()
    m = m - w @ m
    unit = math.sqrt(w @ (m**2 + s**2))
    m, s = m / unit, s / unit
    least = 1e-10 * max(1.0, float(np.abs(m).max()))  # below it numbers near the means are coarse
    if (s < least).any():
        raise ValueError(
            f"deviations must be at least {least * unit:.3g} next to such means, got "
            f"{float(s.min() * unit):.3g}"
        )

    def draw(g: np.random.Generator, n: int) -> FloatArray:
        which = g.choice(len(w), n, p=w)
        drawn: FloatArray = m[which] + s[which] * g.standard_normal(n)
        return drawn

    kurtosis = float(w @ (m**4 + 6 * m**2 * s**2 + 3 * s**4)) - 3
    return Source(f"mixture of {len(w)} gaussians", kurtosis, _information(m, s, w), draw)


def _information(m: FloatArray, s: FloatArray, w: FloatArray) -> float:
    """Return the Fisher information of a mixture, by Gauss's rule on panels fit for its parts.

    Panels are at most half a deviation of every component wide, as far as it matters. Between two
    components the score turns over an eighth of the smaller deviation or more where there is
    density, and the rule has converged.
    """
    ends = np.unique(m + np.linspace(-12, 12, 49)[:, None] * s)
    node, weight = np.polynomial.legendre.leggauss(24)
    half = np.diff(ends)[:, None] / 2
    x = (ends[:-1, None] + half * (1 + node)).reshape(-1, 1)
    logs = -0.5 * ((x - m) / s) ** 2 - np.log(s) + np.log(w)
    total = special.logsumexp(logs, axis=1)
    score = (special.softmax(logs, axis=1) * (x - m) / s**2).sum(1)
    density = np.exp(total) / math.sqrt(2 * math.pi)
    return float((half * weight).ravel() @ (density * score**2))


def bimodal(separation: float = 2.0) -> Source:
    """Return the even mixture of two normal laws of deviation 1, `separation` from the middle."""
    a = validation.positive("separation", separation)
    found = gaussian_mixture([-a, a], [1.0, 1.0], [1.0, 1.0])
    return Source(f"bimodal {a:g}", found.kurtosis, found.information, found.draw)
