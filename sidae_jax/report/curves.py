"""Curves of accuracy as SVG: by pre-training epoch, by the weight w and by the dimension d."""

import dataclasses
import itertools
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from sidae_jax.report import left_out
from sidae_jax.report.drawing import Style, finish, new_figure, plain, styles
from sidae_jax.report.published import has_published_d, published_accuracies
from sidae_jax.report.run_index import Pretraining
from sidae_jax.report.run_styles import RunStyles, curve_labels
from sidae_jax.report.summaries import Summary, Task, by_pretraining
from sidae_jax.report.tables import backbone_settings

_ENDS = {"simsiam": 0.0, "dae": 1.0}  # the weights at which SidAE becomes these methods


class Comparison(NamedTuple):
    """The task and the pre-training data set that the curves of one figure share."""

    task: Task
    pretrained_on: str

    @classmethod
    def of(cls, summary: Summary) -> "Comparison":
        """Returns the comparison that the summary belongs to."""
        return cls(summary.task, summary.pretraining.dataset)

    @property
    def title(self) -> str:
        """The title of the task, with the data set of the pre-training if it is another one."""
        if self.pretrained_on == self.task.evaluated_on:
            return self.task.title
        return f"{self.task.title}, pre-trained on {self.pretrained_on}"


Point = tuple[int | float, Summary]  # of a curve: x, and what was measured there


def accuracy_by_epoch(summaries: Sequence[Summary], run_styles: RunStyles) -> dict[str, str]:
    """Draws a figure for each comparison that has a run with at least two checkpoints; returns SVG by title.

    Each run is a curve, with a band of one standard error. The dashed line is the untrained
    backbone fine-tuned on the same labels, which is supervised training from scratch. If it is so far from the curves
    that they would lose their shape, the legend has its value in place of the line.
    """
    figures = {}
    for comparison in sorted({Comparison.of(s) for s in summaries}):
        runs = by_pretraining(s for s in summaries if Comparison.of(s) == comparison)
        # Step 0 does not count: the untrained backbone and one checkpoint are no curve, and not every protocol measures
        # the untrained backbone.
        if max(len({s.step for s in of_run} - {0}) for of_run in runs.values()) < 2:
            continue
        figure, axes = new_figure()
        labels, style_of = curve_labels(runs), run_styles.of_figure(runs)
        for run in sorted(runs, key=lambda run: labels[run]):
            _draw(axes, [(s.epoch, s) for s in runs[run]], labels[run], style_of[run])
        _draw_from_scratch(axes, _from_scratch(summaries, comparison))
        axes.set_xlabel(plain(f"epochs of pre-training on {comparison.pretrained_on} (0: untrained)"))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        figures[comparison.title] = finish(figure, axes)
    return figures


def _from_scratch(summaries: Sequence[Summary], comparison: Comparison) -> dict[str, list[float]]:
    """Returns the accuracies of supervised training on the labels of the comparison, by the settings."""
    of_scratch = dataclasses.replace(comparison.task, protocol="finetune", settings=())
    found: dict[str, list[float]] = {}
    for s in summaries:
        task, run = s.task, s.pretraining
        same_task = dataclasses.replace(task, settings=()) == of_scratch
        if s.step == 0 and same_task and run.dataset == comparison.pretrained_on:
            settings = ", ".join([*task.settings, *backbone_settings(run)])
            found.setdefault(settings, []).append(s.mean)
    return found


def _draw_from_scratch(axes: Axes, found: Mapping[str, Sequence[float]]) -> None:
    """Draws the lines that are not too far from the curves, and names all in the legend."""
    low, high = axes.get_ylim()
    for (settings, means), line in zip(sorted(found.items()), itertools.cycle(["--", ":", "-."]), strict=False):
        label, mean = f"supervised, from scratch{f' ({settings})' if settings else ''}", statistics.fmean(means)
        style: dict[str, Any] = {"color": "#555555", "linestyle": line}
        if low - (high - low) / 2 <= mean <= high + (high - low) / 2:
            axes.axhline(mean, **style, label=plain(label))
        else:
            axes.plot([], [], **style, label=plain(f"{label}:\n{mean:.1f}, {'below' if mean < low else 'above'} this"))


def accuracy_by_weight(summaries: Sequence[Summary]) -> dict[str, str]:
    """Draws a figure for each comparison and dimension d with SidAE at several weights w; returns SVG by title.

    The accuracies are those of the last checkpoints. SimSiam stands at w = 0, DAE at w = 1. Runs that differ in w alone
    form a curve. The published accuracies, all with d = 2048 and width 64, are drawn beside those of this proportion.
    """
    figures, published = {}, published_accuracies()
    for comparison, last in _last_by_comparison(summaries).items():
        last = [s for s in last if s.pretraining.method in ("sidae", *_ENDS)]
        for d in sorted({s.pretraining.d_hid for s in last if s.pretraining.d_hid is not None}):
            curves = _curves(
                (s for s in last if s.pretraining.d_hid == d),
                same={"method": "", "w": None},
                x=lambda run: _ENDS.get(run.method, run.w),
                name="w",
            )
            ends = set(_ENDS.values())
            curves = {run: points for run, points in curves.items() if len({x for x, _ in points} - ends) > 1}
            if not curves:
                continue
            figure, axes = new_figure()
            _draw_all(axes, curves)
            theirs = {
                w: (row.accuracy, row.standard_error)
                for row in published
                if row.is_of(comparison.task) and row.pretrained_on == comparison.pretrained_on
                if (w := _ENDS.get(row.method, row.w)) is not None  # not another method
            }
            runs = [s.pretraining for _, s in itertools.chain(*curves.values())]
            if theirs and any(not run.settings and has_published_d(run) for run in runs):
                points = [(w, *theirs[w]) for w in sorted(theirs)]
                label = "published: 200 epochs, all images, width 64, five seeds"
                weights, means, errors = zip(*points, strict=True)
                axes.errorbar(weights, means, errors, color="#555555", linestyle="--", marker=".", label=label)
            axes.set_xlabel("w (0: SimSiam, 1: denoising autoencoder)")
            figures[f"The weight w: {comparison.title}, d = {d}"] = finish(figure, axes)
    return figures


def accuracy_by_dimension(summaries: Sequence[Summary]) -> dict[str, str]:
    """Draws a figure for each comparison that has runs differing in d (d_hid) alone; returns SVG by title.

    The accuracies are those of the last checkpoints. Runs that differ in d alone form a curve.
    """
    figures = {}
    for comparison, last in _last_by_comparison(summaries).items():
        with_d = [s for s in last if s.pretraining.d_hid is not None]
        curves = _curves(with_d, same={"d_hid": None}, x=lambda run: run.d_hid, name="d")
        curves = {run: points for run, points in curves.items() if len(points) > 1}
        if not curves:
            continue
        figure, axes = new_figure()
        _draw_all(axes, curves)
        axes.set_xscale("log", base=2)
        ticks = sorted({d for d, _ in itertools.chain(*curves.values())})
        axes.set_xticks(ticks, [str(d) for d in ticks])
        axes.set_xlabel(plain(f"d, dimensions of the latent space; pre-trained on {comparison.pretrained_on}"))
        figures[f"The dimension d: {comparison.title}"] = finish(figure, axes)
    return figures


def _last_by_comparison(summaries: Iterable[Summary]) -> dict[Comparison, list[Summary]]:
    """Returns the summaries of each run's last checkpoint."""
    last: dict[Comparison, dict[Pretraining, Summary]] = {}
    for summary in sorted(summaries, key=lambda s: s.step):  # a later checkpoint replaces an earlier one
        if summary.step > 0:
            last.setdefault(Comparison.of(summary), {})[summary.pretraining] = summary
    return {comparison: list(last[comparison].values()) for comparison in sorted(last)}


def _curves(
    last: Iterable[Summary], same: Mapping[str, Any], x: Callable[[Pretraining], float | None], name: str
) -> dict[Pretraining, list[Point]]:
    """Groups the runs that differ in x alone into curves, sorted by x.

    If several runs of a curve have the same x, the first one is taken, with a warning: the others would make the curve
    a zigzag.

    Args:
      last: the summary of each run's last checkpoint.
      same: the fields of Pretraining that x stands for, with the values that make the runs of a curve equal.
      x: the position of a run; None: it is left out.
      name: what the warning calls x.
    """
    curves: dict[Pretraining, dict[float, Summary]] = {}
    doubled = []
    for s in sorted(last, key=lambda s: s.pretraining.label):
        run = s.pretraining
        so_far = () if s.epoch == run.epochs else (f"epoch {s.epoch:g} of {run.epochs}",)
        points = curves.setdefault(dataclasses.replace(run, label="", settings=run.settings + so_far, **same), {})
        if (at := x(run)) is None:
            continue
        if at in points:
            doubled.append(f"{points[at].pretraining.label} and {run.label} have the same settings and {name} = {at:g}")
        points.setdefault(at, s)
    if doubled:
        more = f" (and so for {len(doubled) - 1} more)" if len(doubled) > 1 else ""
        left_out.warn("%s: the curve shows only the first one%s", doubled[0], more)
    return {run: sorted(points.items()) for run, points in curves.items()}


def _draw_all(axes: Axes, curves: Mapping[Pretraining, Sequence[Point]]) -> None:
    labels = curve_labels(curves)
    style_of = styles(labels.values())
    for run in sorted(curves, key=lambda run: labels[run]):
        _draw(axes, curves[run], labels[run], style_of[labels[run]])


def _draw(axes: Axes, points: Sequence[Point], label: str, style: Style) -> None:
    """Draws a line with a band of one standard error."""
    x, means = [x for x, _ in points], [s.mean for _, s in points]
    axes.plot(x, means, color=style.color, marker=style.marker, linestyle=style.line, markersize=5, label=label)
    low, high = ([s.mean + sign * (s.standard_error or 0.0) for _, s in points] for sign in (-1, 1))
    axes.fill_between(x, low, high, color=style.color, alpha=0.2, linewidth=0)
