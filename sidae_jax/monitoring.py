"""When a run measures its features, and by which rule it ends early: config.monitor_every and config.stop_when.

The measures themselves are in `quality`, the program that takes them in `training/monitor.py`. No JAX.
"""

import math
from collections.abc import Collection, Sequence
from typing import NamedTuple

from ml_collections import ConfigDict

from sidae_jax.errors import UserError

Record = dict[str, float | int]

COLLAPSE = (
    "warning: feature_std is {feature_std:.3f} at step {step}{seed} (0: the features are the same for all images, 1: "
    "they are healthy){measured}: likely causes are a learning rate too high, a batch too small for BatchNorm, "
    "or a w that leaves only the reconstruction"
)

# Of what can end a run, +1 if more is better. Alignment and uniformity say nothing alone: a collapsed encoder aligns.
STOP_MEASURES = {"knn": 1, "rankme": 1, "loss": -1}


class StopRule(NamedTuple):
    """A run ends when `measure`, one of STOP_MEASURES, has had no better value for `patience` epochs."""

    measure: str
    patience: int


def epochs_between(config: ConfigDict) -> int:
    """Returns the epochs from a measure to the next, by default a tenth of the run's; 0: nothing is measured."""
    return -(-config.epochs // 10) if config.monitor_every is None else config.monitor_every


def stop_rule(config: ConfigDict) -> StopRule | None:
    """Returns config.stop_when, or None. Raises UserError if it is no rule, or what it needs is never measured."""
    if config.stop_when is None:
        return None
    measure, _, patience = config.stop_when.partition(":")
    if measure not in STOP_MEASURES or not patience.isdecimal() or int(patience) < 1:
        raise UserError(
            f"config.stop_when={config.stop_when} is no rule: give --config.stop_when=MEASURE:EPOCHS, MEASURE one of "
            f"{', '.join(STOP_MEASURES)}, such as knn:50"
        )
    if epochs_between(config) == 0:
        raise UserError(
            f"config.stop_when={config.stop_when} needs what --config.monitor_every=0 turns off: leave one of them out"
        )
    return StopRule(measure, int(patience))


class Measured:
    """The records of a run in which the features were measured, in the order of their steps.

    Attributes:
      ended: why the run ends by the rule, as a sentence without a full stop; None while it does not.
    """

    def __init__(self, records: Sequence[Record], rule: StopRule | None = None):
        self._records = list(records)
        self._rule = rule
        self.ended = self._why_ended()

    def add(self, record: Record) -> None:
        """Adds a record, if it has measures."""
        if is_measured(record):
            self._records.append(record)
            self.ended = self._why_ended()

    def best(self, steps: Collection[int] | None = None) -> Record | None:
        """Returns the record with the highest kNN accuracy, the first of equals, among those of `steps` if given."""
        found = [r for r in self._records if "knn" in r and (steps is None or r["step"] in steps)]
        return max(found, key=lambda record: _or_least(record["knn"]), default=None)

    def best_step(self, steps: Collection[int] | None = None) -> int | None:
        """Returns the step of the best record."""
        best = self.best(steps)
        return None if best is None else int(best["step"])

    def newest(self) -> Record | None:
        """Returns the last record."""
        return self._records[-1] if self._records else None

    def _why_ended(self) -> str | None:
        if self._rule is None:
            return None
        measure, patience = self._rule
        records = [record for record in self._records if measure in record]
        if not records:
            return None
        sign = STOP_MEASURES[measure]
        top = max(records, key=lambda record: _or_least(sign * record[measure]))
        since = records[-1]["epoch"] - top["epoch"]
        if since < patience:
            return None
        best = f"{top[measure]:.4g}, of epoch {top['epoch']:g}"
        return f"{measure} has had no better value than {best}, for {since:g} epoch(s)"


class CollapseWatch:
    """Notices that the features have become the same for all images, by feature_std (Chen and He, 2021, 4.1).

    That measure is 1 for features spread evenly over the sphere, and 0 for collapsed ones. Of features spread evenly
    over k of their d dimensions it is the root of k / d: a healthy VAE, which leaves most of them unused, may have 0.3.
    """

    BELOW, LINES = 0.2, 3

    def __init__(self) -> None:
        self._lines, self._told = 0, False

    def add(self, feature_std: float) -> bool:
        """Takes that of a line of metrics. Returns True once: at the third line in a row with less than 0.2."""
        self._lines = self._lines + 1 if feature_std < self.BELOW else 0
        now = self._lines >= self.LINES and not self._told
        self._told |= now
        return now


def is_measured(record: Record) -> bool:
    """Returns whether a record of metrics has measures of the features."""
    return "rankme" in record


def _or_least(value: float) -> float:
    return -math.inf if math.isnan(value) else value
