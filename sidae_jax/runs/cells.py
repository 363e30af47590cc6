"""Makes text for a terminal of what the files of runs say, which may be anything."""

import contextlib
import json
import math
import sys
from typing import Any

import rich.box
import rich.console
import rich.table
import rich.text

from sidae_jax.evaluation.protocols import PROTOCOLS
from sidae_jax.runs.values import printable

_COLORS = {"running": "green", "finished": "", "stopped": "yellow", "unfinished": "yellow"}
_UNITS = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))


def console() -> rich.console.Console:
    """Returns a console on standard output, as wide as the terminal; without one, wide enough for any table."""
    with contextlib.suppress(AttributeError, ValueError):
        sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr]  # a terminal without the characters of tables and curves
    found = rich.console.Console(highlight=False, markup=False, emoji=False)
    return found if found.is_terminal else rich.console.Console(highlight=False, markup=False, emoji=False, width=1000)


def table(*columns: str, right: tuple[str, ...] = ()) -> rich.table.Table:
    """Returns a table with these columns, those in `right` to the right."""
    made = rich.table.Table(box=rich.box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for column in columns:
        made.add_column(cell(column), justify="right" if column in right else "left", overflow="fold")
    return made


def print_titled(to: rich.console.Console, title: str, made: rich.table.Table) -> None:
    """Prints a table under a title, after an empty line; nothing if it has no rows."""
    if made.row_count:
        to.print()
        to.print(cell(title, "bold"))
        to.print(made)


def cell(value: Any, style: str = "") -> rich.text.Text:
    """Returns a value as text without control characters or markup; nothing for None."""
    return rich.text.Text("" if value is None else printable(str(value)), style=style)


def state(value: str) -> rich.text.Text:
    """Returns the state of a run in its color."""
    return cell(value, _COLORS.get(value, "red"))


def figure(value: float | None, digits: int = 4) -> str | None:
    """Returns a number with so many significant digits."""
    return None if value is None else f"{value:.{digits}g}"


def percent(share: float | None) -> str | None:
    """Returns a share in percent, such as "92.2%"."""
    return None if share is None else f"{100 * share:.1f}%"


def duration(seconds: float | None) -> str | None:
    """Returns a time in its largest unit, such as "3 min"."""
    if seconds is None or not math.isfinite(seconds):
        return None
    size, unit = next((each for each in _UNITS if seconds >= each[0]), _UNITS[-1])
    return f"{seconds / size:.0f} {unit}"


def progress(epoch: float | None, epochs: int | None) -> str | None:
    """Returns the epochs done of all, such as "12.5/200"."""
    if epoch is None and epochs is None:
        return None
    return f"{'0' if epoch is None else f'{epoch:.1f}'.removesuffix('.0')}/{'?' if epochs is None else epochs}"


def protocol(name: str) -> str:
    """Returns the title of a protocol, or the name of an unknown one."""
    return PROTOCOLS[name].title if name in PROTOCOLS else name


def as_json(value: Any) -> str:
    """Returns valid JSON, with null in place of NaN and infinity."""
    return json.dumps(_finite(value), indent=2)


def _finite(value):
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
