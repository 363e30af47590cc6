"""The result files of runs, as rows, and their means over pre-trainings."""

import dataclasses
import itertools
import math
import pathlib
from collections.abc import Iterable
from typing import Any

from absl import logging

from sidae_jax.evaluation import results
from sidae_jax.evaluation.protocols import PROTOCOLS, task_title
from sidae_jax.report.reference import printable, setting
from sidae_jax.report.runs import MOST_EPOCHS, Pretraining, Run, integer, number, short, text


@dataclasses.dataclass(frozen=True, order=True)
class Task:
    """What an accuracy is of. settings: those of the protocol that are not its defaults, as text.

    labeled_rows: a hash of the rows that kept their labels, where results of other rows are beside; else "".
    """

    protocol: str
    evaluated_on: str
    label_fraction: float
    settings: str
    n_train: int
    n_test: int
    train_split: str
    test_split: str
    labeled_rows: str

    @property
    def title(self) -> str:
        """linear probe on cifar10, 1% of the labels, lr = 0.1 (500 images), 10000 test images."""
        name = task_title(self.protocol, self.evaluated_on, self.label_fraction)
        settings = f", {self.settings}" if self.settings else ""
        settings += f", labeled rows {self.labeled_rows[:12]}" if self.labeled_rows else ""
        train = "" if self.train_split == "train" else f" of {self.train_split}"
        test = "" if self.test_split == "test" else f" of {self.test_split}"
        return f"{name}{settings} ({self.n_train} images{train}), {self.n_test} test images{test}"


@dataclasses.dataclass(frozen=True)
class Measured:
    """What was measured, after which step of what: all of it but the seeds."""

    task: Task
    pretraining: Pretraining
    step: int
    epoch: float


@dataclasses.dataclass(frozen=True)
class Summary:
    """Accuracies in percent over `seeds` pre-trainings; the standard error (n - 1 in its variance) needs two."""

    measured: Measured
    seeds: int
    mean: float
    standard_error: float | None


Row = tuple[Measured, int, float]
# what records made before these keys were measured on
_BEFORE = {"train_split": "train", "test_split": "test", "labeled_rows_sha256": ""}


def read(found: Iterable[Run]) -> list[Row]:
    """(what, the pre-training's seed, accuracy in [0, 1]) of every line of every result file of the runs.

    A line that is none is left out, with a warning.
    """
    rows = []
    for run in found:
        for path in sorted((run.folder / "eval").glob("*.jsonl")):
            for record in _records(path):
                try:
                    rows.append((_measured(run, record), run.seed, number(record, "accuracy", 0.0, 1.0)))
                except (ValueError, KeyError, TypeError, RecursionError) as error:
                    logging.warning("A line of %s is no result and left out: %s", path, short(error))
    return _apart_by_labeled_rows(rows)


def _apart_by_labeled_rows(rows: list[Row]) -> list[Row]:
    """The labeled rows stay in the tasks whose data have results of several; others need not be told apart."""
    seen = {}
    for measured, *_ in rows:
        seen.setdefault(_data(measured.task), set()).update(filter(None, [measured.task.labeled_rows]))

    def told(measured):
        if len(seen[_data(measured.task)]) > 1:
            return measured
        return dataclasses.replace(measured, task=dataclasses.replace(measured.task, labeled_rows=""))

    return [(told(measured), *rest) for measured, *rest in rows]


def _data(task: Task) -> Task:
    """What the protocols have in common: the data set and what of it was used, but for the rows."""
    return dataclasses.replace(task, protocol="", settings="", labeled_rows="")


def _records(path: pathlib.Path) -> list[results.Record]:
    try:
        return results.read(path)
    except (OSError, ValueError, RecursionError) as error:
        logging.warning("%s is corrupt and left out: %s", path, short(error))
        return []


def _measured(run: Run, record: results.Record) -> Measured:
    record = {**_BEFORE, **record}
    task = Task(
        protocol=record["protocol"],
        evaluated_on=printable(text(record, "dataset")),
        label_fraction=number(record, "label_fraction", 0.0, 1.0),
        settings=_settings(record),
        n_train=integer(record, "n_train", 1),
        n_test=integer(record, "n_test", 1),
        train_split=printable(text(record, "train_split")),
        test_split=printable(text(record, "test_split")),
        labeled_rows=printable(text(record, "labeled_rows_sha256")),
    )
    return Measured(task, run.pretraining, integer(record, "step", 0), number(record, "epoch", 0.0, MOST_EPOCHS))


def _settings(record: dict[str, Any]) -> str:
    protocol = PROTOCOLS[record["protocol"]]
    defaults = {"features": "backbone", **dataclasses.asdict(protocol())}
    given = {key: record[key] for key in ["features"] if key in record} | dict(record.get(protocol.section, {}))
    return ", ".join(setting(key, given[key]) for key in sorted(given) if given[key] != defaults.get(key))


def summarize(rows: Iterable[Row]) -> list[Summary]:
    """One for each thing measured, in a fixed order.

    Several results of one pre-training (probes with several seeds) are averaged first: they count as one.
    """
    ordered = sorted(rows, key=lambda row: (_sortable(dataclasses.astuple(row[0])), *row[1:]))
    summaries = []
    for measured, group in itertools.groupby(ordered, key=lambda row: row[0]):
        accuracies = [
            _mean([100 * accuracy for *_, accuracy in of_seed])
            for _, of_seed in itertools.groupby(group, key=lambda row: row[1])
        ]
        n, mean = len(accuracies), _mean(accuracies)
        variance = sum((accuracy - mean) ** 2 for accuracy in accuracies) / (n - 1) if n > 1 else None
        summaries.append(Summary(measured, n, mean, None if variance is None else math.sqrt(variance / n)))
    return summaries


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)


def by_run(summaries: Iterable[Summary]) -> dict[Pretraining, list[Summary]]:
    """Those of each pre-training."""
    found = {}
    for summary in summaries:
        found.setdefault(summary.measured.pretraining, []).append(summary)
    return found


def _sortable(value):
    """None, of methods that have no w, before every number."""
    return tuple(map(_sortable, value)) if isinstance(value, tuple) else (value is not None, value)
