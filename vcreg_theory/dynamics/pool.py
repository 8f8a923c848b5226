r"""A pool of labelled features as the law from which a few labels are drawn.

What the theory of `downstream` needs to know of real features is read from all N rows of a pool:
their variances, the best linear prediction and what it leaves over. Nothing is fitted to the
measured risks, which come from n of the rows and are scored on the others.
"""

from typing import NamedTuple, cast

import numpy as np
from numpy.typing import ArrayLike

from .. import validation
from .._types import FloatArray
from . import arrays
from .downstream import ridge_excess_risk


class FeatureLaw(NamedTuple):
    """Law of features in their principal axes, and of targets, summed over several of them.

    `variances` and `coefficients` have shape (d,), the latter root sums of squares over targets;
    `errors` are the standard errors of the coefficients, `noise_variance` is what the best linear
    prediction leaves over.
    """

    variances: FloatArray
    coefficients: FloatArray
    errors: FloatArray
    noise_variance: float

    def ridge_excess_risk(self, n: int, penalty: float) -> float:
        r"""Return the predicted excess risk of ridge regression, freed of the pool's own noise.

        .. math:: R(\hat\theta, \tau^2) - R(\hat s, 0), \qquad
            \mathbb E\,\hat\theta_j^2 = \theta_j^2 + s_j^2

        with R of `ridge_excess_risk`, which is linear in the squares of the coefficients.

        Parameters
        ----------
        n : int
            Number of labels.
        penalty : float
            The number :math:`\lambda > 0` in the penalty :math:`n \lambda \lVert\theta\rVert^2`.

        Returns
        -------
        float

        Notes
        -----
        Claim C6.d.
        """
        found = ridge_excess_risk(
            n, self.variances, self.coefficients, self.noise_variance, penalty
        )
        return found - ridge_excess_risk(n, self.variances, self.errors, 0.0, penalty)


def feature_law(features: ArrayLike, targets: ArrayLike) -> FeatureLaw:
    r"""Read the law of a regression without offset from a pool of N rows.

    .. math:: \hat\Lambda = \frac1N \Phi^\top \Phi, \quad \hat\theta = \hat\Lambda^{-1}
        \frac1N \Phi^\top Y, \quad \hat\tau^2 = \frac{\lVert Y - \Phi\hat\theta \rVert^2}{N - d},
        \quad \hat s_j^2 = \frac{\hat\tau^2}{N \hat\Lambda_j}

    Parameters
    ----------
    features : array_like, shape (N, d)
        One row an example, N above d, of full rank.
    targets : array_like, shape (N,) or (N, m)
        What is predicted; the risks of m targets are added.

    Returns
    -------
    FeatureLaw

    Raises
    ------
    ValueError
        If shapes do not fit, there are too few rows, or the features are linearly dependent.

    Notes
    -----
    Claims C6.c and C6.d. For a linear target with noise of one variance the noise variance is
    unbiased, whatever the law of the features.

    Examples
    --------
    >>> law = feature_law([[1.0], [-1.0], [1.0], [-1.0]], [3.0, -3.0, 1.0, -1.0])
    >>> law.variances, law.coefficients, round(law.noise_variance, 6)
    (array([1.]), array([2.]), 1.333333)
    """
    features, targets = _pool(features, targets)
    n, d = features.shape
    if n <= d:
        raise ValueError(f"features must have more rows than columns, got shape {(n, d)}")
    variances, axes = np.linalg.eigh(features.T @ features / n)
    if variances[0] <= d * np.finfo(np.float64).eps * variances[-1]:
        raise ValueError("features must be linearly independent, got a singular second moment")
    scores = features @ axes
    coefficients = scores.T @ targets / n / variances[:, None]
    noise = float(np.square(targets - scores @ coefficients).sum()) / (n - d)
    size = np.sqrt(np.square(coefficients).sum(1))
    return FeatureLaw(variances, size, np.sqrt(noise / (n * variances)), noise)


def few_label_risks(
    features: ArrayLike,
    targets: ArrayLike,
    n: int,
    *,
    draws: int,
    generator: np.random.Generator,
    penalty: float = 0.0,
) -> FloatArray:
    r"""Fit n rows drawn from a pool, without offset, and score the fit on the rows left.

    .. math:: \frac{1}{N - n} \sum_{i \notin D} \lVert y_i - \hat\theta_D^\top \varphi_i \rVert^2

    Parameters
    ----------
    features : array_like, shape (N, d)
        The pool.
    targets : array_like, shape (N,) or (N, m)
        What is predicted.
    n : int
        Number of labels, from 1 to N - 1; the rows of a draw are distinct.
    draws : int
        Number of independent draws.
    generator : numpy.random.Generator
        Source of the draws.
    penalty : float
        As in `ridge_excess_risk`; 0 for least squares, of minimal norm where it is not unique.

    Returns
    -------
    ndarray, shape (draws,)
        Mean squared errors, the irreducible part included.

    Raises
    ------
    ValueError
        If an argument is out of range or shapes do not fit.

    Examples
    --------
    >>> x = np.arange(1.0, 7.0)[:, None]
    >>> rng = np.random.default_rng(0)
    >>> few_label_risks(x, 2 * x, 2, draws=3, generator=rng).round(9).tolist()
    [0.0, 0.0, 0.0]
    """
    features, targets = _pool(features, targets)
    n = validation.integer("n", n, at_least=1)
    if n >= len(features):
        raise ValueError(f"n must be below the {len(features)} rows of the pool, got {n}")
    draws = validation.integer("draws", draws, at_least=1)
    penalty = validation.nonnegative("penalty", penalty)
    found = []
    for _ in range(draws):
        order = generator.permutation(len(features))
        some, rest = order[:n], order[n:]
        fit = _fit(features[some], targets[some], penalty)
        found.append(np.square(targets[rest] - features[rest] @ fit).sum(1).mean())
    return np.array(found)


def _fit(features: FloatArray, targets: FloatArray, penalty: float) -> FloatArray:
    """Return coefficients of ridge regression, or of least squares of minimal norm."""
    n, d = features.shape
    if penalty == 0:
        return cast(FloatArray, np.linalg.lstsq(features, targets, rcond=None)[0])
    gram = features.T @ features / n + penalty * np.eye(d)
    return np.linalg.solve(gram, features.T @ targets / n)


def _pool(features: ArrayLike, targets: ArrayLike) -> tuple[FloatArray, FloatArray]:
    """Return features (N, d) and targets (N, m)."""
    features = arrays.matrix("features", features)
    targets = arrays.numbers("targets", targets)
    targets = targets[:, None] if targets.ndim == 1 else targets
    if targets.ndim != 2 or len(targets) != len(features):
        raise ValueError(
            "targets must have one row for each row of features, got shapes "
            f"{targets.shape} and {features.shape}"
        )
    return features, targets
