"""The style that all figures share, and SVG that is the same for the same figure."""

import io
from collections.abc import Iterable
from typing import NamedTuple

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure


class Style(NamedTuple):
    """The color, the marker and the line of a curve."""

    color: str
    marker: str
    line: str


# Okabe and Ito's colors, which color-blind readers can distinguish, with markers for print
_COLORS = [
    *(("#0072B2", "o"), ("#D55E00", "s"), ("#009E73", "^"), ("#CC79A7", "D")),
    *(("#E69F00", "v"), ("#56B4E9", "P"), ("#000000", "X")),
]
STYLES = [Style(color, marker, line) for line in ("-", "--", ":") for color, marker in _COLORS]


def styles(names: Iterable[str]) -> dict[str, Style]:
    """Returns another style for each name, as long as there are any."""
    return {name: STYLES[i % len(STYLES)] for i, name in enumerate(sorted(set(names)))}


def new_figure() -> tuple[Figure, Axes]:
    """Returns a figure with empty axes in the style of all curves."""
    figure = Figure(figsize=(6.4, 3.8), layout="constrained")
    axes = figure.subplots()
    axes.grid(color="#dddddd")
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def finish(figure: Figure, axes: Axes, ylabel: str = "test accuracy, %") -> str:
    """Adds the label of the y axis and the legend, and returns the figure as SVG."""
    axes.set_ylabel(ylabel)
    entries = axes.get_legend_handles_labels()
    if len(entries[1]) > 4:  # a long legend would cover the curves
        figure.set_size_inches(8.8, 3.8)
        figure.legend(*entries, loc="outside right upper", frameon=False, fontsize=8)
    else:
        axes.legend(frameon=False, fontsize=8)
    return to_svg(figure)


def to_svg(figure: Figure) -> str:
    """Returns the figure as SVG, with its images embedded; the same figure always gives the same text."""
    file = io.StringIO()
    # Text stays text, and the salt makes the ids inside the file reproducible.
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "sidae_jax"}):
        figure.savefig(file, format="svg", metadata={"Date": None}, dpi=144)
    svg = file.getvalue()
    return svg[svg.index("<svg") :]


def plain(text: str) -> str:
    """Escapes text for matplotlib, which reads dollars as formulas and skips legend entries that start with "_"."""
    return (" " if text.startswith("_") else "") + text.replace("$", r"\$")
