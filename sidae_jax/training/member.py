"""What one seed of a run writes and reads: its workdir's config, metrics and checkpoints."""

import dataclasses
import json
import math
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils
from ml_collections import ConfigDict

from sidae_jax.data.normalisation import Normalisation
from sidae_jax.errors import Diverged, UserError
from sidae_jax.runs import checkpoint, workdir

_COLLAPSE = (
    "warning: feature_std is {feature_std:.3f} at step {step}{seed}, 0 being features that are the same for all images "
    "and 1 healthy ones: likely causes are a learning rate too high, a batch too small for BatchNorm, "
    "or a w that leaves the reconstruction alone"
)


class Member:
    """A run with one seed, alone or among those of other seeds; a context manager."""

    def __init__(self, config: ConfigDict, folder: pathlib.Path, by: Normalisation, steps_per_epoch: int):
        self.config = config
        self.folder = folder
        self.normalisation = by
        self.steps_per_epoch = steps_per_epoch
        self.loss = math.nan  # of the newest checkpoint
        self.collapse_told = False

    def __enter__(self) -> "Member":
        self.checkpoints = checkpoint.Checkpoints(self.folder, read_only=False)
        self.metrics_file = None
        return self

    def __exit__(self, *_) -> None:
        if self.metrics_file is not None:
            self.metrics_file.close()
        self.checkpoints.__exit__()

    def open_metrics(self, step: int) -> None:
        """Go on with metrics.jsonl after `step`."""
        if jax.process_index() == 0:
            self.metrics_file = workdir.open_metrics(self.folder, step)

    def log(self, record: dict[str, float | int], tell: Callable[[str], None], among_others: bool) -> None:
        """Write a line of metrics; tell of a collapse, once."""
        self.check_finite(record["loss"], record["step"])
        if self.metrics_file is not None:
            self.metrics_file.write(json.dumps(record) + "\n")
        if record["feature_std"] < 0.1 and not self.collapse_told:
            self.collapse_told = True
            tell(_COLLAPSE.format(**record, seed=f" of seed {self.config.seed}" if among_others else ""))

    def check_finite(self, loss: float, step: int) -> None:
        """Raises Diverged."""
        if not np.isfinite(loss):
            self._diverged(f"the loss is {loss} at step {step}")

    def save(self, step: int, state: Any, loss: float, scheduled: bool) -> None:
        """Returns when the checkpoint is whole on the disk. Raises Diverged where anything in it is not finite."""
        self.check_finite(loss, step)
        arrays = checkpoint.to_arrays(state)
        broken = next((name for name, value in arrays.items() if not np.isfinite(value).all()), None)
        if broken is not None:
            self._diverged(f"{broken} is not finite after step {step}")
        self.loss = loss
        metadata = {
            "step": step,
            "epoch": step / self.steps_per_epoch,
            "loss": loss,
            "config": self.config.to_dict(),
            "normalisation": dataclasses.asdict(self.normalisation),
        }
        self.checkpoints.save(step, arrays, metadata, scheduled=scheduled)

    def _diverged(self, what: str):
        raise Diverged(
            f"{what}; nothing of it was saved: try a smaller --config.lr (it is {self.config.lr}) in another --workdir"
        )

    def summary(self, step: int, state: Any) -> str:
        """The last line of a finished run."""
        parameters = checkpoint.to_arrays(state.params, "params.")
        parameters |= checkpoint.to_arrays(state.batch_stats, "batch_stats.")
        return f"done: step {step}, loss {self.loss:.6f}, parameters sha256 {checkpoint.arrays_sha256(parameters)}"


def restore(members: Sequence[Member], like: Sequence[Any]) -> tuple[int, list[Any]] | None:
    """The newest step that all members have saved, and their states there; None where there is none.

    `like` are states of the same shapes. Later checkpoints of single members, left by a stop between their saves, are
    removed. Raises UserError where the processes find different steps.
    """
    templates = [checkpoint.to_arrays(state) for state in like]
    while True:
        common = max(set.intersection(*(set(member.checkpoints.steps()) for member in members)), default=0)
        for member in members:
            member.checkpoints.remove_after(common)
        found = [member.checkpoints.restore_newest(arrays) for member, arrays in zip(members, templates, strict=True)]
        # a damaged one is set aside, and its member then goes back further than the others
        newest = {saved[1]["step"] if saved else 0 for saved in found}
        if len(newest) == 1:
            break
    (step,) = newest
    steps = multihost_utils.process_allgather(np.int32(step))
    if np.ptp(steps):
        raise UserError(
            f"the processes found checkpoints of different steps ({np.unique(steps).tolist()}) in "
            f"{members[0].checkpoints.directory}: give a --workdir that all machines share"
        )
    if step == 0:
        return None
    for member, (_, metadata) in zip(members, found, strict=True):
        member.loss = metadata["loss"]
    return step, [checkpoint.from_arrays(state, arrays) for state, (arrays, _) in zip(like, found, strict=True)]
