"""What a run shows while it trains."""

import sys
from typing import Any


def say(text: str) -> None:
    """Write a message to the standard error stream, line feed and all in one piece."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def bar(name: str, *, total: int, done: int, shown: bool) -> Any:
    """Return a progress bar over steps, which shows itself on a terminal only.

    Parameters
    ----------
    name : str
        What stands before it.
    total, done : int
        Steps in all, and steps taken in earlier sessions.
    shown : bool
        Whether to show it.
    """
    from tqdm import tqdm

    hidden = not shown or not sys.stderr.isatty()
    return tqdm(total=total, initial=done, desc=name, unit="step", disable=hidden)
