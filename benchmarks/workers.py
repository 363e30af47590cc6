"""The two sides of a comparison, each in a process of its own on the same cores and the same GPU, taking turns.

A worker reads a JSON request a line from stdin, answers a JSON line on stdout, and sleeps between: the parent stops
the whole process group of the side whose turn it is not, so that data workers of one side do not run in the turn of
the other. A side answers when its GPU has finished, so that a stopped process has nothing running there.
"""

import contextlib
import json
import os
import pathlib
import resource
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from typing import Any

HERE = pathlib.Path(__file__).parent


class WorkerError(RuntimeError):
    """A request has failed, or its process has ended."""


class Worker:
    """One side's process: `Worker("jax", ...)` or `Worker("pytorch", ...)`."""

    # The interpreter of each side: PyTorch for CUDA and JAX for CUDA may want other versions of NVIDIA's libraries.
    pythons: dict[str, str] = {"jax": sys.executable, "pytorch": sys.executable}  # noqa: RUF012

    def __init__(self, side: str, environment: dict[str, str] | None = None):
        paths = [str(HERE.parent / "tests" / "reference"), *filter(None, [os.environ.get("PYTHONPATH")])]
        self.process = subprocess.Popen(
            [self.pythons[side], str(HERE / f"{side}_side.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths), **(environment or {})},
        )
        self._stop()

    def __call__(self, what: str, **arguments: Any) -> Any:
        """Its answer to a request; it runs until it has answered, and is stopped again."""
        try:
            os.killpg(self.process.pid, signal.SIGCONT)
            self.process.stdin.write(json.dumps({"what": what, **arguments}) + "\n")
            self.process.stdin.flush()
            line = self.process.stdout.readline()
        except (BrokenPipeError, ProcessLookupError):
            line = ""
        if not line:
            raise WorkerError(f"{self.process.args[-1]} ended with exit code {self.process.wait()}")
        self._stop()
        answer = json.loads(line)
        if "error" in answer:
            raise WorkerError(answer["error"])
        return answer

    def _stop(self) -> None:
        os.killpg(self.process.pid, signal.SIGSTOP)

    def __enter__(self) -> "Worker":
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(ProcessLookupError):  # it has ended and was waited for
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.process.stdout.close()
        with contextlib.suppress(BrokenPipeError):  # of a request that it did not live to read
            self.process.stdin.close()


def serve(requests: dict[str, Any]) -> None:
    """The worker's side: answer requests by the function of their name, until stdin ends."""
    out = os.dup(sys.stdout.fileno())  # what libraries print must not mix with the answers
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    with os.fdopen(out, "w", buffering=1) as answers:
        for line in sys.stdin:
            request = json.loads(line)
            try:
                answer = requests[request.pop("what")](**request)
            except Exception as error:  # such as too little memory for one of PyTorch's settings: others may work
                traceback.print_exc()
                answer = {"error": f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"}
            answers.write(json.dumps(answer) + "\n")


def seconds(function: Callable[[], Any], times: int, finish: Callable[[], Any] = lambda: None) -> float:
    """Seconds a call, the mean over `times` of them; `finish` waits for what they have left running on a device."""
    start = time.perf_counter()
    for _ in range(times):
        function()
    finish()
    return (time.perf_counter() - start) / times


def peak_memory_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
