"""How long a step takes."""

import contextlib
import time
from collections.abc import Iterator


class Clock:
    """Measures the mean seconds per step between calls of `seconds_per_step`, without the time inside `paused`."""

    def __init__(self, step: int):
        self.restart(step)

    def restart(self, step: int) -> None:
        """Measures from `step` and now on."""
        self._step, self._since = step, time.perf_counter()

    def seconds_per_step(self, step: int) -> float:
        """Returns the mean since the last call, and restarts."""
        seconds = (time.perf_counter() - self._since) / (step - self._step)
        self.restart(step)
        return seconds

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Leaves out the time that its block takes."""
        before = time.perf_counter()
        yield
        self._since += time.perf_counter() - before
