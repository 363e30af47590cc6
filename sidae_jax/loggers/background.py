"""A logger in a thread of its own, which neither ends the run nor holds it up."""

import contextlib
import queue
import threading
from collections.abc import Callable

from sidae_jax.errors import one_line
from sidae_jax.loggers.protocol import Logger

_MOST_WAITING = 10_000  # records of some hundred bytes each
_OPENING = threading.Lock()  # the libraries are imported, and their folders made, by one thread at a time


class BackgroundLogger:
    """Opens a logger and calls it, in the order of the calls here, in a thread.

    At its first error the logger is left out from there on. The thread is there for MLflow, which takes some 25 ms for
    a record (docs/logging.md), and for servers that do not answer.
    """

    def __init__(self, name: str, open_logger: Callable[[], Logger]):
        """Returns before the logger is open; it may import a library for seconds."""
        self.name = name
        self._open_logger = open_logger
        self._waiting: queue.Queue[Callable[[Logger], None] | None] = queue.Queue(_MOST_WAITING)
        self._problem: str | None = None
        self._told = False
        # a daemon: a library that never comes back does not keep the process from its end
        self._thread = threading.Thread(target=self._work, name=f"logger {name}", daemon=True)
        self._thread.start()

    @property
    def works(self) -> bool:
        """Whether nothing has gone wrong so far."""
        return self._problem is None

    def call(self, action: Callable[[Logger], None] | None) -> None:
        """Has the logger do `action` after those before it, and None end; does nothing if something has gone wrong."""
        if self.works:
            try:
                self._waiting.put_nowait(action)
            except queue.Full:
                self._problem = f"it is slower than the run: {_MOST_WAITING} records wait for it"

    def close(self, *, finished: bool) -> None:
        """Has the logger close after what is left; `wait` waits for it."""
        self.call(lambda logger: logger.close(finished=finished))
        self.call(None)

    def wait(self, seconds: float) -> None:
        """Waits for a closing logger at most so long."""
        if self.works:
            self._thread.join(seconds)
            if self._thread.is_alive() and self.works:
                self._problem = "it had not written everything when the run ended"

    def news(self) -> str | None:
        """Returns, once, a sentence for the user on what has gone wrong."""
        if self.works or self._told:
            return None
        self._told = True
        return f"warning: logger {self.name} is left out from here on: {self._problem}"

    def _work(self) -> None:
        logger = None
        try:
            with _OPENING:
                logger = self._open_logger()
            while (action := self._waiting.get()) is not None and self.works:
                action(logger)
        except BaseException as error:  # a library's SystemExit ends no more than its logger
            self._problem = f"{type(error).__name__}: {one_line(error)}"
        if not self.works and logger is not None:
            with contextlib.suppress(BaseException):
                logger.close(finished=False)
