"""Pre-training: restore, then batch, step, log, save."""

import contextlib
import sys
from collections.abc import Callable, Iterator, Sequence

import jax
import numpy as np
from jax.sharding import Mesh
from ml_collections import ConfigDict

from sidae_jax import data, mesh, processes
from sidae_jax.config import view_settings
from sidae_jax.data import normalization
from sidae_jax.errors import Diverged
from sidae_jax.methods import METHODS
from sidae_jax.training import feed, start, step
from sidae_jax.training.clock import Clock
from sidae_jax.training.console import TrainingConsole
from sidae_jax.training.seed_run import SeedRun
from sidae_jax.training.signals import StopSignals
from sidae_jax.training.stretch import Stretch, next_stretch

Metrics = dict[str, jax.Array]  # scalars, or one value a seed


def train(config: ConfigDict, workdir: str) -> None:
    """Run the validated config in a workdir, or continue the run that is there, to its end.

    With several seeds each has the workdir `seed<k>` in it, like that of a run with this seed alone.

    Raises UserError for what cannot work, Diverged where the loss of a seed is not finite; SystemExit 143 or 130 after
    SIGTERM or SIGINT, the state saved.
    """
    mesh.check_devices()
    with contextlib.ExitStack() as stack:
        workdirs, images, sha256, devices = processes.together(lambda: start.open_run(config, workdir, stack))
        run = _Run(config, images, devices)
        start.agree(config, workdirs, sha256, "resident" if run.resident else "stream")
        several = len(workdirs) > 1
        seeds = [
            stack.enter_context(SeedRun(each, run.normalization, run.steps_per_epoch, among_others=several))
            for each in workdirs
        ]
        initial = [jax.device_get(run.initial_state(seed.config)) for seed in seeds]
        for seed, state in zip(seeds, initial, strict=True):
            if jax.process_index() == 0:
                seed.workdir.write_config(sha256)
            seed.open(state)
        with StopSignals() as signals:
            trained = False
            while alive := [i for i, seed in enumerate(seeds) if not seed.diverged]:
                saved = [seeds[i].checkpoints.steps() for i in alive]
                added = [seeds[i].workdir.added for i in alive]
                if (stretch := next_stretch(saved, added, run.total)) is None:
                    break
                chosen = [alive[i] for i in stretch.seeds]
                states = [seeds[i].state_at(stretch.start, initial[i]) for i in chosen]
                if all(state is not None for state in states):
                    _train(run, [seeds[i] for i in chosen], states, stretch, signals)
                    trained = True
        if not trained and jax.process_index() == 0:
            print(f"this run is finished: all {run.total} steps are done")
        for seed, state in zip(seeds, initial, strict=True):
            if not seed.diverged:
                summary = seed.summary(run.total, state)
                if jax.process_index() == 0:
                    print(f"seed {seed.config.seed} {summary}" if several else summary, flush=True)
        if diverged := [seed.diverged for seed in seeds if seed.diverged]:
            raise Diverged("; ".join(diverged))


class _Run:
    """What all seeds of a run have in common."""

    def __init__(self, config: ConfigDict, images: data.Images, devices: Mesh):
        self.config = config
        self.images = images
        self.devices = devices
        self.steps_per_epoch = len(images.images) // config.batch_size
        self.total = config.epochs * self.steps_per_epoch
        self.normalization = normalization.measure(images.images)
        self.optimizer, self.schedule = step.make_optimizer(
            config.lr, config.momentum, config.weight_decay, self.total, config.optimizer, config.schedule
        )
        self.resident = feed.input_is_resident(config, images, devices)

    def initial_state(self, config: ConfigDict) -> step.TrainState:
        """The state from which the training of a seed starts."""
        self.graphdef, state = step.create_state(METHODS[config.method](config, mesh.AXIS), self.optimizer)
        return state

    def step_and_calls(
        self, seeds: Sequence[int], stretch: Stretch
    ) -> tuple[Callable[..., tuple[step.TrainState, Metrics]], Iterator[tuple[int, tuple[jax.Array, ...]]]]:
        """The mapped step, and for each call of it how many steps it does and what it takes beside the state."""
        config, first = self.config, stretch.start
        device_step = step.make_device_step(self.graphdef, self.optimizer, view_settings(config), self.normalization)
        orders = [feed.batch_order(len(self.images.images), config.batch_size, seed) for seed in seeds]
        key = mesh.replicated_keys(self.devices, seeds)
        if not self.resident:
            batches = feed.stream_batches(self.images, orders[0], config.batch_size, self.devices, first)
            calls = feed.stream_calls(batches, stretch.end - first, key)
            return step.map_stream_step(device_step, self.devices), calls
        epochs = feed.resident_epochs(self.images, orders, self.steps_per_epoch, self.devices, first)
        most = step.steps_per_call(self.devices)
        sizes = feed.call_sizes(first, stretch.end, self.steps_per_epoch, config.log_every, most)
        calls = feed.resident_calls(epochs, sizes, key, self.steps_per_epoch, self.devices, first)
        return step.map_resident_step(device_step, self.devices, several_seeds=len(seeds) > 1), calls


def _train(
    run: _Run, seeds: Sequence[SeedRun], states: Sequence[step.TrainState], stretch: Stretch, signals: StopSignals
) -> None:
    """Take these seeds from the step of their states to the end of the stretch: batch, step, log, save."""
    config, done = run.config, stretch.start
    state = mesh.put_tree(run.devices, step.stack(states) if len(seeds) > 1 else states[0])
    train_step, calls = run.step_and_calls([seed.config.seed for seed in seeds], stretch)
    with TrainingConsole(done, run.total, run.steps_per_epoch, quiet=jax.process_index() != 0) as console:
        console.write(_announcement(run, seeds, stretch))
        clock = Clock(done)
        for size, inputs in calls:
            with jax.transfer_guard("disallow"):
                state, metrics = train_step(state, *inputs)
            done += size
            logs = done % config.log_every == 0 or done == stretch.end
            if logs:
                _log(run, seeds, metrics, done, clock, console)
            elif done == stretch.start + size:  # compilation would spoil the first figures of speed
                jax.block_until_ready(metrics)
                clock.restart(done)
            if all(seed.diverged for seed in seeds):
                return
            scheduled = done % (config.checkpoint_every * run.steps_per_epoch) == 0 or done == run.total
            stop = signals.wanted(metrics, waited=logs, several_processes=jax.process_count() > 1)
            if scheduled or stop or done == stretch.end:
                with clock.paused():
                    losses = np.atleast_1d(metrics["loss"])
                    for seed, own, loss in zip(seeds, step.unstack(state, len(seeds)), losses, strict=True):
                        _tell(console, seed.save(done, own, float(loss), scheduled=scheduled))
            if stop and done < run.total:
                console.write(f"stopped by {stop.name} at step {done}, which is saved: the same command continues")
                sys.exit(128 + stop)


def _log(
    run: _Run,
    seeds: Sequence[SeedRun],
    metrics: Metrics,
    done: int,
    clock: Clock,
    console: TrainingConsole,
) -> None:
    values = {name: np.atleast_1d(value) for name, value in jax.device_get(metrics).items()}
    seconds_per_step = clock.seconds_per_step(done)
    common = {"step": done, "epoch": done / run.steps_per_epoch}
    speed = {
        "lr": float(run.schedule(done - 1)),
        "images_per_second": len(seeds) * run.config.batch_size / seconds_per_step,
        "eta_seconds": (run.total - done) * seconds_per_step,
    }
    for i, seed in enumerate(seeds):
        _tell(console, seed.log({**common, **{name: float(value[i]) for name, value in values.items()}, **speed}))
    alive = [i for i, seed in enumerate(seeds) if not seed.diverged]
    if alive:
        means = {name: float(np.mean([value[i] for i in alive])) for name, value in values.items()}
        console.show(done, {**common, **means, **speed})


def _tell(console: TrainingConsole, message: str | None) -> None:
    if message is not None:
        console.write(message)


def _announcement(run: _Run, seeds: Sequence[SeedRun], stretch: Stretch) -> str:
    config = run.config
    who = f"{len(seeds)} seeds at once, figures are their means, " if len(seeds) > 1 else ""
    if len(seeds) < config.num_seeds:
        who += f"seed {', '.join(str(seed.config.seed) for seed in seeds)} up to step {stretch.end}, "
    return (
        f"{f'continuing at step {stretch.start}' if stretch.start else 'starting'}: {config.method} on "
        f"{len(run.images.images)} images of {config.dataset} {config.train_split}, {run.total} steps of "
        f"{config.batch_size} images, {who}{run.devices.size} {jax.default_backend()} device(s); "
        "the first step waits for the compiler"
    )
