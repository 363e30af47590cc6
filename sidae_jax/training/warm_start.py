"""Warm start (config.init_from): a run whose backbone begins as that of another run ended.

Only the backbone is taken, with its BatchNorm statistics: projector, predictor and decoder belong to the other run's
loss. The images are normalized by the mean and standard deviation of the new data.
"""

import functools
import os
import pathlib
from typing import Any

from ml_collections import ConfigDict

from sidae_jax.errors import UserError
from sidae_jax.runs.checkpoint import Arrays, Checkpoints, arrays_sha256, from_arrays, to_arrays
from sidae_jax.runs.pretrained import run_folder, saved_steps
from sidae_jax.training.step import TrainState

_UNDER = ("params.encoder.backbone.", "batch_stats.encoder.backbone.")


class WarmStart:
    """The backbone of a checkpoint, read when it is first needed, and what config.json records of it.

    Attributes:
      record: {"run": absolute path, "step": the checkpoint's, "sha256": of the arrays}.
    """

    def __init__(self, config: ConfigDict, initial: TrainState, record: dict[str, Any] | None):
        """Finds the backbone that config.init_from names, or the one that the run took when it was started.

        initial: the state at step 0 that a seed has without it, which has the shapes wanted.
        record: what config.json says of a start before this one; None at the first. Only the first reads anything
          here, so that a run may go on after the folder of the other one is gone.

        Raises UserError if there is no such run or checkpoint, it is corrupt, or its backbone is of another kind.
        """
        self._config = config
        self._like = {name: value for name, value in to_arrays(initial).items() if name.startswith(_UNDER)}
        if record is None:
            run, step = _locate(config.init_from)
            record = {"run": str(run), "step": step}
            self._where = run, step
            record["sha256"] = arrays_sha256(self._arrays)
        self.record = record
        self._where = pathlib.Path(record["run"]), record["step"]

    def apply(self, initial: TrainState) -> TrainState:
        """Returns a state at step 0 with the backbone in it. Raises UserError if it is not what was recorded."""
        if arrays_sha256(self._arrays) != self.record["sha256"]:
            run, step = self._where
            raise UserError(
                f"config.init_from={self._config.init_from} is not what this run was started from: checkpoint {step} "
                f"of {run} has a backbone with another sha256 than {self.record['sha256'][:12]}; put back the one it "
                "had, or give another --workdir"
            )
        return from_arrays(initial, to_arrays(initial) | self._arrays)

    @functools.cached_property
    def _arrays(self) -> Arrays:
        run, step = self._where
        with Checkpoints(run, read_only=True) as checkpoints:
            self._check_kind(checkpoints.metadata(step)["config"])
            return checkpoints.restore(step, self._like, _UNDER)

    def _check_kind(self, theirs: dict[str, Any]) -> None:
        differing = [key for key in ("backbone", "width", "stem") if theirs[key] != self._config[key]]
        if differing:
            there, here = (", ".join(f"{key}={of[key]}" for key in differing) for of in (theirs, self._config))
            raise UserError(
                f"config.init_from={self._config.init_from} holds an encoder with {there}, this run has {here}: give "
                f"{' '.join(f'--config.{key}={theirs[key]}' for key in differing)}, or another --config.init_from"
            )


def _locate(init_from: str | os.PathLike) -> tuple[pathlib.Path, int]:
    """Returns the folder of a run, and the step of its newest checkpoint or of the one that `init_from` names.

    A file with the arrays of an encoder would be told apart here, and read in `WarmStart._arrays`.
    """
    path = pathlib.Path(init_from).expanduser().absolute()
    if path.is_file():
        raise UserError(
            f"config.init_from={init_from} is a file: give the folder of a run, or of a checkpoint in it, such as "
            "--config.init_from=runs/cifar10-sidae/checkpoints/19400"
        )
    names_step = path.parent.name == "checkpoints" and path.name.isdigit()
    folder = run_folder(path.parent.parent if names_step else init_from, "--config.init_from")
    with Checkpoints(folder, read_only=True) as checkpoints:
        saved = saved_steps(checkpoints)
    if not names_step:
        return folder, saved[-1]
    if int(path.name) not in saved:
        raise UserError(
            f"config.init_from={init_from} is not saved: give one of {', '.join(map(str, saved))} in {path.parent}"
        )
    return folder, int(path.name)
