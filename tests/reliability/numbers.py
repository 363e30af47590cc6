"""Numbers that are not finite, features that collapse, and healthy runs, which raise no alarm."""

import json
import pathlib
import random
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from reliability import commands
from reliability.outcomes import Outcome
from sidae_jax.monitoring import CollapseWatch
from sidae_jax.runs.checkpoint import Checkpoints
from sidae_jax.runs.status import FILE

TITLE = "Numbers: not finite, collapsed, healthy"
TEXT = """
A method of the test's own is SimSiam in which NaN or an infinity appears at a random step, in the loss, in the
gradient, or in a parameter that no loss depends on. Promised: the run ends with exit code 1 at the next line or save,
names that step, and has saved nothing of it; what was saved before is intact. Features that collapse, since nothing
holds two views apart (Chen and He, 2021, 4.1) or by a learning rate 100 times too high, are told by a warning. Recorded
runs of every method on the digits, Fashion-MNIST and CIFAR-10 (`tests/reference/record_healthy_runs.py`) are read line
by line, and raise no alarm.
"""
IN_CI, IN_FULL = 29, 83

_HEALTHY = pathlib.Path(__file__).parents[1] / "reference" / "healthy_runs.json"
_LOG, _SAVE, _STEPS = 2, 4, 20
_PLACES, _VALUES = ("loss", "gradient", "parameter"), ("nan", "inf", "-inf")
_TINY = {"width": 2, "d_hid": 8, "batch_size": 16, "train_split": "train[:64]", "monitor_every": 0, "native": "off"}
_SHORT = {"width": 4, "d_hid": 64, "batch_size": 64, "train_split": "train[:640]", "epochs": 4, "schedule": "constant",
          "checkpoint_every": 4, "monitor_every": 0, "log_every": 2}  # fmt: skip
_COLLAPSES = {
    "two views brought together without stop-gradient": {"method": "no_stop", "lr": 0.3, **_SHORT},
    "a denoising autoencoder at 100 times its learning rate": {"method": "dae", "lr": 3.0, **_SHORT},
}


def _spoiled(i: int, seed: int) -> dict:
    choose = random.Random(f"numbers {seed} {i}")
    return {
        "method": "spoiled", "place": _PLACES[i % 3], "value": choose.choice(_VALUES), "at": choose.randint(1, _STEPS),
        "log_every": _LOG, "checkpoint_every": 1, "epochs": _STEPS // _SAVE, **_TINY,
    }  # fmt: skip


def _trained(folder: pathlib.Path, configs: list[dict], quick_to_compile: bool) -> list[tuple[dict, str, pathlib.Path]]:
    """Trains the configs in one process, and returns each with what was printed and its workdir."""
    folder.mkdir()
    env = commands.environment(folder)
    if not quick_to_compile:
        env["XLA_FLAGS"] = ""
    lines = "".join(json.dumps(config) + "\n" for config in configs)
    ended = commands.run("tests.reliability.spoil", folder, env=env, timeout=1800, text=lines)
    said = re.split(r"^end\n", ended.output, flags=re.MULTILINE)
    assert (ended.code, len(said)) == (0, len(configs) + 1), str(ended)
    return [(config, said[i], folder / str(i)) for i, config in enumerate(configs)]


def _stopped(config: dict, said: str, workdir: pathlib.Path) -> Outcome:
    """Whether a run with a number that is not finite ended as promised."""
    at, place = config["at"], config["place"]
    saved = [step for step in range(_SAVE, _STEPS + 1, _SAVE) if step < at]
    seen_in_a_save = -(-at // _SAVE) * _SAVE
    if place == "parameter" or (place == "gradient" and at == seen_in_a_save):
        named = f"is not finite after step {seen_in_a_save};"
    else:  # a gradient moves the parameters, and so the loss of the next step
        named = f" at step {-(-(at + (place == 'gradient')) // _LOG) * _LOG};"
    with Checkpoints(workdir, read_only=True) as checkpoints:
        found = checkpoints.steps()
        intact = all(checkpoints.check(step) for step in found)
    status = json.loads((workdir / FILE).read_text())["state"]
    told = "Diverged, exit code 1: " in said and named in said
    good = told and found == saved and intact and status == "diverged"
    detail = f"{config}\nsaved {found}, not {saved}; {status}; wanted: {named}\n{said}"
    return Outcome(f"{config['value']} in the {place}", "stopped, its step named, nothing of it saved", good, detail)


def _collapsed(what: str, config: dict, said: str, workdir: pathlib.Path) -> Outcome:
    """Whether a run has told, once, that its features have collapsed, and nothing if they have not.

    Without stop-gradient they always do; at too high a rate rounding decides.
    """
    warnings = re.findall(r"^warning: feature_std is ([\d.]+) at step (\d+) ", said, re.MULTILINE)
    below = "".join(
        "x" if float(std) < CollapseWatch.BELOW else "." for std in re.findall(r"feature_std ([\d.]+) ", said)
    )
    collapsed = "x" * CollapseWatch.LINES in below
    good = len(warnings) == collapsed and (collapsed or config["method"] != "no_stop")
    outcome = "told, once" if collapsed else "not collapsed, nothing told"
    return Outcome(f"collapse: {what}", outcome, good, f"{config}\n{workdir}\n{said}")


def _replayed(name: str, curves: dict[str, list]) -> Outcome:
    watch = CollapseWatch()
    alarms = [step for step, std in zip(curves["step"], curves["feature_std"], strict=True) if watch.add(std)]
    finite = np.isfinite(curves["loss"]).all()
    return Outcome(f"healthy: {name}", "no alarm", not alarms and bool(finite), f"alarms at {alarms}, loss {finite}")


def run(count: int, seed: int, folder: pathlib.Path) -> Iterator[Outcome]:
    """Replays all recorded runs, provokes the collapses, and makes the rest of the count of numbers not finite."""
    healthy = json.loads(_HEALTHY.read_text())
    spoiled = [_spoiled(i, seed) for i in range(count - len(healthy) - len(_COLLAPSES))]
    with ThreadPoolExecutor(2) as pool:
        collapses = pool.submit(_trained, folder / "collapses", list(_COLLAPSES.values()), False)
        stops = pool.submit(_trained, folder / "spoiled", spoiled, True)
        yield from (_replayed(name, curves) for name, curves in healthy.items())
        yield from (_stopped(*each) for each in stops.result())
        yield from (_collapsed(what, *each) for what, each in zip(_COLLAPSES, collapses.result(), strict=True))
