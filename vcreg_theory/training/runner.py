"""Run the missing rows of a suite: in order of priority, in parallel, until time is up."""

import fcntl
import multiprocessing
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from .. import checkpoints, validation
from . import distributed, suites
from .config import RunConfig
from .paths import RunPaths
from .trainer import Trainer, load_dataset

STATUSES = ("finished", "unfinished", "waiting", "elsewhere", "stale", "failed")


def status(config: RunConfig, out: Path | str) -> str:
    """Return how far a row is: "finished", "stale", "unfinished" or "waiting".

    A row is stale if its record belongs to another configuration; running it replaces the record.
    """
    paths = RunPaths(Path(out), config.key)
    if paths.record.exists():
        found = checkpoints.read_json(paths.record)
        return "finished" if found.get("config_digest") == config.digest() else "stale"
    return "unfinished" if paths.state.exists() else "waiting"


def run_suite(
    name: str,
    out: Path | str = "runs",
    *,
    budget: float | None = None,
    only: Sequence[str] | None = None,
    seeds: Sequence[int] | None = None,
    device: str = "auto",
    jobs: int = 1,
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
        Rows at the same time, each in a process with one thread. A row that another process
        trains, of this call or of another, is left to it.
    progress : bool
        Whether to say what happens.

    Returns
    -------
    dict
        The status of each row: one of `STATUSES`, with the reason after "failed: ".
    """
    rows = suites.get(name, only=only, seeds=seeds)
    return run_rows(rows, out, budget=budget, device=device, jobs=jobs, progress=progress)


def run_rows(
    rows: Sequence[RunConfig],
    out: Path | str,
    *,
    budget: float | None = None,
    device: str = "auto",
    jobs: int = 1,
    progress: bool = True,
) -> dict[str, str]:
    """Run rows as `run_suite` does."""
    validation.integer("jobs", jobs, at_least=1)
    if budget is not None:
        validation.nonnegative("budget", budget)
    out = Path(out)
    device = resolve_device(device)
    # Wall clock, since processes that start later share the end.
    end = None if budget is None else time.time() + budget
    if jobs == 1:
        with distributed.group(torch.device(device)):
            return _work(rows, out, end, device, progress)
    if distributed.environment().size > 1:
        raise ValueError(f"jobs must be 1 under torchrun, got {jobs}")
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, mp_context=context) as pool:
        started = [pool.submit(_worker, rows, out, end, device, progress) for _ in range(jobs)]
        found = [future.result() for future in started]
    return {row.key: _merge([part[row.key] for part in found]) for row in rows}


def resolve_device(device: str) -> str:
    """Return the device meant: for "auto", this process's CUDA device or else the CPU."""
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda":
        return f"cuda:{distributed.environment().local_rank}"
    return device


def _worker(
    rows: Sequence[RunConfig], out: Path, end: float | None, device: str, progress: bool
) -> dict[str, str]:
    """Work in a process of its own, with one thread."""
    torch.set_num_threads(1)
    return _work(rows, out, end, device, progress, bar=False)


def _merge(found: Sequence[str]) -> str:
    """Return what several processes know of a row: who trained it knows best."""
    known = [s for s in found if s not in ("elsewhere", "waiting")]
    return next((s for s in known if s == "finished"), known[0] if known else found[0])


def _work(
    rows: Sequence[RunConfig],
    out: Path,
    end: float | None,
    device: str,
    progress: bool,
    bar: bool = True,
) -> dict[str, str]:
    """Run rows one after another; a row that fails does not stop the others."""
    found: dict[str, str] = {}
    cache: dict[str, Any] = {}
    world = distributed.environment()
    for row in rows:
        with _claim(row, out) as mine:
            found[row.key] = status(row, out) if mine else "elsewhere"
            left = None if end is None else end - time.time()
            is_wanted = found[row.key] not in ("finished", "elsewhere")
            is_wanted = is_wanted and (left is None or left > 0)
            if not world.agree(is_wanted, torch.device(device)):
                continue
            found[row.key] = _run(row, out, left, device, progress and bar, cache)
        if progress and world.is_main:
            _say(row, out, found[row.key])
    return found


def _run(
    row: RunConfig,
    out: Path,
    left: float | None,
    device: str,
    bar: bool,
    cache: dict[str, Any],
) -> str:
    """Run one row and return its status."""
    try:
        key = repr((row.dataset, row.dataset_options))
        if key not in cache:
            cache.clear()
            cache[key] = load_dataset(row, device)
        trainer = Trainer(
            row, out=out, device=device, budget=left, progress=bar, dataset=cache[key]
        )
        return trainer.run()
    except (ValueError, FloatingPointError, FileNotFoundError) as error:
        return f"failed: {error}"


@contextmanager
def _claim(row: RunConfig, out: Path) -> Iterator[bool]:
    """Lock a row; the lock ends with the process, however that ends."""
    world = distributed.environment()
    path = RunPaths(out, row.key).lock
    path.parent.mkdir(parents=True, exist_ok=True)
    if not world.is_main:  # the main process holds the lock for all
        yield True
        return
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True  # the file stays: another process may have opened it already


def _say(row: RunConfig, out: Path, result: str) -> None:
    """Print one line on a row that has just been worked on."""
    line = f"{row.key}: {result}"
    if result == "finished":
        record = checkpoints.read_json(RunPaths(out, row.key).record)
        final = record["final"]["accuracy"]
        line += (
            f" in {record['wall_seconds'] + record['evaluation_seconds']:.0f} s, "
            f"linear {final['linear']:.3f}, knn {final['knn']:.3f}"
        )
    print(line, file=sys.stderr, flush=True)
