"""Tables of the papers' claims: each with the published difference, ours with its interval, and a verdict."""

import math
import statistics
from collections.abc import Iterable
from typing import NamedTuple

from sidae_jax.report import claim_verdicts
from sidae_jax.report.claim_verdicts import Accuracies
from sidae_jax.report.paper_claims import Claim, Side, claims
from sidae_jax.report.published import PublishedAccuracy, published_accuracies
from sidae_jax.report.run_index import Pretraining
from sidae_jax.report.summaries import Row, Task
from sidae_jax.report.tables import Table

HEADER = ("claim", "data", "labels", "claimed in", "published", "ours", "95% interval", "seeds", "agree", "verdict")
NOTES = (
    "Differences of accuracies in percentage points, with the standard error in brackets. Their interval is Welch's, "
    "or that of the differences in each seed where both sides are checkpoints of the same runs. 'is above' holds if "
    "the interval lies above 0 and does not hold if it lies below. 'is near' holds if it lies within "
    f"{claim_verdicts.NEAR:g} points of 0 and does not hold if it lies outside. 'is steadier than' shows two "
    "standard errors, and the interval of the ratio of the standard deviations by the F distribution. Otherwise, and "
    f"with fewer than {claim_verdicts.FEWEST_SEEDS} seeds, nothing can be said.",
    "The intervals are not widened for the number of claims: among differences that are 0 in truth, one in twenty "
    "seems to differ.",
    "'agree': of how many seeds the claim is true, each taken alone.",
)
_NAMES = {
    **{"sidae": "SidAE", "simsiam": "SimSiam", "dae": "DAE", "ae": "AE", "vae": "VAE", "simclr": "SimCLR"},
    "scratch": "supervised from scratch",
}


class _Scale(NamedTuple):
    """What both sides of a comparison have: scale and other settings of the pre-training, splits of the evaluation."""

    images: str
    epochs: int
    batch_size: int
    width: int
    d_hid: int
    settings: str
    train_split: str
    test_split: str
    labeled_rows: str

    @property
    def title(self) -> str:
        parts = [self.images, f"{self.epochs} epochs", f"batches of {self.batch_size}", f"width {self.width}"]
        parts += [f"d = {self.d_hid}"] if self.d_hid else []
        parts += [self.settings] if self.settings else []
        parts += [f"labels of {self.train_split}"] if self.train_split != "train" else []
        parts += [f"tested on {self.test_split}"] if self.test_split != "test" else []
        return f"The papers' claims: {', '.join(parts)}"


class _Place(NamedTuple):
    side: Side
    pretrained_on: str
    evaluated_on: str
    label_fraction: float


def claim_tables(rows: Iterable[Row]) -> list[Table]:
    """Returns a table for each scale at which both sides of a claim were measured; other claims are left out.

    Protocols count with their default settings alone.
    """
    tables, published = [], published_accuracies()
    for scale, measured in sorted(_by_scale(rows).items()):
        lines = []
        for claim in claims():
            first, second = (measured.get(_place(claim, side)) for side in (claim.first, claim.second))
            same = _last_epoch_named(claim.first, scale) == _last_epoch_named(claim.second, scale)
            if first and second and not same:
                lines.append(_line(claim, first, second, published))
        if lines:
            tables.append(Table(scale.title, HEADER, lines, NOTES))
    return tables


def _last_epoch_named(side: Side, scale: _Scale) -> Side:
    return side._replace(epoch=scale.epochs) if side.epoch is None else side


def _place(claim: Claim, side: Side) -> _Place:
    return _Place(side, claim.pretrained_on, claim.evaluated_on, claim.label_fraction)


def _by_scale(rows: Iterable[Row]) -> dict[_Scale, dict[_Place, Accuracies]]:
    """Several results of one seed at one place are averaged, as in all tables."""
    lists: dict[_Scale, dict[_Place, dict[int, list[float]]]] = {}
    for row in rows:
        task, run = row.measured.task, row.measured.pretraining
        if task.settings:
            continue
        places = lists.setdefault(_scale(task, run), {})
        for side in _sides(row):
            place = _Place(side, run.dataset, task.evaluated_on, task.label_fraction)
            places.setdefault(place, {}).setdefault(row.seed, []).append(100 * row.accuracy)
    return {
        scale: {place: {seed: statistics.fmean(of) for seed, of in seeds.items()} for place, seeds in places.items()}
        for scale, places in lists.items()
    }


def _scale(task: Task, run: Pretraining) -> _Scale:
    return _Scale(
        *(run.images, run.epochs, run.batch_size, run.width, run.d_hid or 0, run.settings),
        *(task.train_split, task.test_split, task.labeled_rows),
    )


def _sides(row: Row) -> list[Side]:
    """Returns the sides of claims that a result belongs to."""
    task, run, epoch = row.measured.task, row.measured.pretraining, row.measured.epoch
    if row.measured.step == 0:
        return [Side("scratch", protocol=task.protocol)] if task.protocol == "finetune" else []
    sides = [Side(run.method, run.w, int(epoch), task.protocol)] if epoch.is_integer() else []
    return sides + ([Side(run.method, run.w, None, task.protocol)] if epoch == run.epochs else [])


def _line(claim: Claim, first: Accuracies, second: Accuracies, published: list[PublishedAccuracy]) -> tuple[str, ...]:
    if claim.relation == "above":
        # checkpoints of the same runs
        paired = claim.first._replace(epoch=None) == claim.second._replace(epoch=None)
        if paired:
            both = first.keys() & second.keys()
            first, second = ({seed: side[seed] for seed in both} for side in (first, second))
        judgement = claim_verdicts.above(first, second, paired)
    elif claim.relation == "near":
        judgement = claim_verdicts.near(first, second)
    else:
        judgement = claim_verdicts.steadier(first, second)
    on, to = claim.pretrained_on, claim.evaluated_on
    return (
        _sentence(claim),
        on if on == to else f"{on}, then {to}",
        f"{100 * claim.label_fraction:g}%",
        claim.source,
        _published(claim, published),
        judgement.ours,
        judgement.interval,
        str(len(first)) if len(first) == len(second) else f"{len(first)}, {len(second)}",
        judgement.agree,
        judgement.verdict,
    )


def _sentence(claim: Claim) -> str:
    relation = {"above": "is above", "near": "is near", "steadier": "is steadier than"}[claim.relation]
    return f"{_name(claim.first)} {relation} {_name(claim.second)}"


def _name(side: Side) -> str:
    parts = [f"w = {side.w:g}"] if side.w is not None else []
    parts += [f"epoch {side.epoch}"] if side.epoch is not None else []
    parts += ["fine-tuned"] if side.protocol == "finetune" and side.method != "scratch" else []
    return _NAMES[side.method] + (f" ({', '.join(parts)})" if parts else "")


def _published(claim: Claim, published: list[PublishedAccuracy]) -> str:
    """Returns the published difference or the two standard errors; empty where a source has them in a figure alone."""
    tables = {row.source: [each for each in published if each.source == row.source] for row in published}
    of_one_table = (
        [_published_at(claim, side, rows) for side in (claim.first, claim.second)] for rows in tables.values()
    )
    # the appendix has another accuracy than the paper's Table 1 in a place
    first, second = next((pair for pair in of_one_table if None not in pair), (None, None))
    if first is None or second is None:
        return ""
    if first.standard_error is None or second.standard_error is None:
        return "" if claim.relation == "steadier" else f"{first.accuracy - second.accuracy:+.2f}"
    if claim.relation == "steadier":
        return f"{first.standard_error:.2f} : {second.standard_error:.2f}"
    error = math.hypot(first.standard_error, second.standard_error)
    return f"{first.accuracy - second.accuracy:+.2f} ({error:.2f})"


def _published_at(claim: Claim, side: Side, published: list[PublishedAccuracy]) -> PublishedAccuracy | None:
    wanted = (side.method, side.w, side.protocol, claim.pretrained_on, claim.evaluated_on, claim.label_fraction)
    for row in published if side.epoch is None else ():
        if wanted == (row.method, row.w, row.protocol, row.pretrained_on, row.evaluated_on, row.label_fraction):
            return row
    return None
