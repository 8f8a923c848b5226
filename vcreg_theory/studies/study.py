"""A study: named rows, each a cell and a seed, run one after another into one JSON file."""

import hashlib
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from .. import __version__, validation
from ..checkpoints import read_json, write_json
from ..files import PathLike
from ..training import threads
from ..training.interrupt import Interrupt
from ..training.throughput import describe_device
from .cells import Cell

Row = dict[str, Any]


@dataclass(frozen=True)
class Study:
    """The design of a study: its cells, its seeds, and how a row is made.

    Parameters
    ----------
    name : str
        Name of the study and of its file.
    cells : tuple of Cell
        What is compared.
    seeds : tuple of int
        Replicates of each cell.
    row : callable
        ``row(cell, seed=seed)`` returns the figures of one row, plain numbers and text.
    constants : dict
        What else the figures depend on; stored with them.
    """

    name: str
    cells: tuple[Cell, ...]
    seeds: tuple[int, ...]
    row: Callable[..., Row] = field(repr=False)
    constants: dict[str, Any] = field(default_factory=dict)

    @property
    def design(self) -> dict[str, Any]:
        """Everything that the rows depend on, as JSON holds it."""
        cells = {cell.name: asdict(cell) for cell in self.cells}
        plain: Row = json.loads(json.dumps({"cells": cells, "constants": self.constants}))
        return plain

    def keys(
        self, only: Sequence[str] | None = None, seeds: Sequence[int] | None = None
    ) -> list[tuple[Cell, int]]:
        """Return the rows, seed by seed, so that an interrupted study has whole seeds.

        Parameters
        ----------
        only : sequence of str, optional
            Names of cells; by default all.
        seeds : sequence of int, optional
            Seeds, also others than the study's; by default the study's.
        """
        names = [cell.name for cell in self.cells]
        for name in only or ():
            validation.member("only", name, names)
        chosen = [cell for cell in self.cells if only is None or cell.name in only]
        return [(cell, seed) for seed in seeds or self.seeds for cell in chosen]


def row_key(cell: Cell, seed: int) -> str:
    """Return the name of a row."""
    return f"{cell.name}-s{seed}"


def run(
    study: Study,
    out: PathLike,
    *,
    only: Sequence[str] | None = None,
    seeds: Sequence[int] | None = None,
    budget: float | None = None,
    report: Callable[[str], None] | None = None,
) -> tuple[int, int]:
    """Run the rows that the study's file does not hold yet, with one thread.

    The file is replaced as a whole after each row, so that the work can be stopped at any time and
    goes on where it was. Each row is the same whenever it is run.

    Parameters
    ----------
    study : Study
        The design.
    out : path
        Folder of the file ``<name>.json``, made if absent.
    only, seeds
        As in `Study.keys`.
    budget : float, optional
        Seconds after which no row is begun.
    report : callable, optional
        Called with a line of text after each row.

    Returns
    -------
    tuple of int
        How many of the rows asked for are finished, and how many are left.

    Raises
    ------
    ValueError
        If the file holds another design, or a cell is unknown.

    Examples
    --------
    >>> import tempfile
    >>> toy = Study("toy", (Cell("a", "none"),), (0, 1), lambda cell, seed: {"figure": seed})
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     run(toy, folder), read(toy.name, folder)["rows"]["a-s1"]["figure"]
    ((2, 0), 1)
    """
    path = Path(out) / f"{study.name}.json"
    content = _content(study, path)
    wanted = study.keys(only, seeds)
    started, interrupt = time.monotonic(), Interrupt()
    with interrupt.caught(), threads.count(1):
        for cell, seed in wanted:
            late = budget is not None and time.monotonic() - started >= budget
            if row_key(cell, seed) in content["rows"]:
                continue
            if late or interrupt.asked:
                break
            before = time.perf_counter()
            figures = study.row(cell, seed=seed)
            seconds = time.perf_counter() - before
            content["rows"][row_key(cell, seed)] = {
                "cell": cell.name,
                "seed": seed,
                **figures,
                "seconds": round(seconds, 2),
                "device": describe_device(torch.device("cpu")),
                "torch": torch.__version__,
                "package": __version__,
            }
            write_json(path, content)
            if report is not None:
                report(f"{row_key(cell, seed)}: {seconds:.1f} s")
    left = sum(row_key(*key) not in content["rows"] for key in wanted)
    return len(wanted) - left, left


def _content(study: Study, path: Path) -> dict[str, Any]:
    """Return what the file holds, or an empty study."""
    empty: Row = {"study": study.name, "design": study.design, "rows": {}}
    if not path.exists():
        return empty
    content: Row = read_json(path)
    if content.get("study") != study.name or content.get("design") != study.design:
        raise ValueError(f"{path} holds another study or design; move it away to start anew")
    return content


def read(name: str, folder: PathLike | None = None) -> dict[str, Any]:
    """Return the content of a study's file.

    Parameters
    ----------
    name : str
        Name of the study.
    folder : path, optional
        By default ``data/studies`` of the source tree.

    Returns
    -------
    dict
        ``study``, ``design`` and ``rows`` by name.

    Raises
    ------
    FileNotFoundError, ValueError
        If there is no such file, or it is not whole.
    """
    place = Path(folder) if folder is not None else default_folder()
    content: Row = read_json(place / f"{name}.json")
    return content


def default_folder() -> Path:
    """Return the folder of the studies that the book quotes: ``data/studies``."""
    return Path(__file__).resolve().parents[2] / "data" / "studies"


def digest(rows: Sequence[Row]) -> str:
    """Return the sha256 of the hashes of several rows' weights, in order: one name for them all.

    Examples
    --------
    >>> len(digest([{"weights": "ab"}, {"weights": "cd"}]))
    64
    """
    return hashlib.sha256("".join(row["weights"] for row in rows).encode()).hexdigest()
