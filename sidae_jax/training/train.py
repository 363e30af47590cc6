"""Pre-training: restore, then batch, step, log, save."""

import contextlib
import pathlib
import sys
import time
from collections.abc import Callable

import jax
import numpy as np
from ml_collections import ConfigDict

from sidae_jax import data, mesh
from sidae_jax.config import single_seeds, view_settings
from sidae_jax.data import normalisation
from sidae_jax.errors import UserError
from sidae_jax.methods import METHODS
from sidae_jax.runs import workdir
from sidae_jax.training import feed, step
from sidae_jax.training.console import TrainingConsole
from sidae_jax.training.member import Member, restore
from sidae_jax.training.signals import StopSignals


def train(config: ConfigDict, workdir_path: str) -> None:
    """Run the validated config in a workdir, or continue the run that is there, to its end.

    With several seeds each has the workdir `seed<k>` in it, like that of a run with this seed alone.

    Raises UserError for what cannot work, Diverged for a loss that is not finite; SystemExit 143 or 130 after
    SIGTERM or SIGINT, the state saved.
    """
    with workdir.opened(workdir_path) as folder, contextlib.ExitStack() as stack:
        configs = {folder: config}
        if config.num_seeds > 1:
            if (folder / "config.json").exists():
                raise UserError(f"--workdir={workdir_path} holds a run with one seed: give another --workdir")
            configs = {stack.enter_context(workdir.opened(f"{folder}/seed{c.seed}")): c for c in single_seeds(config)}
        for member_folder, member_config in configs.items():
            workdir.check_same_run(member_folder, member_config)
        devices = mesh.data_mesh(config.batch_size)
        for member_folder in configs if jax.process_index() == 0 else ():
            stack.enter_context(workdir.locked(member_folder))
        images = data.load(config.dataset, config.train_split, config.data_dir)
        steps_per_epoch = _check_images(config, images, configs)

        by = normalisation.measure(images.images)
        members = [stack.enter_context(Member(c, f, by, steps_per_epoch)) for f, c in configs.items()]
        run = _Run(config, images, members, steps_per_epoch, devices)
        run.loop()
        if jax.process_index() == 0:
            for member, state in zip(members, run.states(), strict=True):
                name = f"seed {member.config.seed} " if len(members) > 1 else ""
                print(name + member.summary(run.done, state))


def _check_images(config: ConfigDict, images: data.Images, configs: dict[pathlib.Path, ConfigDict]) -> int:
    """Compare the images with those of the runs that are continued; returns the steps an epoch."""
    sha256 = images.sha256()
    for folder, member_config in configs.items():
        workdir.check_same_run(folder, member_config, sha256)
    if "classes" in config and images.labels.max() >= config.classes:
        raise UserError(
            f"{config.dataset} {config.train_split} has labels up to {images.labels.max()}, too many for "
            f"config.classes={config.classes}: give --config.classes={images.labels.max() + 1}"
        )
    if config.method == "supervised" and images.labels.min() < 0:
        raise UserError(
            f"config.train_split={config.train_split} of {config.dataset} has images without labels, which supervised "
            "needs: give another --config.train_split, such as train"
        )
    steps_per_epoch = len(images.images) // config.batch_size
    if steps_per_epoch == 0:
        raise UserError(
            f"config.batch_size={config.batch_size} is more than the {len(images.images)} images of "
            f"{config.dataset} {config.train_split}: give a smaller --config.batch_size or more of "
            "--config.train_split"
        )
    if jax.process_index() == 0:
        for folder, member_config in configs.items():
            workdir.write_config(folder, member_config, sha256)
    return steps_per_epoch


class _Run:
    """The state of a run on its devices, how many steps of it are done, and the loop that does the rest.

    With several seeds the state is that of all of them, along a first axis.
    """

    def __init__(
        self, config, images: data.Images, members: list[Member], steps_per_epoch: int, devices: jax.sharding.Mesh
    ):
        self.config = config
        self.images = images
        self.members = members
        self.steps_per_epoch = steps_per_epoch
        self.total = config.epochs * steps_per_epoch
        self.devices = devices
        self.done = 0
        optimizer, self.schedule = step.make_optimizer(
            config.lr, config.momentum, config.weight_decay, self.total, config.optimizer, config.schedule
        )
        states = []
        for member in members:
            graphdef, state = step.create_state(METHODS[config.method](member.config, mesh.AXIS), optimizer)
            states.append(state)
        if (found := restore(members, states)) is not None:
            self.done, states = found
        for member in members:
            member.open_metrics(self.done)
        self.state = mesh.put_tree(devices, step.stack(states) if len(states) > 1 else states[0])
        self.device_step = step.make_device_step(graphdef, optimizer, view_settings(config), members[0].normalisation)

    def states(self) -> list[step.TrainState]:
        """The state of each seed."""
        n = len(self.members)
        return [jax.tree.map(lambda leaf, i=i: leaf[i], self.state) for i in range(n)] if n > 1 else [self.state]

    def loop(self) -> None:
        """Do the steps that are left."""
        advance = self._advance()
        quiet = jax.process_index() != 0
        console = TrainingConsole(self.done, self.total, self.steps_per_epoch, quiet=quiet)
        save_every = self.config.checkpoint_every * self.steps_per_epoch
        most = step.steps_a_call(self.devices)
        with StopSignals() as signals, console:
            console.write(self._summary())
            clock, first = _Clock(self.done), True
            while self.done < self.total:
                # up to the next step that is logged, or that ends an epoch and may be saved
                every = (self.config.log_every, self.steps_per_epoch)
                n, metrics = advance(min(most, *(each - self.done % each for each in every)))
                self.done += n
                logs = self.done % self.config.log_every == 0 or self.done == self.total
                if logs:
                    self._log(metrics, clock, console)
                elif first:  # compilation would spoil the first figures of speed
                    jax.block_until_ready(metrics)
                    clock.restart(self.done)
                first = False
                scheduled = self.done % save_every == 0 or self.done == self.total
                stop = self._stop_wanted(signals, logs)
                if scheduled or stop:
                    with clock.paused():
                        losses = np.atleast_1d(metrics["loss"])
                        for member, state, loss in zip(self.members, self.states(), losses, strict=True):
                            member.save(self.done, state, float(loss), scheduled)
                if stop and self.done < self.total:
                    console.write(
                        f"stopped by {stop.name} at step {self.done}, which is saved: the same command continues"
                    )
                    sys.exit(128 + stop)

    def _advance(self) -> Callable[[int], tuple[int, step.Metrics]]:
        """A function that does up to n steps of this epoch: how many it did, and the metrics of the last."""
        config, seeds = self.config, [member.config.seed for member in self.members]
        orders = [feed.batch_order(len(self.images.images), config.batch_size, seed) for seed in seeds]
        key = mesh.replicated_keys(self.devices, seeds)
        fits = feed.fits_resident(self.images, self.devices)
        if config.input == "resident" or (config.input == "auto" and fits) or len(seeds) > 1:
            return self._advance_resident(orders, key)
        batches = feed.stream_batches(self.images, orders[0], config.batch_size, self.devices, self.done)
        train_step = step.map_stream_step(self.device_step, self.devices)

        def one_step(n):
            batch = next(batches)
            with jax.transfer_guard("disallow"):
                self.state, metrics = train_step(self.state, *batch, key)
            return 1, metrics

        return one_step

    def _advance_resident(self, orders, key):
        epochs = feed.resident_epochs(self.images, orders, self.steps_per_epoch, self.devices, self.done)
        train_step = step.map_resident_step(self.device_step, self.devices, several_seeds=len(orders) > 1)
        counts = [mesh.put(self.devices, np.int32(n)) for n in range(step.steps_a_call(self.devices) + 1)]
        epoch = None

        def steps(n):
            nonlocal epoch
            if epoch is None or self.done % self.steps_per_epoch == 0:
                epoch = next(epochs)
            with jax.transfer_guard("disallow"):
                self.state, metrics = train_step(self.state, *epoch, key, counts[n])
            return n, metrics

        return steps

    def _log(self, metrics, clock, console) -> None:
        values = {name: np.atleast_1d(value) for name, value in jax.device_get(metrics).items()}
        seconds_per_step = clock.seconds_per_step(self.done)
        common = {"step": self.done, "epoch": self.done / self.steps_per_epoch}
        speed = {
            "lr": float(self.schedule(self.done - 1)),
            "images_per_second": len(self.members) * self.config.batch_size / seconds_per_step,
            "eta_seconds": (self.total - self.done) * seconds_per_step,
        }
        console.show(self.done, {**common, **{name: float(value.mean()) for name, value in values.items()}, **speed})
        for i, member in enumerate(self.members):
            record = {**common, **{name: float(value[i]) for name, value in values.items()}, **speed}
            member.log(record, console.write, among_others=len(self.members) > 1)

    def _stop_wanted(self, signals: StopSignals, logged: bool):
        if jax.process_count() == 1:
            return signals.received
        return signals.received_by_any() if logged else None  # a collective: not at every step

    def _summary(self) -> str:
        config = self.config
        if self.done == self.total:
            return f"this run is finished: all {self.total} steps are done"
        seeds = f"{len(self.members)} seeds at once, figures are their means, " if len(self.members) > 1 else ""
        return (
            f"{f'continuing at step {self.done}' if self.done else 'starting'}: {config.method} on "
            f"{len(self.images.images)} images of {config.dataset} {config.train_split}, {self.total} steps of "
            f"{config.batch_size} images, {seeds}{self.devices.size} {jax.default_backend()} device(s); "
            "the first step waits for the compiler"
        )


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
