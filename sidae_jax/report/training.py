"""Curves of the pre-training, from the metrics.jsonl of runs."""

import itertools
import json
import math
import pathlib
from collections.abc import Iterable
from typing import Any

from absl import logging
from matplotlib.ticker import MaxNLocator

from sidae_jax.report.figures import STYLES, finish, new_figure, plain
from sidae_jax.report.runs import MOST_EPOCHS, Run, number, short

_DIVERGED = 1e30  # no axis shows much more


def training_curves(runs: Iterable[Run]) -> dict[str, str]:
    """Title -> SVG: the loss, and the collapse measure feature_std, of every run by epoch, a line a seed."""
    logged = {}
    for run in runs:
        if records := _metrics(run.folder / "metrics.jsonl"):
            logged.setdefault(run.name, []).append(records)
    figures = {}
    shown = {
        "loss": "Loss during pre-training, a line a seed (methods have different losses)",
        "feature_std": "Collapse measure during pre-training, a line a seed (0: collapsed, 1: healthy)",
    }
    for key, heading in shown.items():
        if not logged:
            break
        figure, axes = new_figure()
        for (name, seeds), (color, _) in zip(sorted(logged.items()), itertools.cycle(STYLES), strict=False):
            for i, records in enumerate(seeds):
                epochs, values = [r["epoch"] for r in records], [r[key] for r in records]
                axes.plot(epochs, values, color=color, linewidth=1, label=None if i else plain(name))
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        figures[heading] = finish(figure, axes, ylabel=key)
    return figures


def _metrics(path: pathlib.Path) -> list[dict[str, float]]:
    """The epoch, loss and feature_std of each line; one that has them not is left out, with a warning."""
    try:
        lines = path.read_text().splitlines(keepends=True) if path.exists() else []
    except (OSError, ValueError) as error:
        logging.warning("%s is corrupt and left out: %s", path, short(error))
        return []
    records = []
    for i, line in enumerate(lines, start=1):
        if not line.endswith("\n"):  # the last one of a run that goes on may not be whole yet
            continue
        try:
            record = json.loads(line)
            epoch = number(record, "epoch", 0.0, MOST_EPOCHS)
            records.append({"epoch": epoch, **{key: _or_gap(record[key]) for key in ("loss", "feature_std")}})
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            logging.warning("Line %d of %s is corrupt and left out: %s", i, path, short(error))
    return records


def _or_gap(value: Any) -> float:
    """The value, or NaN, a gap, for that of a run that has diverged. Raises TypeError where it is no number."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise TypeError(f"{value!r} is no number")
    return float(value) if abs(value) <= _DIVERGED else math.nan
