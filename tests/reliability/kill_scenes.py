"""The programs that are killed: how each is started, what it leaves, and the moments that are waited for."""

import contextlib
import dataclasses
import os
import pathlib
import re
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Sequence

from reliability import commands, kill_files
from reliability.kill_files import Found

EVERY = 2  # epochs from one scheduled checkpoint to the next
KEYS = {
    **{"width": 4, "d_hid": 32, "batch_size": 8, "train_split": "train[:40]", "epochs": 6, "native": "off"},
    **{"checkpoint_every": EVERY, "monitor_every": 1, "log_every": 1},
}
# with this seed kNN says "best" after epochs 1, 2, 3 and 6: two of them are saved for a time, and deleted at 2 and 6
SEED = 1
TIMEOUT = 900  # seconds of one start, which takes some on an idle machine


def options(keys: dict[str, object], seed: int = SEED) -> list[str]:
    """The keys of a config as options."""
    return [f"--config.{key}={value}" for key, value in {**keys, "seed": seed}.items()]


@dataclasses.dataclass(frozen=True)
class Moment:
    """The kill comes up to `after` seconds after `reached(home, text, since)` is first true.

    text: what the program has printed; since: the time of its start.
    """

    name: str
    reached: Callable[[pathlib.Path, str, float], bool]
    after: float


def newer(folder: pathlib.Path, pattern: str, since: float) -> bool:
    """Whether a file or folder was made, changed or renamed since then."""
    with contextlib.suppress(FileNotFoundError):  # removed meanwhile
        return any(path.stat().st_ctime > since for path in folder.glob(pattern))
    return False


def kill_group(pid: int) -> None:
    """kill -9 of a process and all that it has started in its group."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)


class Scene:
    """A program with its arguments; what it works on lies in a folder `home`, which is new for each chain of kills.

    Attributes:
      name: what is killed, for the table.
      moments: those that a kill waits for, in the order in which they come; one more is any time.
    """

    def __init__(self, name: str, folder: pathlib.Path, module: str, *arguments: str, source: "Scene | None" = None):
        """source: the scene whose run, left alone, this program reads."""
        self.name, self.folder, self.module, self.source = name, folder, module, source
        self.moments: Sequence[Moment] = ()
        self._arguments = arguments
        self._lock = threading.Lock()
        self._alone: tuple[Found, float] | None = None

    @property
    def home_alone(self) -> pathlib.Path:
        """Where it has run without a kill, after `alone`."""
        return self.folder / "alone" / re.sub(r"\W", "-", self.name)

    def alone(self) -> tuple[Found, float]:
        """What it leaves when nobody kills it, and the seconds that it takes; it runs only once."""
        with self._lock:
            if self._alone is None:
                home, log = self.home_alone, self.home_alone / "log"
                self.prepare(home)
                start = time.monotonic()
                processes = self.start(home, log)
                try:
                    for process in processes:
                        process.wait(TIMEOUT)
                finally:
                    Scene.kill(self, processes, home)
                if any(process.returncode for process in processes):
                    raise RuntimeError(f"{self.name}, left alone, failed:\n{log.read_text()}")
                self._alone = {**self.found(home), **self.at_end(home)}, time.monotonic() - start
            return self._alone

    def prepare(self, home: pathlib.Path) -> None:
        """Makes the folder."""
        if self.source is not None:
            self.source.alone()
        home.mkdir(parents=True)

    def environment(self, home: pathlib.Path) -> dict[str, str]:
        """Compiled programs are those of all scenes, and all of them are kept."""
        changes = {"JAX_COMPILATION_CACHE_DIR": str(self.folder / "compiled"), "COLUMNS": "200"}
        return commands.environment(home, **changes, JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS="0")

    def start(self, home: pathlib.Path, log: pathlib.Path) -> list[subprocess.Popen]:
        """Starts it, in one or more processes."""
        run = self.source.home_alone / "run" if self.source is not None else home / "run"
        arguments = [argument.format(home=home, run=run) for argument in self._arguments]
        return [commands.start(self.module, *arguments, env=self.environment(home), log=log)]

    def text(self, home: pathlib.Path, log: pathlib.Path) -> str:
        """What it has printed since its start."""
        return log.read_text(errors="replace")

    def kill(self, processes: list[subprocess.Popen], home: pathlib.Path) -> None:
        """Kills all processes with all that they have started, and waits for their ends."""
        for process in processes:
            kill_group(process.pid)
        for process in processes:
            process.wait(60)

    def found(self, home: pathlib.Path) -> Found:
        """What is there now and must stay as it is."""
        return kill_files.content(home, "*.safetensors", "report/*", "report/figures/*") | kill_files.features(home)

    def at_end(self, home: pathlib.Path) -> Found:
        """What only the end settles."""
        return {}

    def landed(self, home: pathlib.Path, text: str, new: set[str], before: Found) -> str:
        """In which moment a kill came. new: what is cut short now and was not before; before: what was found then."""
        if new:
            return "while a file is written"
        found = self.found(home)
        if found.keys() <= before.keys():
            return "before its first file"
        return "after its last file" if found.keys() == self.alone()[0].keys() else "between two files"

    def end(self, home: pathlib.Path) -> None:
        """Kills what may still run after a chain."""

    def lost(self, text: str, saved: list[int]) -> str | None:
        """What a start says that it lost; None if nothing. saved: the checkpoints that were there at the start."""
        return None


class Evaluation(Scene):
    """sidae_jax.linear_eval of all checkpoints, with its features kept in the workdir."""

    def __init__(self, name: str, folder: pathlib.Path, source: Scene):
        keys = options({"probe.epochs": 1, "native": "off"})
        super().__init__(name, folder, "sidae_jax.linear_eval", "--workdir={home}/run", *keys, source=source)
        self.moments = [
            Moment("features", lambda home, text, since: newer(home, "run/eval/features/.*", since), 0.005),
            Moment("an evaluation", lambda home, text, since: newer(home, "run/eval/*.jsonl", since), 0.5),
        ]

    def prepare(self, home: pathlib.Path) -> None:
        super().prepare(home)
        shutil.copytree(self.source.home_alone / "run", home / "run")

    def found(self, home: pathlib.Path) -> Found:
        return evaluated(home / "run")


def evaluated(run: pathlib.Path) -> Found:
    """The results and features of a run's evaluation."""
    found = kill_files.content(run / "eval" / "features", "*.npy")
    for path in (run / "eval").glob("*.jsonl"):
        found |= kill_files.records(path)
    return found
