"""A run as its files record it, for programs and notebooks: config, metrics, results, checkpoints."""

import os
import pathlib
from typing import TYPE_CHECKING, Any

import numpy as np
from absl import logging
from ml_collections import ConfigDict

from sidae_jax.errors import UserError
from sidae_jax.files import existing_folder
from sidae_jax.runs import checkpoint_steps, metrics_file, sums
from sidae_jax.runs.old_names import modern

if TYPE_CHECKING:
    from sidae_jax.evaluation.backbone import Backbone

Record = dict[str, Any]


class Run:
    """A run with one seed. It only reads plain files, anew at each access: a run may train meanwhile.

    Wherever a path of a run is taken, such as by `sidae_jax.load`, a Run is taken too.

    Attributes:
      workdir: its folder, an absolute path.
      config: the settings that it was started with, a locked ConfigDict.
    """

    def __init__(self, workdir: str | os.PathLike[str]):
        """Finds the run.

        Raises:
          UserError: the folder or its config.json is missing, or no run's.
        """
        self.workdir: pathlib.Path = existing_folder(workdir, "workdir")
        self.config: ConfigDict = _read_config(self.workdir)

    def __fspath__(self) -> str:
        return str(self.workdir)

    @property
    def metrics(self) -> dict[str, np.ndarray]:
        """What was logged during the training: a float64 array [records] by name, and "step", int64 [records].

        Among the names are epoch, loss and its parts, feature_std (0: collapsed, 1: healthy), lr, images_per_second.
        Where a record lacks a value it is NaN. A damaged line is skipped with a warning. Without any record: {}.
        """
        records = _records(self.workdir / "metrics.jsonl")
        # in the order in which they appear
        names = dict.fromkeys(name for record in records for name, value in record.items() if _is_number(value))
        columns = {name: np.array([_number(record.get(name)) for record in records]) for name in names}
        return columns | ({"step": columns["step"].astype(np.int64)} if records else {})

    @property
    def results(self) -> list[Record]:
        """The records of all evaluations, as `sidae_jax.evaluate` returns them: by protocol, in the order of the steps.

        "accuracy" is in [0, 1]; step 0 is the untrained backbone. A damaged line is skipped with a warning.
        """
        from sidae_jax.evaluation import results

        return [record for path in sorted(self.workdir.glob("eval/*.jsonl")) for record in results.read(path)]

    @property
    def checkpoints(self) -> list[int]:
        """The steps of the saved checkpoints, ascending."""
        return checkpoint_steps(self.workdir)

    def encoder(self, step: int | str | None = None) -> "Backbone":
        """Returns the encoder of the last checkpoint, or of the one at `step`, or "best"; see `sidae_jax.load`.

        Raises:
          UserError: there is no such checkpoint, or it is corrupt.
        """
        from sidae_jax.api import load

        return load(self, step)

    def __repr__(self) -> str:
        config, metrics, steps = self.config, self.metrics, self.checkpoints
        parts = [f"{config.method} on {config.dataset} {config.train_split}"]
        if metrics:
            done, loss = (metrics.get(name, np.array([np.nan]))[-1] for name in ("epoch", "loss"))
            parts += [f"epoch {done:.4g} of {config.epochs}", f"loss {loss:.4f}"]
        parts += [f"{len(steps)} checkpoints" + (f", the last at step {steps[-1]}" if steps else "")]
        parts += [f"{len(self.results)} results"]
        here = pathlib.Path.cwd()
        folder = self.workdir.relative_to(here) if self.workdir.is_relative_to(here) else self.workdir
        return f"<Run {folder}: {', '.join(parts)}>"


def _read_config(folder: pathlib.Path) -> ConfigDict:
    path = folder / "config.json"
    if not path.exists():
        inside = sorted(p.parent.relative_to(folder).as_posix() for p in folder.glob("**/config.json"))
        wanted = f"one of the runs in it, such as {folder / inside[0]}" if inside else "the folder of a run"
        raise UserError(f"workdir={folder} holds no config.json of a run: give {wanted}")
    try:
        config = modern(sums.read_json(path)["config"])
        config["views"] = {key: _tuple(value) for key, value in config["views"].items()}
        for key in ("method", "dataset", "train_split", "epochs"):
            config[key]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UserError(
            f"{path} is not the config.json of a run ({error!r}): give the folder of another run"
        ) from error
    return ConfigDict(config).lock()


def _tuple(value: Any) -> Any:
    """Returns a value of JSON as a config has it, with tuples for lists."""
    return tuple(value) if isinstance(value, list) else value


def _records(path: pathlib.Path) -> list[Record]:
    """Returns the records of metrics.jsonl, with a warning for each thing that is wrong with it."""
    try:
        if path.exists():
            records, problems = metrics_file.read(path)
        else:
            records, problems = [], [text for text in [metrics_file.problem(path)] if text]
    except OSError as error:
        records, problems = [], [f"metrics.jsonl cannot be read: {error.strerror}"]
    for problem in problems:
        logging.warning("%s: %s", path.parent, problem)
    return records


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _number(value: Any) -> float:
    try:
        return float(value) if _is_number(value) else float("nan")
    except OverflowError:  # an integer of hundreds of digits
        return float("nan")
