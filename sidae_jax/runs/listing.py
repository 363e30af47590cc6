"""The list of runs: a line for each."""

import pathlib
from typing import Any

import rich.console

from sidae_jax.runs import cells, index
from sidae_jax.runs.metrics_file import figure
from sidae_jax.runs.overview import Evaluation, Overview

_RIGHT = ("epochs", "loss", "kNN", "age")


def overviews(folder: pathlib.Path) -> tuple[list[Overview], list[str]]:
    """Returns the runs in a folder, and a sentence on each folder in it that cannot be read."""
    folders, problems = index.find(folder)
    return [Overview(*pair) for pair in zip(folders, index.names(folders, folder), strict=True)], problems


def show(console: rich.console.Console, runs: list[Overview], problems: list[str]) -> None:
    """Prints a table of runs, and a line for each folder that cannot be read."""
    best = [_best(run) for run in runs]  # which may note problems
    damaged = any(run.problems for run in runs)
    columns = ("run", "method", "data", "epochs", "loss", "kNN", "best probe", "state", "age")
    table = cells.table(*columns, *(["problem"] if damaged else []), right=_RIGHT)
    for run, found in zip(runs, best, strict=True):
        row = (
            run.name,
            run.config.get("method"),
            run.data,
            cells.progress(run.epoch, run.epochs),
            cells.figure(figure(run.newest, "loss")),
            cells.percent(run.knn),
            _best_text(run, found),
        )
        more = f" (and {len(run.problems) - 1} more)" if len(run.problems) > 1 else ""
        problem = [cells.cell(run.problems[0][:100] + more if run.problems else None, "red")] if damaged else []
        table.add_row(*map(cells.cell, row), cells.state(run.state), cells.cell(cells.duration(run.age)), *problem)
    console.print(table)
    for sentence in problems:
        console.print(cells.cell(sentence, "red"), soft_wrap=True)


def as_values(run: Overview) -> dict[str, Any]:
    """Returns a run as values for JSON; a key that is not known is null."""
    best = _best(run)
    evaluation, step, accuracy = best or (None, None, None)
    return {
        "name": run.name,
        "folder": str(run.folder.absolute()),
        "method": run.config.get("method"),
        "data": run.data,
        "seed": run.config.get("seed"),
        "epoch": run.epoch,
        "epochs": run.epochs,
        "step": run.newest.get("step"),
        "loss": figure(run.newest, "loss"),
        "knn": run.knn,
        "best": evaluation
        and {
            "accuracy": accuracy,
            "step": step,
            "protocol": evaluation.protocol,
            "on": evaluation.on,
            "label_fraction": evaluation.label_fraction,
        },
        "state": run.state,
        "message": run.message,
        "age_seconds": run.age,
        "eta_seconds": run.eta,
        "problems": run.problems,
    }


def _best(run: Overview) -> tuple[Evaluation, int, float] | None:
    """Returns the evaluation with the best accuracy of a trained backbone, its step and the accuracy."""
    found = [(each, *each.best) for each in run.evaluations() if each.best is not None]
    return max(found, key=lambda item: item[2], default=None)


def _best_text(run: Overview, best: tuple[Evaluation, int, float] | None) -> str | None:
    if best is None:
        return None
    evaluation, _, accuracy = best
    elsewhere = "" if evaluation.on in (run.data, run.config.get("dataset")) else f" on {evaluation.on}"
    return f"{cells.percent(accuracy)} {evaluation.protocol}, {100 * evaluation.label_fraction:g}%{elsewhere}"
