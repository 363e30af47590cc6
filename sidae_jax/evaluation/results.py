"""The result file of an evaluation, a JSON line a checkpoint, and the table a person sees."""

import json
import pathlib
from typing import Any

import rich.console
import rich.table

from sidae_jax.workdir import write_text

Record = dict[str, Any]


def result_path(workdir: pathlib.Path, protocol: str, dataset: str, label_fraction: float, seed: int) -> pathlib.Path:
    """workdir/eval/<protocol>-<dataset>-<fraction>-seed<k>.jsonl."""
    return workdir / "eval" / f"{protocol}-{dataset}-{label_fraction:g}-seed{seed}.jsonl"


def write(path: pathlib.Path, records: list[Record]) -> None:
    """Put the records in the file, in the order of their steps; those of other steps in it stay."""
    by_step = {}
    if path.exists():
        by_step = {record["step"]: record for record in map(json.loads, path.read_text().splitlines())}
    by_step |= {record["step"]: record for record in records}
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, "".join(json.dumps(by_step[step]) + "\n" for step in sorted(by_step)))


def print_table(title: str, records: list[Record]) -> None:
    """Accuracy in per cent by checkpoint; step 0 is the untrained backbone."""
    table = rich.table.Table(title=title)
    for column in ("step", "epoch", "accuracy %", "above untrained", "seconds"):
        table.add_column(column, justify="right")
    untrained = records[0]["accuracy"]
    for record in records:
        trained = record["step"] > 0
        table.add_row(
            str(record["step"]) if trained else "0 (untrained)",
            f"{record['epoch']:g}",
            f"{100 * record['accuracy']:.2f}",
            f"{100 * (record['accuracy'] - untrained):+.2f}" if trained else "",
            f"{record['seconds']:.1f}",
        )
    rich.console.Console(highlight=False).print(table)
