"""A run in one or two processes, with its two machines made of network namespaces if the link is to be cut."""

import contextlib
import functools
import itertools
import os
import pathlib
import re
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence

from reliability import commands
from reliability.commands import Ended

KEYS = (
    "--config=configs/digits.py:simsiam",  # the quickest to compile
    "--config.width=4",
    "--config.d_hid=32",
    "--config.batch_size=32",
    "--config.train_split=train[:128]",
    "--config.epochs=15",
    "--config.checkpoint_every=2",
    "--config.log_every=1",
    "--config.monitor_every=5",
    "--config.zero_init_residual=True",  # differences in rounding grow more slowly from step to step
)
TOTAL = 60
TIMEOUT = 300  # seconds of one start, on a machine that does other things too
_numbers = itertools.count()


class Link:
    """Two network namespaces with a cable between them; a context manager."""

    def __init__(self):
        number = next(_numbers)
        name = f"sj{os.getpid() % 100000}-{number}"
        self._spaces, self._ends = [f"{name}-{i}" for i in range(2)], [f"{name}{i}"[-14:] for i in "ab"]
        self.addresses = [f"10.77.{number % 250}.{i + 1}" for i in range(2)]

    def __enter__(self) -> "Link":
        try:
            for space in self._spaces:
                _ip("netns", "add", space)
            _ip("link", "add", self._ends[0], "type", "veth", "peer", "name", self._ends[1])
            for space, end, address in zip(self._spaces, self._ends, self.addresses, strict=True):
                _ip("link", "set", end, "netns", space)
                _ip("-n", space, "address", "add", f"{address}/24", "dev", end)
                for device in ("lo", end):
                    _ip("-n", space, "link", "set", device, "up")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_) -> None:
        for space in self._spaces:  # with the ends in them
            subprocess.run(["ip", "netns", "delete", space], capture_output=True, check=False)

    def cut(self) -> None:
        _ip("-n", self._spaces[1], "link", "set", self._ends[1], "down")

    def prefix(self, number: int) -> list[str]:
        """Starts a command on a machine, whose name is its address, so that Gloo finds it."""
        named = ["unshare", "--uts", "sh", "-c", 'hostname "$0" && exec "$@"', self.addresses[number]]
        return ["ip", "netns", "exec", self._spaces[number], *named]


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], capture_output=True, check=True, timeout=30)


@functools.cache
def link_is_possible() -> bool:
    """Returns whether namespaces can be made here, which needs the rights of root and iproute2."""
    try:
        with Link() as link:
            return subprocess.run([*link.prefix(0), "true"], capture_output=True, timeout=30).returncode == 0
    except (OSError, subprocess.SubprocessError):
        return False


class Processes:
    """The processes of one start, which are killed at the end of the `with` block."""

    def __init__(self, home: pathlib.Path, count: int, *arguments: str, devices: int = 1, link: Link | None = None):
        self.workdir = home / "run"
        home.mkdir(exist_ok=True)
        start = len(list(home.glob("log*-0")))
        self._logs = [home / f"log{start}-{i}" for i in range(count)]
        address = f"{link.addresses[0]}:4321" if link else _free_address()
        env = commands.environment(home, devices, JAX_COORDINATOR_BIND_ADDRESS=address)
        arguments = (*KEYS, f"--workdir={self.workdir}", *arguments)
        if count > 1:
            arguments = (*arguments, f"--coordinator={address}", f"--num_processes={count}")
        self.processes = [
            commands.start(
                "sidae_jax.main", *arguments, *([f"--process_id={i}"] if count > 1 else []),
                env=env, log=log, prefix=link.prefix(i) if link else (),
            )
            for i, log in enumerate(self._logs)
        ]  # fmt: skip
        self._command = f"sidae_jax.main {' '.join(arguments)}"

    def __enter__(self) -> "Processes":
        return self

    def __exit__(self, *_) -> None:
        for process in self.processes:
            process.kill()
            process.wait()

    def text(self, number: int = 0) -> str:
        return self._logs[number].read_text(errors="replace")

    def step(self) -> int:
        """The last step that this start has logged; -1 before its processes are joined, 0 until the first step."""
        text = self.text()
        steps = re.findall(r"^step (\d+)/", text, re.MULTILINE)
        return int(steps[-1]) if steps else 0 if len(self.processes) == 1 or "connected to 1 peer" in text else -1

    def until(self, step: int) -> None:
        """Waits for a step. Raises RuntimeError if a process ends before."""
        deadline = time.monotonic() + TIMEOUT
        while self.step() < step:
            if time.monotonic() > deadline or any(process.poll() is not None for process in self.processes):
                raise RuntimeError(f"step {step} did not come:\n{self.report()}")
            time.sleep(0.005)

    def send(self, number: int, what: signal.Signals) -> None:
        self.processes[number].send_signal(what)

    def ended(self, numbers: Sequence[int], within: float = TIMEOUT) -> list[Ended]:
        """Waits until these processes have ended. Raises RuntimeError if one has not in time."""
        deadline = time.monotonic() + within
        for number in numbers:
            try:
                self.processes[number].wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                raise RuntimeError(f"process {number} did not end within {within:.0f} s:\n{self.report()}") from None
        return [Ended(self._command, self.processes[i].returncode, self.text(i)) for i in numbers]

    def finished(self) -> str:
        """Waits for an end without an error, and returns what process 0 said."""
        ended = self.ended(range(len(self.processes)))
        if any(each.code for each in ended):
            raise RuntimeError(f"it should have ended well:\n{self.report()}")
        return ended[0].output

    def report(self) -> str:
        said = [f"process {i}, {p.poll()}:\n{self.text(i)[-3000:]}" for i, p in enumerate(self.processes)]
        return "\n".join([f"$ {self._command}", *said])


@contextlib.contextmanager
def linked(wanted: bool) -> Iterator[Link | None]:
    """A link if one is wanted."""
    with Link() if wanted else contextlib.nullcontext() as link:
        yield link


def sha256(text: str) -> str:
    """Returns the checksum of the parameters in the last line of a run."""
    (found,) = re.findall(rf"^done: step {TOTAL}, .* sha256 (\w+)$", text, re.MULTILINE)
    return found


def _free_address() -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{free.getsockname()[1]}"
