"""Tables of accuracies, ours beside the published ones; the cells of what was not run are empty."""

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

from sidae_jax.report.published import PublishedAccuracy, has_published_scale, published_accuracies
from sidae_jax.report.reference import published_settings
from sidae_jax.report.run_index import Pretraining
from sidae_jax.report.summaries import Summary, Task, by_pretraining
from sidae_jax.runs.values import short_text

SCALE_NOTE = (
    "published for all training and test images, as far as its source tells, and for the epochs, batch size and width "
    "of its source; this row differs in at least one of them"
)


class TableRow(NamedTuple):
    """The cells of a row; an empty one was not run or not published. A [1] in `published` refers to a note."""

    pretraining: str = ""
    dataset: str = ""
    images: str = ""
    epochs: str = ""
    batch_size: str = ""
    other_settings: str = ""
    seeds: str = ""
    accuracy: str = ""
    untrained_accuracy: str = ""
    published: str = ""
    source: str = ""


HEADER = TableRow(
    *("pre-training", "data set", "images", "epochs", "batch size", "other settings", "seeds"),
    *("ours, %", "untrained, %", "published, %", "published in"),
)


@dataclasses.dataclass(frozen=True)
class Table:
    """A table with notes, which the cells refer to by their numbers, from [1] on."""

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    notes: Sequence[str]


def accuracy_tables(summaries: Sequence[Summary]) -> list[Table]:
    """Returns a table for each task with the accuracies of each run's last checkpoint.

    A published accuracy stands beside each run that has its settings, except for images, epochs, batch size and width.
    If there is no such run, it has a row of its own, where our cells are empty.
    """
    published = published_accuracies()
    tasks = sorted({s.task for s in summaries})
    return [_table(task, [s for s in summaries if s.task == task], published) for task in tasks]


def _table(task: Task, summaries: Sequence[Summary], published: Sequence[PublishedAccuracy]) -> Table:
    published = [row for row in published if row.is_of(task)]
    beside_a_run = set()
    rows: list[TableRow] = []
    numbers: dict[str, int] = {}  # those of the notes, in the order of their appearance
    for run, of_run in by_pretraining(summaries).items():
        last = max(of_run, key=lambda s: s.step)
        if task.protocol == "finetune" and last.step == 0:
            rows.append(_from_scratch_row(run, last))
            continue
        theirs = [row for row in published if row.has_settings_of(run)]
        beside_a_run.update(theirs)
        notes = [] if has_published_scale(last) else [SCALE_NOTE]
        rows.append(
            _run_row(run, of_run, last)._replace(
                published=" / ".join(_published_cell(row, [*notes, *row.notes], numbers) for row in theirs),
                source=" / ".join(row.source for row in theirs),
            )
        )
    rows += [
        TableRow(
            pretraining=row.method if row.w is None else f"{row.method}, w = {row.w:g}",
            dataset=row.pretrained_on,
            published=_published_cell(row, row.notes, numbers),
            source=row.source,
        )
        for row in published
        if row not in beside_a_run
    ]
    return Table(task.title, HEADER, rows, list(numbers))


def _from_scratch_row(run: Pretraining, untrained: Summary) -> TableRow:
    return TableRow(
        pretraining="supervised, from scratch",
        dataset=run.dataset,
        other_settings=", ".join(backbone_settings(run)),
        seeds=str(untrained.seeds),
        accuracy=_percent(untrained.mean, untrained.standard_error),
    )


def _run_row(run: Pretraining, of_run: Sequence[Summary], last: Summary) -> TableRow:
    trained = last.step > 0
    done, planned = last.epoch, run.epochs
    untrained = next((s for s in of_run if s.step == 0), None)
    return TableRow(
        pretraining=run.label,
        dataset=run.dataset,
        images=run.images,
        epochs=(f"{done:g}" if done == planned else f"{done:g} of {planned}") if trained else "",
        batch_size=str(run.batch_size),
        other_settings=settings_of(run),
        seeds=str(last.seeds),
        accuracy=_percent(last.mean, last.standard_error) if trained else "",
        untrained_accuracy=_percent(untrained.mean, untrained.standard_error) if untrained else "",
    )


def settings_of(run: Pretraining) -> str:
    """Returns the settings that differ from the published ones, but not those with a column of their own."""
    theirs = published_settings(run.method, run.dataset)
    own = {"width": run.width, "w": run.w, "d_hid": run.d_hid}
    differing = [f"{key} = {short_text(value)}" for key, value in own.items() if value != theirs.get(key)]
    return ", ".join([*differing, *run.settings])


def backbone_settings(run: Pretraining) -> list[str]:
    """Returns those of the run's settings that also apply to its untrained backbone."""
    published = run.width == published_settings(run.method, run.dataset)["width"]
    keys = ("backbone", "stem", "size", "zero_init_residual")
    of_backbone = [text for text in run.settings if text.partition(" = ")[0] in keys]
    return of_backbone if published else [f"width = {run.width}", *of_backbone]


def _published_cell(row: PublishedAccuracy, notes: Sequence[str], numbers: dict[str, int]) -> str:
    """Returns a cell such as "64.75 (0.27) [1]", and adds to `numbers` the notes that have none yet."""
    references = "".join(f" [{numbers.setdefault(note, len(numbers) + 1)}]" for note in notes)
    return _percent(row.accuracy, row.standard_error) + references


def _percent(mean: float, standard_error: float | None) -> str:
    """Returns a cell such as "64.75 (0.27)", without the brackets if there is no standard error."""
    return f"{mean:.2f}" if standard_error is None else f"{mean:.2f} ({standard_error:.2f})"
