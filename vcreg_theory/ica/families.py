"""Families of sources, with their kurtosis and Fisher information in closed form."""

import math
from typing import cast

import numpy as np

from .. import validation
from .._types import FloatArray
from .sources import Source


def gaussian() -> Source:
    """Return the standard normal law: the one that cannot be separated from another of its kind."""
    return Source("gaussian", 0.0, 1.0, lambda g, n: g.standard_normal(n))


def uniform() -> Source:
    """Return the uniform law on an interval."""
    return Source("uniform", -1.2, math.inf, lambda g, n: math.sqrt(3) * g.uniform(-1, 1, n))


def laplace() -> Source:
    """Return the Laplace law."""
    return Source("laplace", 3.0, 2.0, lambda g, n: g.laplace(scale=math.sqrt(0.5), size=n))


def logistic() -> Source:
    """Return the logistic law."""
    scale = math.sqrt(3) / math.pi
    return Source("logistic", 1.2, math.pi**2 / 9, lambda g, n: g.logistic(scale=scale, size=n))


def hyperbolic_secant() -> Source:
    """Return the law of density ``sech(pi x / 2) / 2``, whose score is a hyperbolic tangent."""

    def draw(g: np.random.Generator, n: int) -> FloatArray:
        angle = math.pi / 2 * g.uniform(size=n)
        return 2 / math.pi * np.log(np.tan(np.maximum(angle, 1e-300)))

    return Source("hyperbolic secant", 2.0, math.pi**2 / 8, draw)


def student_t(df: float) -> Source:
    """Return Student's t with `df` degrees of freedom, above 2."""
    if validation.real("df", df) <= 2:
        raise ValueError(f"df must be above 2, for a finite variance, got {df!r}")
    scale = math.sqrt((df - 2) / df)
    information = df * (df + 1) / ((df - 2) * (df + 3))
    kurtosis = 6 / (df - 4) if df > 4 else math.inf
    return Source(f"t{df:g}", kurtosis, information, lambda g, n: scale * g.standard_t(df, n))


def generalized_gaussian(power: float) -> Source:
    """Return the law of density proportional to ``exp(-|x / scale|^power)``; 1 is Laplace's."""
    p = validation.positive("power", power)
    one, three, five = (math.lgamma(k / p) for k in (1, 3, 5))
    scale = math.exp((one - three) / 2)
    information = math.inf
    if p > 0.5:  # else the score is not square integrable at the peak
        information = p**2 * math.exp(math.lgamma(2 - 1 / p) + three - 2 * one)

    def draw(g: np.random.Generator, n: int) -> FloatArray:
        # gamma(1 / p) itself would be 0 in floating point for large powers
        size = g.gamma(1 + 1 / p, size=n) ** (1 / p) * g.uniform(size=n)
        drawn: FloatArray = scale * size * g.choice([-1.0, 1.0], n)
        return drawn

    kurtosis = math.exp(five + one - 2 * three) - 3
    return Source(f"generalized gaussian {p:g}", kurtosis, information, draw)


def gamma(shape: float) -> Source:
    """Return the gamma law, centred; shape 1 is exponential."""
    a = validation.positive("shape", shape)

    def draw(g: np.random.Generator, n: int) -> FloatArray:
        return (g.gamma(a, size=n) - a) / math.sqrt(a)

    return Source(f"gamma {a:g}", 6 / a, a / (a - 2) if a > 2 else math.inf, draw)


def gumbel() -> Source:
    """Return the law of extreme values of type I."""
    scale = math.sqrt(6) / math.pi

    def draw(g: np.random.Generator, n: int) -> FloatArray:
        return g.gumbel(scale=scale, size=n) - np.euler_gamma * scale

    return Source("gumbel", 2.4, math.pi**2 / 6, draw)


def triangular() -> Source:
    """Return the symmetric triangular law: the sum of two uniform variables."""
    half = math.sqrt(6)
    return Source("triangular", -0.6, math.inf, lambda g, n: g.triangular(-half, 0, half, n))


def arcsine() -> Source:
    """Return the law of a sine wave at a random time."""

    def draw(g: np.random.Generator, n: int) -> FloatArray:
        return math.sqrt(2) * np.sin(2 * math.pi * g.uniform(size=n))

    return Source("arcsine", -1.5, math.inf, draw)


def sparse(active: float) -> Source:
    """Return a variable that is Gaussian with probability `active` and 0 otherwise."""
    share = validation.probability("active", active)

    def draw(g: np.random.Generator, n: int) -> FloatArray:
        return g.standard_normal(n) * (g.uniform(size=n) < share) / math.sqrt(share)

    return Source(f"sparse {share:g}", 3 / share - 3, math.inf, draw)


def levels(count: int) -> Source:
    """Return the uniform law on `count` equally spaced values, at least 2."""
    k = validation.integer("count", count, at_least=2)
    unit = math.sqrt(12 / (k * k - 1))

    def draw(g: np.random.Generator, n: int) -> FloatArray:
        return cast(FloatArray, unit * (g.integers(k, size=n) - (k - 1) / 2))

    return Source(f"{k} levels", -1.2 * (k * k + 1) / (k * k - 1), math.inf, draw)


def three_point() -> Source:
    """Return the law on -sqrt 3, 0, sqrt 3 with kurtosis 0, to which three powers are blind.

    Claim A6.b: of two such sources every rotation is a zero of the loss with x, x^2 and x^3.
    """

    def draw(g: np.random.Generator, n: int) -> FloatArray:
        return math.sqrt(3) * g.choice([-1.0, 0.0, 1.0], n, p=[1 / 6, 2 / 3, 1 / 6])

    return Source("three points", 0.0, math.inf, draw)
