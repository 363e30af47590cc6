"""An experiment as data: pre-training runs and the evaluations of each, as the command lines that do them.

An experiment file is Python with a function get_experiment() -> Experiment; those of the papers are in
configs/experiments. Nothing here runs anything.
"""

import dataclasses
import functools
import hashlib
import pathlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

from sidae_jax.config import FREE_KEYS, flat, pretraining
from sidae_jax.settings import METHOD_SETTINGS, REPORT_METHODS

Changes = Mapping[str, Any]

SCALES = ("paper", "small")
_IMAGES = 10_240  # of a small run


@dataclasses.dataclass(frozen=True)
class Pretraining:
    """A run of sidae_jax.main: its config, such as "cifar10", its method, and the keys that differ from theirs."""

    dataset: str
    method: str
    changes: Changes = dataclasses.field(default_factory=dict)

    @property
    def name(self) -> str:
        """Of its folder."""
        return run_name(self.dataset, self.method, self.changes)


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """A run of sidae_jax.linear_eval on a pre-training's workdir: a config of configs/, and the keys that differ.

    With `untrained_only` the untrained backbone alone is evaluated.
    """

    config: str
    changes: Changes = dataclasses.field(default_factory=dict)
    untrained_only: bool = False


@dataclasses.dataclass(frozen=True)
class Experiment:
    """Every run with each of its evaluations, for each seed."""

    title: str
    runs: Sequence[tuple[Pretraining, Sequence[Evaluation]]]


@dataclasses.dataclass(frozen=True)
class Job:
    """What is done for one run with one seed, in this order, in the folder `name` of the sweep's workdir.

    A command is the name of a module and its arguments, --workdir not among them.
    """

    name: str
    commands: tuple[tuple[str, ...], ...]


def jobs(experiment: Experiment, configs: pathlib.Path, seeds: int, scale: str) -> list[Job]:
    """The jobs of seeds 0 to seeds - 1; the first seed of every run comes first, and with what the report's pictures
    need. `configs` holds the config files.

    The scale "small" is for two CPU cores: a check that all works, no result. The keys of a `Pretraining` stand
    above it, those of an `Evaluation` below.
    """
    made = []
    for seed in range(seeds):
        for run, evaluations in experiment.runs:
            settings = {**(_small_pretraining(run) if scale == "small" else {}), **run.changes, "seed": seed}
            commands = [_command("main", f"{configs}/{run.dataset}.py:{run.method}", settings)]
            for evaluation in evaluations:
                small = _small_evaluation(run, evaluation) if scale == "small" else {}
                settings = {**evaluation.changes, **small, "seed": seed}
                command = _command("linear_eval", f"{configs}/{evaluation.config}.py", settings)
                commands.append(command + (("--step=0",) if evaluation.untrained_only else ()))
            if seed == 0:
                commands.append(("sidae_jax.pictures",))
            made.append(Job(f"{run.name}/seed{seed}", tuple(commands)))
    return made


def run_name(dataset: str, method: str, changes: Changes) -> str:
    """cifar10-sidae-w0.25: the name of a run's folder, without what is special in shells and paths.

    Keys that change nothing in the result are not in it; the others stand in the order of `changes`, by their last part
    where no other key has the same, so p_blur for views.p_blur. Where a value cannot be read back from what is left of
    it, it has a part of its SHA-256 behind it: different changes have different names.
    """
    changed = {key: value for key, value in changes.items() if key not in FREE_KEYS}
    parts = [f"{short_key(key)}{_short_value(value)}" for key, value in changed.items()]
    return _plain("-".join([dataset, method, *parts]))


# What stays readable without its special characters: a word, or a slice [:10240] of one. A word that ends in a digit,
# or has a hyphen in it, could be another one's slice, or a value and the next key.
_READABLE = re.compile(r"(\w[\w.]*)?[^\W\d]|[^\W\d]+\[:\d+\]")


def _short_value(value: Any) -> str:
    if isinstance(value, tuple | list):
        return "_".join(_short_value(part) for part in value)
    text = str(value)
    if not isinstance(value, str) or _READABLE.fullmatch(text):
        return _plain(text)
    return f"{_plain(text)}-{hashlib.sha256(text.encode()).hexdigest()[:6]}"


def short_key(key: str) -> str:
    """p_blur for views.p_blur: the last part of a config's key, or all of it where that is another key's too."""
    last = key.rpartition(".")[2]
    return last if _full_keys().get(last, {key}) == {key} else key


@functools.cache
def _full_keys() -> dict[str, set[str]]:
    """The keys of all methods' configs by their last parts."""
    full = {}
    for key in {key for method in METHOD_SETTINGS for key in flat(pretraining(method, ""))}:
        full.setdefault(key.rpartition(".")[2], set()).add(key)
    return full


def _plain(text: str) -> str:
    return re.sub(r"[^\w.-]", "", text)


def _small_pretraining(run: Pretraining) -> Changes:
    """Four epochs. The report's methods keep their stem and decoder, with a quarter of their width and fewer images."""
    split = "unlabelled" if run.dataset == "stl10" and run.method != "supervised" else "train"
    small = {"train_split": f"{split}[:{_IMAGES}]", "epochs": 4, "checkpoint_every": 2, "batch_size": 256}
    of_report = run.method in REPORT_METHODS
    return {**small, "train_split": f"{split}[:{_IMAGES // 4}]", "width": 16} if of_report else small


def _small_evaluation(run: Pretraining, evaluation: Evaluation) -> Changes:
    on = evaluation.changes.get("dataset", run.dataset)
    small = {"train_split": "train" if on == "stl10" else f"train[:{_IMAGES}]", "test_split": "test[:5000]"}
    return {**small, "finetune.epochs": 3} if evaluation.config == "finetune" else small


def _command(program: str, config: str, changes: Changes) -> tuple[str, ...]:
    keys = (f"--config.{key}={value}" for key, value in changes.items())
    return (f"sidae_jax.{program}", f"--config={config}", *keys)


def linear(*fractions: float, **changes: Any) -> list[Evaluation]:
    """Linear probes with these fractions of the labels."""
    return [Evaluation("linear_eval", {"label_fraction": fraction, **changes}) for fraction in fractions]


def finetuning(*fractions: float, untrained_only: bool = False, **changes: Any) -> list[Evaluation]:
    """Fine-tuning with these fractions of the labels; of the untrained backbone alone it is the supervised line."""
    return [Evaluation("finetune", {"label_fraction": f, **changes}, untrained_only) for f in fractions]
