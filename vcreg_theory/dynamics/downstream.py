r"""Expected excess risk of regression on features, exactly or for large samples.

Inputs :math:`\bar x \sim N(0, I_d)`, labels :math:`y = \beta^\top \bar x` plus independent noise of
mean 0 and variance :math:`\tau^2`, n labelled samples, features :math:`W \bar x` that do not depend
on them. The excess risk is the expected squared error of the prediction of
:math:`\beta^\top \bar x` on a new input.
"""

import numpy as np
from numpy.typing import ArrayLike
from scipy import optimize

from .. import validation
from .._types import BoolArray, FloatArray
from . import arrays


def ols_excess_risk(
    n: ArrayLike, rank: ArrayLike, noise_variance: ArrayLike, *, lost_signal: ArrayLike = 0.0
) -> FloatArray:
    r"""Return the excess risk of least squares on features of a given rank.

    .. math:: b^2 + (\tau^2 + b^2) \frac{r}{n - r - 1}, \qquad b^2 = \lVert (I - P) \beta \rVert^2

    Parameters
    ----------
    n : array_like of int
        Number of labelled samples, above `rank` + 1.
    rank : array_like of int
        Rank r of W; the dimension d for the raw input.
    noise_variance : array_like
        Variance :math:`\tau^2` of the labels' noise, not negative.
    lost_signal : array_like
        The squared part :math:`b^2` of the target outside the row space of W, on which P projects.

    Returns
    -------
    ndarray

    Raises
    ------
    ValueError
        If an argument is out of range; at n = r and n = r + 1 the expectation is infinite.

    Notes
    -----
    Claims C6.a and C6.c; exact. The lost signal acts as noise: it is independent of the features,
    as both are parts of one Gaussian input. The labels' own noise may have any law.

    Examples
    --------
    >>> float(ols_excess_risk(61, 10, 0.25))
    0.05
    """
    rank = arrays.counts("rank", rank, least=0)
    n = arrays.counts("n", n, least=1)
    _refuse("n", n, n > rank + 1, "above rank + 1")
    tau2 = arrays.numbers("noise_variance", noise_variance, least=0)
    lost = arrays.numbers("lost_signal", lost_signal, least=0)
    return (lost + (tau2 + lost) * rank / (n - rank - 1))[()]


def labels_needed(excess_risk: ArrayLike, rank: ArrayLike, noise_variance: ArrayLike) -> FloatArray:
    r"""Return how many labels bring the excess risk of least squares down to a level.

    .. math:: n = r + 1 + \frac{\tau^2 r}{\epsilon}

    Parameters
    ----------
    excess_risk : array_like
        The level :math:`\epsilon`, positive.
    rank, noise_variance : array_like
        As in `ols_excess_risk`, no signal being lost.

    Returns
    -------
    ndarray
        In general no whole number.

    Raises
    ------
    ValueError
        If an argument is out of range.

    Notes
    -----
    Claim C6.a.

    Examples
    --------
    >>> labels_needed(0.05, [10, 100], 0.25)
    array([ 61., 601.])
    """
    rank = arrays.counts("rank", rank, least=0)
    level = arrays.numbers("excess_risk", excess_risk, above=0)
    tau2 = arrays.numbers("noise_variance", noise_variance, least=0)
    return (rank + 1 + tau2 * rank / level)[()]


def min_norm_excess_risk(
    n: ArrayLike, d: ArrayLike, signal: ArrayLike, noise_variance: ArrayLike
) -> FloatArray:
    r"""Return the excess risk of the interpolating solution of least norm on the raw input.

    .. math:: \lVert \beta \rVert^2 \Bigl(1 - \frac nd\Bigr) + \tau^2 \frac{n}{d - n - 1}

    Parameters
    ----------
    n : array_like of int
        Number of labelled samples, below `d` - 1.
    d : array_like of int
        Dimension of the input.
    signal : array_like
        The squared norm of :math:`\beta`, not negative.
    noise_variance : array_like
        Variance :math:`\tau^2` of the labels' noise, not negative.

    Returns
    -------
    ndarray

    Raises
    ------
    ValueError
        If an argument is out of range.

    Notes
    -----
    Claim C6.b; exact.

    Examples
    --------
    >>> float(min_norm_excess_risk(50, 101, 1.01, 0.5))
    1.01
    """
    n, d = arrays.counts("n", n, least=0), arrays.counts("d", d, least=1)
    _refuse("n", n, n < d - 1, "below d - 1")
    signal = arrays.numbers("signal", signal, least=0)
    tau2 = arrays.numbers("noise_variance", noise_variance, least=0)
    return (signal * (1 - n / d) + tau2 * n / (d - n - 1))[()]


def vanishing_nuisance_excess_risk(n: int, d: int, rank: int, noise_variance: float) -> float:
    r"""Return the excess risk of least squares as the nuisance features shrink to nothing.

    .. math:: \omega + (\tau^2 + \omega) \frac{r}{n - r - 1}, \qquad
        \omega = \tau^2 \frac{n - r}{d - n - 1} \qquad (r + 1 < n < d - 1),

    and :math:`\tau^2 d / (n - d - 1)` for :math:`n > d + 1`, where the scale does not matter.

    Parameters
    ----------
    n : int
        Number of labelled samples.
    d, rank : int
        Dimension of the input, and number r of features that keep their scale. The others are
        multiplied by s, and s tends to 0; the target is linear in the r features.
    noise_variance : float
        Variance :math:`\tau^2` of the labels' noise, not negative.

    Returns
    -------
    float

    Raises
    ------
    ValueError
        If an argument is out of range.

    Notes
    -----
    Claim C6.e. The solution has minimal norm where it is not unique. With s = 0 the risk is that of
    `ols_excess_risk` at rank r: the limit is another one, because the noise that the r features
    cannot explain is fitted with the others, however small they are.

    Examples
    --------
    >>> vanishing_nuisance_excess_risk(61, 102, 10, 0.40)  # omega = 0.51
    0.692
    """
    n, d = validation.integer("n", n, at_least=1), validation.integer("d", d, at_least=1)
    rank = validation.integer("rank", rank, at_least=0)
    if rank >= d:
        raise ValueError(f"rank must be below d = {d}, got {rank}")
    tau2 = validation.nonnegative("noise_variance", noise_variance)
    if n > d + 1:
        return float(ols_excess_risk(n, d, tau2))
    if not rank + 1 < n < d - 1:
        raise ValueError(f"n must lie between rank + 1 and d - 1 or above d + 1, got {n}")
    fitted_noise = min_norm_excess_risk(n - rank, d - rank, 0.0, tau2)
    return float(ols_excess_risk(n, rank, tau2, lost_signal=fitted_noise))


def ridge_excess_risk(
    n: int,
    variances: ArrayLike,
    coefficients: ArrayLike,
    noise_variance: float,
    penalty: float,
) -> float:
    r"""Return the excess risk of ridge regression for a large sample and dimension.

    .. math:: \frac{\kappa^2\, \theta^\top \Lambda (\Lambda + \kappa)^{-2} \theta}{1 - d_2/n}
        + \frac{\tau^2 d_2}{n - d_2}, \qquad
        \kappa = \lambda + \frac\kappa n d_1, \quad
        d_i = \operatorname{tr} [\Lambda (\Lambda + \kappa)^{-1}]^i

    Parameters
    ----------
    n : int
        Number of labelled samples.
    variances : array_like, shape (m,)
        Variances :math:`\Lambda` of the features in their principal axes, not negative.
    coefficients : array_like, shape (m,)
        Coefficients :math:`\theta` of the target in those axes: for features :math:`s_j \bar x_j`
        of variance :math:`s_j^2` they are :math:`\beta_j / s_j`.
    noise_variance : float
        Variance :math:`\tau^2` of the labels' noise, not negative.
    penalty : float
        The number :math:`\lambda > 0` in the penalty :math:`n \lambda \lVert \theta \rVert^2`.

    Returns
    -------
    float

    Raises
    ------
    ValueError
        If an argument is out of range.

    Notes
    -----
    Claim C6.d, an asymptotic formula: no bound at finite n. :math:`\kappa` is the only positive
    root, as :math:`1 - \lambda/\kappa` rises with it from below and :math:`d_1/n` falls.

    Examples
    --------
    >>> round(ridge_excess_risk(100, np.ones(10), np.zeros(10), 1.0, 1e-9), 6)  # 10 / (100 - 10)
    0.111111
    """
    n = validation.integer("n", n, at_least=1)
    variances = arrays.numbers("variances", variances, least=0)
    theta = arrays.numbers("coefficients", coefficients)
    if variances.ndim != 1 or theta.shape != variances.shape:
        raise ValueError(
            "variances and coefficients must be vectors of one size, got shapes "
            f"{variances.shape} and {theta.shape}"
        )
    tau2 = validation.nonnegative("noise_variance", noise_variance)
    penalty = validation.positive("penalty", penalty)
    kappa = _effective_penalty(n, variances, penalty)
    shares, missing = variances / (variances + kappa), kappa / (variances + kappa)
    d2 = float(np.square(shares).sum())
    # n - d_2 without a difference of near numbers, since n - d_1 = n penalty / kappa.
    left = n * (penalty / kappa) + float((shares * missing).sum())
    bias = float((theta**2 * variances * missing**2).sum())
    return bias * n / left + tau2 * d2 / left


def _effective_penalty(n: int, variances: FloatArray, penalty: float) -> float:
    """Return the root kappa of ``kappa = penalty + kappa d_1(kappa) / n``."""
    varying = variances[variances > 0]
    spare = n - varying.size

    def excess(kappa: float) -> float:
        missing = float((kappa / (varying + kappa)).sum())  # d_1 falls short of its number by it
        return kappa * (spare + missing) / n - penalty

    most = penalty + float(varying.sum()) / n
    if excess(most) <= 0 or most == penalty:  # no variance to speak of
        return most
    # Halving from 1 to 1e-150 takes 500 steps.
    return float(optimize.brentq(excess, penalty, most, xtol=1e-300, rtol=1e-14, maxiter=5000))


def _refuse(name: str, value: FloatArray, allowed: BoolArray, wanted: str) -> None:
    """Raise unless every entry is allowed."""
    if not allowed.all():
        bad = np.broadcast_to(value, allowed.shape)[~allowed].flat[0]
        raise ValueError(f"{name} must be {wanted}, got {bad:g}")
