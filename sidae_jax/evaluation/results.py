"""The result file of an evaluation, a JSON line a checkpoint, and the table a person sees."""

import contextlib
import fcntl
import json
import pathlib
from collections.abc import Iterator
from typing import Any

import rich.console
import rich.table
from absl import logging

from sidae_jax.errors import UserError
from sidae_jax.runs.files import write_text

Record = dict[str, Any]
_BEFORE = {"features": "backbone"}  # settings that files written before them do not have


def result_path(
    workdir: pathlib.Path, protocol: str, dataset: str, label_fraction: float, seed: int, features: str = "backbone"
) -> pathlib.Path:
    """workdir/eval/<protocol>-<dataset>-<fraction>-seed<k>.jsonl; other features are named before the seed."""
    of_features = "" if features == "backbone" else f"-{features}"
    return workdir / "eval" / f"{protocol}-{dataset}-{label_fraction:g}{of_features}-seed{seed}.jsonl"


def read(path: pathlib.Path) -> list[Record]:
    """The records of a result file, none where there is no file; a line cut short is left out, with a warning.

    Those of a temporary checkpoint count as long as it is there: one that a stop left, and the next save removes.
    """
    checkpoints = path.parent.parent / "checkpoints"
    return [
        record for record in _lines(path) if not record.get("temporary") or (checkpoints / str(record["step"])).is_dir()
    ]


def _lines(path: pathlib.Path) -> list[Record]:
    records = []
    lines = path.read_text(errors="replace").splitlines() if path.exists() else []
    for number, line in enumerate(lines, start=1):
        try:
            record = json.loads(line)
            if type(record["step"]) is not int:
                raise ValueError("its step is no integer")
            records.append({"step": record["step"], **record})
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            logging.warning("Line %d of %s is corrupt and left out: %s", number, path, error)
    return records


def check_same_settings(path: pathlib.Path, settings: Record) -> None:
    """Raises UserError where the file holds results of other settings, which its other lines would be compared with."""
    for record in _lines(path):
        record = {**_BEFORE, **record}
        differing = sorted(key for key in settings if record.get(key) != settings[key])
        if differing:
            changes = ", ".join(f"{key}: {record.get(key)} -> {settings[key]}" for key in differing)
            raise UserError(
                f"{path} holds results of other settings ({changes}): move it away, or give the settings it has"
            )


def add(path: pathlib.Path, record: Record) -> None:
    """Put the record in the file, in the order of the steps, in the place of an earlier one of its step."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with _locked(path.parent):
        by_step = {earlier["step"]: earlier for earlier in _lines(path)} | {record["step"]: record}
        write_text(path, "".join(json.dumps(by_step[step]) + "\n" for step in sorted(by_step)))


@contextlib.contextmanager
def _locked(folder: pathlib.Path) -> Iterator[None]:
    """Wait until no other process writes results there; where the file system has no locks, nobody waits."""
    with (folder / ".lock").open("a") as file:
        with contextlib.suppress(OSError):
            fcntl.flock(file, fcntl.LOCK_EX)  # it ends with the file, or with the process
        yield


def print_table(title: str, records: list[Record]) -> None:
    """Accuracy in percent by checkpoint; step 0 is the untrained backbone."""
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
    console.print(title)
    console.print(table)
