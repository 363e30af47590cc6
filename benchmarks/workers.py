"""The two sides of a comparison, each in a process of its own on the same cores, taking turns.

A worker reads a JSON request a line from stdin, answers a JSON line on stdout, and sleeps between: the parent stops
the whole process group of the side whose turn it is not, so that data workers of one side do not run in the turn of
the other.
"""

import json
import os
import pathlib
import resource
import signal
import subprocess
import sys
import time
from typing import Any

HERE = pathlib.Path(__file__).parent


class Worker:
    """One side's process: `Worker("jax", ...)` or `Worker("pytorch", ...)`."""

    def __init__(self, side: str, environment: dict[str, str] | None = None):
        self.process = subprocess.Popen(
            [sys.executable, str(HERE / f"{side}_side.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
            env={**os.environ, "PYTHONPATH": str(HERE.parent / "tests" / "reference"), **(environment or {})},
        )
        self._stop()

    def __call__(self, what: str, **arguments: Any) -> Any:
        """Its answer to a request; it runs until it has answered, and is stopped again."""
        os.killpg(self.process.pid, signal.SIGCONT)
        self.process.stdin.write(json.dumps({"what": what, **arguments}) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.process.args[-1]} ended with exit code {self.process.wait()}")
        self._stop()
        return json.loads(line)

    def _stop(self) -> None:
        os.killpg(self.process.pid, signal.SIGSTOP)

    def __enter__(self) -> "Worker":
        return self

    def __exit__(self, *_: object) -> None:
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()


def serve(requests: dict[str, Any]) -> None:
    """The worker's side: answer requests by the function of their name, until stdin ends."""
    out = os.dup(sys.stdout.fileno())  # what libraries print must not mix with the answers
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    with os.fdopen(out, "w", buffering=1) as answers:
        for line in sys.stdin:
            request = json.loads(line)
            answers.write(json.dumps(requests[request.pop("what")](**request)) + "\n")


def seconds(function: Any, times: int) -> float:
    """Seconds a call, the mean over `times` of them."""
    start = time.perf_counter()
    for _ in range(times):
        function()
    return (time.perf_counter() - start) / times


def peak_memory_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
