"""What one seed of a run writes and reads: its workdir's metrics and checkpoints."""

import dataclasses
import json
import os
from typing import Any

import jax
import numpy as np

from sidae_jax import processes
from sidae_jax.data.normalization import Normalization
from sidae_jax.runs import checkpoint
from sidae_jax.runs.workdir import Workdir

_COLLAPSE = (
    "warning: feature_std is {feature_std:.3f} at step {step}{seed}, 0 being features that are the same for all images "
    "and 1 healthy ones: likely causes are a learning rate too high, a batch too small for BatchNorm, "
    "or a w that leaves the reconstruction alone"
)


class SeedRun:
    """A run with one seed, alone or among those of other seeds; a context manager.

    What is on the disk already is not written again: a seed may be taken through steps that it has behind it, in
    company of one that has not.

    Attributes:
      of_seed: " of seed 5", for messages, where a run has several.
      diverged: why this seed is not trained any further, None while its loss and state are finite.
    """

    def __init__(self, workdir: Workdir, normalization: Normalization, steps_per_epoch: int, *, among_others: bool):
        self.workdir = workdir
        self.config = workdir.config
        self.normalization = normalization
        self.steps_per_epoch = steps_per_epoch
        self.of_seed = f" of seed {self.config.seed}" if among_others else ""
        self.diverged: str | None = None
        self._collapse_told = False

    def __enter__(self) -> "SeedRun":
        self.checkpoints = checkpoint.Checkpoints(self.workdir.folder, read_only=False)
        self._metrics = None
        return self

    def __exit__(self, *_) -> None:
        if self._metrics is not None:
            self._metrics.close()
        self.checkpoints.__exit__()

    def open(self, like: Any) -> None:
        """Find the newest whole checkpoint of states like `like`, and go on with metrics.jsonl after it. Collective.

        Raises UserError where there are checkpoints and none is whole.
        """
        self._newest = self.checkpoints.newest_whole(checkpoint.to_arrays(like))
        self._on_disk = self._newest[0] if self._newest else 0
        if jax.process_index() == 0:
            self._metrics = self.workdir.open_metrics(self._on_disk)

    def state_at(self, step: int, initial: Any) -> Any | None:
        """The state saved at `step`, of the shapes of `initial`, which is that of step 0. Collective.

        None where that checkpoint is corrupt; it is then set aside.
        """
        if step == 0:
            return initial
        arrays, problem = None, None
        if self._newest is not None and self._newest[0] == step:
            arrays = self._newest[1]
        else:
            try:
                arrays = self.checkpoints.restore(step, checkpoint.to_arrays(initial))
            except checkpoint.CorruptCheckpoint as error:
                problem = str(error)
        self._newest = None  # its memory
        if problems := [text for text in processes.gather(problem) if text]:
            self.checkpoints.set_aside(step, problems[0])
            return None
        return checkpoint.from_arrays(initial, arrays)

    def log(self, record: dict[str, float | int]) -> str | None:
        """Write a line of metrics. Returns what the user is to be told: of a collapse, once, or of a divergence."""
        if not np.isfinite(record["loss"]):
            return self._diverge(f"the loss{self.of_seed} is {record['loss']} at step {record['step']}")
        if self.diverged or record["step"] <= self._on_disk:
            return None
        if self._metrics is not None:
            self._metrics.write(json.dumps(record) + "\n")
        if record["feature_std"] < 0.1 and not self._collapse_told:
            self._collapse_told = True
            return _COLLAPSE.format(**record, seed=self.of_seed)
        return None

    def save(self, step: int, state: Any, loss: float, *, scheduled: bool) -> str | None:
        """Returns, what to tell as `log` does, when the checkpoint is on the disk; what is not finite is not saved."""
        if not np.isfinite(loss):
            return self._diverge(f"the loss{self.of_seed} is {loss} at step {step}")
        if self.diverged:
            return None
        if step in self.checkpoints.steps():
            if scheduled:
                self.checkpoints.keep(step)
            return None
        arrays = checkpoint.to_arrays(state)
        broken = next((name for name, value in arrays.items() if not np.isfinite(value).all()), None)
        if broken is not None:
            return self._diverge(f"{broken}{self.of_seed} is not finite after step {step}")
        if self._metrics is not None:  # the lines up to a checkpoint are not written again after it
            os.fsync(self._metrics.fileno())
        metadata = {
            "step": step,
            "epoch": step / self.steps_per_epoch,
            "loss": loss,
            "config": self.config.to_dict(),
            "normalization": dataclasses.asdict(self.normalization),
        }
        self.checkpoints.save(step, arrays, metadata, scheduled=scheduled)
        return None

    def _diverge(self, what: str) -> str | None:
        if self.diverged is not None:
            return None
        self.diverged = (
            f"{what}; nothing of it was saved: try a smaller --config.lr (it is {self.config.lr}) in another --workdir"
        )
        return f"warning: {what}; the other seeds go on" if self.of_seed else None

    def summary(self, step: int, like: Any) -> str:
        """The last line of a run: its checkpoint of that step as it is on the disk. Collective."""
        arrays = self.checkpoints.restore(step, checkpoint.to_arrays(like))
        network = {name: value for name, value in arrays.items() if name.startswith(("params.", "batch_stats."))}
        loss = self.checkpoints.metadata(step)["loss"]
        return f"done: step {step}, loss {loss:.6f}, parameters sha256 {checkpoint.arrays_sha256(network)}"
