"""One way to seed: independent, named streams of random numbers from one integer."""

import zlib
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

from . import validation


def _entropy(seed: int, stream: str) -> list[int]:
    return [validation.integer("seed", seed, at_least=0), zlib.crc32(stream.encode())]


def numpy_generator(seed: int, stream: str = "") -> np.random.Generator:
    """Return a NumPy generator for one named stream of a seed.

    Streams with different names are independent, so adding a draw to one part of a computation
    leaves the numbers of every other part unchanged.

    Parameters
    ----------
    seed : int
        Seed of the whole computation, not negative.
    stream : str
        Name of this use of randomness.

    Returns
    -------
    numpy.random.Generator

    Examples
    --------
    >>> a = numpy_generator(0, "data").normal()
    >>> a == numpy_generator(0, "data").normal(), a == numpy_generator(0, "noise").normal()
    (True, False)
    """
    return np.random.default_rng(_entropy(seed, stream))


def torch_generator(
    seed: int, stream: str = "", device: torch.device | str = "cpu"
) -> torch.Generator:
    """Return a torch generator for one named stream of a seed.

    Parameters
    ----------
    seed : int
        Seed of the whole computation, not negative.
    stream : str
        Name of this use of randomness.
    device : torch.device or str
        Device the generator draws on; the numbers differ between device types.

    Returns
    -------
    torch.Generator

    Examples
    --------
    >>> torch.randn(2, generator=torch_generator(0, "weights")).shape
    torch.Size([2])
    """
    words = np.random.SeedSequence(_entropy(seed, stream)).generate_state(1, np.uint64)
    return torch.Generator(device=device).manual_seed(int(words[0] >> 1))


@contextmanager
def initialisation(seed: int, stream: str = "weights") -> Iterator[None]:
    """Seed the weight initialisation of torch modules built inside, and only that.

    ``torch.nn`` layers draw their weights from torch's global generator; its state is put back on
    leaving, so nothing outside changes.

    Parameters
    ----------
    seed : int
        Seed of the whole computation, not negative.
    stream : str
        Name of this use of randomness.

    Examples
    --------
    >>> with initialisation(0):
    ...     first = torch.nn.Linear(2, 2)
    >>> with initialisation(0):
    ...     second = torch.nn.Linear(2, 2)
    >>> torch.equal(first.weight, second.weight)
    True
    """
    with torch.random.fork_rng(devices=[]):
        # torch.manual_seed would also reseed the generators of every GPU, for good.
        torch.default_generator.manual_seed(torch_generator(seed, stream).initial_seed())
        yield
