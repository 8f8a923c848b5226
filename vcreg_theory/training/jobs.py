"""Processes that share the rows of a suite, and the one that hears from them."""

import multiprocessing
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess

import torch

from .config import RunConfig
from .interrupt import Interrupt
from .rows import Session, work

# How soon a request to stop reaches the workers.
_POLL_SECONDS = 0.2


def share(
    rows: Sequence[RunConfig], session: Session, *, jobs: int, threads: int
) -> dict[str, list[str]]:
    """Let several processes work on the same rows, each row in one of them.

    Parameters
    ----------
    rows : sequence of RunConfig
        The rows, in order.
    session : Session
        What they have in common. Only this process says anything.
    jobs : int
        Number of processes.
    threads : int
        Threads of each.

    Returns
    -------
    dict
        What the processes found of each row. A row whose process died has failed; a row that no
        process lived to see has an empty list.

    Notes
    -----
    A request to stop is passed on to the processes, which store their states and end; so do they
    if this process dies.
    """
    context = multiprocessing.get_context("spawn")
    told = replace(session, interrupt=Interrupt(), say=print, bar=False)
    office = _Office({row.key: [] for row in rows}, session)
    with session.interrupt.caught():
        try:
            for _ in range(jobs):
                here, there = context.Pipe()
                arguments = there, rows, told, threads
                process = context.Process(target=_serve, args=arguments)
                process.start()
                there.close()  # so that the end of the process is the end of the pipe
                office.workers[here] = _Worker(process)
            office.listen()
        except BaseException:
            for worker in office.workers.values():
                worker.process.kill()
            raise
    return office.found


def _serve(
    connection: Connection, rows: Sequence[RunConfig], session: Session, threads: int
) -> None:
    """Work in a process of its own."""
    torch.set_num_threads(threads)

    def send(key: str | None, text: str | None) -> None:
        with suppress(OSError):  # nobody is left to hear
            connection.send((key, text))

    interrupt = Interrupt()
    heed = threading.Thread(target=_heed, args=(connection, interrupt.ask), daemon=True)
    heed.start()
    work(rows, replace(session, interrupt=interrupt, note=send, say=lambda text: send(None, text)))


def _heed(connection: Connection, ask: Callable[[], None]) -> None:
    """Ask to stop when the other end of a pipe says so or is gone."""
    with suppress(EOFError, OSError):
        connection.recv()
    ask()


@dataclass
class _Worker:
    """A process and the row it is at."""

    process: BaseProcess
    row: str | None = None


class _Office:
    """What the workers have told so far."""

    def __init__(self, found: dict[str, list[str]], session: Session):
        self.found, self.session = found, session
        self.workers: dict[Connection, _Worker] = {}

    def listen(self) -> None:
        """Hear the workers until all have ended; pass on a request to stop, once."""
        was_told = False
        while self.workers:
            for connection in wait(list(self.workers), _POLL_SECONDS):
                assert isinstance(connection, Connection)
                try:
                    self._hear(self.workers[connection], *connection.recv())
                except (EOFError, OSError):
                    self._bury(self.workers.pop(connection))
                    connection.close()
            if self.session.interrupt.asked and not was_told:
                was_told = True
                for connection in self.workers:
                    with suppress(OSError):
                        connection.send("stop")

    def _hear(self, worker: _Worker, key: str | None, text: str | None) -> None:
        if key is None:
            self.session.say(text or "")
        elif text is None:
            worker.row = key
        else:
            worker.row = None
            self.found[key].append(text)

    def _bury(self, worker: _Worker) -> None:
        """Join a process that has ended, and answer for the row it was at."""
        worker.process.join()
        code = worker.process.exitcode
        if worker.row is not None:
            result = f"failed: the process that trained it ended with exit code {code}"
            self.found[worker.row].append(result)
            self.session.say(f"{worker.row}: {result}")
        elif code and not self.session.interrupt.asked:
            self.session.say(f"a process ended between rows with exit code {code}")
