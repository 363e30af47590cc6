"""Curves from result files, as SVG: the same input gives the same bytes."""

import io
import itertools
import json
from collections.abc import Iterable, Sequence

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from sidae_jax.methods import METHOD_KEYS
from sidae_jax.report.results import Run, Summary, Task, by_run, title
from sidae_jax.report.tables import published, published_task

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
    for key in sorted({_key(s) for s in summaries}):
        task, pretrained_on = key
        curves = by_run(s for s in summaries if _key(s) == key)
        if max(len(curve) for curve in curves.values()) < 3:  # untrained and one checkpoint are no curve
            continue
        figure, axes = _figure()
        for (label, curve), (colour, marker) in zip(sorted(curves.items()), itertools.cycle(_STYLES), strict=False):
            _draw(axes, [(s.measured.epoch, s) for s in curve], label, colour, marker)
        scratch = {}
        for s in summaries if task[0] != "finetune" else ():
            protocol, on, fraction, settings = s.measured.task
            if (protocol, on, fraction) == ("finetune", *task[1:3]) and s.measured.step == 0:
                scratch.setdefault(settings, []).append(s.mean)
        for (settings, means), style in zip(sorted(scratch.items()), itertools.cycle(["--", ":", "-."]), strict=False):
            label = f"supervised, from scratch{f' ({settings})' if settings else ''}"
            axes.axhline(sum(means) / len(means), color="#555555", linestyle=style, label=label)
        axes.set_xlabel(f"epochs of pre-training on {pretrained_on} (0: untrained)")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        figures[_title(key)] = _finish(figure, axes)
    return figures


def accuracy_by_weight(summaries: Sequence[Summary]) -> dict[str, str]:
    """Title -> SVG: the last checkpoints of SidAE by w, where several were run; SimSiam stands at 0, DAE at 1.

    Beside them the published figures, which are all of d = 2048.
    """
    figures, ends, every_published = {}, {"simsiam": 0.0, "dae": 1.0}, published()
    for key, last in _last_by_task(summaries).items():
        for d in sorted({s.measured.d_hid for s in last if s.measured.method == "sidae"}):
            points = {
                ends.get(s.measured.method, s.measured.w): s
                for s in last
                if s.measured.method in ("sidae", *ends) and s.measured.d_hid == d
            }
            if len(points.keys() - set(ends.values())) < 2:
                continue
            figure, axes = _figure()
            _draw(axes, sorted(points.items()), f"ours, pre-trained on {key[-1]}", *_STYLES[0])
            theirs = {
                ends.get(row["method"], row["w"]): (row["accuracy"], row["standard_error"])
                for row in every_published
                if (published_task(row), row["pretrained_on"]) == key
            }
            if theirs and d == METHOD_KEYS["sidae"]["d_hid"]:
                points = [(w, *theirs[w]) for w in sorted(theirs)]
                label = "published: 200 epochs, all images, five seeds"
                axes.errorbar(*zip(*points, strict=True), color="#555555", linestyle="--", marker=".", label=label)
            axes.set_xlabel("w (0: SimSiam, 1: denoising autoencoder)")
            figures[f"The weight w: {_title(key)}, d = {d}"] = _finish(figure, axes)
    return figures


def accuracy_by_dimension(summaries: Sequence[Summary]) -> dict[str, str]:
    """Title -> SVG: the last checkpoints by d (d_hid), a curve a method and w that was run with several."""
    figures = {}
    for key, last in _last_by_task(summaries).items():
        curves = {}
        for s in last:
            method, w, d = s.measured.method, s.measured.w, s.measured.d_hid
            if d is not None:
                curves.setdefault(method if w is None else f"{method}, w = {w:g}", {})[d] = s
        curves = {label: points for label, points in curves.items() if len(points) > 1}
        if not curves:
            continue
        figure, axes = _figure()
        for (label, points), (colour, marker) in zip(sorted(curves.items()), itertools.cycle(_STYLES), strict=False):
            _draw(axes, sorted(points.items()), label, colour, marker)
        axes.set_xscale("log", base=2)
        ticks = sorted({d for points in curves.values() for d in points})
        axes.set_xticks(ticks, [str(d) for d in ticks])
        axes.set_xlabel(f"d, dimensions of the latent space; pre-trained on {key[-1]}")
        figures[f"The dimension d: {_title(key)}"] = _finish(figure, axes)
    return figures


def training_curves(runs: Iterable[Run]) -> dict[str, str]:
    """Title -> SVG: the loss, and the collapse measure feature_std, of every run by epoch, a line a seed."""
    logged = {}
    for run in runs:
        path = run.folder / "metrics.jsonl"
        if lines := path.read_text().splitlines(keepends=True) if path.exists() else []:
            # the last line of a run that goes on may not be whole yet
            logged.setdefault(run.name, []).append([json.loads(line) for line in lines if line.endswith("\n")])
    figures = {}
    shown = {
        "loss": "Loss during pre-training, a line a seed (methods have different losses)",
        "feature_std": "Collapse measure during pre-training, a line a seed (0: collapsed, 1: healthy)",
    }
    for key, heading in shown.items():
        if not logged:
            break
        figure, axes = _figure()
        for (name, seeds), (colour, _) in zip(sorted(logged.items()), itertools.cycle(_STYLES), strict=False):
            for i, records in enumerate(seeds):
                epochs, values = [r["epoch"] for r in records], [r[key] for r in records]
                axes.plot(epochs, values, color=colour, linewidth=1, label=None if i else name)
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        figures[heading] = _finish(figure, axes, ylabel=key)
    return figures


def _last_by_task(summaries: Iterable[Summary]) -> dict[tuple, list[Summary]]:
    """That of each run's last checkpoint, by what was measured."""
    last = {}
    for summary in sorted(summaries, key=lambda s: s.measured.step):  # a later checkpoint replaces an earlier one
        if summary.measured.step > 0:
            last.setdefault(_key(summary), {})[summary.measured.label] = summary
    return {key: list(last[key].values()) for key in sorted(last)}


def _key(summary: Summary) -> tuple[Task, str]:
    return summary.measured.task, summary.measured.pretrained_on


def _title(key: tuple[Task, str]) -> str:
    task, pretrained_on = key
    return title(task) + ("" if pretrained_on == task[1] else f", pre-trained on {pretrained_on}")


def _draw(axes, points, label, colour, marker) -> None:
    """(x, summary) points as a line with its band."""
    x = [x for x, _ in points]
    mean = [s.mean for _, s in points]
    error = [s.standard_error or 0.0 for _, s in points]
    axes.plot(x, mean, color=colour, marker=marker, markersize=5, label=label)
    low, high = ([m + sign * e for m, e in zip(mean, error, strict=True)] for sign in (-1, 1))
    axes.fill_between(x, low, high, color=colour, alpha=0.2, linewidth=0)


def _figure() -> tuple[Figure, Axes]:
    figure = Figure(figsize=(6.4, 3.8), layout="constrained")
    axes = figure.subplots()
    axes.grid(color="#dddddd")
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _finish(figure, axes, ylabel: str = "test accuracy, %") -> str:
    axes.set_ylabel(ylabel)
    entries = axes.get_legend_handles_labels()
    if len(entries[1]) > 4:  # beside the curves, which it would cover
        figure.set_size_inches(8.8, 3.8)
        figure.legend(*entries, loc="outside right upper", frameon=False, fontsize=8)
    else:
        axes.legend(frameon=False, fontsize=8)
    return to_svg(figure)


def to_svg(figure: Figure) -> str:
    """The same figure gives the same text; images in it are embedded."""
    file = io.StringIO()
    # text as text, and names inside the file that do not change from run to run
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "sidae_jax"}):
        figure.savefig(file, format="svg", metadata={"Date": None}, dpi=144)
    svg = file.getvalue()
    return svg[svg.index("<svg") :]
