"""Which seeds of a run are trained next, and from which step: what several seeds in one program do after a stop."""

from collections.abc import Sequence
from typing import NamedTuple


class Stretch(NamedTuple):
    """`seeds`, by their places among those of the run, are trained together from step `start` to step `end`."""

    seeds: tuple[int, ...]
    start: int
    end: int


def next_stretch(saved: Sequence[Sequence[int]], added: Sequence[bool], total: int) -> Stretch | None:
    """What to train next of a run of `total` steps, None where all seeds are done.

    saved: the steps of each seed's checkpoints; added: whether a seed joined others that were ahead of it.

    A stop between the saves of two seeds, or a corrupt newest checkpoint, leaves seeds a single checkpoint apart:
    all go back to the newest step that they have in common, so that the rest is done by the program that would have
    done it, to the same bits. Seeds that are further behind, or were added to a run, are trained alone until they have
    caught up. No checkpoint has to be deleted for either.
    """
    everyone = tuple(range(len(saved)))
    newest = [max(steps, default=0) for steps in saved]
    first = min(newest, default=total)
    if first == total:
        return None
    if first == max(newest):
        return Stretch(everyone, first, total)
    common = max(set.intersection(*map(set, saved)), default=0)
    added_behind = any(is_added and step == first for is_added, step in zip(added, newest, strict=True))
    if not added_behind and all(sum(step > common for step in steps) <= 1 for steps in saved):
        return Stretch(everyone, common, total)
    behind = tuple(i for i in everyone if newest[i] == first)
    return Stretch(behind, first, min(step for step in newest if step > first))
