"""Reads the files of a run, of which any may be missing or damaged: that is noted, and the rest is read."""

import functools
import json
import pathlib
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, TypeVar

from sidae_jax.config_values import flat
from sidae_jax.evaluation import results
from sidae_jax.files import read_regular
from sidae_jax.runs import metrics_file, state, status, sums
from sidae_jax.runs.metrics_file import Record, figure
from sidae_jax.runs.old_names import modern
from sidae_jax.runs.values import describe, integer, number, text

T = TypeVar("T")
_DAMAGE = (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError)


class Checkpoint(NamedTuple):
    """What is said of a checkpoint by the files beside its arrays, whose checksums are not looked at here.

    `scheduled` is False for one that a stop left and the next save removes, and for one that is only kept as the best
    by kNN, until a better one is saved. The loss is None for an old checkpoint.
    """

    step: int
    epoch: float
    loss: float | None
    scheduled: bool


class Evaluation(NamedTuple):
    """A result file: a protocol on a data set, with the accuracy (in [0, 1]) of each checkpoint by its step."""

    file: str
    protocol: str
    on: str
    label_fraction: float
    seed: int
    accuracies: dict[int, float]

    @property
    def trained(self) -> dict[int, float]:
        """The accuracies without that of the untrained backbone, step 0."""
        return {step: accuracy for step, accuracy in self.accuracies.items() if step > 0}

    @property
    def best(self) -> tuple[int, float] | None:
        """The first step with the best accuracy, and that accuracy; None if only step 0 was measured."""
        return max(self.trained.items(), key=lambda item: (item[1], -item[0]), default=None)


class Overview:
    """What the files of a run say of it. Nothing here raises for a damaged file.

    Attributes:
      folder, name: the run's path, and what it is called.
      content: the content of config.json; config: the flat settings in it; both are {} if it is damaged.
      problems: a sentence on each file that is missing or damaged.
      status: the content of status.json, or None.
      steps: those of the checkpoints, ascending; last: the newest of them that can be read, or None.
      newest: the last record of metrics.jsonl; {} without one.
      knn: the last accuracy of nearest neighbors measured while training, or None.
      age: seconds since metrics.jsonl was written; None without one.
      state: see `state.find`.
    """

    def __init__(self, folder: pathlib.Path, name: str):
        """Reads what a list of runs shows."""
        self.folder, self.name = folder, name
        self.problems: list[str] = []
        self.content: dict[str, Any] = self._try("config.json", self._read_config, {})
        self.config = flat(self.content["config"]) if self.content else {}
        locked = state.is_locked(folder)
        self.status = self._try(status.FILE, lambda: status.read(folder), None)
        self.steps: list[int] = self._try("checkpoints", self._read_steps, [])
        self.last = next(filter(None, map(self.checkpoint, reversed(self.steps))), None)
        path = folder / "metrics.jsonl"
        self.newest: Record = self._try(path.name, lambda: metrics_file.newest(path, "step"), {}, needed=self.last)
        if (damage := self._try(path.name, lambda: metrics_file.problem(path), None, needed=False)) is not None:
            self._note(damage)
        self.knn = figure(self._try(path.name, lambda: metrics_file.newest(path, "knn"), {}, needed=False), "knn")
        self.age = self._try(path.name, lambda: max(0.0, time.time() - path.stat().st_mtime), None, needed=False)
        complete = self.last is not None and self.epochs is not None and self.last.epoch >= self.epochs
        stopped = self.last is not None and not self.last.scheduled
        self.state = state.find(folder, locked, self.status, complete=complete, left_by_a_stop=stopped)
        self._note(*self._beyond_the_last_checkpoint())
        if self.state == "running":  # it may have written them in the meantime
            self.problems = [problem for problem in self.problems if "is missing" not in problem]

    @property
    def epochs(self) -> int | None:
        """The epochs that the run is to have."""
        return self.config.get("epochs")

    @property
    def epoch(self) -> float | None:
        """The epochs that are done, by the metrics or else the last checkpoint."""
        done = figure(self.newest, "epoch")
        return done if done is not None or self.last is None else self.last.epoch

    @property
    def data(self) -> str | None:
        """The data set, or the folder of images, with the split if it is not "train"."""
        if not self.config:
            return None
        split = self.config["train_split"]
        name = self.config.get("images") or self.config["dataset"]
        return name if split == "train" else f"{name} {split}"

    @property
    def message(self) -> str | None:
        """Why it ended, if its status says so."""
        message = self.status.get("message") if self.status and self.state == self.status["state"] else None
        return message if isinstance(message, str) else None

    @property
    def eta(self) -> float | None:
        """Seconds until the end, if it is running and has said so."""
        left = figure(self.newest, "eta_seconds")
        return None if self.state != "running" or left is None else max(0.0, left - (self.age or 0.0))

    def checkpoint(self, step: int) -> Checkpoint | None:
        """Returns what is said of a checkpoint; None, with a note, if it cannot be read."""
        return self._try(f"checkpoints/{step}", lambda: self._read_checkpoint(step), None)

    def metrics(self) -> list[Record]:
        """Returns the records of metrics.jsonl."""
        path = self.folder / "metrics.jsonl"
        nothing: tuple[list[Record], list[str]] = ([], [])
        records, problems = self._try(path.name, lambda: metrics_file.read(path), nothing, needed=False)
        self._note(*problems)
        return records

    def evaluations(self) -> list[Evaluation]:
        """Returns the results of the evaluations, a file after the other, by its name."""
        for aside in sorted(self.folder.glob("eval/.*.damaged*")):
            self._note(
                f"eval/{aside.name} is a damaged result file that an evaluation has kept: the one beside it may lack "
                "results; delete it when they are there again"
            )
        paths = sorted(self.folder.glob("eval/*.jsonl"))
        read = (self._try(f"eval/{path.name}", functools.partial(self._read_results, path), None) for path in paths)
        return [evaluation for evaluation in read if evaluation is not None]

    def _try(self, what: str, read: Callable[[], T], otherwise: T, *, needed: Any = True) -> T:
        try:
            return read()
        except FileNotFoundError:
            if needed:
                self._note(f"{what} is missing")
        except _DAMAGE as error:
            self._note(f"{what} cannot be read: {describe(error)}")
        return otherwise

    def _note(self, *problems: str) -> None:
        self.problems += [problem for problem in problems if problem not in self.problems]

    def _beyond_the_last_checkpoint(self) -> Iterator[str]:
        last = self.steps[-1] if self.steps else 0
        saved = self.status.get("saved_step") if self.status else None
        if self.steps and isinstance(saved, int) and saved > last:
            yield f"{status.FILE} says that step {saved} was saved, and the newest checkpoint is of step {last}"
        elif self.steps and self.state == "finished" and (figure(self.newest, "step") or 0) > last:
            yield f"metrics.jsonl has a line of step {self.newest['step']}, and the last step is {last}"

    def _read_config(self) -> dict[str, Any]:
        content = modern(sums.read_json(self.folder / "config.json"))
        if not isinstance(content, dict) or not isinstance(content.get("config"), dict):
            raise ValueError("it has no settings of a run")
        config = content["config"]
        for key in ("method", "dataset", "train_split"):
            text(config, key)
        integer(config, "epochs", 1)
        if config.get("images") is not None and not isinstance(config["images"], str):
            raise ValueError(f"images is {config['images']!r:.80}, not a text")
        return content

    def _read_steps(self) -> list[int]:
        names = [path.name for path in (self.folder / "checkpoints").iterdir()]
        return sorted(int(name) for name in names if name.isascii() and name.isdigit() and len(name) < 16)

    def _read_checkpoint(self, step: int) -> Checkpoint:
        folder = self.folder / "checkpoints"
        metadata = sums.unsealed(
            json.loads(read_regular(folder / str(step) / "metadata" / "metadata")), sums.OF_METADATA
        )
        scheduled = metadata.get("scheduled", True) or (folder / f".scheduled-{step}").exists()
        epoch = number(metadata, "epoch", 0.0, float("inf"))
        return Checkpoint(integer(metadata, "step", 0), epoch, figure(metadata, "loss"), bool(scheduled))

    def _read_results(self, path: pathlib.Path) -> Evaluation | None:
        records, problems = results.parse(path)
        records = results.current(path, records)
        self._note(*(problem.replace(str(path), f"eval/{path.name}") for problem in problems))
        if not records:
            if not problems:
                self._note(f"eval/{path.name} has no results")
            return None
        of_all = records[-1]
        on = text(of_all, "dataset") + (f" {text(of_all, 'images')}" if "images" in of_all else "")
        accuracies = {integer(r, "step", 0): number(r, "accuracy", 0.0, 1.0) for r in records}
        fraction = number(of_all, "label_fraction", 0.0, 1.0)
        # older files lack the seed
        seed = integer(of_all, "seed", 0) if "seed" in of_all else 0
        return Evaluation(path.name, text(of_all, "protocol"), on, fraction, seed, accuracies)
