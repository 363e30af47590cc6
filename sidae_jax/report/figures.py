"""Curves from result files, as SVG: the same input gives the same bytes."""

import dataclasses
import io
import itertools
from collections.abc import Iterable, Sequence

import matplotlib
from absl import logging
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from sidae_jax.report.results import Summary, Task, by_run
from sidae_jax.report.runs import Pretraining
from sidae_jax.report.tables import is_published, of_the_backbone, published
from sidae_jax.settings import method_keys

# Okabe and Ito's colors, which color-blind readers tell apart; markers for print
STYLES = [
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
        # untrained and one checkpoint are no curve; not every protocol measures the untrained backbone
        if max(len({s.measured.step for s in curve} - {0}) for curve in curves.values()) < 2:
            continue
        figure, axes = new_figure()
        labels = _labels(curves)
        for run, style in zip(sorted(curves, key=labels.get), itertools.cycle(STYLES), strict=False):
            _draw(axes, [(s.measured.epoch, s) for s in curves[run]], labels[run], *style)
        scratch = {}
        for s in summaries if task.protocol != "finetune" else ():
            of_task = dataclasses.replace(s.measured.task, settings="")
            if s.measured.step == 0 and (of_task, s.measured.pretraining.dataset) == (
                dataclasses.replace(task, protocol="finetune", settings=""),
                pretrained_on,
            ):
                settings = ", ".join(filter(None, (s.measured.task.settings, of_the_backbone(s.measured.pretraining))))
                scratch.setdefault(settings, []).append(s.mean)
        for (settings, means), style in zip(sorted(scratch.items()), itertools.cycle(["--", ":", "-."]), strict=False):
            label = plain(f"supervised, from scratch{f' ({settings})' if settings else ''}")
            axes.axhline(sum(means) / len(means), color="#555555", linestyle=style, label=label)
        axes.set_xlabel(plain(f"epochs of pre-training on {pretrained_on} (0: untrained)"))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        figures[_title(key)] = finish(figure, axes)
    return figures


def accuracy_by_weight(summaries: Sequence[Summary]) -> dict[str, str]:
    """Title -> SVG: the last checkpoints of SidAE by w, where several were run; SimSiam stands at 0, DAE at 1.

    A curve for each group of runs that differ in w alone. Beside them the published figures, which are all of d = 2048.
    """
    figures, ends, every_published = {}, {"simsiam": 0.0, "dae": 1.0}, published()
    for key, last in _last_by_task(summaries).items():
        task, pretrained_on = key
        last = [s for s in last if s.measured.pretraining.method in ("sidae", *ends)]
        for d in sorted({s.measured.pretraining.d_hid for s in last}):
            curves = _curves(
                (s for s in last if s.measured.pretraining.d_hid == d),
                but_for={"method": "", "w": None},
                x=lambda run: ends.get(run.method, run.w),
                what="w",
            )
            curves = {group: p for group, p in curves.items() if len(p.keys() - set(ends.values())) > 1}
            if not curves:
                continue
            figure, axes = new_figure()
            labels = _labels(curves)
            for group, style in zip(sorted(curves, key=labels.get), itertools.cycle(STYLES), strict=False):
                _draw(axes, sorted(curves[group].items()), labels[group], *style)
            theirs = {
                ends.get(row["method"], row["w"]): (row["accuracy"], row["standard_error"])
                for row in every_published
                if is_published(row, task) and row["pretrained_on"] == pretrained_on
            }
            same_settings = any(not s.measured.pretraining.settings for p in curves.values() for s in p.values())
            if theirs and same_settings and d == method_keys("sidae")["d_hid"]:
                points = [(w, *theirs[w]) for w in sorted(theirs)]
                label = "published: 200 epochs, all images, five seeds"
                axes.errorbar(*zip(*points, strict=True), color="#555555", linestyle="--", marker=".", label=label)
            axes.set_xlabel("w (0: SimSiam, 1: denoising autoencoder)")
            figures[f"The weight w: {_title(key)}, d = {d}"] = finish(figure, axes)
    return figures


def accuracy_by_dimension(summaries: Sequence[Summary]) -> dict[str, str]:
    """Title -> SVG: the last checkpoints by d (d_hid), a curve for each group of runs that differ in d alone."""
    figures = {}
    for key, last in _last_by_task(summaries).items():
        with_d = [s for s in last if s.measured.pretraining.d_hid is not None]
        curves = _curves(with_d, but_for={"d_hid": None}, x=lambda run: run.d_hid, what="d")
        curves = {group: points for group, points in curves.items() if len(points) > 1}
        if not curves:
            continue
        figure, axes = new_figure()
        labels = _labels(curves)
        for group, style in zip(sorted(curves, key=labels.get), itertools.cycle(STYLES), strict=False):
            _draw(axes, sorted(curves[group].items()), labels[group], *style)
        axes.set_xscale("log", base=2)
        ticks = sorted({d for points in curves.values() for d in points})
        axes.set_xticks(ticks, [str(d) for d in ticks])
        axes.set_xlabel(plain(f"d, dimensions of the latent space; pre-trained on {key[-1]}"))
        figures[f"The dimension d: {_title(key)}"] = finish(figure, axes)
    return figures


def _last_by_task(summaries: Iterable[Summary]) -> dict[tuple, list[Summary]]:
    """That of each run's last checkpoint, by what was measured."""
    last = {}
    for summary in sorted(summaries, key=lambda s: s.measured.step):  # a later checkpoint replaces an earlier one
        if summary.measured.step > 0:
            last.setdefault(_key(summary), {})[summary.measured.pretraining] = summary
    return {key: list(last[key].values()) for key in sorted(last)}


def _curves(last: Iterable[Summary], but_for, x, what: str) -> dict[Pretraining, dict[float | int, Summary]]:
    """The runs that differ in x alone, as points by x. `but_for`: the fields that x stands for, with other values.

    Of several runs with the same x the first is taken, with a warning: they would be a zigzag.
    """
    curves = {}
    for s in sorted(last, key=lambda s: s.measured.pretraining.label):
        run = s.measured.pretraining
        so_far = "" if s.measured.epoch == run.epochs else f"epoch {s.measured.epoch:g} of {run.epochs}"
        settings = ", ".join(filter(None, (run.settings, so_far)))
        group = dataclasses.replace(run, label="", settings=settings, **but_for)
        points = curves.setdefault(group, {})
        if x(run) in points:
            logging.warning(
                "%s and %s have the same settings and %s = %g: the curve has the first of them alone",
                *(points[x(run)].measured.pretraining.label, run.label, what, x(run)),
            )
        points.setdefault(x(run), s)
    return curves


def _labels(curves: Iterable[Pretraining]) -> dict[Pretraining, str]:
    """The name of each curve: its run's, or its method; with its scale where curves differ in that alone."""
    curves = list(curves)

    def label(run, with_scale):
        weight = "" if run.w is None else f", w = {run.w:g}"
        parts = [run.label or (f"{run.method}{weight}" if run.method else f"ours, pre-trained on {run.dataset}")]
        parts += [run.settings] if run.settings else []
        parts += [f"{run.images}, {run.epochs} epochs, batches of {run.batch_size}"] if with_scale else []
        return "; ".join(parts)

    short = [label(run, False) for run in curves]
    return {run: plain(label(run, short.count(text) > 1)) for run, text in zip(curves, short, strict=True)}


def _key(summary: Summary) -> tuple[Task, str]:
    return summary.measured.task, summary.measured.pretraining.dataset


def _title(key: tuple[Task, str]) -> str:
    task, pretrained_on = key
    return task.title + ("" if pretrained_on == task.evaluated_on else f", pre-trained on {pretrained_on}")


def plain(text: str) -> str:
    """Text that matplotlib shows as it is: dollars begin no formula, and no legend drops what starts with _."""
    return (" " if text.startswith("_") else "") + text.replace("$", r"\$")


def _draw(axes, points, label, color, marker) -> None:
    """(x, summary) points as a line with its band."""
    x = [x for x, _ in points]
    mean = [s.mean for _, s in points]
    error = [s.standard_error or 0.0 for _, s in points]
    axes.plot(x, mean, color=color, marker=marker, markersize=5, label=label)
    low, high = ([m + sign * e for m, e in zip(mean, error, strict=True)] for sign in (-1, 1))
    axes.fill_between(x, low, high, color=color, alpha=0.2, linewidth=0)


def new_figure() -> tuple[Figure, Axes]:
    """Empty axes in the style of all curves."""
    figure = Figure(figsize=(6.4, 3.8), layout="constrained")
    axes = figure.subplots()
    axes.grid(color="#dddddd")
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def finish(figure, axes, ylabel: str = "test accuracy, %") -> str:
    """The figure with its legend, as SVG."""
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
