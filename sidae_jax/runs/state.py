"""What a run is doing, by its lock, its status.json and its checkpoints."""

import fcntl
import os
import pathlib
import platform
import time
from typing import Any

from sidae_jax.runs.status import SILENT


def is_locked(folder: pathlib.Path) -> bool | None:
    """Returns whether a process trains in this folder; None where that cannot be tested.

    The test is a shared lock for an instant, which needs no right to write.
    """
    try:
        handle = os.open(folder / ".lock", os.O_RDONLY | os.O_NONBLOCK)  # not to wait if it is a pipe
        try:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        finally:
            os.close(handle)
    except BlockingIOError:
        return True
    except FileNotFoundError:
        return False
    except OSError:  # of another user, or on a file system without locks
        return None
    return False


def find(
    folder: pathlib.Path,
    locked: bool | None,
    status: dict[str, Any] | None,
    *,
    complete: bool,
    left_by_a_stop: bool,
) -> str:
    """Returns the state of a run: running, finished, stopped, diverged, failed, crashed or unfinished.

    locked: what `is_locked` said before the status was read, so that the status of a run that was ending is its last.
    status: its status.json; None if it has none, being older than that file, or a damaged one.
    complete: whether its last checkpoint is at its last step.
    left_by_a_stop: whether its last checkpoint is a temporary one.
    """
    if locked:
        return "running"
    if status is None:
        return "finished" if complete else "stopped" if left_by_a_stop else "unfinished"
    if status["state"] != "running":
        return status["state"]
    if is_locked(folder):  # it has just started
        return "running"
    # a lock that another machine holds may not be seen here
    decided_by_lock = locked is False and status["host"] == platform.node()
    if not decided_by_lock and time.time() - status["time"] < SILENT:
        return "running"
    return "finished" if complete else "crashed"
