"""The measures of the features in a run's metrics.jsonl, and the checkpoint that is the best by them."""

import pathlib

from sidae_jax.errors import UserError
from sidae_jax.monitoring import STOP_MEASURES, Record, is_measured
from sidae_jax.runs import metrics_file

BEST = "best"  # as a step: the saved one with the highest kNN


def read(folder: pathlib.Path, last_step: int | None = None) -> list[Record]:
    """Returns the records of a run that have measures, up to `last_step`, in the order of their steps.

    Lines that are no records, or whose measures are no numbers, are left out.
    """
    path = folder / "metrics.jsonl"
    records = metrics_file.read(path)[0] if path.is_file() else []
    return [record for record in records if is_sound(record) and (last_step is None or record["step"] <= last_step)]


def is_sound(record: Record) -> bool:
    """Returns whether a record has measures, all of them numbers."""
    needed = {"epoch", "loss", "rankme"} | STOP_MEASURES.keys() & record.keys()
    return is_measured(record) and all(metrics_file.figure(record, key) is not None for key in needed)


def parse_step(text: str | None) -> int | str | None:
    """Returns the value of --step: a number, "best", or None if it is not given. Raises UserError for others."""
    if text is None or text == BEST:
        return text
    if not text.isdecimal():
        raise UserError(f"--step={text} is no step: give the number of a checkpoint's step, or {BEST}")
    return int(text)
