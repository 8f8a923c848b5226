"""Run the missing rows of a suite: in order of priority, in parallel, until time is up."""

import time
from collections.abc import Sequence
from pathlib import Path

import torch

from .. import validation
from . import distributed, suites
from . import jobs as processes
from . import threads as thread_numbers
from .config import RunConfig
from .rows import Session, status, work

STATUSES = ("finished", "failed", "unfinished", "stale", "waiting", "elsewhere")
"""What several processes know of one row: the first of these that one of them says is the case."""

__all__ = ["STATUSES", "resolve_device", "run_rows", "run_suite", "status"]


def run_suite(
    name: str,
    out: Path | str = "runs",
    *,
    budget: float | None = None,
    only: Sequence[str] | None = None,
    seeds: Sequence[int] | None = None,
    device: str = "auto",
    jobs: int = 1,
    threads: int | None = None,
    progress: bool = True,
) -> dict[str, str]:
    """Run the rows of a suite that have no record yet.

    Parameters
    ----------
    name : str
        A key of `suites.SUITES`.
    out : Path or str
        Folder of the records and of everything else.
    budget : float, optional
        Seconds after which to stop; the row in progress keeps its state.
    only, seeds : sequence, optional
        As in `suites.get`.
    device : str
        Where to train; "auto" is CUDA if there is one.
    jobs : int
        Rows at the same time, each in a process of its own. A row that another process trains, of
        this call or of another, is left to it.
    threads : int, optional
        Threads of a row; by default 1 with several jobs, else torch's present number.
    progress : bool
        Whether to say what happens; failures are shown in any case.

    Returns
    -------
    dict
        The status of each row: one of `STATUSES`, with the reason after "failed: ".

    Notes
    -----
    SIGINT and SIGTERM end the whole call: rows in progress store their states, the others wait.
    """
    rows = suites.get(name, only=only, seeds=seeds)
    return run_rows(
        rows, out, budget=budget, device=device, jobs=jobs, threads=threads, progress=progress
    )


def run_rows(
    rows: Sequence[RunConfig],
    out: Path | str,
    *,
    budget: float | None = None,
    device: str = "auto",
    jobs: int = 1,
    threads: int | None = None,
    progress: bool = True,
) -> dict[str, str]:
    """Run rows as `run_suite` does."""
    validation.integer("jobs", jobs, at_least=1)
    if threads is not None:
        validation.integer("threads", threads, at_least=1)
    if budget is not None:
        validation.nonnegative("budget", budget)
    if jobs > 1 and distributed.environment().size > 1:
        raise ValueError(f"jobs must be 1 under torchrun, got {jobs}")
    # Wall clock, since processes that start later share the end.
    end = None if budget is None else time.time() + budget
    session = Session(Path(out), resolve_device(device), end, progress)
    if jobs > 1:
        found = processes.share(rows, session, jobs=jobs, threads=threads or 1)
        return {row.key: _merge(found[row.key]) or _unseen(row, session) for row in rows}
    with distributed.group(torch.device(session.device)), thread_numbers.count(threads):
        return work(rows, session)


def resolve_device(device: str) -> str:
    """Return the device meant: for "auto", this process's CUDA device or else the CPU."""
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda":
        return f"cuda:{distributed.environment().local_rank}"
    return device


def _merge(found: Sequence[str]) -> str:
    """Return what several processes know of a row, empty if they know nothing."""
    return min(found, key=lambda s: STATUSES.index(s.partition(":")[0]), default="")


def _unseen(row: RunConfig, session: Session) -> str:
    """Return the status of a row that no process lived to see."""
    if session.interrupt.asked:
        return status(row, session.out)
    return "failed: no process was left to train it"
