"""Stopping a run on SIGTERM (schedulers) or SIGINT (Ctrl-C) between two steps."""

import contextlib
import os
import signal
import threading
import time
from typing import Any

import jax

from sidae_jax import interrupt, processes

POLL_SECONDS = 10  # a signal to one process is known to all within this time and a step


class Stopped(SystemExit):
    """A run has saved and stopped before its end, as `signal` asked; uncaught it ends the process with 128 + signal."""

    def __init__(self, signal: signal.Signals):
        super().__init__(128 + signal)
        self.signal = signal


class StopSignals:
    """A context manager that notes the first SIGTERM or SIGINT; a second one ends the process at once.

    In a thread other than the main one, which alone may set handlers, it hears nothing.

    own_process: whether the process is the run's own. In another's, such as a notebook, a second SIGINT ends nothing.
    """

    def __init__(self, *, own_process: bool = True) -> None:
        self.received: signal.Signals | None = None
        self.asked = False
        self._own_process = own_process
        main_thread = threading.current_thread() is threading.main_thread()
        numbers = (signal.SIGTERM, signal.SIGINT)
        self._heard = interrupt.heard(numbers, self._note) if main_thread else contextlib.nullcontext()
        self._calls = 0  # of `wanted`
        self._asked: tuple[int, float] | None = None  # the call and the time of the last question to all processes
        self._ask_next = 0  # the call of the next one

    def __enter__(self) -> "StopSignals":
        self._heard.__enter__()
        return self

    def __exit__(self, *error) -> None:
        self._heard.__exit__(*error)

    def ask(self) -> None:
        """Asks for the same stop as a SIGINT, from inside the program: by on_log."""
        self.asked, self.received = True, self.received or signal.SIGINT

    def _note(self, number: signal.Signals) -> None:
        ends_at_once = self._own_process or number != signal.SIGINT
        if self.received is not None and ends_at_once:
            interrupt.end_at_once(number, f"{number.name} again: ended at once, unsaved")
        self.received = number
        message = f"\n{number.name}: the run saves and stops after the steps under way, or once they are compiled"
        message += " (again: at once, unsaved)\n" if ends_at_once else "\n"
        os.write(2, message.encode())  # the main thread may be inside a print

    def wanted(self, metrics: Any, *, waited: bool, several_processes: bool) -> signal.Signals | None:
        """Returns the signal that stops the run here, the same in all processes, or None if the run goes on.

        Call it after every call of the step, with the metrics that the step returned.

        waited: whether this process has already waited for the metrics, as it does to log. Polling blocks on all
          processes, so they poll then, and otherwise about every POLL_SECONDS by the slowest clock.
        """
        if not several_processes:
            return self.received
        self._calls += 1
        if not waited and self._calls < self._ask_next:
            return None
        jax.block_until_ready(metrics)  # the host runs ahead of the devices, whose time counts
        before, self._asked = self._asked, (self._calls, time.monotonic())
        seconds = POLL_SECONDS if before is None else (self._asked[1] - before[1]) / (self._calls - before[0])
        answers = processes.gather([int(self.received or 0), seconds])
        self._ask_next = self._calls + max(1, int(POLL_SECONDS / max(seconds for _, seconds in answers)))
        number = max(number for number, _ in answers)
        return signal.Signals(number) if number else None
