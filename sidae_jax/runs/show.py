"""All that the files of one run say."""

from typing import Any

import rich.console

from sidae_jax.config import pretraining
from sidae_jax.config_values import flat, plain
from sidae_jax.errors import UserError
from sidae_jax.monitoring import Measured
from sidae_jax.runs import cells, curves, listing
from sidae_jax.runs.measured import is_sound
from sidae_jax.runs.metrics_file import figure
from sidae_jax.runs.overview import Overview


def changed_settings(run: Overview) -> dict[str, Any]:
    """Returns the settings that differ from the defaults of the run's method and data set."""
    try:
        defaults = flat(plain(pretraining(run.config["method"], run.config["dataset"])))
    except (UserError, KeyError):  # of another version, or damaged: all are shown
        defaults = {}
    return {key: value for key, value in run.config.items() if key not in defaults or defaults[key] != value}


def show(console: rich.console.Console, run: Overview) -> None:
    """Prints the run's facts, settings, checkpoints, evaluations, last metrics and curves."""
    evaluations, checkpoints = run.evaluations(), [run.checkpoint(step) for step in run.steps]
    metrics, settings = run.metrics(), changed_settings(run)  # all that may note problems is read by now
    _print_facts(console, run)
    _print_pairs(console, "settings that differ from the defaults", settings)
    best_step = Measured([r for r in metrics if is_sound(r)]).best_step(run.steps)
    table = cells.table("step", "epoch", "loss", "kept", right=("step", "epoch", "loss"))
    for saved in filter(None, checkpoints):
        kept = "scheduled" if saved.scheduled else "best kNN" if saved.step == best_step else "temporary"
        _add(table, saved.step, f"{saved.epoch:g}", cells.figure(saved.loss), kept)
    cells.print_titled(console, "checkpoints", table)
    table = cells.table("protocol", "on", "labels", "seed", "best", "last", "checkpoints", "untrained")
    for one in evaluations:
        newest = max(one.trained.items(), default=None)
        best, last = (each and f"{cells.percent(each[1])} (step {each[0]})" for each in (one.best, newest))
        labels = f"{100 * one.label_fraction:g}%"
        untrained = cells.percent(one.accuracies.get(0))
        _add(table, cells.protocol(one.protocol), one.on, labels, one.seed, best, last, len(one.trained), untrained)
    cells.print_titled(console, "evaluations", table)
    _print_pairs(console, "last metrics", _figures(run))
    curves.show(console, [""], [metrics])


def as_values(run: Overview) -> dict[str, Any]:
    """Returns the same as values for JSON, without the curves."""
    evaluations = [one._asdict() for one in run.evaluations()]
    checkpoints = [one._asdict() for one in map(run.checkpoint, run.steps) if one is not None]
    return {
        **listing.as_values(run),
        "settings": changed_settings(run),
        "config": run.config,
        "versions": run.content.get("versions"),
        "git_revision": run.content.get("git_revision"),
        "checkpoints": checkpoints,
        "evaluations": evaluations,
        "metrics": _figures(run),
    }


def _figures(run: Overview) -> dict[str, float]:
    found = {key: figure(run.newest, key) for key in run.newest}
    return {key: value for key, value in found.items() if value is not None}


def _print_facts(console, run):
    since = cells.duration(run.age)
    state = run.state + (f": {run.message}" if run.message else "")
    if run.state == "running" and run.status and isinstance(run.status.get("pid"), int):
        state += f", process {run.status['pid']} on {run.status['host']}"
    versions = run.content.get("versions")
    facts = {
        "run": run.folder,
        "state": state,
        "data": run.data and f"{run.data}, sha256 {str(run.content.get('data_sha256'))[:12]}",
        "method": run.config.get("method"),
        "epochs": cells.progress(run.epoch, run.epochs),
        "time left": run.eta and cells.duration(run.eta),
        "last line": since and f"{since} ago",
        "versions": ", ".join(f"{k} {v}" for k, v in versions.items()) if isinstance(versions, dict) else None,
        "git revision": run.content.get("git_revision"),
    }
    for name, value in facts.items():
        if value is not None:
            console.print(cells.cell(f"{name:13}", "bold") + cells.cell(value), soft_wrap=True)
    for problem in run.problems:
        console.print(cells.cell("problem      ", "bold red") + cells.cell(problem, "red"), soft_wrap=True)


def _print_pairs(console, title, pairs):
    table = cells.table("key", "value")
    for key, value in pairs.items():
        _add(table, key, cells.figure(value, 6) if isinstance(value, float) else value)
    cells.print_titled(console, title, table)


def _add(table, *values):
    table.add_row(*map(cells.cell, values))
