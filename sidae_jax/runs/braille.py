"""Curves in a terminal, in Braille characters: each holds two by four points."""

import itertools
import math
from collections.abc import Sequence

Range = tuple[float, float]
_DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))  # of a character by row and column
_LABEL = 9  # characters before the axis


def limits(values: Sequence[float]) -> Range | None:
    """Returns the least and the greatest of the values that can be shown; None if there is none."""
    shown = list(filter(_can_be_shown, values))
    return (min(shown), max(shown)) if shown else None


def plot(xs: Sequence[float], ys: Sequence[float], x: Range, y: Range, width: int, height: int) -> list[str]:
    """Returns `height` + 2 lines of `width` characters, labels included, with a line through the points.

    x, y: what is at the axes' ends. A value that is not finite, or above 1e30, leaves a gap.
    """
    columns, rows = 2 * (width - _LABEL - 1), 4 * height
    canvas = [[0] * (columns // 2) for _ in range(height)]
    points = [
        (_place(a, x, columns), rows - 1 - _place(b, y, rows)) if _can_be_shown(a) and _can_be_shown(b) else None
        for a, b in zip(xs, ys, strict=True)
    ]
    for one, two in itertools.pairwise([*points[:1], *points]):  # the first one with itself: it may be alone
        if two is None:
            continue
        (column, row), (last_column, last_row) = one or two, two
        steps = max(abs(last_column - column), abs(last_row - row), 1)
        for i in range(steps + 1):
            c = round(column + (last_column - column) * i / steps)
            r = round(row + (last_row - row) * i / steps)
            canvas[r // 4][c // 2] |= _DOTS[r % 4][c % 2]
    labels = [f"{y[1]:.4g}", *[""] * (height - 2), f"{y[0]:.4g}"]
    lines = [
        f"{label:>{_LABEL}}┤" + "".join(chr(0x2800 + dots) if dots else " " for dots in row)
        for label, row in zip(labels, canvas, strict=True)
    ]
    ends = f"{x[0]:.4g}", f"{x[1]:.4g}"
    axis = ends[0] + " " * (columns // 2 - len(ends[0]) - len(ends[1])) + ends[1]
    return [*lines, " " * _LABEL + "└" + "─" * (columns // 2), " " * (_LABEL + 1) + axis]


def _can_be_shown(value: float) -> bool:
    return math.isfinite(value) and abs(value) <= 1e30


def _place(value: float, ends: Range, size: int) -> int:
    low, high = ends
    share = 0.5 if high == low else (value - low) / (high - low)
    return min(size - 1, max(0, round(share * (size - 1))))
