"""Worlds, each a folder with a process that answers lines of JSON about it, one for one."""

import json
import os
import pathlib
import queue
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Protocol, TypeVar

from reliability.commands import ROOT
from reliability.outcomes import Outcome, in_parallel


class Server:
    """`python -m MODULE WORLD`, which starts anew after it has died, as by a segmentation fault."""

    def __init__(self, module: str, world: pathlib.Path, env: Mapping[str, str]):
        self._command = [sys.executable, "-m", module, str(world)]
        self._env = {**env, "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"}
        self._log = (world.parent / "server.log").open("ab")
        self._start()

    def _start(self) -> None:
        self._process = subprocess.Popen(
            self._command, cwd=ROOT, env=self._env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log,
            text=True, start_new_session=True,
        )  # fmt: skip

    def send(self, question: Any) -> None:
        assert self._process.stdin
        self._process.stdin.write(json.dumps(question) + "\n")
        self._process.stdin.flush()

    def answer(self, timeout: float = 600) -> dict[str, Any]:
        """Returns the answer to what was sent; of a process that died, or is killed then, a code no program has."""
        assert self._process.stdout
        ready, _, _ = select.select([self._process.stdout], [], [], timeout)
        if not ready:
            os.killpg(self._process.pid, signal.SIGKILL)
        if line := self._process.stdout.readline():
            return json.loads(line)
        code = self._process.wait()
        self._start()
        return {"code": f"died: {code}", "output": f"the process died: {code}", "result": None}

    def ask(self, question: Any, timeout: float = 600) -> dict[str, Any]:
        self.send(question)
        return self.answer(timeout)

    def close(self) -> None:
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        for file in (self._process.stdin, self._process.stdout, self._log):
            if file:
                file.close()


class World(Protocol):
    """A folder and its process."""

    server: Server


W = TypeVar("W", bound=World)
T = TypeVar("T")


def in_worlds(
    world_in: Callable[[pathlib.Path], W],
    folder: pathlib.Path,
    case: Callable[[W, T], Outcome],
    choices: Iterable[T],
    two: bool,
) -> Iterator[Outcome]:
    """Yields the outcome of each choice, tried in one world or in two at once, and ends their processes.

    CI has one: its other core has other tests, and a world takes long to make.
    """
    worlds = [world_in(folder / f"world{i}") for i in range(1 + two)]
    waiting: queue.Queue[W] = queue.Queue()
    for world in worlds:
        waiting.put(world)

    def tried(choice: T) -> Outcome:
        world = waiting.get()
        try:
            return case(world, choice)
        finally:
            waiting.put(world)

    try:
        yield from in_parallel(tried, choices, len(worlds))
    finally:
        for world in worlds:
            world.server.close()
