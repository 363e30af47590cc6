"""Starts the package's programs as a user does, and reads what they say."""

import dataclasses
import os
import pathlib
import resource
import shlex
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence

ROOT = pathlib.Path(__file__).resolve().parents[2]
_UNOPTIMIZED = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"  # compiles in less time


@dataclasses.dataclass(frozen=True)
class Ended:
    """A program that has ended: its exit code (-9 after kill -9), and what it printed."""

    command: str
    code: int
    output: str

    @property
    def sentence(self) -> bool:
        """Whether it ended by a message for its user, not by a traceback or an abort."""
        return "Traceback (most recent call last)" not in self.output and self.code in (0, 1, 2, 130, 143)

    def __str__(self) -> str:
        return f"$ {self.command}\nexit code {self.code}\n{self.output[-4000:]}"


def environment(folder: pathlib.Path, devices: int = 1, **changes: str) -> dict[str, str]:
    """The caches lie in the folder, but for that of compiled programs, which the tests share."""
    flags = f"{_UNOPTIMIZED} --xla_force_host_platform_device_count={devices}"
    return {
        **os.environ,
        "XDG_CACHE_HOME": str(folder / "cache"),
        "PYTHONPATH": str(ROOT),
        "XLA_FLAGS": flags,
        **changes,
    }


def start(
    module: str, *arguments: object, env: Mapping[str, str], log: pathlib.Path, prefix: Sequence[str] = ()
) -> subprocess.Popen:
    """Starts `python -m module` in a session of its own, with its output in the log, and does not wait.

    prefix: a command that starts it, in its own place.
    """
    with log.open("ab") as file:
        return subprocess.Popen(
            [*prefix, sys.executable, "-m", module, *map(str, arguments)],
            cwd=ROOT, env=dict(env), stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT,
            start_new_session=True,
        )  # fmt: skip


def run(
    module: str,
    *arguments: object,
    env: Mapping[str, str],
    timeout: float = 300,
    largest_file: int | None = None,
    text: str = "",
) -> Ended:
    """Runs `python -m module` to its end; after the timeout it and its children are killed.

    largest_file: in bytes, the limit RLIMIT_FSIZE of the process.
    text: its standard input.
    """
    command = [sys.executable, "-m", module, *map(str, arguments)]
    with subprocess.Popen(
        command, cwd=ROOT, env=dict(env), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, errors="replace", start_new_session=True,
    ) as process:  # fmt: skip
        if largest_file is not None:
            resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (largest_file, largest_file))
        try:
            output, _ = process.communicate(text, timeout=timeout)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            output, _ = process.communicate()
            output += f"\nkilled after {timeout} s"
    return Ended(shlex.join(["python", *command[1:]]), process.returncode, output)
