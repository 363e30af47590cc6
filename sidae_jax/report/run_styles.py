"""The name and the style of each run's curve in the figures of a report."""

from collections.abc import Iterable

from sidae_jax.report.drawing import STYLES, Style, plain
from sidae_jax.report.run_index import Pretraining


class RunStyles:
    """The styles of the runs of a report: one for a method in all figures, on whichever data set it ran."""

    def __init__(self, runs: Iterable[Pretraining]):
        """Takes all runs of the report."""
        self._places = {key: place for place, key in enumerate(sorted({_key(run) for run in runs}))}

    def of_figure(self, runs: Iterable[Pretraining]) -> dict[Pretraining, Style]:
        """Returns another style for each of these runs; a run has its own unless two of them would have the same."""
        found: dict[Pretraining, Style] = {}
        used: set[int] = set()
        for run in sorted(runs, key=lambda run: (self._places[_key(run)], run.label)):
            place = self._places[_key(run)] % len(STYLES)
            while place in used and len(used) < len(STYLES):
                place = (place + 1) % len(STYLES)
            used.add(place)
            found[run] = STYLES[place]
        return found


def _key(run: Pretraining) -> tuple[str, tuple[str, ...]]:
    return run.label.replace(run.dataset, ""), run.settings


def curve_labels(runs: Iterable[Pretraining]) -> dict[Pretraining, str]:
    """Names each curve after its run or method, with the scale where several would have the same name."""

    def label(run: Pretraining, with_scale: bool) -> str:
        weight = "" if run.w is None else f", w = {run.w:g}"
        name = run.label or (f"{run.method}{weight}" if run.method else f"ours, pre-trained on {run.dataset}")
        scale = (
            f"{run.images}, {run.epochs} epochs, batches of {run.batch_size}, width {run.width}" if with_scale else ""
        )
        return "; ".join(filter(None, [name, ", ".join(run.settings), scale]))

    short = {run: label(run, with_scale=False) for run in runs}
    names = list(short.values())
    return {run: plain(label(run, with_scale=names.count(name) > 1)) for run, name in short.items()}
