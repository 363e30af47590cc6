"""The progress of a training run: a bar on a terminal, plain lines elsewhere."""

import contextlib
import datetime
import threading
import time
from collections.abc import Iterator

import rich.console
import rich.live
import rich.progress
import rich.text

LONG = 60.0  # seconds after which `told_if_long` says that something takes long
_MEASURES = {"knn": "kNN {:.1%}", "rankme": "RankMe {:.1f}"}


class TrainingConsole:
    """Shows the progress of a run of `total` steps on standard output; a context manager.

    `write` prints above the bar. With quiet=True (in all processes but the first) nothing is shown.
    """

    def __init__(self, start: int, total: int, steps_per_epoch: int, *, quiet: bool):
        self._total = total
        self._steps_per_epoch = steps_per_epoch
        # in a notebook plain lines too: no cursor moves there, and rich would make HTML of each line
        terminal = False if rich.console.Console().is_jupyter else None
        self._console = rich.console.Console(
            quiet=quiet, highlight=False, soft_wrap=True, force_jupyter=False, force_terminal=terminal
        )
        self._bar = rich.progress.Progress(
            rich.progress.TextColumn("{task.description}"),
            rich.progress.BarColumn(bar_width=None),
            rich.progress.MofNCompleteColumn(),
            rich.progress.TextColumn("{task.fields[speed]}"),
            expand=True,
        )
        self._measured: list[str] = []
        self._task = self._bar.add_task("compiling", total=total, completed=start, speed="")
        # refreshed by hand: no thread competes with the dispatch of steps
        self._live = rich.live.Live(self._bar, console=self._console, auto_refresh=False)

    def __enter__(self) -> "TrainingConsole":
        if self._console.is_terminal:
            self._live.start(refresh=True)
        return self

    def __exit__(self, *_) -> None:
        self._live.stop()

    def write(self, text: str) -> None:
        """Prints a line."""
        self._console.print(text, markup=False)

    def warn(self, warning: str | None) -> None:
        """Prints a warning, if there is one."""
        if warning is not None:
            self.write(warning)

    @contextlib.contextmanager
    def told_if_long(self, what: str) -> Iterator[None]:
        """Says after a minute that `what` takes long, and again whenever the time has doubled."""
        over, start = threading.Event(), time.monotonic()

        def watch() -> None:
            due = LONG
            while not over.wait(start + due - time.monotonic()):
                self.write(f"{what} takes long: {due:.0f} s so far")
                due *= 2

        thread = threading.Thread(target=watch, name=what, daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def show(self, step: int, record: dict[str, float | int]) -> None:
        """Shows the loss and its parts, feature_std, the learning rate, images/s and the remaining time at `step`.

        On a terminal the last measures of the features stay in sight; elsewhere they are in the line of their step.
        """
        figures = [f"{key} {value:.4f}" for key, value in record.items() if key.startswith("loss")]
        figures += [f"feature_std {record['feature_std']:.3f}", f"lr {record['lr']:.4g}"]
        measured = [text.format(record[key]) for key, text in _MEASURES.items() if key in record]
        if measured or not self._console.is_terminal:
            self._measured = measured
        figures += self._measured
        eta = datetime.timedelta(seconds=round(record["eta_seconds"]))
        speed = f"{record['images_per_second']:.0f} images/s  ETA {eta}"
        epoch = f"epoch {record['epoch']:.1f}/{self._total / self._steps_per_epoch:.0f}"
        if self._console.is_terminal:
            self._bar.update(self._task, completed=step, description=epoch, speed=speed)
            below = rich.text.Text("  ".join(figures))  # a second line, for terminals 80 columns wide
            self._live.update(rich.console.Group(self._bar, below), refresh=True)
        else:
            self.write("  ".join([f"step {step}/{self._total}", epoch, *figures, speed]))
