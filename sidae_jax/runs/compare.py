"""Two or more runs beside each other."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

import rich.console

from sidae_jax.config_values import flat
from sidae_jax.runs import cells, curves
from sidae_jax.runs.metrics_file import figure
from sidae_jax.runs.overview import Evaluation, Overview


def show(console: rich.console.Console, runs: Sequence[Overview]) -> None:
    """Prints what differs between the runs, their last metrics, their evaluations and their curves."""
    names, evaluations, metrics = _names(runs), [run.evaluations() for run in runs], []
    for run in runs:
        metrics.append(run.metrics())
        for problem in run.problems:
            console.print(cells.cell(f"{run.name}: {problem}", "red"), soft_wrap=True)
    facts = [_facts(run) for run in runs]
    keys = dict.fromkeys(key for each in facts for key in each)
    differing = {key: [each.get(key) for each in facts] for key in keys}
    differing = {key: values for key, values in differing.items() if any(value != values[0] for value in values)}
    _print(console, "what differs", names, differing)
    if not differing:
        console.print("settings, images and versions are the same")
    found = [{key: figure(run.newest, key) for key in run.newest} for run in runs]
    _print(console, "last metrics", names, _rows(found, lambda value: cells.figure(value, 6)))
    _print(console, "best accuracy", names, _rows([_accuracies(each) for each in evaluations], str))
    curves.show(console, names, metrics)


def _names(runs: Sequence[Overview]) -> list[str]:
    """Returns the runs' paths without what all of them begin with."""
    folders = [os.path.abspath(run.folder) for run in runs]
    common = os.path.commonpath(folders)
    short = [os.path.relpath(folder, common) for folder in folders]
    return [name if name != "." else run.name for run, name in zip(runs, short, strict=True)]


def _facts(run: Overview) -> dict[str, Any]:
    """Returns all that the result of a run depends on."""
    versions = run.content.get("versions")
    versions = {f"version of {key}": value for key, value in versions.items()} if isinstance(versions, dict) else {}
    init_from = run.content.get("init_from")
    started = flat({"started from": init_from}) if isinstance(init_from, dict) else {}
    sha256 = run.content.get("data_sha256")
    return {
        "state": run.state,
        **run.config,
        "sha256 of the images": sha256 and str(sha256)[:12],
        **started,
        **versions,
        "git revision": run.content.get("git_revision"),
    }


def _accuracies(evaluations: Sequence[Evaluation]) -> dict[str, str]:
    texts = {}
    for one in evaluations:
        if one.best is not None:
            step, accuracy = one.best
            title = f"{cells.protocol(one.protocol)} on {one.on}, {100 * one.label_fraction:g}%, seed {one.seed}"
            texts[title if title not in texts else one.file] = f"{cells.percent(accuracy)} (step {step})"
    return texts


def _rows(of_runs: Sequence[Mapping[str, Any]], as_text: Any) -> dict[str, list[str | None]]:
    keys = dict.fromkeys(key for each in of_runs for key in each)
    return {key: [None if each.get(key) is None else as_text(each[key]) for each in of_runs] for key in keys}


def _print(console: rich.console.Console, title: str, names: Sequence[str], rows: Mapping[str, Sequence[Any]]) -> None:
    table = cells.table("", *names)
    for key, values in rows.items():
        table.add_row(*map(cells.cell, (key, *values)))
    cells.print_titled(console, title, table)
