"""One seed of a run: its state at a step, its lines of metrics and its checkpoints."""

import contextlib
import dataclasses
import json
import os
from collections.abc import Callable
from typing import IO, Any

import jax
import numpy as np

from sidae_jax import processes
from sidae_jax.config_values import plain
from sidae_jax.data.normalization import Normalization
from sidae_jax.errors import UserError
from sidae_jax.files import naming
from sidae_jax.loggers.loggers import Loggers
from sidae_jax.loggers.names import names_in
from sidae_jax.loggers.protocol import LoggedRun
from sidae_jax.monitoring import COLLAPSE, CollapseWatch, Measured, stop_rule
from sidae_jax.runs import checkpoint, measured, sums
from sidae_jax.runs.workdir import Workdir
from sidae_jax.training.sample_pictures import SamplePictures
from sidae_jax.training.step import TrainState
from sidae_jax.training.warm_start import WarmStart


class SeedRun:
    """A run with one seed, alone or beside other seeds; a context manager.

    It skips metrics and checkpoints that are on the disk already, since a seed may repeat steps while another catches
    up.

    Attributes:
      workdir: its folder.
      config: its config, with this seed.
      name: " of seed 5", for messages, if the run has several seeds.
      on_log: called with each record after it is written; None for nothing.
      diverged: why this seed is not trained any further; None while its loss and state are finite.
    """

    def __init__(self, workdir: Workdir, normalization: Normalization, steps_per_epoch: int, *, among_others: bool):
        self.workdir = workdir
        self.config = workdir.config
        self.normalization = normalization
        self.steps_per_epoch = steps_per_epoch
        self.name = f" of seed {self.config.seed}" if among_others else ""
        self.on_log: Callable[[dict[str, Any]], None] | None = None
        self.diverged: str | None = None
        self._collapse = CollapseWatch()

    def __enter__(self) -> "SeedRun":
        self.checkpoints = checkpoint.Checkpoints(self.workdir.folder, read_only=False)
        self._metrics: IO[str] | None = None
        self._loggers: Loggers | None = None
        return self

    def __exit__(self, *_) -> None:
        self.close_loggers(finished=False)
        if self._metrics is not None:
            with contextlib.suppress(OSError):  # of a line for which the disk had no room, as was told
                self._metrics.close()
        self.checkpoints.__exit__()

    @property
    def saved_steps(self) -> list[int]:
        """The steps of its checkpoints, ascending."""
        return self.checkpoints.steps()

    @property
    def joined_late(self) -> bool:
        """Whether it was added after others had checkpoints."""
        return self.workdir.joined_late

    def open(
        self, initial: TrainState, warm_start: WarmStart | None = None, samples: SamplePictures | None = None
    ) -> None:
        """Finds the newest intact checkpoint, and opens metrics.jsonl and loggers to go on after it. Collective.

        initial: the state at step 0, of the shapes of all later ones.
        warm_start: the backbone that the state at step 0 has instead of its own.
        samples: makes the pictures that loggers get.

        Raises:
          UserError: there are checkpoints, and all are corrupt.
        """
        self._initial, self._warm_start = initial, warm_start
        self._newest = self.checkpoints.newest_intact(checkpoint.to_arrays(initial))
        self._on_disk = self._newest[0] if self._newest else 0
        self.workdir.status.opened(self._on_disk, self.config.epochs * self.steps_per_epoch)
        if jax.process_index() == 0:
            self._metrics = self.workdir.open_metrics(self._on_disk)
            self._samples = samples
            self._loggers = Loggers(names_in(self.config.loggers), self._logged_run())

        self._measured = Measured(self._measures_so_far(), stop_rule(self.config))
        if not processes.gather(self.workdir.metrics_certain)[0]:  # nor is it which checkpoint was the best so far
            for step in self.saved_steps:
                self.checkpoints.keep(step)
        self.workdir.status.ended_early = self.stopped
        self.checkpoints.best = self._measured.best_step(self.saved_steps)

    def _measures_so_far(self) -> list[dict[str, Any]]:
        """Returns the records with measures; none if they may be wrong, since they decide what is kept. Collective."""
        folder = self.workdir.folder
        if damage := processes.gather(self.workdir.metrics_damage)[0]:
            if self.config.stop_when:
                raise UserError(
                    f"config.stop_when={self.config.stop_when} needs the measures so far, but in {folder} {damage}: "
                    "put back a copy of metrics.jsonl, or go on with --config.stop_when=None"
                )
            return []
        records = measured.read(folder, self._on_disk) if jax.process_index() == 0 else None
        return processes.gather(records)[0]

    @property
    def stopped(self) -> str | None:
        """Why it has ended early, by config.stop_when; None otherwise."""
        return self._measured.ended

    @property
    def ended(self) -> bool:
        """Whether it is not trained any further."""
        return self.diverged is not None or self.stopped is not None

    def save_due(self, step: int) -> bool:
        """Returns whether the state after this step is to be saved: it is the best by kNN, or ends the seed early."""
        newest = self._measured.newest()
        measured_now = newest is not None and newest["step"] == step
        return measured_now and (self.stopped is not None or self._measured.best_step() == step)

    def _logged_run(self) -> LoggedRun:
        folder, several = self.workdir.folder, bool(self.name)
        return LoggedRun(
            folder=folder,
            top_folder=folder.parent if several else folder,
            name=f"{folder.parent.name}-{folder.name}" if several else folder.name,
            group=folder.parent.name,
            config=plain(self.config),
            step=self._on_disk,
        )

    def close_loggers(self, *, finished: bool) -> None:
        """Waits until the loggers have written everything, up to a minute, and prints what went wrong."""
        if self._loggers is not None:
            for news in self._loggers.close(finished=finished and not self.diverged):
                print(news, flush=True)

    def log_pictures(self, step: int, state: TrainState) -> str | None:
        """Hands pictures of the state to the loggers. Returns a warning as `log` does."""
        if self._loggers is None or (samples := self._samples) is None:
            return None
        return _lines(self._loggers.pictures(lambda: samples.make(step, state), step))

    def restore(self, step: int) -> TrainState | None:
        """Returns the state at `step`: a checkpoint, or the initial state. Collective.

        Returns None if the checkpoint is corrupt, after setting it aside.
        """
        if step == 0:
            warm_start = self._warm_start
            return processes.raise_in_all(lambda: warm_start.apply(self._initial)) if warm_start else self._initial
        problem = None
        if self._newest is not None and self._newest[0] == step:
            arrays = self._newest[1]
        else:
            try:
                arrays = self.checkpoints.restore(step, checkpoint.to_arrays(self._initial))
            except checkpoint.CorruptCheckpoint as error:
                problem = error.problem
        self._newest = None  # frees its memory
        if problems := [text for text in processes.gather(problem) if text]:
            self.checkpoints.set_aside(step, problems[0])
            return None
        return checkpoint.from_arrays(self._initial, arrays)

    def log(self, record: dict[str, float | int]) -> str | None:
        """Writes a line of metrics. Returns warnings for the user, each once: of a collapse, a divergence, a logger."""
        if self.ended:
            return None
        if not np.isfinite(record["loss"]):
            return self._diverge(f"the loss{self.name} is {record['loss']} at step {record['step']}")
        if record["step"] <= self._on_disk:
            return None
        warnings: list[str] = []
        if self._metrics is not None and self._loggers is not None:
            with naming(self.workdir.folder / "metrics.jsonl"):
                self._metrics.write(json.dumps(record) + "\n")
            self.workdir.status.step = int(record["step"])
            warnings += self._loggers.log(record)
        self._measured.add(record)
        self.workdir.status.ended_early = self.stopped
        if self.on_log is not None:
            self.on_log(dict(record))
        if self._collapse.add(record["feature_std"]):
            warnings.append(COLLAPSE.format(**record, seed=self.name, measured=self._last_measures()))
        return _lines(warnings)

    def _last_measures(self) -> str:
        last = self._measured.newest()
        if last is None:
            return ""
        knn = f"kNN {last['knn']:.1%}, " if "knn" in last else ""
        return f"; measured at step {last['step']}: {knn}RankMe {last['rankme']:.1f}"

    def save(self, step: int, state: TrainState, loss: float, *, scheduled: bool) -> str | None:
        """Saves a finite state and returns when it is on the disk, with a warning as `log` does.

        scheduled: whether the checkpoint is kept, as `Checkpoints.save` has it. That of an early end is, in any case.
        """
        if self.diverged or (self.stopped and not self.save_due(step)):
            return None
        if not np.isfinite(loss):
            return self._diverge(f"the loss{self.name} is {loss} at step {step}")
        scheduled |= self.stopped is not None
        if step in self.checkpoints.steps():
            if scheduled:
                self.checkpoints.keep(step)
            return None
        arrays = checkpoint.to_arrays(state)
        broken = next((name for name, value in arrays.items() if not np.isfinite(value).all()), None)
        if broken is not None:
            return self._diverge(f"{broken}{self.name} is not finite after step {step}")
        if self._metrics is not None:  # a continuation does not write the lines before a checkpoint again
            os.fsync(self._metrics.fileno())
        metadata = {
            "step": step,
            "epoch": step / self.steps_per_epoch,
            "loss": loss,
            "config": self.config.to_dict(),
            "normalization": dataclasses.asdict(self.normalization),
        }
        if self._metrics is not None and step >= self._on_disk:
            with contextlib.suppress(OSError):  # somebody has deleted it, which `verify` tells
                metadata[sums.METRICS] = sums.of_metrics((self.workdir.folder / "metrics.jsonl").read_bytes())
        self.checkpoints.save(step, arrays, metadata, scheduled=scheduled)
        if self._measured.best_step() == step:  # only now: the best one so far goes when this one is whole
            self.checkpoints.best = step
        self.workdir.status.saved_step = step
        return self.log_pictures(step, checkpoint.from_arrays(self._initial, arrays)) if scheduled else None

    def _diverge(self, what: str) -> str | None:
        if self.diverged is not None:
            return None
        self.diverged = (
            f"{what}; this state was not saved: try a smaller --config.lr (it is {self.config.lr}) in another --workdir"
        )
        self.workdir.status.diverged = self.diverged
        return f"warning: {what}; the other seeds go on" if self.name else None

    def summary(self) -> list[str]:
        """Returns the last lines that a run prints, from its files; the very last says that it is done. Collective."""
        step = self.saved_steps[-1]
        arrays = self.checkpoints.restore(step, checkpoint.to_arrays(self._initial))
        network = {name: value for name, value in arrays.items() if name.startswith(("params.", "batch_stats."))}
        loss = self.checkpoints.metadata(step)["loss"]
        best = self._measured.best(self.saved_steps)
        return [
            *([f"ended early: {self.stopped}"] if self.stopped else []),
            *([f"best kNN {best['knn']:.1%} at step {best['step']}: --step=best evaluates it"] if best else []),
            f"done: step {step}, loss {loss:.6f}, parameters sha256 {checkpoint.arrays_sha256(network)}",
        ]


def _lines(warnings: list[str]) -> str | None:
    return "\n".join(warnings) or None
