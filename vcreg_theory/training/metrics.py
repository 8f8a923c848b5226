"""Metrics along a run: means of the terms, kept on the device, and their lines in a file."""

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .. import files


class Meter:
    """Means of the terms of the loss since the last reading, and the first that are not finite.

    Nothing here waits for the device except `read`, `refuse_nonfinite` and `state_dict`.

    Parameters
    ----------
    names : tuple of str
        Names of the terms, the loss first.
    device : torch.device
        Where the terms are computed.

    Examples
    --------
    >>> meter = Meter(("loss",), torch.device("cpu"))
    >>> for step, value in enumerate((1.0, 2.0)):
    ...     meter.add(step, torch.tensor([value]))
    >>> meter.read()
    {'loss': 1.5}
    """

    def __init__(self, names: tuple[str, ...], device: torch.device):
        self.names = names
        self.count = 0
        self._sums = torch.zeros(len(names), dtype=torch.float64, device=device)
        self._first_bad = torch.full((), -1, dtype=torch.int64, device=device)
        self._bad_terms = torch.zeros(len(names), dtype=torch.float64, device=device)
        self._last = self._bad_terms

    def add(self, step: int, terms: Tensor) -> None:
        """Take in the terms of one step."""
        terms = terms.detach().double()
        is_first = (self._first_bad < 0) & ~torch.isfinite(terms).all()
        self._first_bad = torch.where(is_first, step, self._first_bad)
        self._bad_terms = torch.where(is_first, terms, self._bad_terms)
        self._last = terms
        self._sums += terms
        self.count += 1

    def read(self) -> dict[str, float]:
        """Return the means and begin anew."""
        means = (self._sums / max(self.count, 1)).tolist()
        self._sums = torch.zeros_like(self._sums)
        self.count = 0
        return dict(zip(self.names, means, strict=True))

    def refuse_nonfinite(self) -> None:
        """Raise ``FloatingPointError`` with the first step that had a term that is not finite."""
        step = int(self._first_bad)
        if step >= 0:
            values = self._in_words(self._bad_terms)
            raise FloatingPointError(f"the loss is not finite at step {step}: {values}")

    def last(self) -> str:
        """Return the terms of the last step in words."""
        return self._in_words(self._last)

    def _in_words(self, terms: Tensor) -> str:
        pairs = zip(self.names, terms.tolist(), strict=True)
        return ", ".join(f"{name} {value:.3g}" for name, value in pairs)

    def state_dict(self) -> dict[str, Any]:
        """Return what `load_state_dict` needs to go on exactly."""
        return {"sums": self._sums.cpu(), "count": self.count}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a state."""
        self._sums = state["sums"].to(self._sums)
        self.count = state["count"]


class Lines:
    """A file with one JSON object a line, that a resumed run shortens to where it goes on.

    Parameters
    ----------
    path : Path
        The file; its folder is made.
    after : int
        Lines of later steps are dropped, and so is a line that a kill cut short.
    """

    def __init__(self, path: Path, after: int):
        self.path = path
        kept = [line for line in _whole_lines(path) if json.loads(line)["step"] <= after]
        files.write(path, "".join(f"{line}\n" for line in kept).encode())

    def append(self, entry: dict[str, Any]) -> None:
        """Add one line."""
        with self.path.open("a") as file:
            file.write(json.dumps(entry) + "\n")


def _whole_lines(path: Path) -> list[str]:
    """Return the lines of a file that are whole JSON objects, up to the first that is not."""
    if not path.exists():
        return []
    whole = []
    for line in path.read_text().splitlines():
        try:
            json.loads(line)["step"]
        except (ValueError, KeyError, TypeError):
            break
        whole.append(line)
    return whole
