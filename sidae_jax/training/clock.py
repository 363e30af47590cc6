"""How long a step takes."""

import contextlib
import time
from collections.abc import Iterator


class Clock:
    """Seconds a step between two questions, without what lies inside `paused`."""

    def __init__(self, step: int):
        self.restart(step)

    def restart(self, step: int) -> None:
        self._step, self._since = step, time.perf_counter()

    def seconds_per_step(self, step: int) -> float:
        seconds = (time.perf_counter() - self._since) / (step - self._step)
        self.restart(step)
        return seconds

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        before = time.perf_counter()
        yield
        self._since += time.perf_counter() - before
