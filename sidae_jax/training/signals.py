"""Stopping a run on SIGTERM (schedulers) or SIGINT (Ctrl-C) between two steps."""

import os
import signal
import time
from types import FrameType
from typing import Any

import jax

from sidae_jax import processes

POLL_SECONDS = 10  # a signal to one process is known to all within this time and a step


class StopSignals:
    """A context manager that notes the first SIGTERM or SIGINT; a second one acts as it would without it."""

    def __init__(self) -> None:
        self.received: signal.Signals | None = None
        self._calls = 0  # of `wanted`
        self._asked: tuple[int, float] | None = None  # the call and the time of the last question to all processes
        self._ask_next = 0  # the call of the next one

    def __enter__(self) -> "StopSignals":
        self._before = {s: signal.signal(s, self._note) for s in (signal.SIGTERM, signal.SIGINT)}
        return self

    def __exit__(self, *_) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.received = signal.Signals(number)
        message = (
            f"\n{self.received.name}: the run saves and stops after the steps under way, or once they are compiled "
            "(again: at once, unsaved)\n"
        )
        os.write(2, message.encode())  # print is not safe in a signal handler
        for each, handler in self._before.items():
            signal.signal(each, handler)

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
