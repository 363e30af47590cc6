"""An experiment as data: pre-training runs with their evaluations, and the command lines that run them.

An experiment file is a Python file with a function get_experiment() -> Experiment; configs/experiments holds those of
the papers. Nothing here runs a command.
"""

import dataclasses
import functools
import hashlib
import pathlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

from sidae_jax.config import FREE_KEYS, pretraining
from sidae_jax.config_values import flat
from sidae_jax.errors import UserError
from sidae_jax.settings import METHOD_SETTINGS, REPORT_METHODS

Changes = Mapping[str, Any]

SCALES = ("paper", "thin", "small")
_FEW_IMAGES = 10_240  # training images of a run with --scale=thin or small


@dataclasses.dataclass(frozen=True)
class Pretraining:
    """A run of sidae_jax.main: a config such as "cifar10", a method, and the keys to change."""

    dataset: str
    method: str
    changes: Changes = dataclasses.field(default_factory=dict)

    @property
    def name(self) -> str:
        """The name of the run's folder."""
        return run_name(self.dataset, self.method, self.changes)


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """A run of sidae_jax.linear_eval on the workdir of a pre-training: a config in configs/, and the keys to change.

    With `untrained_only` it evaluates only the untrained backbone.
    """

    config: str
    changes: Changes = dataclasses.field(default_factory=dict)
    untrained_only: bool = False


@dataclasses.dataclass(frozen=True)
class Experiment:
    """Pre-training runs with their evaluations, all of which are repeated for each seed.

    The title says to readers of the file what it is about; nothing prints it.
    """

    title: str
    runs: Sequence[tuple[Pretraining, Sequence[Evaluation]]]


def check_types(experiment: Any) -> None:
    """Raises UserError, whose text goes on after "get_experiment", unless this is an Experiment of its three parts."""
    if not (isinstance(experiment, Experiment) and isinstance(experiment.runs, Sequence)):
        raise UserError(
            f"returns {experiment!r:.200}, and an Experiment with a list of runs is wanted: see docs/experiments.md"
        )
    for i, entry in enumerate(experiment.runs):
        match entry:
            case (Pretraining(changes=Mapping()), [*evaluations]) if all(
                isinstance(one, Evaluation) and isinstance(one.changes, Mapping) for one in evaluations
            ):
                continue
        raise UserError(
            f"has {entry!r:.200} as runs[{i}], and a pair is wanted: give (Pretraining(...), [Evaluation(...), ...]), "
            "with the evaluations [] for none"
        )


@dataclasses.dataclass(frozen=True)
class Job:
    """The commands for one run with one seed, in order; `name` is its folder in the workdir of the sweep.

    A command is the name of a module and its arguments without --workdir.
    """

    name: str
    commands: tuple[tuple[str, ...], ...]

    @property
    def run(self) -> str:
        """The name of the run without its seed."""
        return self.name.rpartition("/")[0]


def jobs(experiment: Experiment, configs: pathlib.Path, seeds: int, scale: str) -> list[Job]:
    """Returns the jobs for seeds 0 to seeds - 1, all runs of one seed before those of the next.

    Seed 0 also computes the pictures for the report.

    Args:
      experiment: the runs and evaluations.
      configs: the folder with the config files.
      seeds: the number of seeds.
      scale: "paper"; "thin" for the papers' whole schedules with a quarter of the width on a part of the images; or
        "small" for a check on two CPU cores that everything works, which gives no result. The keys of a `Pretraining`
        override the scale; the small scale overrides the keys of an `Evaluation`.
    """
    found = []
    for seed in range(seeds):
        for run, evaluations in experiment.runs:
            settings = {**_SCALED[scale](run), **run.changes, "seed": seed}
            commands = [_command("main", f"{configs}/{run.dataset}.py:{run.method}", settings)]
            for evaluation in evaluations:
                small = _small_evaluation(run, evaluation) if scale == "small" else {}
                settings = {**evaluation.changes, **small, "seed": seed}
                command = _command("linear_eval", f"{configs}/{evaluation.config}.py", settings)
                commands.append(command + (("--step=0",) if evaluation.untrained_only else ()))
            if seed == 0:
                commands.append(("sidae_jax.pictures",))
            found.append(Job(f"{run.name}/seed{seed}", tuple(commands)))
    return found


def run_name(dataset: str, method: str, changes: Changes) -> str:
    """Returns the name of a run's folder, such as cifar10-sidae-w0.25, without special characters of shells and paths.

    The name has the changed keys in the order of `changes`, except for keys that do not affect the result. A key is
    shortened to its last part if no other key ends in the same part: p_blur for views.p_blur. A value that cannot be
    read back after its special characters are removed is followed by a part of its SHA-256, so that different changes
    have different names.
    """
    changed = {key: value for key, value in changes.items() if key not in FREE_KEYS}
    parts = [f"{short_key(key)}{_short_value(value)}" for key, value in changed.items()]
    return _plain("-".join([dataset, method, *parts]))


# Values that can be read back without their special characters: a word, or a slice such as train[:10240]. A word that
# ends in a digit could be the slice of another word; a word with a hyphen could be a value and the next key.
_READABLE = re.compile(r"(\w[\w.]*)?[^\W\d]|[^\W\d]+\[:\d+\]")


def _short_value(value: Any) -> str:
    if isinstance(value, tuple | list):
        return "_".join(_short_value(part) for part in value)
    text = str(value)
    if not isinstance(value, str) or _READABLE.fullmatch(text):
        return _plain(text)
    shown = text.rpartition("/")[2] if text.startswith("/") else text  # of a path, the last part
    return f"{_plain(shown)}-{hashlib.sha256(text.encode()).hexdigest()[:6]}"


def short_key(key: str) -> str:
    """Returns the last part of a config's key, p_blur for views.p_blur, or the whole key if the part is ambiguous."""
    last = key.rpartition(".")[2]
    return last if _full_keys().get(last, {key}) == {key} else key


@functools.cache
def _full_keys() -> dict[str, set[str]]:
    """Returns the keys in the configs of all methods, grouped by their last part."""
    full: dict[str, set[str]] = {}
    for key in {key for method in METHOD_SETTINGS for key in flat(pretraining(method, ""))}:
        full.setdefault(key.rpartition(".")[2], set()).add(key)
    return full


def _plain(text: str) -> str:
    return re.sub(r"[^\w.-]", "", text)


def _few_images(run: Pretraining, count: int) -> str:
    return f"{'unlabelled' if run.dataset == 'stl10' and run.method != 'supervised' else 'train'}[:{count}]"


def _thin_pretraining(run: Pretraining) -> Changes:
    """Returns the changes for a backbone of width 16; in the SidAE paper's methods z has a quarter of its dimensions.

    The bottleneck of the predictor is a quarter of z. The methods of the report have their own small z.
    """
    thin = {"train_split": _few_images(run, _FEW_IMAGES), "width": 16}
    return thin if run.method in REPORT_METHODS else {**thin, "d_hid": 512}


def _small_pretraining(run: Pretraining) -> Changes:
    """Returns the changes for a run of four epochs.

    The methods of the report keep their stem and decoder, with a quarter of their width and of the images.
    """
    small = {"train_split": _few_images(run, _FEW_IMAGES), "epochs": 4, "checkpoint_every": 2, "batch_size": 256}
    if run.method in REPORT_METHODS:
        small |= {"train_split": _few_images(run, _FEW_IMAGES // 4), "width": 16}
    return small


_SCALED = {"paper": lambda run: {}, "thin": _thin_pretraining, "small": _small_pretraining}


def _small_evaluation(run: Pretraining, evaluation: Evaluation) -> Changes:
    on = evaluation.changes.get("dataset", run.dataset)
    small = {"train_split": "train" if on == "stl10" else f"train[:{_FEW_IMAGES}]", "test_split": "test[:5000]"}
    return {**small, "finetune.epochs": 3} if evaluation.config == "finetune" else small


def _command(program: str, config: str, changes: Changes) -> tuple[str, ...]:
    keys = (f"--config.{key}={value}" for key, value in changes.items())
    return (f"sidae_jax.{program}", f"--config={config}", *keys)


def linear(*fractions: float, **changes: Any) -> list[Evaluation]:
    """Returns linear probes with these fractions of the labels."""
    return [Evaluation("linear_eval", {"label_fraction": fraction, **changes}) for fraction in fractions]


def finetuning(*fractions: float, untrained_only: bool = False, **changes: Any) -> list[Evaluation]:
    """Returns fine-tuning with these fractions of the labels.

    With `untrained_only` it trains from scratch, which is the supervised baseline.
    """
    return [Evaluation("finetune", {"label_fraction": f, **changes}, untrained_only) for f in fractions]
