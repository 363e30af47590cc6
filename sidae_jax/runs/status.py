"""The file by which others see what a run is doing: status.json, which only the process that trains writes.

It is a JSON object: `state` ("running", or how the run ended: "finished", "stopped", "diverged" or "failed"), `message`
(why; else null), `pid` and `host` of the process, `started` and `time` (when it was written; seconds since 1970),
`step` (logged), `saved_step` and `total_steps` (null until they are known).
"""

import contextlib
import json
import os
import pathlib
import platform
import signal
import threading
import time
from types import TracebackType
from typing import Any

from sidae_jax.errors import Diverged, UserError, one_line
from sidae_jax.files import read_regular, write_text
from sidae_jax.runs import sums

FILE = "status.json"
ENDED = ("finished", "stopped", "diverged", "failed")
_EVERY = 30.0  # seconds between two heartbeats
SILENT = 180.0  # seconds without one after which a process on another machine counts as dead


class StatusFile:
    """A workdir's status.json while this process trains there; a context manager.

    A thread writes it every 30 seconds, so also while the main thread compiles or decodes. A status that cannot be
    written, as on a full disk, never stops a run.

    Attributes:
      step: the last step that was logged; saved_step: that of the last checkpoint; total_steps: the run's last one.
        None until the run has opened its checkpoints.
      diverged: why the run is not trained any further; ended_early: why its stop_when has ended it. None otherwise.
    """

    def __init__(self, folder: pathlib.Path):
        self._path = folder / FILE
        self.step: int | None = None
        self.saved_step: int | None = None
        self.total_steps: int | None = None
        self.diverged: str | None = None
        self.ended_early: str | None = None
        self._started: float | None = None  # also where another process writes the file

    def __enter__(self) -> "StatusFile":
        self._before = None
        with contextlib.suppress(OSError, ValueError):
            self._before = read_regular(self._path).decode()
        self._started = time.time()
        self.saved_step = self.saved_before()  # of a start that ends before it has opened them, too
        self._write("running")
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="status.json", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self._over.set()
        self._thread.join()
        if error is not None and self.total_steps is None and (isinstance(error, UserError) or self._had_ended()):
            self._put_back()  # a start that was refused, or interrupted before anything was done, has changed nothing
        else:
            self._write(*self._outcome(error))

    def saved_before(self) -> int | None:
        """Returns the step of the last checkpoint by the file that an earlier start left; None if it says nothing."""
        with contextlib.suppress(OSError, ValueError):
            saved = (read(self._path.parent) or {}).get("saved_step")
            return saved if type(saved) is int else None
        return None

    def opened(self, step: int, total_steps: int) -> None:
        """Notes that the run has opened its checkpoints, that the newest is of `step`, and which step is the last."""
        self.step = self.saved_step = step
        self.total_steps = total_steps
        if self._started is not None:
            self._write("running")

    def _beat(self) -> None:
        while not self._over.wait(_EVERY):
            self._write("running")

    def _outcome(self, error: BaseException | None) -> tuple[str, str | None]:
        """Returns the final state and why; a seed may have finished or diverged before the others of its run."""
        if self.diverged is not None:
            return "diverged", self.diverged
        if self.ended_early is not None:
            return "finished", self.ended_early
        of_another_seed = isinstance(error, Diverged)
        if error is None or of_another_seed or (self.saved_step is not None and self.saved_step == self.total_steps):
            return "finished", None
        if isinstance(error, SystemExit) and isinstance(error.code, int) and error.code > 128:
            return "stopped", signal.Signals(error.code - 128).name  # after the state was saved
        return "failed", f"{type(error).__name__}: {one_line(error)}"[:500]

    def _had_ended(self) -> bool:
        """Returns whether the status before this start is that of a run's end."""
        try:
            return json.loads(self._before or "null")["state"] in ENDED
        except (ValueError, KeyError, TypeError, RecursionError):
            return False

    def _put_back(self) -> None:
        with contextlib.suppress(OSError):
            if self._before is None:
                self._path.unlink(missing_ok=True)
            else:
                write_text(self._path, self._before)

    def _write(self, state: str, message: str | None = None) -> None:
        content = {
            "state": state,
            "message": message,
            "pid": os.getpid(),
            "host": platform.node(),
            "started": self._started,
            "time": time.time(),
            "step": self.step,
            "saved_step": self.saved_step,
            "total_steps": self.total_steps,
        }
        with contextlib.suppress(OSError):
            write_text(self._path, json.dumps(sums.sealed(content), indent=2) + "\n")


def read(folder: pathlib.Path) -> dict[str, Any] | None:
    """Returns the content of a run's status.json; None without one. Raises OSError or ValueError if it is damaged."""
    try:
        content = sums.read_json(folder / FILE)
    except FileNotFoundError:
        return None
    if not isinstance(content, dict) or content.get("state") not in ("running", *ENDED):
        raise ValueError("it has no known state")
    for key, kind in (("time", int | float), ("host", str)):
        if not isinstance(content.get(key), kind):
            raise ValueError(f"its {key} is {content.get(key)!r:.80}")
    return content
