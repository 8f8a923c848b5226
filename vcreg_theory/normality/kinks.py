"""Prediction of skewness, kurtosis and test power from the kinks of a network near an input."""

import math

import torch
from scipy import optimize, stats
from torch import Tensor

from .. import validation
from ..piecewise.kinks import Kinks


def _checked(kinks: Kinks) -> None:
    for name, ndim in (("distance", 1), ("normal", 2), ("jump", 2), ("map", 2)):
        validation.tensor(f"kinks.{name}", getattr(kinks, name), ndim=ndim)
    count, (d, width) = kinks.distance.shape[0], kinks.map.shape
    for name, shape in (("normal", (count, width)), ("jump", (count, d))):
        got = tuple(getattr(kinks, name).shape)
        if got != shape:
            raise ValueError(f"kinks.{name} must have shape {shape}, got {got}")
    if bool((kinks.distance < 0).any()):
        raise ValueError(
            f"kinks.distance must not be negative, got {float(kinks.distance.min())!r}"
        )
    error = (kinks.normal.norm(dim=1) - 1).abs()
    if bool((error > 1e-3).any()):
        raise ValueError(
            f"kinks.normal must have unit rows, got a norm off by {float(error.max())}"
        )


def _weights(kinks: Kinks) -> tuple[Tensor, Tensor]:
    """Return ``3 kappa rho^2 / s`` and ``4 kappa rho^3 / s``, each of shape (J, d)."""
    _checked(kinks)
    scale = kinks.map.norm(dim=1)
    dead = torch.nonzero(scale == 0).flatten().tolist()
    if dead:
        raise ValueError(f"kinks.map must have no zero row, got zero in coordinates {dead}")
    rho = kinks.normal @ kinks.map.T / scale
    strength = kinks.jump / scale
    return 3 * strength * rho**2, 4 * strength * rho**3


def _noise(name: str, sigma: float | Tensor, like: Tensor) -> Tensor:
    if not isinstance(sigma, Tensor):
        return like.new_tensor(validation.positive(name, sigma))
    validation.tensor(name, sigma, ndim=(0, 1))
    if bool((sigma <= 0).any()):
        raise ValueError(f"{name} must be positive, got {float(sigma.min())!r}")
    return sigma.to(like)


def _bump(distance: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
    """Return ``phi(t)`` and ``t phi(t)`` for ``t = distance / sigma``, shape (..., J)."""
    t = distance / sigma[..., None]
    density = torch.exp(-t.square() / 2) / math.sqrt(2 * math.pi)
    return density, t * density


def predicted_skew_kurtosis(kinks: Kinks, sigma: float | Tensor) -> tuple[Tensor, Tensor]:
    r"""Predict skewness and excess kurtosis of the output under isotropic Gaussian input noise.

    .. math::
       \gamma_1 \approx 3 \sum_j \frac{\kappa_{jk}}{s_k}\, \rho_{jk}^2\, \varphi(d_j/\sigma),
       \qquad
       \gamma_2 \approx 4 \sum_j \frac{\kappa_{jk}}{s_k}\, \rho_{jk}^3\,
                        \frac{d_j}{\sigma}\, \varphi(d_j/\sigma)

    with :math:`s_k = \|A_k\|` and :math:`\rho_{jk} = n_j^\top A_k / s_k`. This is the part of
    first order in the jumps :math:`\kappa`, exact as a derivative at :math:`\kappa = 0`. The
    error is of second order in :math:`\kappa/s`. For one hidden layer of (leaky) ReLU the kinks
    are all there is; in a deeper network facets bend, and a max-pool window with two or more
    challengers is no sum of kinks, not even at first order.

    Claim: B3.b

    Parameters
    ----------
    kinks : Kinks
        Local expansion with J kinks, D inputs and d outputs.
    sigma : float or Tensor, shape (S,)
        Standard deviation of the input noise, positive.

    Returns
    -------
    skewness, excess_kurtosis : Tensor, shape (d,) or (S, d)
        In the dtype and on the device of the kinks.

    Raises
    ------
    ValueError
        If shapes disagree, a normal is not unit, a row of the map is zero (its coordinate has no
        Gaussian part), or `sigma` is not positive.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> one = torch.ones(1, 1)
    >>> kinks = SimpleNamespace(distance=torch.zeros(1), normal=one, jump=0.1 * one, map=one)
    >>> skewness, kurtosis = predicted_skew_kurtosis(kinks, 0.5)
    >>> round(float(skewness), 4), float(kurtosis)
    (0.1197, 0.0)
    """
    skewness, kurtosis = _weights(kinks)
    density, slope = _bump(kinks.distance, _noise("sigma", sigma, kinks.distance))
    return density @ skewness, slope @ kurtosis


def _noncentrality(n: int, skewness: Tensor, kurtosis: Tensor) -> Tensor:
    return n * (skewness.square() / 6 + kurtosis.square() / 24)


def dagostino_power(
    n: int, skewness: float | Tensor, kurtosis: float | Tensor, alpha: float = 0.01
) -> Tensor:
    r"""Predict the power of the D'Agostino-Pearson test.

    .. math::
       \Pr\big(\chi'^2_2(\lambda) > \chi^2_{2,1-\alpha}\big), \qquad
       \lambda = n \Big( \frac{\gamma_1^2}{6} + \frac{\gamma_2^2}{24} \Big)

    the limit for departures of order :math:`n^{-1/2}`. Fed with the exact moments of one kink at
    n = 512 (2000 repetitions), it was within 0.03 of the measured power where the skewness
    carries the departure, and up to 0.2 off where the kurtosis does: the spread of the sample
    moments is then no longer the normal one.

    Claim: B3.b

    Parameters
    ----------
    n : int
        Sample size, at least 20.
    skewness, kurtosis : float or Tensor
        Population skewness and excess kurtosis, of shapes that broadcast.
    alpha : float
        Level of the test in (0, 1).

    Returns
    -------
    Tensor
        Power, float64, of the broadcast shape, on the device of `skewness`.

    Raises
    ------
    ValueError
        If `n` is below 20, `alpha` is outside (0, 1), or a moment is not finite.

    Examples
    --------
    >>> round(float(dagostino_power(512, 0.3098, 0.0)), 3)
    0.5
    """
    n = validation.integer("n", n, at_least=20)
    critical = stats.chi2.isf(validation.probability("alpha", alpha), 2)
    skewness = torch.as_tensor(skewness).detach().double()
    kurtosis = torch.as_tensor(kurtosis).detach().to(skewness)
    validation.tensor("skewness", skewness)
    validation.tensor("kurtosis", kurtosis)
    shift = _noncentrality(n, skewness, kurtosis)
    return torch.as_tensor(stats.ncx2.sf(critical, 2, shift.cpu().numpy())).to(shift)


def rejection_bound(
    n: int, exit_probability: float | Tensor, alpha: float = 0.01
) -> float | Tensor:
    r"""Bound the rejection probability of any normality test at small noise.

    .. math:: \Pr(\text{reject}) \le \min\{1,\; \alpha + 1 - (1-\epsilon)^n\}

    where :math:`\epsilon` is the probability that one noisy input leaves the cell of x: if none
    of n leaves it, the sample is a sample of the Gaussian :math:`\mathcal N(f(x), \sigma^2 A
    A^\top)`. Here `alpha` is the size that the test really has there, not its nominal level.

    Claim: B3.a

    Parameters
    ----------
    n : int
        Sample size, at least 1.
    exit_probability : float or Tensor
        Probability (of any shape) in [0, 1].
    alpha : float
        Size of the test in (0, 1).

    Returns
    -------
    float or Tensor
        Bound, of the kind and shape of `exit_probability`.

    Raises
    ------
    ValueError
        If a probability is outside its range.

    Examples
    --------
    >>> round(rejection_bound(512, 1e-5), 5)
    0.01511
    """
    n = validation.integer("n", n, at_least=1)
    alpha = validation.probability("alpha", alpha)
    given = isinstance(exit_probability, Tensor)
    if given:
        epsilon = validation.tensor("exit_probability", exit_probability)
    else:
        value = validation.real("exit_probability", exit_probability)
        epsilon = torch.tensor(value, dtype=torch.float64)
    if bool(((epsilon < 0) | (epsilon > 1)).any()):
        raise ValueError(f"exit_probability must lie in [0, 1], got {exit_probability!r}")
    bound = (alpha - torch.expm1(n * torch.log1p(-epsilon))).clamp(max=1)
    return bound if given else float(bound)


def half_power_noise(
    kinks: Kinks, n: int, sigmas: Tensor, alpha: float = 0.01, power: float = 0.5
) -> Tensor:
    r"""Find the noise at which the predicted D'Agostino-Pearson power first reaches one half.

    .. math:: \sigma_k = \min\big\{\sigma : \Pr(\chi'^2_2(\lambda_k(\sigma)) >
              \chi^2_{2,1-\alpha}) \ge \tfrac12\big\}

    The grid finds the first crossing (the power is not monotone in the noise), bisection between
    two grid points refines it. A crossing that comes and goes between two points is not seen.

    Claim: B3.b

    Parameters
    ----------
    kinks : Kinks
        Local expansion with d outputs.
    n : int
        Sample size, at least 20.
    sigmas : Tensor, shape (S,)
        Increasing positive noise levels, S at least 2.
    alpha, power : float
        Level of the test and the power looked for, ``alpha < power < 1``.

    Returns
    -------
    Tensor, shape (d,)
        Noise level of each coordinate; ``inf`` where the grid never reaches `power`, and
        ``sigmas[0]`` where it is reached there already.

    Raises
    ------
    ValueError
        If the grid is not increasing and positive, or the levels are not in order.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> one = torch.ones(1, 1)
    >>> kinks = SimpleNamespace(distance=one[0], normal=one, jump=one, map=one)
    >>> sigma = half_power_noise(kinks, 512, torch.logspace(-2, 1, 31))
    >>> round(float(dagostino_power(512, *predicted_skew_kurtosis(kinks, sigma))), 3)
    0.5
    """
    n = validation.integer("n", n, at_least=20)
    validation.tensor("sigmas", sigmas, ndim=1, min_rows=2)
    if bool((sigmas[0] <= 0) | (sigmas.diff() <= 0).any()):
        raise ValueError("sigmas must be positive and increasing")
    critical = stats.chi2.isf(validation.probability("alpha", alpha), 2)
    if not alpha < validation.probability("power", power):
        raise ValueError(f"power must exceed alpha = {alpha:g}, got {power:g}")
    target = optimize.brentq(lambda v: stats.ncx2.sf(critical, 2, v) - power, 0.0, 1e3)
    skewness, kurtosis = _weights(kinks)
    grid = sigmas.to(skewness)
    density, slope = _bump(kinks.distance, grid)
    reached = _noncentrality(n, density @ skewness, slope @ kurtosis) >= target
    first = reached.int().argmax(0)
    low, high = grid[(first - 1).clamp_min(0)], grid[first]
    for _ in range(60):
        middle = (low + high) / 2
        density, slope = _bump(kinks.distance, middle)
        moments = (density * skewness.T).sum(1), (slope * kurtosis.T).sum(1)
        above = _noncentrality(n, *moments) >= target
        low, high = torch.where(above, low, middle), torch.where(above, middle, high)
    return torch.where(reached.any(0), high, math.inf)
