"""How many threads torch computes with: a sum's rounding depends on it."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def count(threads: int | None = None) -> Iterator[None]:
    """Compute with a number of threads, and restore torch's number at the end.

    Parameters
    ----------
    threads : int, optional
        The number; None begins with torch's own.

    Examples
    --------
    >>> before = torch.get_num_threads()
    >>> with count(before + 1):
    ...     torch.get_num_threads() - before
    1
    >>> torch.get_num_threads() == before
    True
    """
    before = torch.get_num_threads()
    if threads is not None:
        set_count(threads)
    try:
        yield
    finally:
        set_count(before)


def set_count(threads: int) -> None:
    """Set torch's number of threads unless it is that already."""
    if torch.get_num_threads() != threads:
        torch.set_num_threads(threads)


def named(device: object) -> int | None:
    """Return the number of threads at the end of a record's device, None without one.

    Examples
    --------
    >>> named("cpu (Intel(R) Xeon(R), 1 thread)"), named("cpu (M2, 8 threads)")
    (1, 8)
    >>> named("cuda (NVIDIA H200)") is None
    True
    """
    found = re.search(r", (\d+) threads?\)$", str(device))
    return int(found[1]) if found else None
