"""The result file of an evaluation, a JSON line a checkpoint, and the table a person sees."""

import json
import pathlib
from typing import Any

import rich.console
import rich.table
from absl import logging

from sidae_jax.errors import UserError
from sidae_jax.runs.workdir import write_text

Record = dict[str, Any]


def result_path(workdir: pathlib.Path, protocol: str, dataset: str, label_fraction: float, seed: int) -> pathlib.Path:
    """workdir/eval/<protocol>-<dataset>-<fraction>-seed<k>.jsonl."""
    return workdir / "eval" / f"{protocol}-{dataset}-{label_fraction:g}-seed{seed}.jsonl"


def read(path: pathlib.Path) -> list[Record]:
    """The records of a result file, none where there is no file; a line cut short is left out, with a warning."""
    records = []
    for number, line in enumerate(path.read_text().splitlines() if path.exists() else [], start=1):
        try:
            record = json.loads(line)
            records.append({"step": record["step"], **record})
        except (ValueError, KeyError, TypeError) as error:
            logging.warning("Line %d of %s is damaged and left out: %s", number, path, error)
    return records


def check_same_settings(path: pathlib.Path, settings: Record) -> None:
    """Raises UserError where the file holds results of other settings, which its other lines would be compared with."""
    for record in read(path):
        differing = sorted(key for key in settings if record.get(key) != settings[key])
        if differing:
            changes = ", ".join(f"{key}: {record.get(key)} -> {settings[key]}" for key in differing)
            raise UserError(
                f"{path} holds results of other settings ({changes}): move it away, or give the settings it has"
            )


def add(path: pathlib.Path, record: Record) -> None:
    """Put the record in the file, in the order of the steps, in the place of an earlier one of its step."""
    by_step = {earlier["step"]: earlier for earlier in read(path)} | {record["step"]: record}
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, "".join(json.dumps(by_step[step]) + "\n" for step in sorted(by_step)))


def print_table(title: str, records: list[Record]) -> None:
    """Accuracy in per cent by checkpoint; step 0 is the untrained backbone."""
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
