"""Warm start (config.init_from): a run whose backbone begins as that of another run ended, or as that of a file.

Only the backbone is taken, with its BatchNorm statistics: projector, predictor and decoder belong to the other run's
loss. The images are normalized by the mean and standard deviation of the new data.
"""

import functools
import os
import pathlib
from typing import Any

from ml_collections import ConfigDict

from sidae_jax.errors import UserError
from sidae_jax.networks import torch_names
from sidae_jax.networks.backbones import BACKBONES
from sidae_jax.runs import WEIGHTS, weights_file
from sidae_jax.runs.checkpoint import Arrays, Checkpoints, arrays_sha256, from_arrays, to_arrays
from sidae_jax.runs.pretrained import one_step, run_folder
from sidae_jax.training.step import TrainState

_KIND = ("backbone", "width", "stem")
_UNDER = ("params.encoder.backbone.", "batch_stats.encoder.backbone.")


class WarmStart:
    """The backbone of a checkpoint or a file, read when it is first needed, and what config.json records of it.

    Attributes:
      record: {"run": absolute path, "step": the checkpoint's, "sha256": of the arrays}, or {"file": absolute path,
        "sha256": of the arrays}, which is the same for the same backbone.
    """

    def __init__(self, config: ConfigDict, initial: TrainState, record: dict[str, Any] | None):
        """Finds the backbone that config.init_from names, or the one that the run took when it was started.

        initial: the state at step 0 that a seed has without it, which has the shapes wanted.
        record: what config.json says of a start before this one; None at the first. Only the first reads anything
          here, so that a run may go on after the folder of the other one is gone.

        Raises UserError if there is no such run, checkpoint or file, it is corrupt, or its backbone is of another kind.
        """
        self._config = config
        self._like = {name: value for name, value in to_arrays(initial).items() if name.startswith(_UNDER)}
        if record is None:
            self.record = _locate(config.init_from)
            self.record["sha256"] = arrays_sha256(self._arrays)
        else:
            self.record = record

    def apply(self, initial: TrainState) -> TrainState:
        """Returns a state at step 0 with the backbone in it. Raises UserError if it is not what was recorded."""
        if arrays_sha256(self._arrays) != self.record["sha256"]:
            of = self.record
            where = of["file"] if "file" in of else f"checkpoint {of['step']} of {of['run']}"
            raise UserError(
                f"config.init_from={self._config.init_from} is not what this run was started from: {where} has a "
                f"backbone with another sha256 than {of['sha256'][:12]}; put back the one it had, or give another "
                "--workdir"
            )
        return from_arrays(initial, to_arrays(initial) | self._arrays)

    @functools.cached_property
    def _arrays(self) -> Arrays:
        if "file" in self.record:
            return self._of_file(self.record["file"])
        step = self.record["step"]
        with Checkpoints(self.record["run"], read_only=True) as checkpoints:
            _check_kind(self._config, checkpoints.metadata(step)["config"])
            return checkpoints.restore(step, self._like, _UNDER)

    def _of_file(self, path: str) -> Arrays:
        """Returns the backbone in a file of `sidae_jax.export`, or one of the same names and shapes."""
        given, backbone = f"config.init_from={self._config.init_from}", self._config.backbone
        architecture = BACKBONES[backbone]
        if architecture.torchvision is None:
            raise UserError(
                f"{given} is a file, and {backbone} is none of torchvision's networks: give the folder of a run"
            )
        _, blocks = architecture.torchvision
        found, metadata = weights_file.read(path, given)
        if metadata:
            _check_kind(self._config, _kind_of(metadata))
        within = "backbone."
        wanted = torch_names.to_torch(self._like, blocks)
        if not any(name.startswith(within) for name in found):  # the encoder alone, with or without torchvision's fc
            found = {within + name: value for name, value in found.items() if not name.startswith("fc.")}
        of_backbone = {name: value.shape for name, value in found.items() if name.startswith(within)}
        if different := {name: value.shape for name, value in wanted.items()}.items() ^ of_backbone.items():
            name, _ = min(different)
            there, here = (_shape(arrays.get(name)) for arrays in (found, wanted))
            raise UserError(
                f"{given} does not fit this run's {backbone}: {name.removeprefix(within)!r:.80} is {there} there and "
                f"{here} here; give its --config.backbone, width and stem, or another --config.init_from"
            )
        return torch_names.backbone_from_torch(found, self._like, blocks)


def check(config: ConfigDict) -> None:
    """Raises UserError if config.init_from names no run, or one of another kind: before the images are decoded."""
    record = _locate(config.init_from)
    if "run" in record:
        with Checkpoints(record["run"], read_only=True) as checkpoints:
            _check_kind(config, checkpoints.metadata(record["step"])["config"])


def _check_kind(config: ConfigDict, theirs: dict[str, Any]) -> None:
    differing = [key for key in _KIND if theirs[key] != config[key]]
    if differing:
        there, here = (", ".join(f"{key}={of[key]}" for key in differing) for of in (theirs, config))
        raise UserError(
            f"config.init_from={config.init_from} holds an encoder with {there}, this run has {here}: give "
            f"{' '.join(f'--config.{key}={theirs[key]}' for key in differing)}, or another --config.init_from"
        )


def _kind_of(metadata: dict[str, str]) -> dict[str, Any]:
    """Returns what a file says of its backbone, as a config has it."""
    kind = {key: " ".join(metadata.get(key, "").split())[:40] for key in _KIND}  # a message may show it, of any content
    return {**kind, "width": int(kind["width"]) if kind["width"].isdecimal() else kind["width"]}


def _shape(array: Any) -> str:
    return "missing" if array is None else str(list(array.shape))


def _locate(init_from: str | os.PathLike) -> dict[str, Any]:
    """Returns the file that `init_from` names, or the run and the step of its newest checkpoint or of the named one."""
    path = pathlib.Path(init_from).expanduser().absolute()
    if path.suffix == WEIGHTS and not path.is_dir():
        return {"file": str(path)}
    if path.is_file():
        raise UserError(
            f"config.init_from={init_from} is a file: give the folder of a run, or of a checkpoint in it, such as "
            f"--config.init_from=runs/cifar10-sidae/checkpoints/19400, or a file of weights, FILE{WEIGHTS}"
        )
    names_step = path.parent.name == "checkpoints" and path.name.isdigit()
    folder = run_folder(path.parent.parent if names_step else init_from, "--config.init_from")
    with Checkpoints(folder, read_only=True) as checkpoints:
        saved = checkpoints.steps()
        newest = one_step(checkpoints, None)
    if not names_step:
        return {"run": str(folder), "step": newest}
    if int(path.name) not in saved:
        raise UserError(
            f"config.init_from={init_from} is not saved: give one of {', '.join(map(str, saved))} in {path.parent}"
        )
    return {"run": str(folder), "step": int(path.name)}
