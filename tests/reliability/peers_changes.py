"""A run that goes on with other numbers of processes or devices."""

import dataclasses
import json
import pathlib
import random
import shutil
import signal

import jax
import numpy as np

from reliability.outcomes import Outcome
from reliability.peers_launch import TOTAL, Processes
from sidae_jax import mesh
from sidae_jax.runs.checkpoint import Checkpoints, array_sha256


@dataclasses.dataclass(frozen=True)
class Start:
    """How many processes a start has, and devices each of them."""

    processes: int
    devices: int

    def __str__(self) -> str:
        return (
            f"{self.processes} process{'es' if self.processes > 1 else ''}, {self.processes * self.devices} device(s)"
        )


DEVICES = tuple(Start(1, devices) for devices in (8, 4, 2, 1, 8))
DEVICES_IN_CI = tuple(Start(1, devices) for devices in (8, 2))
PROCESSES = tuple(Start(processes, 1) for processes in (2, 1, 2))
_COMPARED, _RTOL, _ATOL = 3, 1e-3, 5e-4
LOSSES_DIFFER = (
    f"the losses of the next {_COMPARED} steps differ from those of the old number, from the same checkpoint, by "
    f"at most {_ATOL:g} + {_RTOL:g} of their size (sums in another order round otherwise, and that grows)"
)


def changed(home: pathlib.Path, starts: tuple[Start, ...], seed: str) -> list[Outcome]:
    """Returns an outcome for each change from one start to the next."""
    choices = random.Random(seed)
    home.mkdir()
    steps = [*sorted(choices.sample(range(4, TOTAL - 30), len(starts) - 1)), 0]  # the last does those compared
    outcomes: list[Outcome] = []
    saved = 0
    for i, start in enumerate(starts):
        what, unchanged = f"from {starts[i - 1]} to {start}", home / f"unchanged{i}"
        try:
            if i:
                shutil.copytree(home / "on", unchanged)
                with Processes(unchanged, starts[i - 1].processes, devices=starts[i - 1].devices) as processes:
                    processes.until(saved + _COMPARED)
            stopped_at = _part(home / "on", start, saved, steps[i])
            if i:
                outcomes.append(_compared(what, home / "on" / "run", saved, _losses(unchanged / "run")))
            saved = stopped_at
        except RuntimeError as error:
            outcomes.append(Outcome(what, "it did not go on", False, f"seed {seed}: {error}"))
            break
    if all(each.ok for each in outcomes):
        shutil.rmtree(home)
    return outcomes


def _part(home: pathlib.Path, start: Start, saved: int, until: int) -> int:
    """Starts it where it was stopped, and stops it after a step. Returns the step that it has then saved."""
    with Processes(home, start.processes, devices=start.devices) as processes:
        processes.until(max(until, saved + _COMPARED))
        processes.send(0, signal.SIGTERM)
        if any(each.code != 128 + signal.SIGTERM for each in processes.ended(range(start.processes))):
            raise RuntimeError(f"it was not stopped by SIGTERM:\n{processes.report()}")
        begins = f"continuing at step {saved}: " if saved else "starting: "
        if begins not in processes.text():
            raise RuntimeError(f"it did not say {begins}\n{processes.report()}")
        return max(int(path.name) for path in (home / "run" / "checkpoints").glob("[0-9]*"))


def _compared(what: str, run: pathlib.Path, step: int, wanted: dict[int, float]) -> Outcome:
    """Compares the checkpoint on devices of all numbers, and the losses after it."""
    found = _losses(run)
    steps = range(step + 1, step + 1 + _COMPARED)
    pairs = [(found[i], wanted[i]) for i in steps]
    if not np.allclose(*zip(*pairs, strict=True), rtol=_RTOL, atol=_ATOL):
        return Outcome(what, "other losses", False, f"after step {step}, found and wanted: {pairs}")
    with Checkpoints(run, read_only=True) as checkpoints:
        sums = checkpoints.metadata(step)["array_sha256"] if step in checkpoints.steps() else {}
        arrays = checkpoints._arrays(step, list(sums)) if sums else {}
    for number in (8, 4, 2, 1):
        devices = jax.sharding.Mesh(np.array(jax.devices()[:number]), (mesh.AXIS,))
        for name, value in mesh.put_tree(devices, arrays).items():
            if any(array_sha256(np.asarray(shard.data)) != sums[name] for shard in value.addressable_shards):
                return Outcome(what, "other arrays", False, f"{name} of step {step} on {number} devices")
    return Outcome(what, "the same arrays, the next losses within the tolerance", True)


def _losses(run: pathlib.Path) -> dict[int, float]:
    lines = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
    return {line["step"]: line["loss"] for line in lines}
