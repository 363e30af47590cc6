"""Chooses which seeds of a run to train next, and over which steps, after an interruption."""

from collections.abc import Sequence
from typing import Any, NamedTuple


class Segment(NamedTuple):
    """`seeds` are trained together from step `start` to step `end`."""

    seeds: list[Any]
    start: int
    end: int


def next_segment(seeds: Sequence[Any], total_steps: int) -> Segment | None:
    """Returns what to train next of a run of `total_steps`, or None if all seeds are done.

    seeds: objects like SeedRun, with `saved_steps`, the steps of the seed's checkpoints, and `joined_late`, whether it
    was added after others had checkpoints.

    A stop between the saves of two seeds, or a corrupt newest checkpoint, leaves seeds one checkpoint apart. All of
    them then go back to the newest step that they have in common, so that the remaining steps run in the same
    program of all seeds, to the same bits. Seeds that are further behind, or were added to a run, are trained alone
    until they have caught up. No checkpoint has to be deleted for either.
    """
    saved = {id(seed): set(seed.saved_steps) for seed in seeds}
    newest = {name: max(steps, default=0) for name, steps in saved.items()}
    first = min(newest.values(), default=total_steps)
    if first == total_steps:
        return None
    if first == max(newest.values()):
        return Segment(list(seeds), first, total_steps)
    common = max(set.intersection(*saved.values()), default=0)
    late_behind = any(seed.joined_late and newest[id(seed)] == first for seed in seeds)
    if not late_behind and all(sum(step > common for step in steps) <= 1 for steps in saved.values()):
        return Segment(list(seeds), common, total_steps)
    behind = [seed for seed in seeds if newest[id(seed)] == first]
    return Segment(behind, first, min(step for step in newest.values() if step > first))
