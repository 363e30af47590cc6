"""Reads metrics.jsonl, of a run that trains, has ended, or is damaged."""

import json
import pathlib
from typing import Any

from sidae_jax.files import read_regular
from sidae_jax.runs import sums
from sidae_jax.runs.values import describe, integer

Record = dict[str, Any]


def read(path: pathlib.Path) -> tuple[list[Record], list[str]]:
    """Returns the records in the order of the file, and a sentence on each thing that is wrong with it.

    Raises:
      OSError: the file cannot be read.
    """
    content, damage = _content(path)
    found, problems = parse(content)
    return [record for record, _ in found], problems + ([damage] if damage else [])


def _content(path: pathlib.Path) -> tuple[bytes, str | None]:
    """Returns the content with a sentence if it is not what the run's checkpoints say.

    It is read again if a run has saved since, so that the newest checkpoint notes more than was read.
    """
    content = read_regular(path)
    damage = sums.metrics_problem(path.parent, content)
    while damage is not None and (again := read_regular(path)) != content:
        content, damage = again, sums.metrics_problem(path.parent, again)
    return content, damage


def parse(content: bytes) -> tuple[list[tuple[Record, bytes]], list[str]]:
    """Returns each record of a metrics.jsonl with its line, and a sentence on each line that is none.

    What stands after the last line break is left out: a run may be writing it, or was killed while it did.
    """
    found, problems = [], []
    for number, line in enumerate(content.split(b"\n")[:-1], start=1):
        try:
            found.append((_record(line), line + b"\n"))
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            problems.append(f"metrics.jsonl: line {number} is corrupt: {describe(error)}")
    return found, problems


def problem(path: pathlib.Path) -> str | None:
    """Returns a sentence if the file is not what the run's checkpoints say. Raises OSError."""
    return _content(path)[1] if path.exists() else sums.metrics_problem(path.parent, b"")


def newest(path: pathlib.Path, key: str) -> Record:
    """Returns the last record that has this key; {} if none has. Raises OSError.

    It parses only the end of the file.
    """
    content = read_regular(path)
    position = content.rfind(b"\n") + 1
    while (position := content.rfind(json.dumps(key).encode(), 0, position)) >= 0:
        start = content.rfind(b"\n", 0, position) + 1
        try:
            record = _record(content[start : content.index(b"\n", position)])
            if key in record:
                return record
        except (ValueError, KeyError, TypeError, RecursionError):
            pass
        position = start
    return {}


def figure(record: Record, key: str) -> float | None:
    """Returns record[key] as a number, which may be NaN; None if it is absent or none."""
    value = record.get(key)
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    try:
        return float(value)
    except OverflowError:
        return None


def curve(records: list[Record], key: str) -> tuple[list[float], list[float]]:
    """Returns the epochs and the values of a key, of the records that have both."""
    found = [(figure(record, "epoch"), figure(record, key)) for record in records]
    points = [(x, y) for x, y in found if x is not None and y is not None]
    return [x for x, _ in points], [y for _, y in points]


def _record(line: bytes) -> Record:
    record = json.loads(line)
    integer(record, "step", 0)
    return record
