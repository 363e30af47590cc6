"""Hostile files: what the programs that read them do, in a sandbox."""

import hashlib
import os
import pathlib
from collections.abc import Iterator
from typing import Any

from reliability import commands
from reliability.files_damaged import copied
from reliability.hostile_cases import CASES
from reliability.hostile_files import Hostile
from reliability.outcomes import Outcome
from reliability.served import Server, in_worlds

TITLE = "Hostile files"
TEXT = """
A file of a run, of the caches, of a prepared data set, of an export or of a folder of images is replaced by one that
somebody made to do harm: a pickle that would run, an array of absurd shape, a JSON bomb, a pipe, a device, a link out
of the folder, a name with markup and control characters, with right checksums wherever the one who made it could write
them. Then a program that reads it is run under Python's audit hooks, which stop and note every connection, every
program started, every class unpickled, and every file written outside the run, the caches and the temporary folder.
Promised is: none of these, no change of a file outside, no traceback, no control characters in what is printed, less
than 600 MB of memory for it, an end within two minutes.
"""
_PAIRS = [(hostile, program) for hostile in CASES for program in hostile.programs]
IN_CI, IN_FULL = 20, len(_PAIRS)
_MEMORY, _SECONDS, _PRINTED = 600 << 20, 120.0, 100_000


def run(count: int, seed: int, folder: pathlib.Path) -> Iterator[Outcome]:
    """Yields the outcomes of so many of all pairs, evenly spaced; the seed says where they begin."""
    pairs = [_PAIRS[(seed + number * len(_PAIRS) // count) % len(_PAIRS)] for number in range(count)]
    yield from in_worlds(_World, folder, lambda world, pair: world.case(*pair), pairs, count > IN_CI)


class _World:
    """A folder that may be written, one that nothing may change, and a server in a sandbox."""

    def __init__(self, path: pathlib.Path):
        self.path, self.intact = path / "mine/world", path / "intact"
        self.outside, self.empty = path / "outside", path / "empty"
        for each in (self.path, self.outside, self.empty, path / "mine/tmp"):
            each.mkdir(parents=True)
        places = {"TMPDIR": str(path / "mine/tmp"), "MPLCONFIGDIR": str(path / "mine/tmp")}
        cache = os.environ.get("JAX_COMPILATION_CACHE_DIR", str(path / "mine/compiled"))
        env = commands.environment(self.path, **places, JAX_COMPILATION_CACHE_DIR=cache, PYTHONDONTWRITEBYTECODE="1")
        self.server = Server("reliability.hostile_worker", self.path, env)
        self.made: dict[str, Any] | None = None
        self.server.send("make")

    def case(self, hostile: Hostile, program: str) -> Outcome:
        first = self.made is None
        if self.made is None:
            self.made = self.server.answer()
        assert not self.made.get("code"), self.made
        if first:
            copied(self.path, self.intact)
        copied(self.intact, self.path)
        copied(self.empty, self.outside)
        hostile.harm(self.path, self.outside)
        before = _content(self.outside)
        ended = self.server.ask(program, _SECONDS)
        outcome, ok = self._judged(program, ended, before)
        detail = f"{hostile.what}, then {program}\n{ended!s:.6000}\n{before}"
        return Outcome(hostile.what, outcome, ok, detail)

    def _judged(self, program: str, ended: dict[str, Any], before: dict[str, str]) -> tuple[str, bool]:
        output, made = ended["output"], ended["result"][0] if program == "report" and ended["result"] else ""
        wrong = {
            "no end, or a crash": ended["code"] not in (0, 1, 2),
            "FORBIDDEN": ended.get("forbidden"),
            "a file outside has changed": _content(self.outside) != before,
            "a traceback": "Traceback (most recent call last)" in output,
            "control characters": set(output) & {"\x1b", "\u202e"},
            "too much memory": ended.get("grown", 0) > _MEMORY,
            "endless output": len(output) > _PRINTED,
            "markup": "<script" in made,
        }
        if found := next((name for name, is_so in wrong.items() if is_so), None):
            return found, False
        return ("refused by a sentence", True) if ended["code"] else ("done, and nothing else happened", True)


def _content(folder: pathlib.Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "no file"
        for path in sorted(folder.rglob("*"))
    }
