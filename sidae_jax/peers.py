"""The processes of a run watch each other, so that none waits for ever for one that is dead, stopped or cut off.

Each tells the others every second, through the key-value store of JAX's coordinator (process 0), that it lives, from a
thread of its own: so also while it compiles, decodes, saves or evaluates. JAX itself would end a run whose process is
lost by an abort with a page of addresses; only the death of process 0 still ends so in the others, as JAX gives no way
to hear of that first.
"""

import contextlib
import json
import math
import os
import re
import sys
import threading
import time
import traceback
from types import TracebackType
from typing import Any, ClassVar

from jax._src import distributed  # orbax uses it so too: JAX has no public name for the store

from sidae_jax.errors import UserError, one_line

_FOLDER = "sidae_jax/peers/"
_CUT = re.compile(r"gloo|nccl|coordination|barrier|socket closed|connection (closed|reset|refused)|broken pipe", re.I)
_GRACE = 5.0  # seconds in which the other processes may come to the same error, as to a mistake that is raised in all
_CLEANUP = 60.0  # seconds that loggers may take at the end
_RUNNING, _CLOSING, _ENDING, _GONE = "running", "closing", "ending", "gone"


class PeerLost(UserError):
    """A process of the run is dead, stopped or cut off, or has stopped with an error of its own."""

    exit_code = 1


class Watch:
    """A context manager around what the processes of a run do together, once they are joined.

    If another process is silent for `timeout` seconds, or stops with an error that is not this one's too, it ends this
    process with exit code 1 and one sentence, from its own thread: the main one may be inside a computation that waits
    for the lost process. An error that leaves the `with` block in one process alone ends the others so.
    """

    current: ClassVar["Watch | None"] = None  # of this process

    def __init__(self, timeout: float):
        joined = distributed.global_state
        self._client: Any = joined.client
        self._own = joined.process_id
        self._others = [number for number in range(joined.num_processes) if number != self._own]
        self._timeout = timeout
        self._every = min(1.0, timeout / 5)
        self._state, self._why = _RUNNING, ""  # of this process
        self._states = dict.fromkeys(self._others, (_RUNNING, ""))
        self._beats = dict.fromkeys(self._others, 0)
        self._silent = dict.fromkeys(self._others, 0.0)  # seconds, of those that this process has not been stopped in
        self._tell = threading.Event()
        self._over = threading.Event()
        self._leaving = threading.Lock()

    def __enter__(self) -> "Watch":
        Watch.current = self
        self._threads = [threading.Thread(target=each, daemon=True) for each in (self._exchange, self._judge)]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        cut = error is not None and not isinstance(error, UserError | SystemExit) and bool(_CUT.search(str(error)))
        self._end(_ENDING, "" if cut else _reason(error))
        # Without an error it waits for the others, as long as they live: JAX's own end would wait for five minutes.
        # After an error it waits for those that have come to it too, and close their loggers. If a connection is cut
        # because another one has stopped by itself, then that one has said so before.
        left = math.inf if error is None else 2 * self._every if cut else _GRACE + 3
        left_for_closing = math.inf if error is None else self._timeout + _CLEANUP
        while any(
            (state == _RUNNING and left > 0) or (state == _CLOSING and left_for_closing > 0)
            for state, _ in self._states.values()
        ):
            time.sleep(0.1)
            left, left_for_closing = left - 0.1, left_for_closing - 0.1
        if cut and error is not None:
            theirs = self._reasons()
            what = f"the connection to another process of this run is lost ({one_line(error)[:200]})"
            error = PeerLost(theirs[0] if theirs else _lost(what))
        if any(state != _ENDING for state, _ in self._states.values()):
            self._leave(error)
        self._over.set()
        self._tell.set()
        for thread in self._threads:
            thread.join(5)
        if isinstance(error, PeerLost):
            raise error

    def closing(self) -> None:
        """Tells the others that this process has done its steps, or has come to an error, and takes time to clean up.

        An error of another process ends it no more, only when that one has waited for long; its silence does.
        """
        self._end(_CLOSING, "")

    def _end(self, state: str, why: str) -> None:
        self._state, self._why = state, why[:1000]
        self._tell.set()

    def _exchange(self) -> None:
        """Tells the state of this process and hears those of the others, the last time when it is over."""
        beat, over = 0, False
        while not over:
            beat, over = beat + 1, self._over.is_set()
            with contextlib.suppress(RuntimeError):  # process 0 does not answer: it is silent then, and so are all
                own = json.dumps([beat, self._state, self._why])
                self._client.key_value_set(f"{_FOLDER}{self._own}", own, allow_overwrite=True)
                for key, text in self._client.key_value_dir_get(_FOLDER):
                    self._hear(int(key.rpartition("/")[2]), *json.loads(text))
            if self._tell.wait(self._every):  # at the end, when the others wait for news
                time.sleep(0.1)

    def _hear(self, number: int, beat: int, state: str, why: str) -> None:
        if number != self._own and beat != self._beats[number]:
            self._beats[number], self._states[number], self._silent[number] = beat, (state, why), 0.0

    def _judge(self) -> None:
        """Ends this process if another one is silent for too long, or has stopped by itself."""
        failed, last = 0.0, time.monotonic()
        while not self._over.wait(self._every / 2):
            now = time.monotonic()
            passed, last = min(now - last, self._every), now  # no more if this process itself was stopped
            for number in self._others:
                self._silent[number] += passed
            silent = [number for number in self._others if self._silent[number] >= self._timeout]
            gone = [number for number in self._others if self._states[number][0] == _GONE]
            reasons = self._reasons()
            failed += passed if reasons else 0.0
            long_enough = {_RUNNING: gone or failed >= _GRACE, _CLOSING: gone}
            may_end = long_enough.get(self._state, False)
            if silent:
                who = " and ".join(f"process {number}" for number in silent)
                what = f"{who} of this run did not answer for config.peer_timeout={self._timeout:g} seconds"
                self._leave(PeerLost(_lost(what)))
            elif reasons and may_end:
                self._leave(PeerLost(reasons[0]))

    def _reasons(self) -> list[str]:
        """Returns why other processes have stopped, of those that have by an error of their own."""
        return [f"process {n} of this run has stopped: {why}" for n, (_, why) in self._states.items() if why]

    def _leave(self, error: BaseException | None) -> None:
        """Ends this process at once, without the end of JAX, which would wait for the processes that are lost."""
        if not self._leaving.acquire(blocking=False):
            time.sleep(60)  # the other thread is about to end the process
        if isinstance(error, UserError):
            print(f"error: {error}", file=sys.stderr)
        elif error is not None and not isinstance(error, SystemExit):
            traceback.print_exception(error)
        for stream in sys.stdout, sys.stderr:
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
        self._end(_GONE, _reason(error))
        time.sleep(2 * self._every if self._own == 0 else 0.3)  # the others hear why from process 0, before it ends
        os._exit(_exit_code(error))


def closing() -> None:
    """Calls `Watch.closing`, if the processes of this run watch each other."""
    if Watch.current is not None:
        Watch.current.closing()


def _reason(error: BaseException | None) -> str:
    """Returns why a process ends, for the others; nothing for an end that all come to by themselves."""
    if error is None or isinstance(error, SystemExit):
        return ""
    return one_line(error) if isinstance(error, UserError) else f"{type(error).__name__}: {one_line(error)}"


def _exit_code(error: BaseException | None) -> int:
    if isinstance(error, UserError):
        return error.exit_code
    return error.code if isinstance(error, SystemExit) and isinstance(error.code, int) else 1


def _lost(what: str) -> str:
    return (
        f"{what}: it is dead, stopped or cut off from the network; the same command continues from the last checkpoint"
    )
