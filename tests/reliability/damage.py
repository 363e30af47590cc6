"""Damaged files: what the programs that read them say and do."""

import dataclasses
import json
import pathlib
import random
import re
from collections.abc import Iterator
from typing import Any

from reliability import commands
from reliability.damage_commands import command
from reliability.files_damaged import DAMAGES, DELETED, FLIPPED, copied
from reliability.outcomes import Outcome
from reliability.served import Server, in_worlds

TITLE = "Damaged files"
TEXT = """
A file of a run, of the caches, of a prepared data set or of an export gets a flipped bit, is cut short or emptied, has
a block of zeros, is deleted, or has a folder in its place; then a program that reads it is run, and for a run's files
also `sidae_jax.runs verify`. Promised is: what comes of it (parameters, features, figures, accuracies) is the same to
the last bit as without the damage, or a sentence names the file; `verify` finds whatever changes a result or is told by
a program; never a traceback. A deleted file that need not be there is one that was never made.
"""
IN_CI, IN_FULL = 60, 400
_BY_COMMAND = 40  # of so many cases, one is repeated by its command
_STEP = re.compile(r"checkpoints/(\d+)/")


@dataclasses.dataclass(frozen=True)
class Target:
    """Files of a kind: a row of the table.

    optional: whether such a file need not be there. verify: the program that checks it.
    without_cache: whether the decoded images are not there, so that the data set is read.
    """

    what: str
    pattern: str
    programs: tuple[str, ...]
    verify: str | None = None
    optional: bool = False
    without_cache: bool = False


_READERS = ("load", "linear_eval", "export", "embed", "runs show")
_OF_METRICS = ("runs show", "report", "load best", "api.Run")
TARGETS = [
    Target("the newest checkpoint", "part/checkpoints/9/**/*", ("main",), "verify part"),
    Target("the last checkpoint", "whole/checkpoints/12/**/*", _READERS, "verify whole"),
    Target("orbax's _METADATA", "part/checkpoints/*/state/_METADATA", ("main", "runs show, stopped"), "verify part"),
    Target("metadata of a checkpoint", "whole/checkpoints/*/metadata/metadata", _READERS, "verify whole"),
    Target("metrics.jsonl", "whole/metrics.jsonl", _OF_METRICS, "verify whole"),
    Target("metrics.jsonl", "part/metrics.jsonl", ("main",), "verify part"),
    Target("config.json", "part/config.json", ("main", "runs show, stopped"), "verify part"),
    Target("config.json", "whole/config.json", ("report", "runs show", "api.Run", "linear_eval"), "verify whole"),
    Target("status.json", "part/status.json", ("runs show, stopped", "main"), "verify part", optional=True),
    Target("results", "whole/eval/*.jsonl", ("report", "runs show", "api.Run"), "verify whole", optional=True),
    Target("results", "whole/eval/*.jsonl", ("linear_eval",), "verify whole", optional=True),
    Target("pictures.npz", "whole/eval/pictures.npz", ("report",), "verify whole", optional=True),
    Target("cached features", "whole/eval/features/*", ("linear_eval",), "verify whole", optional=True),
    Target("cached images", "cache/sidae_jax/digits*", ("main", "linear_eval", "embed"), optional=True),
    Target("a prepared data set", "data/digits/1.0.0/*", ("linear_eval", "embed", "main"), without_cache=True),
    Target("a prepared data set, images cached", "data/digits/1.0.0/*", ("linear_eval", "embed", "main")),
    Target("an export", "encoder.safetensors", ("load export", "init_from")),
    Target("a sweep's done.jsonl", "done.jsonl", ("sweep",), optional=True),
    Target("compiled programs", "compiled/*-cache", ("embed by its command",), optional=True),
]


def run(count: int, seed: int, folder: pathlib.Path) -> Iterator[Outcome]:
    yield from in_worlds(_World, folder, lambda world, number: world.case(number, seed), range(count), count > IN_CI)


class _World:
    """A folder in which programs run one after the other, the files as they are without damage, and a server."""

    def __init__(self, path: pathlib.Path):
        self.path, self.intact = path / "world", path / "intact"
        self.path.mkdir(parents=True)
        self.server = Server("reliability.worker", self.path, env=commands.environment(self.path))
        self.results: dict[tuple[str, bool], Any] = {}
        self.made: dict[str, Any] | None = None
        self.server.send("make")

    def case(self, number: int, seed: int) -> Outcome:
        first = self.made is None
        if self.made is None:
            self.made = self.server.answer()
        assert not self.made.get("code"), self.made
        if first:
            copied(self.path, self.intact)
        rng = random.Random(f"{seed} {number}")
        target = TARGETS[number % len(TARGETS)]
        program = target.programs[number // len(TARGETS) % len(target.programs)]
        kind = rng.choice(list(DAMAGES))
        wanted = self._wanted(program, target)
        self._restore(target)
        files = sorted(each for each in self.path.glob(target.pattern) if each.is_file() and each.stat().st_size)
        path = rng.choice(files)
        if number < len(TARGETS):  # the kind that only checksums find, in the file with the most arrays
            kind, path = FLIPPED, max(files, key=lambda each: each.stat().st_size)
        name = str(path.relative_to(self.path))
        DAMAGES[kind](path, random.Random(f"{seed} {number} damage"))
        verified = self.server.ask(target.verify) if target.verify else None
        ended = self.server.ask(program)
        outcome, ok = self._judged(target, program, kind, name, verified, ended, wanted)
        if number % _BY_COMMAND == _BY_COMMAND - 1 and (words := command(program, self.path)):
            self._restore(target)
            DAMAGES[kind](path, random.Random(f"{seed} {number} damage"))
            by_command = commands.run(f"sidae_jax.{words[0]}", *words[1:], env=commands.environment(self.path))
            # another process may read what this one still has in memory
            other_end = by_command.code != ended["code"] and not _names(by_command.output, name)
            if not by_command.sentence or other_end:
                return Outcome(target.what, "another end by its command", False, f"{by_command}\n{ended}")
            ok &= _names(by_command.output, name) or not _names(ended["output"], name)
        detail = f"case {number}, seed {seed}: {kind} in {name}, then {program}\n{ended}\nwanted: {wanted!s:.2000}\n"
        detail += f"{target.verify}: {verified}"
        return Outcome(f"{target.what}: {kind}", outcome, ok, detail[:20_000])

    def _restore(self, target: Target) -> None:
        copied(self.intact, self.path)
        if target.without_cache:
            for path in (self.path / "cache/sidae_jax").glob("digits*"):
                path.unlink()

    def _wanted(self, program: str, target: Target) -> Any:
        key = program, target.without_cache
        if key not in self.results:
            self._restore(target)
            ended = self.server.ask(program)
            assert ended["code"] == 0, ended["output"]
            self.results[key] = ended["result"]
        return self.results[key]

    def _judged(
        self, target: Target, program: str, kind: str, name: str, verified: Any, ended: Any, wanted: Any
    ) -> tuple[str, bool]:
        told = _names(ended["output"], name)
        trains = program in ("main", "linear_eval")  # others show what is there
        same = ended["code"] == 0 and json.dumps(ended["result"]) == json.dumps(wanted)  # NaN is NaN there
        for each in (verified, ended):
            if each and "Traceback (most recent call last)" in each["output"]:
                return "a traceback", False
        if ended["code"] not in (0, 1, 2):
            return f"exit code {ended['code']}", False
        if kind == DELETED and target.optional:
            if same:
                return "same result", True
            made_again = trains or target.what.startswith(("cached", "compiled"))
            return "left out, as one never made", ended["code"] in (0, 2) and not made_again
        if verified and verified["code"] != 1 and (told or not same):
            return "verify finds nothing", False
        if verified and verified["code"] == 1 and not _names(verified["output"], name):
            return "verify names another file", False
        if same and target.what == "the newest checkpoint" and verified["code"] == 1 and not told:
            return "SILENT: done again from an older one", False
        if same:
            return ("same result, and told" if told else "same result"), True
        if not told:
            return ("SILENT" if ended["code"] == 0 else "refused without the file's name"), False
        return ("told, and done without it" if ended["code"] == 0 else "refused by a sentence"), True


def _names(output: str, name: str) -> bool:
    """Whether the output names the file, its checkpoint, its data set or its entry of a cache."""
    output = " ".join(output.split())
    if step := _STEP.search(name):
        return re.search(rf"checkpoints/{step[1]}\b|Checkpoint {step[1]} ", output) is not None
    if name.startswith("data/"):
        return "world/data" in output or "other images" in output
    if name.startswith(("cache/", "whole/eval/features")):
        return pathlib.Path(name).name.split(".")[0] in output
    return pathlib.Path(name).name in output
