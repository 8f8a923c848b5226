r"""Linear VICReg and its log-determinant form, solved: which modes get how much variance.

The modes are those of `canonical_modes`, with :math:`m_j = 1 - \rho_j`.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import optimize

from .. import validation
from .._types import FloatArray
from . import arrays
from .vicreg_population import Terms, as_terms


class WaterFilling(NamedTuple):
    """The optimum of linear VICReg.

    `spectrum` (k,) holds the eigenvalues of the covariance, descending; `level` is the water level
    in units of m, `trace` their sum, `loss` the value of the loss, `capped` whether the variances
    reach their target, and `proved` whether it is known to be the global minimum.
    """

    spectrum: FloatArray
    level: float
    trace: float
    loss: float
    capped: bool
    proved: bool


def water_level(m: ArrayLike, volume: float) -> float:
    r"""Return the level to which a volume of water rises over ground of given heights.

    .. math:: \sum_j (m^\star - m_j)_+ = v

    Parameters
    ----------
    m : array_like, shape (n,)
        Heights, each over an area of 1.
    volume : float
        The volume v, not negative; without water the level is the lowest height.

    Returns
    -------
    float

    Raises
    ------
    ValueError
        If there are no heights or the volume is negative.

    Notes
    -----
    Claim C10.e.

    Examples
    --------
    >>> water_level([0.0, 1.0, 5.0], 3.0)
    2.0
    """
    m = np.sort(arrays.numbers("m", m).ravel())
    if not m.size:
        raise ValueError("m must hold at least one height, got none")
    volume = validation.nonnegative("volume", volume)
    levels = (volume + np.cumsum(m)) / np.arange(1, m.size + 1)
    wet = int(np.sum(levels > m)) if volume > 0 else 1  # the first ones, as m ascends
    return float(levels[max(wet, 1) - 1])


def vicreg_spectrum(
    m: ArrayLike,
    k: int,
    *,
    invariance: float = 25.0,
    variance: float = 25.0,
    covariance: float = 1.0,
    gamma: float = 1.0,
    eps: float = 1e-4,
    trace: float | None = None,
) -> WaterFilling:
    r"""Return the spectrum of least VICReg loss among linear embeddings with equal variances.

    .. math:: c_j = \frac{\lambda}{2\nu} (m^\star - m_j)_+, \qquad \sum_j c_j = T

    Parameters
    ----------
    m : array_like, shape (d,)
        The values :math:`1 - \rho_j` of the modes, in [0, 1]; the k smallest count.
    k : int
        Number of outputs, at least 1.
    invariance, variance, covariance, gamma, eps : float
        As in `linear_vicreg_loss`.
    trace : float, optional
        The sum T of the variances, at most at the cap :math:`k(\gamma^2 - \varepsilon)`. By
        default the best one: 0 if :math:`\lambda m_1 \ge \mu/4\sqrt\varepsilon`, the cap if
        :math:`\lambda m^\star \le 2\nu(\gamma^2 - \varepsilon) + \mu/4\gamma` there, and else the
        root of :math:`\lambda m^\star = 2\nu T/k + \mu/4\sqrt{T/k + \varepsilon}`.

    Returns
    -------
    WaterFilling
        With the best trace it is the global minimum over all weights if :math:`\mu \ge 16 \nu
        \gamma^3`, as for 25, 25 and 1, or where it has collapsed to 0.

    Raises
    ------
    ValueError
        If a parameter is out of range.

    Notes
    -----
    Claim C10.e. Where at least k modes have m = 0 the trace beyond the cap is free, and the cap is
    returned.

    Examples
    --------
    >>> found = vicreg_spectrum([0.0, 0.1], 2)
    >>> found.spectrum.round(4), found.capped
    (array([1.6249, 0.3749]), True)
    """
    terms = as_terms(invariance, variance, covariance, gamma, eps)
    m = np.sort(arrays.numbers("m", m, least=0).ravel())
    if not m.size or m[-1] > 1:
        raise ValueError(f"m must hold numbers in [0, 1], got {m}")
    k = validation.integer("k", k, at_least=1)
    m = m[:k]
    best = _best_variance(m, k, terms)
    if trace is None:
        share = best
    else:
        share = validation.nonnegative("trace", trace) / k
        if share > terms.cap * (1 + arrays.SLACK):
            raise ValueError(f"trace must be at most {k * terms.cap:g}, its cap, got {trace:g}")
    ratio = terms.invariance / (2 * terms.covariance)
    level = water_level(m, k * share / ratio)
    spectrum = np.zeros(k)
    spectrum[: m.size] = ratio * np.clip(level - m, 0, None)
    enough = terms.variance >= 16 * terms.covariance * terms.gamma**3
    proved = trace is None and (enough or best == 0)
    cost = 2 * terms.invariance * spectrum[: m.size] @ m
    cost += 2 * terms.covariance * (np.square(spectrum).sum() - k * share**2)
    cost += k * terms.variance * max(terms.gamma - np.sqrt(share + terms.eps), 0.0)
    return WaterFilling(spectrum, level, k * share, float(cost / k), share == terms.cap, proved)


def logdet_spectrum(
    m: ArrayLike,
    k: int,
    *,
    invariance: float = 25.0,
    entropy: float = 1.0,
    eps: float = 1e-4,
) -> FloatArray:
    r"""Return the spectrum of least loss where a log-determinant takes the place of two terms.

    .. math:: c_j = \Bigl(\frac{\beta k}{4 \lambda m_j} - \varepsilon\Bigr)_+
        \quad\text{minimises}\quad
        L = \frac{2\lambda}{k} \operatorname{tr} A M A^\top
        - \frac\beta2 \log\det(A A^\top + \varepsilon I)

    Parameters
    ----------
    m : array_like, shape (d,)
        The values :math:`1 - \rho_j` of the modes, in [0, 1]; the k smallest count.
    k : int
        Number of outputs, at least 1.
    invariance, entropy, eps : float
        As in `losses.vicreg_logdet_loss`; the two weights positive.

    Returns
    -------
    ndarray, shape (k,)
        Descending; infinite for modes on which the views agree exactly: the loss has no minimum.

    Raises
    ------
    ValueError
        If a parameter is out of range.

    Notes
    -----
    A row of the table of chapter 15: a mode is kept if and only if :math:`m_j < \beta k /
    4\lambda\varepsilon` and it is among the k most invariant ones.

    Examples
    --------
    >>> logdet_spectrum([0.2, 0.4], 2, invariance=1.0, eps=0.25)
    array([2.25, 1.  ])
    """
    m = np.sort(arrays.numbers("m", m, least=0).ravel())
    if not m.size or m[-1] > 1:
        raise ValueError(f"m must hold numbers in [0, 1], got {m}")
    k = validation.integer("k", k, at_least=1)
    price = 4 * validation.positive("invariance", invariance)
    gain = validation.positive("entropy", entropy) * k
    eps = validation.nonnegative("eps", eps)
    spectrum = np.zeros(k)
    with np.errstate(divide="ignore"):
        spectrum[: len(m[:k])] = np.clip(gain / (price * m[:k]) - eps, 0, None)
    return spectrum


def _best_variance(m: FloatArray, k: int, terms: Terms) -> float:
    """Return the best common variance, by the sign of the derivative of the loss."""
    ratio = terms.invariance / (2 * terms.covariance)

    def slope(variance: float) -> float:
        level = water_level(m, k * variance / ratio)
        flat = terms.invariance * level - 2 * terms.covariance * variance
        # Over the slope of the hinge, which is infinite at 0 if eps is.
        return float(np.sqrt(variance + terms.eps) * flat - terms.variance / 4)

    if slope(0.0) >= 0:
        return 0.0
    if slope(terms.cap) <= 0:
        return terms.cap
    return float(optimize.brentq(slope, 0.0, terms.cap, xtol=1e-300, rtol=1e-15))
