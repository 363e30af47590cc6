"""Stopping a run on SIGTERM (schedulers) or SIGINT (Ctrl-C) between two steps."""

import os
import signal
from types import FrameType

import numpy as np
from jax.experimental import multihost_utils


class StopSignals:
    """A context manager that notes the first SIGTERM or SIGINT; a second one acts as it does by default."""

    def __init__(self) -> None:
        self.received: signal.Signals | None = None

    def __enter__(self) -> "StopSignals":
        self._before = {s: signal.signal(s, self._note) for s in (signal.SIGTERM, signal.SIGINT)}
        return self

    def __exit__(self, *_) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.received = signal.Signals(number)
        message = f"\n{self.received.name}: the run stops after this step and saves (again: at once, unsaved)\n"
        os.write(2, message.encode())  # print is not safe in a signal handler
        for each, handler in self._before.items():
            signal.signal(each, handler)

    def received_by_any(self) -> signal.Signals | None:
        """What any process of the run has received; to be called by all of them at the same step."""
        numbers = multihost_utils.process_allgather(np.int32(self.received or 0))
        return signal.Signals(int(np.max(numbers))) if np.max(numbers) else None
