"""Pre-training: restore, then batch, step, log, save."""

import contextlib
import dataclasses
import json
import sys
import time
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils
from ml_collections import ConfigDict

from sidae_jax import checkpoint, data, feed, mesh, normalisation, step, workdir
from sidae_jax.config import view_settings
from sidae_jax.console import TrainingConsole
from sidae_jax.errors import Diverged, UserError
from sidae_jax.methods import METHODS
from sidae_jax.signals import StopSignals

_COLLAPSE = (
    "warning: feature_std is {feature_std:.3f} at step {step}, 0 being features that are the same for all images and 1 "
    "healthy ones: likely causes are a learning rate too high, a batch too small for BatchNorm, "
    "or a w that leaves the reconstruction alone"
)


def train(config: ConfigDict, workdir_path: str) -> None:
    """Run the validated config in a workdir, or continue the run that is there, to its end.

    Raises UserError for what cannot work, Diverged for a loss that is not finite; SystemExit 143 or 130 after
    SIGTERM or SIGINT, the state saved.
    """
    with workdir.opened(workdir_path) as folder:
        workdir.check_same_run(folder, config)
        devices = mesh.data_mesh(config.batch_size)
        images = data.load(config.dataset, config.train_split, config.data_dir)
        data_sha256 = images.sha256()
        workdir.check_same_run(folder, config, data_sha256)
        steps_per_epoch = len(images.images) // config.batch_size
        if steps_per_epoch == 0:
            raise UserError(
                f"config.batch_size={config.batch_size} is more than the {len(images.images)} images of "
                f"{config.dataset} {config.train_split}: give a smaller --config.batch_size or more of "
                "--config.train_split"
            )
        if jax.process_index() == 0:
            workdir.write_config(folder, config, data_sha256)

        run = _Run(config, images, steps_per_epoch, devices)
        with checkpoint.Checkpoints(folder, read_only=False) as checkpoints:
            run.restore_from(checkpoints)
            metrics_file = workdir.open_metrics(folder, run.done) if jax.process_index() == 0 else None
            loss = run.loop(checkpoints, metrics_file)
        if jax.process_index() == 0:
            print(f"done: step {run.done}, loss {loss:.6f}, parameters sha256 {run.parameters_sha256()}")


class _Run:
    """The state of a run on its devices, how many steps of it are done, and the loop that does the rest."""

    def __init__(self, config, images: data.Images, steps_per_epoch: int, devices: jax.sharding.Mesh):
        self.config = config
        self.steps_per_epoch = steps_per_epoch
        self.total = config.epochs * steps_per_epoch
        self.devices = devices
        self.images = images
        self.normalisation = normalisation.measure(images.images)
        self.done = 0
        self.loss = float("nan")
        self.collapse_told = False
        optimizer, self.schedule = step.make_optimizer(config.lr, config.momentum, config.weight_decay, self.total)
        method = METHODS[config.method](config, mesh.AXIS)
        graphdef, self.state = step.create_state(method, optimizer, devices)
        self.device_step = step.make_device_step(graphdef, optimizer, view_settings(config), self.normalisation)

    def restore_from(self, checkpoints: checkpoint.Checkpoints) -> None:
        """Go on from the newest checkpoint, if there is one."""
        found = checkpoints.restore_newest(checkpoint.to_arrays(self.state))
        if found is not None:
            arrays, metadata = found
            self.state = mesh.put_tree(self.devices, checkpoint.from_arrays(self.state, arrays))
            self.done, self.loss = metadata["step"], metadata["loss"]
        steps = multihost_utils.process_allgather(np.int32(self.done))
        if np.ptp(steps):
            raise UserError(
                f"the processes found checkpoints of different steps ({np.unique(steps).tolist()}) in "
                f"{checkpoints.directory}: give a --workdir that all machines share"
            )

    def loop(self, checkpoints: checkpoint.Checkpoints, metrics_file: Any) -> float:
        """Do the steps that are left; returns the last step's loss."""
        batches, train_step = self._input()
        key = mesh.replicated_key(self.devices, self.config.seed)
        quiet = jax.process_index() != 0
        console = TrainingConsole(self.done, self.total, self.steps_per_epoch, quiet=quiet)
        save_every = self.config.checkpoint_every * self.steps_per_epoch
        with StopSignals() as signals, console:
            console.write(self._summary())
            clock, first = _Clock(self.done), True
            while self.done < self.total:
                batch = next(batches)
                with jax.transfer_guard("disallow"):
                    self.state, metrics = train_step(self.state, *batch, key)
                self.done += 1
                logs = self.done % self.config.log_every == 0 or self.done == self.total
                if logs:
                    self._log(metrics, clock, console, metrics_file)
                elif first:  # compilation would spoil the first figures of speed
                    jax.block_until_ready(metrics)
                    clock.restart(self.done)
                first = False
                scheduled = self.done % save_every == 0 or self.done == self.total
                stop = self._stop_wanted(signals, logs)
                if scheduled or stop:
                    with clock.paused():
                        self._save(checkpoints, float(metrics["loss"]), scheduled)
                if stop and self.done < self.total:
                    console.write(
                        f"stopped by {stop.name} at step {self.done}, which is saved: the same command continues"
                    )
                    sys.exit(128 + stop)
        return self.loss

    def _input(self):
        """The batches from the next step on, and the step that takes them."""
        order = feed.batch_order(len(self.images.images), self.config.batch_size, self.config.seed)
        resident = self.config.input == "resident" or (
            self.config.input == "auto" and feed.fits_resident(self.images, self.devices)
        )
        if resident:
            batches = feed.resident_batches(self.images, order, self.steps_per_epoch, self.devices, self.done)
            return batches, step.map_resident_step(self.device_step, self.devices)
        batches = feed.stream_batches(self.images, order, self.config.batch_size, self.devices, self.done)
        return batches, step.map_stream_step(self.device_step, self.devices)

    def _log(self, metrics, clock, console, metrics_file) -> None:
        values = {name: float(value) for name, value in jax.device_get(metrics).items()}
        self._check_finite(values["loss"])
        seconds_per_step = clock.seconds_per_step(self.done)
        record = {
            "step": self.done,
            "epoch": self.done / self.steps_per_epoch,
            **values,
            "lr": float(self.schedule(self.done - 1)),
            "images_per_second": self.config.batch_size / seconds_per_step,
            "eta_seconds": (self.total - self.done) * seconds_per_step,
        }
        console.show(self.done, record)
        if metrics_file is not None:
            metrics_file.write(json.dumps(record) + "\n")
        if record["feature_std"] < 0.1 and not self.collapse_told:
            self.collapse_told = True
            console.write(_COLLAPSE.format(**record))

    def _check_finite(self, loss: float) -> None:
        if not np.isfinite(loss):
            raise Diverged(
                f"the loss is {loss} at step {self.done}; nothing of it was saved: try a smaller --config.lr "
                f"(it is {self.config.lr}) in another --workdir"
            )

    def _save(self, checkpoints, loss: float, scheduled: bool) -> None:
        self._check_finite(loss)
        arrays = checkpoint.to_arrays(self.state)
        broken = next((name for name, value in arrays.items() if not np.isfinite(value).all()), None)
        if broken is not None:
            raise Diverged(
                f"{broken} is not finite after step {self.done}; nothing of it was saved: try a smaller --config.lr "
                f"(it is {self.config.lr}) in another --workdir"
            )
        self.loss = loss
        metadata = {
            "step": self.done,
            "epoch": self.done / self.steps_per_epoch,
            "loss": loss,
            "config": self.config.to_dict(),
            "normalisation": dataclasses.asdict(self.normalisation),
        }
        checkpoints.save(self.done, arrays, metadata, scheduled=scheduled)

    def _stop_wanted(self, signals: StopSignals, logged: bool):
        if jax.process_count() == 1:
            return signals.received
        return signals.received_by_any() if logged else None  # a collective: not at every step

    def _summary(self) -> str:
        config = self.config
        if self.done == self.total:
            return f"this run is finished: all {self.total} steps are done"
        return (
            f"{f'continuing at step {self.done}' if self.done else 'starting'}: {config.method} on "
            f"{len(self.images.images)} images of {config.dataset} {config.train_split}, {self.total} steps of "
            f"{config.batch_size} images, {self.devices.size} {jax.default_backend()} device(s); "
            "the first step waits for the compiler"
        )

    def parameters_sha256(self) -> str:
        """Over parameters and batch statistics, in the order of their names."""
        parameters = checkpoint.to_arrays(self.state.params, "params.")
        return checkpoint.arrays_sha256(parameters | checkpoint.to_arrays(self.state.batch_stats, "batch_stats."))


class _Clock:
    """Seconds a step between two questions, without what lies inside `paused`."""

    def __init__(self, step: int):
        self.restart(step)

    def restart(self, step: int) -> None:
        self._step, self._since = step, time.perf_counter()

    def seconds_per_step(self, step: int) -> float:
        seconds = (time.perf_counter() - self._since) / (step - self._step)
        self.restart(step)
        return seconds

    @contextlib.contextmanager
    def paused(self):
        before = time.perf_counter()
        yield
        self._since += time.perf_counter() - before
