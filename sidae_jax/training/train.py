"""Pre-training: restore, then batch, step, log, save."""

import contextlib
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from sidae_jax import files, mesh, peers
from sidae_jax.errors import Diverged
from sidae_jax.training.clock import Clock
from sidae_jax.training.console import TrainingConsole
from sidae_jax.training.run import Run
from sidae_jax.training.seed_run import SeedRun
from sidae_jax.training.segments import Segment, next_segment
from sidae_jax.training.several_seeds import stack, unstack
from sidae_jax.training.signals import Stopped, StopSignals
from sidae_jax.training.start import open_run


def train(
    config: ConfigDict,
    workdir: str,
    on_log: Callable[[dict[str, Any]], None] | None = None,
    signals: StopSignals | None = None,
) -> None:
    """Trains the validated config in a workdir to its end, continuing the run that is there.

    With several seeds each has a workdir `seed<k>` inside, like that of a run with this seed alone.

    Args:
      config: with a method and all its keys.
      workdir: the folder of the run, made if it is not there.
      on_log: called with each record of metrics.jsonl, after it is written.
      signals: what stops the run; by default a StopSignals of its own.

    Raises:
      UserError: something cannot work.
      DiskTrouble: the disk is full, or no longer writable.
      Diverged: the loss of a seed is not finite.
      Stopped: after SIGTERM or SIGINT, with the state saved; uncaught, it exits with code 143 or 130.
    """
    then = "give the same command again, which goes on from the last checkpoint"
    with contextlib.ExitStack() as exit_stack, files.disk_trouble_told(workdir, then):
        run = open_run(config, workdir, exit_stack)
        exit_stack.callback(peers.closing)  # before what `open_run` has opened is closed
        trained = False
        for seed in run.seeds:
            seed.on_log = on_log
        with signals or StopSignals() as signals:
            while segment := next_segment([seed for seed in run.seeds if not seed.ended], run.total_steps):
                trained |= _train_segment(run, segment, signals)
        peers.closing()
        for seed in run.seeds:
            seed.checkpoints.settle()  # a kill may have come between the last save and the deletions after it
            seed.close_loggers(finished=True)
        _print_summaries(run, trained)
        if diverged := [seed.diverged for seed in run.seeds if seed.diverged]:
            raise Diverged("; ".join(diverged))


def _train_segment(run: Run, segment: Segment, signals: StopSignals) -> bool:
    """Trains the seeds of a segment from its start to its end.

    Returns False if a checkpoint at the start turns out to be corrupt; it is set aside, and nothing is trained.
    """
    config, seeds, step = run.config, segment.seeds, segment.start
    states = [seed.restore(step) for seed in seeds]
    if any(state is None for state in states):
        return False
    pictured = [seed.log_pictures(0, own) for seed, own in zip(seeds, states, strict=True)] if step == 0 else []
    state = mesh.put_tree(run.mesh, stack(states))
    mapped_step, key = run.mapped_step(len(seeds)), run.key(seeds)
    with TrainingConsole(step, run.total_steps, run.steps_per_epoch, quiet=jax.process_index() != 0) as console:
        console.write(_announcement(run, segment))
        for warning in pictured:
            console.warn(warning)
        clock = Clock(step)
        for num_steps, batch in run.batches(segment):
            with jax.transfer_guard("disallow"):
                state, metrics = mapped_step(state, batch, key)
            step += num_steps

            measured: list[dict[str, float]] = [{} for _ in seeds]
            if run.monitor_due(step):
                jax.block_until_ready(metrics)  # the time of the steps is not that of the measures
                with clock.paused():
                    measured = [run.measure(own) for own in unstack(state, len(seeds))]
            log_due = step % config.log_every == 0 or step == segment.end or any(measured)
            if log_due:
                _log(run, seeds, metrics, measured, step, clock, console)
            elif step == segment.start + num_steps:  # excludes compilation from the first figures of speed
                jax.block_until_ready(metrics)
                clock.restart(step)

            stop = signals.wanted(metrics, waited=log_due, several_processes=jax.process_count() > 1)
            save_due = step % (config.checkpoint_every * run.steps_per_epoch) == 0 or step == run.total_steps
            if save_due or stop or step == segment.end or any(seed.save_due(step) for seed in seeds):
                with clock.paused(), console.told_if_long(f"saving step {step}"):
                    losses = np.atleast_1d(metrics["loss"])
                    for seed, own, loss in zip(seeds, unstack(state, len(seeds)), losses, strict=True):
                        console.warn(seed.save(step, own, float(loss), scheduled=save_due))
                    for seed in seeds:
                        seed.checkpoints.settle()
            if stop and step < run.total_steps:
                by = "on_log" if signals.asked else stop.name
                console.write(f"stopped by {by}; step {step} is saved, run the same command to continue")
                raise Stopped(stop)
            if any(seed.stopped for seed in seeds) or all(seed.ended for seed in seeds):
                break  # the others go on from what they have saved, as after a kill
    return True


def _log(
    run: Run,
    seeds: Sequence[SeedRun],
    metrics: dict[str, jax.Array],
    measured: Sequence[dict[str, float]],
    step: int,
    clock: Clock,
    console: TrainingConsole,
) -> None:
    """Writes a line of metrics per seed, and shows the means over the seeds that have not diverged.

    measured: the measures of each seed's features; empty where they are not due.
    """
    values = {name: np.atleast_1d(value) for name, value in jax.device_get(metrics).items()}
    seconds_per_step = clock.seconds_per_step(step)
    common = {"step": step, "epoch": step / run.steps_per_epoch}
    speed = {
        "lr": float(run.schedule(step - 1)),
        "images_per_second": len(seeds) * run.config.batch_size / seconds_per_step,
        "eta_seconds": (run.total_steps - step) * seconds_per_step,
    }
    for i, seed in enumerate(seeds):
        own = {name: float(value[i]) for name, value in values.items()}
        console.warn(seed.log({**common, **own, **measured[i], **speed}))
    if alive := [i for i, seed in enumerate(seeds) if not seed.diverged]:
        means = {name: float(np.mean([value[i] for i in alive])) for name, value in values.items()}
        means |= {name: float(np.mean([measured[i][name] for i in alive])) for name in measured[0]}
        console.show(step, {**common, **means, **speed})


def _announcement(run: Run, segment: Segment) -> str:
    config, seeds = run.config, segment.seeds
    who = f"{len(seeds)} seeds at once, values shown are means over them, " if len(seeds) > 1 else ""
    if len(seeds) < config.num_seeds:
        who += f"seed {', '.join(str(seed.config.seed) for seed in seeds)} up to step {segment.end}, "
    parts = f" in {config.accumulate} parts" if config.accumulate > 1 else ""
    onednn = ", convolutions by oneDNN" if config.native == "on" else ""
    return (
        f"{f'continuing at step {segment.start}' if segment.start else 'starting'}: {config.method} on "
        f"{len(run.images.images)} images of {config.dataset} {config.train_split}, {run.total_steps} steps of "
        f"{config.batch_size} images{parts}, {who}{run.mesh.size} {jax.default_backend()} device(s){onednn}; "
        "the first step waits for the compiler" + (f"\n{run.hint}" if run.hint else "")
    )


def _print_summaries(run: Run, trained: bool) -> None:
    """Prints the last lines, from the files of the seeds: of each, those on its best step, then that it is done.

    Collective.
    """
    if not trained and jax.process_index() == 0:
        early = any(seed.stopped for seed in run.seeds)
        print("this run is finished" + ("" if early else f": all {run.total_steps} steps are done"))
    whole = [seed for seed in run.seeds if not seed.diverged]
    summaries = [seed.summary() for seed in whole]
    if jax.process_index() == 0:
        names = [f"seed {seed.config.seed} " if len(run.seeds) > 1 else "" for seed in whole]
        for name, (*notes, _) in zip(names, summaries, strict=True):
            for note in notes:
                print(f"{name}{note}")
        for name, (*_, done) in zip(names, summaries, strict=True):
            print(f"{name}{done}", flush=True)
