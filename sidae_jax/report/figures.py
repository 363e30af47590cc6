"""Curves from result files, as SVG: the same input gives the same bytes."""

import io
import json
import pathlib
from collections.abc import Iterable, Sequence

import matplotlib
from matplotlib.figure import Figure

from sidae_jax.evaluation.settings import task_title
from sidae_jax.report.results import Summary, by_run

# Okabe and Ito's colours, which colour-blind readers tell apart; markers for print
_STYLES = [
    *(("#0072B2", "o"), ("#D55E00", "s"), ("#009E73", "^"), ("#CC79A7", "D")),
    *(("#E69F00", "v"), ("#56B4E9", "P"), ("#000000", "X")),
]


def accuracy_by_epoch(summaries: Sequence[Summary]) -> dict[str, str]:
    """Title -> SVG: a curve a run with the standard error as a band, where a run has two checkpoints or more.

    The dashed line is the untrained backbone fine-tuned on the same labels, that is trained from scratch.
    """
    figures = {}
    for key in sorted({_task(s) for s in summaries}):
        protocol, on, fraction, pretrained_on = key
        curves = by_run(s for s in summaries if _task(s) == key)
        if max(len(curve) for curve in curves.values()) < 3:  # untrained and one checkpoint are no curve
            continue
        figure, axes = _figure()
        for (label, curve), (colour, marker) in zip(sorted(curves.items()), _cycle(), strict=False):
            _draw(axes, [(s.measured.epoch, s) for s in curve], label, colour, marker)
        scratch = [
            s.mean
            for s in summaries
            if s.measured.step == 0 and _task(s)[:3] == ("finetune", on, fraction) and protocol != "finetune"
        ]
        if scratch:
            axes.axhline(sum(scratch) / len(scratch), color="#555555", linestyle="--", label="supervised, from scratch")
        axes.set_xlabel(f"epochs of pre-training on {pretrained_on} (0: untrained)")
        figures[task_title(protocol, on, fraction)] = _finish(figure, axes)
    return figures


def accuracy_by_weight(summaries: Sequence[Summary]) -> dict[str, str]:
    """Title -> SVG: the last checkpoints of SidAE by w, where several were run; SimSiam stands at 0, DAE at 1."""
    figures = {}
    for key in sorted({_task(s) for s in summaries}):
        points = {}
        for summary in sorted(summaries, key=lambda s: s.measured.step):  # a later checkpoint replaces an earlier one
            measured = summary.measured
            w = {"sidae": measured.w, "simsiam": 0.0, "dae": 1.0}.get(measured.method)
            if _task(summary) == key and w is not None and measured.step > 0:
                points[w] = summary
        if len({w for w, s in points.items() if s.measured.method == "sidae"}) < 2:
            continue
        protocol, on, fraction, pretrained_on = key
        figure, axes = _figure()
        _draw(axes, sorted(points.items()), f"pre-trained on {pretrained_on}", *_STYLES[0])
        axes.set_xlabel("w (0: SimSiam, 1: denoising autoencoder)")
        figures[f"The weight w: {task_title(protocol, on, fraction)}"] = _finish(figure, axes)
    return figures


def training_curves(folder: pathlib.Path) -> dict[str, str]:
    """Title -> SVG: the loss, and the collapse measure feature_std, of every run by epoch, seeds together."""
    runs = {}
    for path in sorted(folder.rglob("metrics.jsonl")):
        name = path.parent.relative_to(folder).as_posix().rpartition("/seed")[0] or path.parent.name
        if lines := path.read_text().splitlines(keepends=True):
            # the last line of a run that goes on may not be whole yet
            runs.setdefault(name, []).append([json.loads(line) for line in lines if line.endswith("\n")])
    figures = {}
    for key, title in (("loss", "Loss"), ("feature_std", "Collapse measure: 0 collapsed, 1 healthy")):
        if not runs:
            break
        figure, axes = _figure()
        for (name, seeds), (colour, _) in zip(sorted(runs.items()), _cycle(), strict=False):
            for i, records in enumerate(seeds):
                epochs, values = [r["epoch"] for r in records], [r[key] for r in records]
                axes.plot(epochs, values, color=colour, linewidth=1, label=None if i else name)
        axes.set_xlabel("epoch")
        figures[f"{title} during pre-training"] = _finish(figure, axes, ylabel=key)
    return figures


def _task(summary: Summary) -> tuple[str, str, float, str]:
    measured = summary.measured
    return measured.protocol, measured.evaluated_on, measured.label_fraction, measured.pretrained_on


def _cycle() -> Iterable[tuple[str, str]]:
    while True:
        yield from _STYLES


def _draw(axes, points, label, colour, marker) -> None:
    """(x, summary) points as a line with its band."""
    x = [x for x, _ in points]
    mean = [s.mean for _, s in points]
    error = [s.standard_error or 0.0 for _, s in points]
    axes.plot(x, mean, color=colour, marker=marker, markersize=5, label=label)
    low, high = ([m + sign * e for m, e in zip(mean, error, strict=True)] for sign in (-1, 1))
    axes.fill_between(x, low, high, color=colour, alpha=0.2, linewidth=0)


def _figure():
    figure = Figure(figsize=(6.4, 3.8), layout="constrained")
    axes = figure.subplots()
    axes.grid(color="#dddddd")
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _finish(figure, axes, ylabel: str = "test accuracy, %") -> str:
    axes.set_ylabel(ylabel)
    axes.legend(frameon=False, fontsize=8)
    file = io.StringIO()
    # text as text, and names inside the file that do not change from run to run
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "sidae_jax"}):
        figure.savefig(file, format="svg", metadata={"Date": None})
    svg = file.getvalue()
    return svg[svg.index("<svg") :]
