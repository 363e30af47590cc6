"""The curves of runs in a terminal: loss, feature_std and kNN by epoch, those of several runs beside each other."""

from collections.abc import Sequence

import rich.console
import rich.text

from sidae_jax.runs import braille, cells
from sidae_jax.runs.metrics_file import Record, curve

KEYS = ("loss", "feature_std", "knn")
_WIDTH = 60  # of a curve alone
_LEAST = 30  # of one beside others
_HEIGHT = 8
_MOST = 160  # of all that are beside each other


def show(console: rich.console.Console, names: Sequence[str], metrics: Sequence[Sequence[Record]]) -> None:
    """Prints a plot for each key and run, under its name if it has one; those of a key have the same axes."""
    for key in KEYS:
        found = [curve(list(records), key) for records in metrics]
        x = braille.limits([epoch for epochs, _ in found for epoch in epochs])
        y = braille.limits([value for _, values in found for value in values])
        if x is None or y is None:
            continue
        total = min(console.width, _MOST)
        beside = max(1, min(len(names), total // _LEAST))
        width = min(_WIDTH, total // beside - 2)
        for start in range(0, len(names), beside):
            some = list(zip(names, found, strict=True))[start : start + beside]
            plots = [braille.plot(epochs, values, x, y, width, _HEIGHT) for _, (epochs, values) in some]
            titles = [f"{key} by epoch{name and f': {name}'}" for name, _ in some]
            lines = ["  ".join(f"{line:{width}}" for line in lines) for lines in zip(*plots, strict=True)]
            console.print()
            console.print(cells.cell("  ".join(f"{title[:width]:{width}}" for title in titles).rstrip(), "bold"))
            for line in lines:
                console.print(rich.text.Text(line.rstrip()), no_wrap=True, crop=False)
