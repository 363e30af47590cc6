"""The result files under a folder of runs, as rows, and their means over seeds."""

import dataclasses
import itertools
import json
import math
import pathlib
from collections.abc import Iterable
from typing import Any

from absl import logging

from sidae_jax.evaluation import results
from sidae_jax.evaluation.settings import PROTOCOLS, task_title

Task = tuple[str, str, float, str]  # protocol, data set, fraction of the labels, settings


@dataclasses.dataclass(frozen=True)
class Run:
    """A folder with the config.json of a run; `name` is that of its folder under the report's, without its seed's."""

    name: str
    seed: int
    config: dict[str, Any]
    folder: pathlib.Path


@dataclasses.dataclass(frozen=True, order=True)
class Measured:
    """What was measured: all of it but the seed. `label` names the run where several differ in nothing else here.

    settings: those of the protocol that are not its defaults, as text.
    """

    protocol: str
    evaluated_on: str
    label_fraction: float
    settings: str
    pretrained_on: str
    method: str
    w: float | None
    d_hid: int | None
    label: str
    step: int
    epoch: float
    images: str  # of the pre-training: its split
    n_train: int
    n_test: int

    @property
    def task(self) -> Task:
        return self.protocol, self.evaluated_on, self.label_fraction, self.settings


@dataclasses.dataclass(frozen=True)
class Summary:
    """Accuracies in per cent over seeds; the standard error (n - 1 in its variance) needs two."""

    measured: Measured
    seeds: int
    mean: float
    standard_error: float | None


def runs(folder: pathlib.Path) -> list[Run]:
    """Those under the folder, in a fixed order; one whose config cannot be read is left out, with a warning."""
    found = []
    for path in sorted(folder.rglob("config.json")):
        try:
            config = json.loads(path.read_text())["config"]
            seed, *_ = (config[key] for key in ("seed", "dataset", "method", "train_split"))  # `read` needs the others
        except (ValueError, KeyError, TypeError) as error:
            logging.warning("%s is damaged, its run is left out: %s", path, error)
            continue
        of_all_seeds = path.parent.parent if path.parent.name == f"seed{seed}" else path.parent
        name = of_all_seeds.relative_to(folder).as_posix() if folder in of_all_seeds.parents else of_all_seeds.name
        found.append(Run(name, seed, config, path.parent))
    return found


def read(found: Iterable[Run]) -> list[tuple[Measured, int, float]]:
    """(what, the pre-training's seed, accuracy in [0, 1]) of every line of every result file of the runs."""
    rows = []
    for run in found:
        for file in sorted((run.folder / "eval").glob("*.jsonl")):
            for record in results.read(file):
                measured = Measured(
                    protocol=record["protocol"],
                    evaluated_on=record["dataset"],
                    label_fraction=record["label_fraction"],
                    settings=_settings(record),
                    pretrained_on=run.config["dataset"],
                    method=run.config["method"],
                    w=run.config.get("w"),
                    d_hid=run.config.get("d_hid"),
                    label=run.name,
                    step=record["step"],
                    epoch=record["epoch"],
                    images=run.config["train_split"],
                    n_train=record["n_train"],
                    n_test=record["n_test"],
                )
                rows.append((measured, run.seed, record["accuracy"]))
    return rows


def _settings(record: results.Record) -> str:
    protocol = PROTOCOLS[record["protocol"]]
    defaults = {**dataclasses.asdict(protocol.settings()), "features": "backbone"}
    given = {**record.get(protocol.section, defaults), "features": record.get("features", "backbone")}
    return ", ".join(f"{key} = {given[key]}" for key in sorted(given) if given[key] != defaults.get(key))


def title(task: Task) -> str:
    """linear probe on cifar10, 1% of the labels, epochs = 3."""
    *of_all, settings = task
    return task_title(*of_all) + (f", {settings}" if settings else "")


def summarise(rows: Iterable[tuple[Measured, int, float]]) -> list[Summary]:
    """One for each thing measured, in the order of `Measured`."""
    ordered = sorted(rows, key=lambda row: (_sortable(row[0]), row[1]))
    summaries = []
    for measured, group in itertools.groupby(ordered, key=lambda row: row[0]):
        accuracies = [100 * accuracy for _, _, accuracy in group]
        n, mean = len(accuracies), sum(accuracies) / len(accuracies)
        variance = sum((accuracy - mean) ** 2 for accuracy in accuracies) / (n - 1) if n > 1 else None
        summaries.append(Summary(measured, n, mean, None if variance is None else math.sqrt(variance / n)))
    return summaries


def by_run(summaries: Iterable[Summary]) -> dict[str, list[Summary]]:
    """Those of each run, by its label."""
    runs = {}
    for summary in summaries:
        runs.setdefault(summary.measured.label, []).append(summary)
    return runs


def _sortable(measured: Measured):
    return tuple((value is not None, value) for value in dataclasses.astuple(measured))
