"""Trainings that are killed: in one process, in two, and on image files, which are decoded first."""

import os
import pathlib
import re
import socket
import subprocess
from collections.abc import Mapping
from typing import Any

from image_folders import write_digits
from PIL import Image

from reliability import commands, kill_files
from reliability.kill_files import Found
from reliability.kill_scenes import KEYS, Moment, Scene, newer, options

_STEPS_AN_EPOCH = 5
_CACHE = "cache/sidae_jax/"


class Training(Scene):
    """sidae_jax.main, by default on the digits."""

    config = "configs/digits.py:simsiam"
    changes: Mapping[str, Any] = {}  # of KEYS

    def __init__(self, name: str, folder: pathlib.Path, *arguments: str, own_compiled: bool = False):
        """own_compiled: each chain begins with nothing compiled."""
        self.keys = {**KEYS, **self.changes}
        arguments = (f"--config={self.config}", "--workdir={run}", *arguments, *options(self.keys))
        super().__init__(name, folder, "sidae_jax.main", *arguments)
        self._own_compiled = own_compiled
        if own_compiled:
            self.moments = [Moment("compiles", _announced, 2), Moment("writes a program", _new_program, 0.02)]
        else:
            self.moments = [
                Moment("compiles", _announced, 0.7),
                Moment("a step", lambda home, text, since: "\nstep " in text, 1),
                Moment("a save", lambda home, text, since: newer(home, "run/checkpoints/*orbax*tmp*", since), 0.03),
                Moment("a deletion", lambda home, text, since: newer(home, "run/checkpoints/.trash/*", since), 0),
                Moment("a measure", lambda home, text, since: "kNN" in text, 0.4),
                Moment("the last step", lambda home, text, since: "epoch 6.0/6" in text, 0.2),
            ]

    def environment(self, home: pathlib.Path) -> dict[str, str]:
        environment = super().environment(home)
        return environment | ({"JAX_COMPILATION_CACHE_DIR": str(home / "compiled")} if self._own_compiled else {})

    @property
    def every(self) -> int:
        """Steps from one scheduled checkpoint to the next."""
        return self.keys["checkpoint_every"] * _STEPS_AN_EPOCH

    def found(self, home: pathlib.Path) -> Found:
        return kill_files.trained(home / "run", self.every)

    def at_end(self, home: pathlib.Path) -> Found:
        return kill_files.ended(home / "run")

    def landed(self, home: pathlib.Path, text: str, new: set[str], before: Found) -> str:
        total = self.keys["epochs"] * _STEPS_AN_EPOCH
        if not (announced := re.search(r"(starting|continuing at step (\d+)): ", text)):
            return "while it starts" if "this run is finished" not in text else "after its last save"
        if any(".trash" in name for name in new):
            return "while it deletes an old step"
        if any("orbax-checkpoint-tmp" in name for name in new):
            return "during a save"
        if new:
            return "while it writes another file"
        if kill_files.steps(home / "run")[-1:] == [total]:
            return "after its last save"
        steps = [int(step) for step in re.findall(r"^step (\d+)/", text, re.MULTILINE)]
        return "between steps" if steps[-1:] > [int(announced[2] or 0)] else "before its first step, while it compiles"

    def lost(self, text: str, saved: list[int]) -> str | None:
        announced = re.search(r"(starting|continuing at step (\d+)): ", text)
        newest = saved[-1] if saved else 0
        if announced and (found := int(announced[2] or 0)) != newest:
            return f"checkpoint {newest} was there, and it went on from {found}"
        return "it set a checkpoint aside" if "is corrupt" in text else None


class TwoProcesses(Training):
    """Training in two processes of this machine, both killed at once. Quickly: what they compile is not kept."""

    changes: Mapping[str, Any] = {"epochs": 3, "checkpoint_every": 1, "monitor_every": 0}

    def __init__(self, name: str, folder: pathlib.Path):
        super().__init__(name, folder)
        self.moments = [moment for moment in self.moments if moment.name in ("a save", "a step", "compiles")]

    def start(self, home: pathlib.Path, log: pathlib.Path) -> list[subprocess.Popen]:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            address = f"127.0.0.1:{free.getsockname()[1]}"
        env = self.environment(home) | {"JAX_COORDINATOR_BIND_ADDRESS": address, "JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}
        arguments = [argument.format(run=home / "run") for argument in self._arguments]
        arguments += [f"--coordinator={address}", "--num_processes=2"]
        logs = [log, log.with_name(f"{log.name}-of-process-1")]
        return [
            commands.start(self.module, *arguments, f"--process_id={i}", env=env, log=each)
            for i, each in enumerate(logs)
        ]


class OnFolder(Training):
    """Training on a folder of image files, which are decoded into the cache first: a cache of each chain's own."""

    config = "configs/folder.py:simsiam"
    changes: Mapping[str, Any] = {"epochs": 1, "checkpoint_every": 1, "monitor_every": 0, "test_share": 0.5}

    def __init__(self, name: str, folder: pathlib.Path, files: int):
        super().__init__(name, folder, f"--config.images={folder / 'images'}")
        self._files = files
        self.moments = [
            Moment("decodes", lambda home, text, since: newer(home, _CACHE + "*.part", since), 0.005 * files),
            Moment("a split", lambda home, text, since: newer(home, _CACHE + "*.npy", since), 0.02),
            Moment("a step", lambda home, text, since: "\nstep " in text, 0.2),
        ]

    def prepare(self, home: pathlib.Path) -> None:
        super().prepare(home)
        if not (self.folder / "images").exists():
            _many_images(self.folder / "images", self._files)

    def found(self, home: pathlib.Path) -> Found:
        return super().found(home) | kill_files.content(home / "cache" / "sidae_jax", "*.npy")

    def landed(self, home: pathlib.Path, text: str, new: set[str], before: Found) -> str:
        if any(path.stat().st_size for path in home.rglob("*.parts.jsonl")):
            return "while it decodes images, some of them safe in the cache"
        return "while it decodes images" if any(home.rglob("*.part")) else super().landed(home, text, new, before)


def _many_images(folder: pathlib.Path, files: int) -> None:
    """Large enough that decoding takes a while, and under many names each, so that they take little room."""
    for i, path in enumerate(write_digits(folder, 40)):
        with Image.open(path) as image:
            large = image.convert("RGB").resize((900, 900))
        path.unlink()
        path = path.with_suffix(".png") if i % 2 else path
        large.save(path, **({} if i % 2 else {"quality": 95}))
        for copy in range(files // 40 - 1):
            os.link(path, path.with_name(f"{copy}-{path.name}"))


def _announced(home: pathlib.Path, text: str, since: float) -> bool:
    return "starting: " in text or "continuing at step " in text


def _new_program(home: pathlib.Path, text: str, since: float) -> bool:
    return _announced(home, text, since) and newer(home, "compiled/*-cache", since)
