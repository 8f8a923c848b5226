r"""What n pairs of views do to DirectSet in the block model: leakage, error, and enough samples.

The moments :math:`\hat X` and :math:`\hat\Sigma` of `view_moments` take the place of
:math:`X = I` and :math:`\Sigma = I + \sigma^2 P_B`, with Gaussian data and
:math:`1 / 4(1 + \sigma^2) < \eta < 1/4`.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from .. import validation
from .._types import FloatArray
from . import arrays
from .modes import critical_weight_decay, fixed_points
from .thresholds import collapse_threshold


class ProjectionError(NamedTuple):
    """Mean squared error of W^T W: among `invariant` directions, and by `leakage` to others."""

    invariant: float
    leakage: float

    @property
    def rms(self) -> float:
        """The root of the sum."""
        return float(np.sqrt(self.invariant + self.leakage))


class SampleThresholds(NamedTuple):
    """Weight decays above which no `nuisance` and below which all `invariant` directions live."""

    nuisance: float
    invariant: float


def leakage_factor(sigma2: float, weight_decay: float, alpha: float) -> float:
    r"""Return how strongly the noise of the moments leaks into the rows of W.

    .. math:: \hat W_{SB} = \frac{s\,(1/p_+ - 1)}{\sigma^2}\, \hat E_{SB}, \qquad
        s = p_+^{1/(2\alpha)}

    Parameters
    ----------
    sigma2 : float
        Variance of the augmentation, positive.
    weight_decay : float
        The decay :math:`\eta`, inside the window of the module's heading.
    alpha : float
        Power of the correlation, positive.

    Returns
    -------
    float

    Raises
    ------
    ValueError
        If an argument is out of range.

    Notes
    -----
    Claim C5.a, to first order in :math:`\hat E = \hat X - X`, whose block between invariant and
    augmented directions is that of :math:`\hat\Sigma - \Sigma` too.

    Examples
    --------
    >>> round(leakage_factor(2.0, 0.1875, 0.5), 6)  # 0.75 (4/3 - 1) / 2
    0.125
    """
    p, s, sigma2 = _level(sigma2, weight_decay, alpha)
    return s * (1 / p - 1) / sigma2


def projection_error(
    n: int, d: int, rank: int, sigma2: float, weight_decay: float, alpha: float
) -> ProjectionError:
    r"""Return the mean squared error of the learned projection, to leading order in 1/n.

    .. math:: \mathbb E \lVert \hat W^\top \hat W - p_+^{1/\alpha} P_S \rVert_F^2 \simeq
        \frac{g^2 r (r + 1)}{n}
        + \frac{2 p_+^{2/\alpha} (1/p_+ - 1)^2 (1 + \sigma^2/2)\, r (d - r)}{\sigma^4 n},
        \qquad g = p_+^{1/\alpha} \Bigl(\frac{\eta}{\alpha p_+ \sqrt{1 - 4\eta}} - 1\Bigr)

    Parameters
    ----------
    n : int
        Number of pairs of views.
    d, rank : int
        Dimension of the input and number r of invariant directions.
    sigma2, weight_decay, alpha : float
        As in `leakage_factor`.

    Returns
    -------
    ProjectionError

    Raises
    ------
    ValueError
        If an argument is out of range.

    Notes
    -----
    Claim C5.b; the predictor is set from the clean correlation :math:`W \hat X W^\top`. It says
    nothing where `sample_thresholds` leaves the weight decay outside.

    Examples
    --------
    >>> round(projection_error(3200, 40, 8, 2.0, 0.2, 1.0).rms, 4)
    0.0885
    """
    n, d = validation.integer("n", n, at_least=1), validation.integer("d", d, at_least=1)
    r = validation.integer("rank", rank, at_least=0)
    if r > d:
        raise ValueError(f"rank must be at most d = {d}, got {rank}")
    p, s, sigma2 = _level(sigma2, weight_decay, alpha)
    slope = s**2 * (weight_decay / (alpha * p * np.sqrt(1 - 4 * weight_decay)) - 1)
    leak = s * leakage_factor(sigma2, weight_decay, alpha)
    return ProjectionError(
        slope**2 * r * (r + 1) / n, 2 * leak**2 * (1 + sigma2 / 2) * r * (d - r) / n
    )


def sample_thresholds(X: ArrayLike, Sigma: ArrayLike, P_S: ArrayLike) -> SampleThresholds:
    r"""Return the window of weight decays for which a sample is large enough.

    .. math:: \max_p \lambda_{\max}(p \hat X_{BB} - p^2 \hat\Sigma_{BB}) < \eta
        < \tfrac14 \lambda_{\min}(\hat X_{SS})

    Parameters
    ----------
    X, Sigma : array_like, shape (d, d)
        Moments of the sample, as `view_moments` estimates them.
    P_S : array_like, shape (d, d)
        Orthogonal projection on the invariant directions, neither 0 nor I.

    Returns
    -------
    SampleThresholds
        The first may exceed the second; then no weight decay will do.

    Raises
    ------
    ValueError
        If the moments are none or `P_S` is no such projection.

    Notes
    -----
    Claim C5.c: sharp up to about 5 %, as the coupling of the blocks is left out.

    Examples
    --------
    >>> found = sample_thresholds(np.eye(2), np.diag([1.0, 3.0]), np.diag([1.0, 0.0]))
    >>> round(found.nuisance, 9), round(found.invariant, 9)
    (0.083333333, 0.25)
    """
    X, Sigma = arrays.moments(X, Sigma, indefinite=True)
    S, B = _split(arrays.symmetric("P_S", P_S, size=len(X)))
    nuisance = collapse_threshold(B.T @ X @ B, B.T @ Sigma @ B).weight_decay
    return SampleThresholds(nuisance, float(np.linalg.eigvalsh(S.T @ X @ S)[0]) / 4)


def nuisance_bound(X: ArrayLike, Sigma: ArrayLike) -> float:
    r"""Return a bound on the collapse threshold of a sample.

    .. math:: \max_{p \ge 0} \lambda_{\max}(p \hat X - p^2 \hat\Sigma)
        \le \frac{(a - b)_+^2}{4 (a + b)}, \qquad
        a = \lambda_{\max}\bigl(\tfrac12 (\hat\Sigma + \hat X)\bigr), \quad
        b = \lambda_{\min}\bigl(\tfrac12 (\hat\Sigma - \hat X)\bigr)

    Parameters
    ----------
    X, Sigma : array_like, shape (d, d)
        Moments of the sample, or their blocks on the augmented directions.

    Returns
    -------
    float

    Raises
    ------
    ValueError
        If the moments are none, or zero.

    Notes
    -----
    Claim C5.d; the two matrices are the second moments of half the sum and half the difference of
    the views.

    Examples
    --------
    >>> nuisance_bound([[1.0]], [[3.0]]) == 1 / 12
    True
    """
    X, Sigma = arrays.moments(X, Sigma, indefinite=True)
    a = float(np.linalg.eigvalsh((Sigma + X) / 2)[-1])
    b = max(0.0, float(np.linalg.eigvalsh((Sigma - X) / 2)[0]))
    return _bound(a, b)


def nuisance_bound_limit(n: int, dimensions: int, sigma2: float) -> float:
    r"""Return the value that `nuisance_bound` takes for many Gaussian nuisance directions.

    .. math:: a \to \Bigl(1 + \frac{\sigma^2}2\Bigr) (1 + \sqrt y)^2, \qquad
        b \to \frac{\sigma^2}2 (1 - \sqrt y)^2, \qquad y = \frac{d - r}{n} < 1

    Parameters
    ----------
    n : int
        Number of pairs of views, above `dimensions`.
    dimensions : int
        Number d - r of augmented directions.
    sigma2 : float
        Variance of the augmentation, not negative.

    Returns
    -------
    float

    Raises
    ------
    ValueError
        If an argument is out of range.

    Notes
    -----
    Claim C5.d, by the edges of the Marchenko-Pastur law.

    Examples
    --------
    >>> round(nuisance_bound_limit(1600, 32, 2.0), 3)
    0.261
    """
    dimensions = validation.integer("dimensions", dimensions, at_least=1)
    n = validation.integer("n", n, at_least=dimensions + 1)
    sigma2 = validation.nonnegative("sigma2", sigma2)
    y = np.sqrt(dimensions / n)
    return _bound(float((1 + sigma2 / 2) * (1 + y) ** 2), float(sigma2 / 2 * (1 - y) ** 2))


def _bound(a: float, b: float) -> float:
    """Return ``max_p [p (a - b) - p^2 (a + b)]`` over p >= 0."""
    if not a + b > 0:
        raise ValueError("the moments must not be zero, got Sigma = 0")
    return max(0.0, a - b) ** 2 / (4 * (a + b))


def _level(sigma2: float, weight_decay: float, alpha: float) -> tuple[float, float, float]:
    """Return p and s of the invariant directions, and sigma2, inside the window."""
    sigma2, alpha = validation.positive("sigma2", sigma2), validation.positive("alpha", alpha)
    eta = validation.positive("weight_decay", weight_decay)
    low = float(critical_weight_decay(sigma2))
    if not low < eta < 0.25:
        raise ValueError(f"weight_decay must lie between {low:g} and 0.25, got {eta:g}")
    found = fixed_points(alpha, 0.0, eta)
    return float(found.upper), float(found.upper_weight), sigma2


def _split(P_S: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return orthonormal bases of the range and the kernel of a projection."""
    values, vectors = np.linalg.eigh(P_S)
    one = values > 0.5
    if np.abs(values - one).max() > arrays.SLACK or one.all() or not one.any():
        raise ValueError(
            "P_S must be an orthogonal projection other than 0 and I, got eigenvalues from "
            f"{values[0]:g} to {values[-1]:g}"
        )
    return vectors[:, one], vectors[:, ~one]
