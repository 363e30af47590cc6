"""Reads the result files of runs as rows, and averages the rows over pre-trainings."""

import dataclasses
import itertools
import math
import pathlib
import statistics
from collections.abc import Iterable
from typing import Any, NamedTuple

from sidae_jax import settings
from sidae_jax.errors import UserError
from sidae_jax.evaluation import results
from sidae_jax.evaluation.protocols import PROTOCOLS, task_title
from sidae_jax.report import left_out
from sidae_jax.report.run_index import MOST_EPOCHS, Pretraining, Run
from sidae_jax.runs.values import describe, integer, number, printable, setting_text, text


@dataclasses.dataclass(frozen=True, order=True)
class Task:
    """A protocol, its data, and those of its settings that differ from the defaults, each as text such as "lr = 1".

    `labeled_rows` is a hash of the rows that kept their labels if the data have results for different rows, else "".
    """

    protocol: str
    evaluated_on: str
    label_fraction: float
    settings: tuple[str, ...]
    n_train: int
    n_test: int
    train_split: str
    test_split: str
    labeled_rows: str

    @property
    def title(self) -> str:
        """Such as "linear probe on cifar10, 1% of the labels, lr = 0.1 (500 images), 10000 test images"."""
        name = task_title(self.protocol, self.evaluated_on, self.label_fraction)
        rows = [f"labeled rows {self.labeled_rows[:12]}"] if self.labeled_rows else []
        settings = "".join(f", {text}" for text in (*self.settings, *rows))
        train = "" if self.train_split == "train" else f" of {self.train_split}"
        test = "" if self.test_split == "test" else f" of {self.test_split}"
        return f"{name}{settings} ({self.n_train} images{train}), {self.n_test} test images{test}"


@dataclasses.dataclass(frozen=True)
class Measured:
    """What was measured, except for the seeds: the task, the pre-training, and the checkpoint."""

    task: Task
    pretraining: Pretraining
    step: int
    epoch: float


class Row(NamedTuple):
    """The result of one evaluation: the seed is that of the pre-training, the accuracy is in [0, 1]."""

    measured: Measured
    seed: int
    accuracy: float


@dataclasses.dataclass(frozen=True)
class Summary(Measured):
    """What was measured, with the mean accuracy in percent over `seeds` pre-trainings.

    The standard error is in percent, with n - 1 in its variance; it is None for a single seed.
    """

    seeds: int
    mean: float
    standard_error: float | None


# What a record shows if it is older than these keys.
_SHOWN_FOR_OLD_RECORDS = {"train_split": "train", "test_split": "test", "labeled_rows_sha256": ""}


def read(runs: Iterable[Run]) -> list[Row]:
    """Returns a row for every line of every result file of the runs; a corrupt line is skipped with a warning."""
    rows = []
    for run in runs:
        for path in sorted((run.folder / "eval").glob("*.jsonl")):
            for record in _records(path):
                try:
                    rows.append(Row(_measured(run, record), run.seed, number(record, "accuracy", 0.0, 1.0)))
                except (ValueError, KeyError, TypeError, RecursionError) as error:
                    left_out.warn("A line of %s is not a result and is skipped: %s", path, describe(error))
    return _without_needless_hashes(rows)


def _without_needless_hashes(rows: list[Row]) -> list[Row]:
    """Drops the hash of the labeled rows from tasks whose data have results for a single set of rows."""
    hashes: dict[Task, set[str]] = {}
    for row in rows:
        task = row.measured.task
        hashes.setdefault(_data(task), set()).update(filter(None, [task.labeled_rows]))

    def needed(measured: Measured) -> Measured:
        if len(hashes[_data(measured.task)]) > 1:
            return measured
        return dataclasses.replace(measured, task=dataclasses.replace(measured.task, labeled_rows=""))

    return [row._replace(measured=needed(row.measured)) for row in rows]


def _data(task: Task) -> Task:
    """Returns what the protocols share: the data set and the part that was used, without the hash of the rows."""
    return dataclasses.replace(task, protocol="", settings=(), labeled_rows="")


def _records(path: pathlib.Path) -> list[results.Record]:
    try:
        return results.read(path)
    except (UserError, OSError, ValueError, RecursionError) as error:
        left_out.warn("%s is corrupt and skipped: %s", path, describe(error))
        return []


def _measured(run: Run, record: results.Record) -> Measured:
    record = {**_SHOWN_FOR_OLD_RECORDS, **record}
    task = Task(
        protocol=record["protocol"],
        evaluated_on=_evaluated_on(record),
        label_fraction=number(record, "label_fraction", 0.0, 1.0),
        settings=_protocol_settings(record),
        n_train=integer(record, "n_train", 1),
        n_test=integer(record, "n_test", 1),
        train_split=printable(text(record, "train_split")),
        test_split=printable(text(record, "test_split")),
        labeled_rows=printable(text(record, "labeled_rows_sha256")),
    )
    return Measured(task, run.pretraining, integer(record, "step", 0), number(record, "epoch", 0.0, MOST_EPOCHS))


def _evaluated_on(record: dict[str, Any]) -> str:
    """Returns the data set; of a folder of images, which all have one name, with its path and the share held out."""
    name = printable(text(record, "dataset"))
    if "images" not in record:
        return name
    share = number(record, "test_share", 0.0, 1.0)
    default = settings.FolderSettings.test_share
    return f"{name} {printable(text(record, 'images'))}" + (f", test_share = {share:g}" if share != default else "")


def _protocol_settings(record: dict[str, Any]) -> tuple[str, ...]:
    """Returns the settings of the protocol that differ from its defaults, as texts.

    Records without a precision are older than this key and measured in the default one.
    """
    protocol = PROTOCOLS[record["protocol"]]
    common = {"features": "backbone", "precision": settings.BackboneSettings.precision}
    defaults = {**common, **dataclasses.asdict(protocol())}
    given = {key: record[key] for key in common if key in record} | dict(record.get(protocol.section, {}))
    return tuple(setting_text(key, given[key]) for key in sorted(given) if given[key] != defaults.get(key))


def summarize(rows: Iterable[Row]) -> list[Summary]:
    """Returns a summary of everything that was measured, in a fixed order.

    Several results of one pre-training, such as probes with several seeds, are averaged first and count as one.
    """
    ordered = sorted(rows, key=lambda row: (_sortable(dataclasses.astuple(row.measured)), row.seed, row.accuracy))
    summaries = []
    for measured, group in itertools.groupby(ordered, key=lambda row: row.measured):
        means = [
            statistics.fmean(100 * row.accuracy for row in of_seed)
            for _, of_seed in itertools.groupby(group, key=lambda row: row.seed)
        ]
        n, mean = len(means), statistics.fmean(means)
        error = statistics.stdev(means) / math.sqrt(n) if n > 1 else None
        summaries.append(Summary(**vars(measured), seeds=n, mean=mean, standard_error=error))
    return summaries


def _sortable(value: Any) -> tuple:
    """Makes None, the w of a method without a weight, sort before every number."""
    return tuple(map(_sortable, value)) if isinstance(value, tuple) else (value is not None, value)


def by_pretraining(summaries: Iterable[Summary]) -> dict[Pretraining, list[Summary]]:
    """Groups the summaries by their pre-training."""
    groups: dict[Pretraining, list[Summary]] = {}
    for summary in summaries:
        groups.setdefault(summary.pretraining, []).append(summary)
    return groups
