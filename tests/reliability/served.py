"""A process that answers lines of JSON, one for one."""

import json
import os
import pathlib
import select
import signal
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

from reliability.commands import ROOT


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
