"""Checks everything in a run's folder that has a checksum or a form. It only reads."""

import json
import pathlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from ml_collections import ConfigDict

from sidae_jax import array_cache
from sidae_jax.config import FREE_KEYS, PLACE_KEYS, pretraining, validate
from sidae_jax.config_values import flat
from sidae_jax.errors import UserError, one_line
from sidae_jax.evaluation import picture_file
from sidae_jax.files import read_regular
from sidae_jax.runs import index, sums
from sidae_jax.runs.checkpoint import Checkpoints, CorruptCheckpoint
from sidae_jax.runs.metrics_file import figure
from sidae_jax.runs.overview import Overview
from sidae_jax.runs.values import printable
from sidae_jax.runs.workdir import FORMAT


def verify(names: Sequence[str]) -> int:
    """Prints a line for each problem of the runs, and how much is intact. Returns 1 if there is a problem, else 0.

    names: folders of runs, or of several runs, or their names in runs/.

    Raises:
      UserError: a folder is missing or holds no run.
    """
    folders: dict[pathlib.Path, None] = {}
    unread: list[str] = []
    for name in names:
        top = index.existing(name)
        found, problems = index.find(top)
        if not found and not problems:
            index.one_run(name)  # raises the error
        folders |= dict.fromkeys(found)
        unread += problems
    wrong, checkpoints, arrays = len(unread), 0, 0
    for problem in unread:
        print(printable(problem))
    for folder in folders:
        run = _Verification(folder)
        for problem in run.problems():
            wrong += 1
            print(printable(problem), flush=True)
        checkpoints, arrays = checkpoints + run.checkpoints, arrays + run.arrays
    runs = "" if len(folders) == 1 else f" in {len(folders)} runs"
    print(f"{checkpoints} checkpoints, {arrays} arrays intact{runs}" + (f"; {wrong} problems" if wrong else ""))
    return 1 if wrong else 0


class _Verification:
    """The check of one run.

    Attributes:
      checkpoints, arrays: how many of them have been found intact.
    """

    def __init__(self, folder: pathlib.Path):
        self.folder = folder.absolute()  # as orbax names it
        self.checkpoints = self.arrays = 0

    def problems(self) -> Iterator[str]:
        """Yields a sentence on each problem, which names the file."""
        run = Overview(self.folder, str(self.folder))
        metrics = run.metrics()
        run.evaluations()
        for step in run.steps:
            run.checkpoint(step)
        for problem in run.problems:
            if not problem.startswith("checkpoints/"):  # what orbax says is reported below
                yield f"{self.folder}/{problem}"
        yield from self._config_problems(run)
        yield from self._metrics_problems(run, metrics)
        pictures = self.folder / "eval" / picture_file.NAME
        try:
            if pictures.exists():
                picture_file.read(pictures)
        except (OSError, ValueError, KeyError, TypeError) as error:
            yield f"{pictures} is corrupt: {one_line(error)}"
        yield from array_cache.damaged(self.folder / "eval" / "features")
        for aside in sorted((self.folder / "checkpoints").glob(".corrupt-*")):
            yield f"{aside} is a corrupt checkpoint that the run has set aside: delete it if you do not need it"
        if run.steps:
            yield from self._checkpoint_problems(run)

    def _config_problems(self, run: Overview) -> Iterator[str]:
        if not run.content:
            return
        path = self.folder / "config.json"
        if not isinstance(run.content.get("data_sha256"), str):
            yield f"{path} has no data_sha256"
        if run.content.get("format", 1) != FORMAT:
            return  # of another version, with other keys
        try:
            config = pretraining(run.config["method"], run.config["dataset"])
            with config.unlocked():
                config.update(ConfigDict(_with_tuples(run.content["config"])))
            validate(config.lock())
        except (UserError, TypeError, ValueError, KeyError, AttributeError) as error:
            yield f"{path} is not valid: {one_line(error)}"

    def _metrics_problems(self, run: Overview, metrics: Sequence[dict[str, Any]]) -> Iterator[str]:
        path = self.folder / "metrics.jsonl"
        before = -1
        for number, record in enumerate(metrics, start=1):
            if record["step"] <= before:
                yield f"{path}: record {number} is of step {record['step']}, after one of step {before}"
            before = record["step"]
            missing = [key for key in ("epoch", "loss") if figure(record, key) is None]
            if missing:
                yield f"{path}: the record of step {record['step']} has no number as its {missing[0]}"
        if run.last is None or sums.metrics_note(self.folder) is not None:  # its checksum has told it, if so
            return
        # a checkpoint is saved after the lines before it
        log_every = run.config.get("log_every")
        if isinstance(log_every, int) and before + log_every <= run.last.step:
            yield f"{path} ends before step {run.last.step}, whose checkpoint is there: lines are missing"

    def _checkpoint_problems(self, run: Overview) -> Iterator[str]:
        ours = {key: value for key, value in run.config.items() if key not in (*FREE_KEYS, *PLACE_KEYS)}
        with Checkpoints(self.folder, read_only=True) as checkpoints:
            readable = checkpoints.steps()
            for step in run.steps:
                path = self.folder / "checkpoints" / str(step)
                try:
                    metadata = checkpoints.metadata(step)
                    number = checkpoints.check(step)
                except CorruptCheckpoint as error:
                    if path.exists():  # else the run, still training, has removed it
                        yield error.problem
                    continue
                if step not in readable:
                    yield f"{path} is no checkpoint that orbax lists: a save of it was cut short"
                    continue
                if problem := _unreadable(path / "_CHECKPOINT_METADATA"):
                    yield problem
                self.checkpoints += 1
                self.arrays += number
                theirs = flat(metadata.get("config", {}))
                differing = sorted(key for key in ours if key in theirs and ours[key] != theirs[key])
                if differing:
                    yield (
                        f"{path} was saved with another {differing[0]} ({theirs[differing[0]]}) than "
                        f"{self.folder / 'config.json'} has ({ours[differing[0]]})"
                    )


def _unreadable(path: pathlib.Path) -> str | None:
    """Returns a sentence if a file of JSON, which orbax writes and need not read, is there and is damaged."""
    try:
        json.loads(read_regular(path))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:
        return f"{path} cannot be read: {one_line(error)}"
    return None


def _with_tuples(config: dict[str, Any]) -> dict[str, Any]:
    """Returns a config that was JSON, which turns tuples into lists, with its tuples."""
    kinds: dict[type, Callable[[Any], Any]] = {dict: _with_tuples, list: tuple}
    return {key: kinds.get(type(value), lambda value: value)(value) for key, value in config.items()}
