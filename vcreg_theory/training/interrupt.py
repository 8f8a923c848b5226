"""Requests to stop: by a signal, or by another process."""

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

# Within this time a second signal is the same request: a terminal and a launcher both send one.
_SAME_REQUEST_SECONDS = 1.0


class Interrupt:
    """Whether someone has asked to stop; nothing stops by itself, the work looks and ends.

    Examples
    --------
    >>> interrupt = Interrupt()
    >>> with interrupt.caught():
    ...     signal.raise_signal(signal.SIGTERM)
    >>> interrupt.asked
    True
    """

    def __init__(self) -> None:
        self.asked = False
        self._since = 0.0
        self._is_catching = False

    def ask(self) -> None:
        """Ask to stop."""
        if not self.asked:
            self._since = time.monotonic()
            self.asked = True

    @contextmanager
    def caught(self) -> Iterator[None]:
        """Take SIGINT and SIGTERM as requests; a SIGINT that insists is a KeyboardInterrupt.

        Inside another `caught` of the same object, and outside the main thread, which alone can
        catch signals, this changes nothing.
        """
        if self._is_catching or threading.current_thread() is not threading.main_thread():
            yield
            return
        numbers = (signal.SIGINT, signal.SIGTERM)
        old = {number: signal.signal(number, self._receive) for number in numbers}
        self._is_catching = True
        try:
            yield
        finally:
            self._is_catching = False
            for number, handler in old.items():
                signal.signal(number, handler or signal.SIG_DFL)

    def _receive(self, number: int, frame: Any) -> None:
        late = self.asked and time.monotonic() - self._since > _SAME_REQUEST_SECONDS
        if late and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.ask()
