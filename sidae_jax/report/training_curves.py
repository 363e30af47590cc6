"""Curves of pre-training, from the metrics.jsonl of runs."""

import json
import math
import pathlib
from collections.abc import Iterable, Sequence
from typing import Any

from matplotlib.ticker import MaxNLocator

from sidae_jax.report import left_out
from sidae_jax.report.drawing import finish, new_figure, plain
from sidae_jax.report.run_index import MOST_EPOCHS, Pretraining, Run
from sidae_jax.report.run_styles import RunStyles, curve_labels
from sidae_jax.runs import metrics_file
from sidae_jax.runs.values import describe, number

_DIVERGED = 1e30  # an axis can hardly show more
# The measures of the features are in some lines alone.
_TITLES = {
    "loss": "Loss during pre-training, one line per seed (methods have different losses)",
    "feature_std": "Collapse measure during pre-training, one line per seed (0: collapsed, 1: healthy)",
    "knn": "Weighted kNN accuracy on training images during pre-training, one line per seed",
    "rankme": "RankMe, the effective rank of the features, during pre-training, one line per seed",
    "alignment": "Alignment of two views during pre-training, one line per seed (0: views have the same features)",
    "uniformity": "Uniformity of the features during pre-training, one line per seed (0: all the same)",
}
_LABELS = {"feature_std": "collapse measure (feature_std)", "knn": "kNN accuracy, fraction", "rankme": "RankMe"}
_IN_EVERY_LINE = ("loss", "feature_std")


def training_curves(runs: Sequence[Run], run_styles: RunStyles) -> dict[str, str]:
    """Draws the loss and the measures of the features of every run by epoch; returns SVG by title.

    Each data set has figures of its own. A measure that no run on it has is left out.
    """
    datasets = sorted({run.pretraining.dataset for run in runs})
    figures: dict[str, str] = {}
    for dataset in datasets:
        of_dataset = _figures([run for run in runs if run.pretraining.dataset == dataset], run_styles)
        on = f", on {dataset}" if len(datasets) > 1 else ""
        figures |= {f"{title}{on}": svg for title, svg in of_dataset.items()}
    return figures


def _figures(runs: Iterable[Run], run_styles: RunStyles) -> dict[str, str]:
    logged: dict[Pretraining, list[list[dict[str, float]]]] = {}
    for run in runs:
        if records := _metrics(run.folder / "metrics.jsonl"):
            logged.setdefault(run.pretraining, []).append(records)
    style_of = run_styles.of_figure(logged)
    labels = {run: plain(run.label) for run in logged}  # without settings, but where two runs have one name
    if len(set(labels.values())) < len(labels):
        labels = curve_labels(logged)
    figures = {}
    drawn = {key for seeds in logged.values() for records in seeds for record in records for key in record}
    for key, title in _TITLES.items():
        if key not in drawn:
            continue
        figure, axes = new_figure()
        for pretraining in sorted(logged, key=lambda pretraining: labels[pretraining]):
            color, _, line = style_of[pretraining]
            for i, records in enumerate(logged[pretraining]):
                points = [(r["epoch"], r[key]) for r in records if key in r]
                if points:
                    label = None if i else labels[pretraining]
                    axes.plot(*zip(*points, strict=True), color=color, linestyle=line, linewidth=1, label=label)
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        figures[title] = finish(figure, axes, ylabel=_LABELS.get(key, key))
    return figures


def _metrics(path: pathlib.Path) -> list[dict[str, float]]:
    """Returns the epoch, loss and feature_std of each line, and the measures that it has.

    A line without the first three is skipped with a warning.
    """
    try:
        if (damage := metrics_file.problem(path)) is not None:
            left_out.warn("%s: %s", path.parent, damage)
        lines = path.read_text().splitlines(keepends=True) if path.exists() else []
        if (
            damage is None and not lines and any(path.parent.glob("eval/*.jsonl"))
        ):  # a run that has just begun has no results
            left_out.warn("%s is missing or empty; the training curves are without the run", path)
    except (OSError, ValueError) as error:
        left_out.warn("%s is corrupt and skipped: %s", path, describe(error))
        return []
    records = []
    for i, line in enumerate(lines, start=1):
        if not line.endswith("\n"):  # the last line of a run that is still training may be incomplete
            continue
        try:
            record = json.loads(line)
            present = {*record, *_IN_EVERY_LINE}
            epoch = number(record, "epoch", 0.0, MOST_EPOCHS)
            records.append({"epoch": epoch, **{key: _or_gap(record[key]) for key in _TITLES if key in present}})
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            left_out.warn("Line %d of %s is corrupt and skipped: %s", i, path, describe(error))
    return records


def _or_gap(value: Any) -> float:
    """Returns the value, or NaN, which leaves a gap in the curve, if the run has diverged.

    Raises:
      TypeError: if the value is not a number.
    """
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise TypeError(f"{value!r} is not a number")
    return float(value) if abs(value) <= _DIVERGED else math.nan
