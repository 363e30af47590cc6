"""Tables of the papers' claims: each with the published difference, ours with its interval, and a verdict."""

import math
import statistics
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from sidae_jax.report import claim_verdicts
from sidae_jax.report.claim_verdicts import Accuracies
from sidae_jax.report.paper_claims import Claim, Side, claims
from sidae_jax.report.published import PublishedAccuracy, published_accuracies
from sidae_jax.report.run_index import Pretraining
from sidae_jax.report.summaries import Row, Task
from sidae_jax.report.tables import Table
from sidae_jax.settings import method_keys

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
    "The two sides are taken as independent, though runs of one seed share initial values and the order of batches, "
    "and one run serves in several rows.",
    "'seeds': of both sides, or of the first and of the second. 'agree': of how many seeds the claim is true, each "
    "taken alone.",
    "Not compared are runs that differ in scale or in a setting that both have, and evaluations with other settings "
    "than the protocol's or in another precision than the run's.",
)
_TITLE = "The papers' claims"
NO_CLAIM = Table(
    _TITLE,
    HEADER,
    [],
    ["None has both sides among these runs: its methods on its data sets, at one scale, with the same settings."],
)
_NAMES = {
    **{"sidae": "SidAE", "simsiam": "SimSiam", "dae": "DAE", "ae": "AE", "vae": "VAE", "simclr": "SimCLR"},
    "scratch": "supervised from scratch",
}


class _Scale(NamedTuple):
    """What both sides of a comparison have: scale and other settings of the pre-training, splits of the evaluation.

    `settings` are without those that only the method has.
    """

    images: str
    epochs: int
    batch_size: int
    width: int
    d_hid: int
    settings: tuple[str, ...]
    train_split: str
    test_split: str
    labeled_rows: str

    @property
    def title(self) -> str:
        parts = [self.images, f"{self.epochs} epochs", f"batches of {self.batch_size}", f"width {self.width}"]
        parts += [f"d = {self.d_hid}"] if self.d_hid else []
        parts += self.settings
        parts += [f"labels of {self.train_split}"] if self.train_split != "train" else []
        parts += [f"tested on {self.test_split}"] if self.test_split != "test" else []
        parts += [f"labeled rows {self.labeled_rows[:12]}"] if self.labeled_rows else []
        return f"{_TITLE}: {', '.join(parts)}"


class _Place(NamedTuple):
    side: Side
    pretrained_on: str
    evaluated_on: str
    label_fraction: float


def claim_tables(rows: Iterable[Row]) -> list[Table]:
    """Returns a table for each scale at which both sides of a claim were measured; other claims are left out.

    So are sides that several runs have, which differ in their names or in settings of their method: a note names them,
    below a table without rows if no claim is left.
    """
    tables, published = [], published_accuracies()
    for scale, measured in sorted(_by_scale(rows).items()):
        lines, numbers = [], {note: number for number, note in enumerate(NOTES, start=1)}
        left_out: list[str] = []
        for claim in claims():
            places = [_place(claim, side) for side in (claim.first, claim.second)]
            sides = [measured.get(place, {}) for place in places]
            same = _last_epoch_named(claim.first, scale) == _last_epoch_named(claim.second, scale)
            if same or not all(sides):
                continue
            if several := [_several_note(side) for side in sides if len(side) > 1]:
                left_out += several
                continue
            ((first_run, first),), ((second_run, second),) = (side.items() for side in sides)
            lines.append(_line(claim, first, second, first_run == second_run, published, numbers))
            for run in (first_run, second_run):
                if run is not None and (own := _settings(run, of_method=True)):
                    numbers.setdefault(f"{run.label} has {', '.join(own)}.", len(numbers) + 1)
        if lines or left_out:
            tables.append(Table(scale.title, HEADER, lines, [*numbers, *dict.fromkeys(left_out)]))
    return tables


def _several_note(runs: Mapping[Pretraining | None, Accuracies]) -> str:
    own = [(run.label, _settings(run, of_method=True)) for run in runs if run]
    names = [f"{label} with {', '.join(texts)}" if texts else label for label, texts in own]
    return f"Left out, since any of them could be meant: {', '.join(names)}."


def _last_epoch_named(side: Side, scale: _Scale) -> Side:
    return side._replace(epoch=scale.epochs) if side.epoch is None else side


def _place(claim: Claim, side: Side) -> _Place:
    return _Place(side, claim.pretrained_on, claim.evaluated_on, claim.label_fraction)


def _by_scale(rows: Iterable[Row]) -> dict[_Scale, dict[_Place, dict[Pretraining | None, Accuracies]]]:
    """Returns what was measured by scale, place and run, None for training from scratch, which is the same for all.

    Several results of one seed of a run are averaged, as in all tables.
    """
    found: dict[_Scale, dict[_Place, dict[Pretraining | None, dict[int, list[float]]]]] = {}
    for row in rows:
        task, run = row.measured.task, row.measured.pretraining
        if not _has_default_settings(task, run):
            continue
        places = found.setdefault(_scale(task, run), {})
        for side in _sides(row):
            place = _Place(side, run.dataset, task.evaluated_on, task.label_fraction)
            of_run = places.setdefault(place, {}).setdefault(None if side.method == "scratch" else run, {})
            of_run.setdefault(row.seed, []).append(100 * row.accuracy)
    return {
        scale: {
            place: {run: {seed: statistics.fmean(of) for seed, of in seeds.items()} for run, seeds in runs.items()}
            for place, runs in places.items()
        }
        for scale, places in found.items()
    }


def _has_default_settings(task: Task, run: Pretraining) -> bool:
    """Returns whether the evaluation has the protocol's default settings and the precision of the run."""
    return task.settings == tuple(text for text in run.settings if text.startswith("precision = "))


def _settings(run: Pretraining, of_method: bool) -> tuple[str, ...]:
    """Returns the settings that differ from the published ones: those that only the run's method has, or the others."""
    keys = method_keys(run.method)
    return tuple(text for text in run.settings if (text.partition(" = ")[0] in keys) == of_method)


def _scale(task: Task, run: Pretraining) -> _Scale:
    shared = _settings(run, of_method=False)
    return _Scale(
        *(run.images, run.epochs, run.batch_size, run.width, run.d_hid or 0, shared),
        *(task.train_split, task.test_split, task.labeled_rows),
    )


def _sides(row: Row) -> list[Side]:
    """Returns the sides of claims that a result belongs to."""
    task, run, epoch = row.measured.task, row.measured.pretraining, row.measured.epoch
    if row.measured.step == 0:
        return [Side("scratch", protocol=task.protocol)] if task.protocol == "finetune" else []
    sides = [Side(run.method, run.w, int(epoch), task.protocol)] if epoch.is_integer() else []
    return sides + ([Side(run.method, run.w, None, task.protocol)] if epoch == run.epochs else [])


def _line(
    claim: Claim,
    first: Accuracies,
    second: Accuracies,
    same_run: bool,
    published: list[PublishedAccuracy],
    numbers: dict[str, int],
) -> tuple[str, ...]:
    """Returns a row. Notes on published accuracies are added to `numbers`."""
    if claim.relation == "above":
        if same_run:  # two checkpoints
            both = first.keys() & second.keys()
            first, second = ({seed: side[seed] for seed in both} for side in (first, second))
        judgement = claim_verdicts.above(first, second, paired=same_run)
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
        _published(claim, published, numbers),
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


def _published(claim: Claim, published: list[PublishedAccuracy], numbers: dict[str, int]) -> str:
    """Returns the published difference or the two standard errors, with the numbers of the notes on them.

    Empty where a source has them in a figure alone.
    """
    tables = {row.source: [each for each in published if each.source == row.source] for row in published}
    # of one table if one has both, since the appendix has another accuracy than the paper's Table 1 in a place
    pairs = (
        [_published_at(claim, side, rows) for side in (claim.first, claim.second)]
        for rows in (*tables.values(), published)
    )
    first, second = next((pair for pair in pairs if None not in pair), (None, None))
    if first is None or second is None:
        return ""
    errors = [row.standard_error for row in (first, second) if row.standard_error is not None]
    both = len(errors) == 2
    if claim.relation == "steadier":
        text = "{:.2f} : {:.2f}".format(*errors) if both else ""
    else:
        error = f" ({math.hypot(*errors):.2f})" if both else ""
        text = f"{first.accuracy - second.accuracy:+.2f}{error}"
    notes = dict.fromkeys([*first.notes, *second.notes]) if text else ()
    return text + "".join(f" [{numbers.setdefault(note, len(numbers) + 1)}]" for note in notes)


def _published_at(claim: Claim, side: Side, published: list[PublishedAccuracy]) -> PublishedAccuracy | None:
    wanted = (side.method, side.w, side.protocol, claim.pretrained_on, claim.evaluated_on, claim.label_fraction)
    for row in published if side.epoch is None else ():
        if wanted == (row.method, row.w, row.protocol, row.pretrained_on, row.evaluated_on, row.label_fraction):
            return row
    return None
