"""Sources: laws of mean zero and variance one, samples of them, and random mixtures."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from .. import validation
from .._types import FloatArray

Draw = Callable[[np.random.Generator, int], FloatArray]


@dataclass(frozen=True)
class Source:
    r"""A law of mean zero and variance one.

    `kurtosis` is the excess kurtosis (infinite if the fourth moment is), `information` the Fisher
    information of location :math:`J = \mathbb E (p'/p)^2`, 1 for a Gaussian and above it otherwise,
    infinite where the density jumps, has no bounded root or there is none.
    """

    name: str
    kurtosis: float
    information: float
    draw: Draw

    def sample(self, n: int, generator: np.random.Generator) -> FloatArray:
        """Return n independent samples in float64."""
        return self.draw(generator, validation.integer("n", n, at_least=1))


def sample_sources(sources: Sequence[Source], n: int, generator: np.random.Generator) -> FloatArray:
    """Sample mutually independent sources.

    Parameters
    ----------
    sources : sequence of Source
        The law of each column.
    n : int
        Number of samples, at least 1.
    generator : numpy.random.Generator

    Returns
    -------
    ndarray, shape (n, d)

    Raises
    ------
    TypeError, ValueError
        If there is no source or something else among them.

    Examples
    --------
    >>> from vcreg_theory.ica import laplace, uniform
    >>> s = sample_sources([uniform(), laplace()], 1000, np.random.default_rng(0))
    >>> s.shape, bool(abs(s[:, 0]).max() <= 3**0.5)
    ((1000, 2), True)
    """
    sources = list(sources)
    if not sources or not all(isinstance(source, Source) for source in sources):
        raise TypeError(f"sources must be one or more Source, got {sources!r}")
    return np.stack([source.sample(n, generator) for source in sources], 1)


def mixing_matrix(d: int, generator: np.random.Generator) -> FloatArray:
    """Return a random mixing matrix with independent standard normal entries, shape (d, d)."""
    return generator.standard_normal((validation.integer("d", d, at_least=1),) * 2)
