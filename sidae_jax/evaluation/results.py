"""The result file of an evaluation, with a JSON line per checkpoint, and the table printed for the user."""

import contextlib
import fcntl
import json
import pathlib
import re
from collections.abc import Iterator
from typing import Any

import rich.console
import rich.table
from absl import logging

from sidae_jax.errors import UserError
from sidae_jax.files import keep_aside, open_here, read_regular, write_text
from sidae_jax.runs import sums
from sidae_jax.runs.old_names import modern
from sidae_jax.runs.values import describe, integer

Record = dict[str, Any]
_COUNT = "records"  # in each record of a file: how many the file has
_ONCE_IMPLIED = {"features": "backbone"}  # settings that older files lack, with the value that they all had


def result_path(
    workdir: pathlib.Path, protocol: str, images: str, label_fraction: float, seed: int, features: str = "backbone"
) -> pathlib.Path:
    """Returns workdir/eval/<protocol>-<images>-<fraction>[-<other features>]-seed<k>.jsonl.

    images: the data set, or the title of a `data_set.DataSet`.
    """
    of_features = "" if features == "backbone" else f"-{features}"
    return workdir / "eval" / f"{protocol}-{file_part(images)}-{label_fraction:g}{of_features}-seed{seed}.jsonl"


def file_part(images: str) -> str:
    """Returns the name of a data set for a part of a file's: imagenet_resized-64x64 for imagenet_resized/64x64."""
    return re.sub(r"[^\w.]", "-", images)


def read(path: pathlib.Path) -> list[Record]:
    """Returns the records of a result file, if it exists; a damaged line is skipped, with a warning.

    Raises UserError if it cannot be read.
    """
    return current(path, _lines(path))


def current(path: pathlib.Path, records: list[Record]) -> list[Record]:
    """Returns the records of a result file that count.

    Those of a temporary checkpoint, which a stop left and the next save removes, count while it exists.
    """
    checkpoints = path.parent.parent / "checkpoints"
    return [record for record in records if not record.get("temporary") or (checkpoints / str(record["step"])).is_dir()]


def _lines(path: pathlib.Path) -> list[Record]:
    records, problems = _parsed(path)
    for problem in problems:
        logging.warning("%s; it is skipped", problem)
    return records


def _parsed(path: pathlib.Path) -> tuple[list[Record], list[str]]:
    try:
        return parse(path) if path.exists() else ([], [])
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}): move it away, or put back a copy") from error


def parse(path: pathlib.Path) -> tuple[list[Record], list[str]]:
    """Returns the records of a result file, and a sentence on each thing that is wrong with it. Raises OSError."""
    records, problems, wanted = [], [], 0
    lines = read_regular(path).decode(errors="replace").splitlines()
    for number, line in enumerate(lines, start=1):
        try:
            record = modern(sums.unsealed(json.loads(line)))
            if type(record["step"]) is not int:
                raise ValueError("its step is no integer")
            wanted = max(wanted, integer(record, _COUNT, 0) if _COUNT in record else 0)
            records.append({"step": record["step"], **{key: record[key] for key in record if key != _COUNT}})
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            problems.append(f"{path}: line {number} is corrupt: {describe(error)}")
    if not lines or (wanted and len(lines) != wanted):
        problems.append(f"{path}: {len(lines)} lines are there, of {wanted or 'those'} that were written")
    return records, problems


def check_same_settings(path: pathlib.Path, settings: Record) -> None:
    """Raises UserError if the file holds results of other settings, with which new ones would be compared."""
    for record in _lines(path):
        record = {**_ONCE_IMPLIED, **record}
        differing = sorted(key for key in settings if record.get(key) != settings[key])
        if differing:
            changes = ", ".join(f"{key}: {record.get(key)} -> {settings[key]}" for key in differing)
            raise UserError(
                f"{path} holds results of other settings ({changes}): move it away, or give the settings it has"
            )


def add(path: pathlib.Path, record: Record) -> None:
    """Writes the record to the file, in the order of the steps, replacing an earlier one of the same step.

    A damaged file is kept beside it, with a warning: lines that no figure can be read from go from this one.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with _locked(path.parent):
        records, problems = _parsed(path)
        if problems:
            aside = keep_aside(path.with_name(f".{path.name}.damaged"), read_regular(path))
            logging.warning("%s; it is written anew, and what was damaged stays as %s", "; ".join(problems), aside)
        by_step = {earlier["step"]: earlier for earlier in records} | {record["step"]: record}
        counted = ({**by_step[step], _COUNT: len(by_step)} for step in sorted(by_step))
        write_text(path, "".join(json.dumps(sums.sealed(each)) + "\n" for each in counted))


@contextlib.contextmanager
def _locked(folder: pathlib.Path) -> Iterator[None]:
    """Waits until no other process writes results there; on a file system without locks, nobody waits."""
    path = folder / ".lock"
    if path.is_symlink() or (path.exists() and not path.is_file()):
        raise UserError(f"{path} is no regular file: delete it, and start again")
    with open_here(path, "a") as file:
        with contextlib.suppress(OSError):
            fcntl.flock(file, fcntl.LOCK_EX)  # released with the file, or by the end of the process
        yield


def print_table(title: str, records: list[Record]) -> None:
    """Prints the accuracy in percent by checkpoint; step 0 is the untrained backbone."""
    table = rich.table.Table()
    for column in ("step", "epoch", "accuracy %", "above untrained", "seconds"):
        table.add_column(column, justify="right")
    untrained = records[0]["accuracy"] if records[0]["step"] == 0 else None
    for record in records:
        trained = record["step"] > 0
        table.add_row(
            str(record["step"]) if trained else "0 (untrained)",
            f"{record['epoch']:g}",
            f"{100 * record['accuracy']:.2f}",
            f"{100 * (record['accuracy'] - untrained):+.2f}" if trained and untrained is not None else "",
            f"{record['seconds']:.1f}",
        )
    console = rich.console.Console(highlight=False, soft_wrap=True)
    console.print(title, markup=False)  # the names of classes may have brackets
    console.print(table)
