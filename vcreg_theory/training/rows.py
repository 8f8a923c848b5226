"""Work on the rows of a suite, one after another, beside other processes that do the same."""

import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from .. import checkpoints
from . import distributed
from .config import RunConfig
from .console import say
from .interrupt import Interrupt
from .paths import RunPaths
from .trainer import Trainer, load_dataset


def status(config: RunConfig, out: Path | str) -> str:
    """Return how far a row is: "finished", "stale", "unfinished" or "waiting".

    A row is stale if its record belongs to another configuration; running it replaces the record.
    """
    paths = RunPaths(Path(out), config.key)
    if paths.record.exists():
        found = checkpoints.read_json(paths.record)
        return "finished" if found.get("config_digest") == config.digest() else "stale"
    return "unfinished" if paths.state.exists() else "waiting"


def _ignore(key: str, result: str | None) -> None:
    """Take no note of a row."""


@dataclass
class Session:
    """What the rows of one call have in common.

    Parameters
    ----------
    out : Path
        Folder of the files.
    device : str
        Where to train.
    end : float, optional
        When to stop, by the wall clock, which processes share.
    progress, bar : bool
        Whether to say how rows end, and to show how far they are.
    interrupt : Interrupt
        Ends the session between two steps of a row.
    say : callable
        Shows a message.
    note : callable
        Receives the key of a row and None before the row, its status after it.
    """

    out: Path
    device: str
    end: float | None = None
    progress: bool = True
    bar: bool = True
    interrupt: Interrupt = field(default_factory=Interrupt)
    say: Callable[[str], None] = say
    note: Callable[[str, str | None], None] = _ignore
    _data: dict[str, Any] = field(default_factory=dict, init=False, repr=False)

    def dataset(self, row: RunConfig) -> Any:
        """Return the data of a row, which stay loaded until a row needs others."""
        key = repr((row.dataset, row.dataset_options))
        if key not in self._data:
            self._data.clear()
            self._data[key] = load_dataset(row, self.device)
        return self._data[key]


def work(rows: Sequence[RunConfig], session: Session) -> dict[str, str]:
    """Run rows one after another, until all are done, time is up or someone asks to stop.

    Parameters
    ----------
    rows : sequence of RunConfig
        The rows, in order.
    session : Session
        What they have in common.

    Returns
    -------
    dict
        The status of each row; a row that raised has "failed: Type: message" and does not stop
        the others, except under ``torchrun``, where the processes must not part.
    """
    found: dict[str, str] = {}
    world = distributed.environment()
    with session.interrupt.caught():
        for row in rows:
            if world.agree(session.interrupt.asked, torch.device(session.device)):
                break
            session.note(row.key, None)
            found[row.key] = _guarded(_run, row, session)
            session.note(row.key, found[row.key])
        for row in rows:
            if row.key not in found:
                found[row.key] = _guarded(_look, row, session)
                session.note(row.key, found[row.key])
    return found


def _guarded(
    function: Callable[[RunConfig, Session], str], row: RunConfig, session: Session
) -> str:
    """Return what a function says of a row, or how it failed."""
    try:
        return function(row, session)
    except Exception as error:
        if distributed.environment().size > 1:
            raise
        if not isinstance(error, ModuleNotFoundError):  # its message says all
            session.say(traceback.format_exc().rstrip())
        result = f"failed: {type(error).__name__}: {error}"
        if session.progress:
            session.say(f"{row.key}: {result}")
        return result


def _look(row: RunConfig, session: Session) -> str:
    return status(row, session.out)


def _run(row: RunConfig, session: Session) -> str:
    """Run one row unless it is done, or another process's, or time is up; return its status."""
    world = distributed.environment()
    with claim(row, session.out) as mine:
        found = status(row, session.out) if mine else "elsewhere"
        left = None if session.end is None else session.end - time.time()
        is_wanted = found not in ("finished", "elsewhere") and (left is None or left > 0)
        if not world.agree(is_wanted, torch.device(session.device)):
            return found
        trainer = Trainer(
            row,
            out=session.out,
            device=session.device,
            budget=left,
            progress=session.progress and session.bar,
            dataset=session.dataset(row),
            interrupt=session.interrupt,
            say=session.say,
        )
        found = trainer.run()
    if session.progress and world.is_main:
        figures = _figures(row, session.out) if found == "finished" else ""
        session.say(f"{row.key}: {found}{figures}")
    return found


def _figures(row: RunConfig, out: Path) -> str:
    """Return what a line on a row that has just finished says of it."""
    record = checkpoints.read_json(RunPaths(out, row.key).record)
    final = record["final"]["accuracy"]
    seconds = record["wall_seconds"] + record["evaluation_seconds"]
    return f" in {seconds:.0f} s, linear {final['linear']:.3f}, knn {final['knn']:.3f}"


@contextmanager
def claim(row: RunConfig, out: Path) -> Iterator[bool]:
    """Hold a row against other processes, and tell whether it is free.

    Parameters
    ----------
    row : RunConfig
        The row.
    out : Path
        Folder of the files.

    Notes
    -----
    The lock is the operating system's, and ends with the process however that ends. Where Python
    has no ``fcntl`` (Windows), the row is held by a file ``state/KEY.holder`` instead; a process
    that is killed leaves it behind, the row then counts as another process's, and someone has to
    delete the file.
    """
    paths = RunPaths(out, row.key)
    paths.lock.parent.mkdir(parents=True, exist_ok=True)
    if not distributed.environment().is_main:  # the main process holds the lock for all
        yield True
        return
    try:
        import fcntl
    except ImportError:
        with _holder(paths.holder) as mine:
            yield mine
        return
    with paths.lock.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True  # the file stays: another process may have opened it already


@contextmanager
def _holder(path: Path) -> Iterator[bool]:
    """Hold a row by a file that no two processes can both create."""
    try:
        path.touch(exist_ok=False)
    except FileExistsError:
        yield False
        return
    try:
        yield True
    finally:
        path.unlink(missing_ok=True)
