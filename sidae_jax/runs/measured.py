"""The records of metrics.jsonl with measures of the features: which step is best, and whether the run is to end."""

import math
import pathlib
from collections.abc import Collection, Sequence

from sidae_jax.config import STOP_MEASURES, StopRule
from sidae_jax.errors import UserError
from sidae_jax.runs import metrics_file

Record = dict[str, float | int]
BEST = "best"  # as a step: the saved one with the highest kNN


def read(folder: pathlib.Path, last_step: int | None = None) -> list[Record]:
    """Returns the records of a run that have measures, up to `last_step`, in the order of their steps.

    Lines that are no records, or whose measures are no numbers, are left out.
    """
    path = folder / "metrics.jsonl"
    records = metrics_file.read(path)[0] if path.exists() else []
    return [
        record
        for record in records
        if is_measured(record)
        and (last_step is None or record["step"] <= last_step)
        and all(metrics_file.figure(record, key) is not None for key in {"epoch", *STOP_MEASURES} & record.keys())
    ]


def parse_step(text: str | None) -> int | str | None:
    """Returns the value of --step: a number, "best", or None if it is not given. Raises UserError for others."""
    if text is None or text == BEST:
        return text
    if not text.isdecimal():
        raise UserError(f"--step={text} is no step: give the number of a checkpoint's step, or {BEST}")
    return int(text)


def is_measured(record: Record) -> bool:
    """Returns whether a record of metrics has measures of the features."""
    return "rankme" in record


def best(records: Sequence[Record], steps: Collection[int] | None = None) -> Record | None:
    """Returns the record with the highest kNN accuracy, the first of equals, among those of `steps` if given."""
    found = [record for record in records if "knn" in record and (steps is None or record["step"] in steps)]
    return max(found, key=lambda record: record["knn"], default=None)


def why_ended(records: Sequence[Record], rule: StopRule | None) -> str | None:
    """Returns why a run with these records ends by the rule, as a sentence without a full stop, or None."""
    if rule is None or not records:
        return None
    sign = STOP_MEASURES[rule.measure]
    top = max(records, key=lambda record: _or_least(sign * record[rule.measure]))
    since = records[-1]["epoch"] - top["epoch"]
    if since < rule.patience:
        return None
    return (
        f"{rule.measure} has had no better value than {top[rule.measure]:.4g}, of epoch {top['epoch']:g}, "
        f"for {since:g} epochs"
    )


def _or_least(value: float) -> float:
    return -math.inf if math.isnan(value) else value
