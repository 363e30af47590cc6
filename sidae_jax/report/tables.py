"""Tables of accuracies, ours beside the published ones; what was not run stays empty."""

import dataclasses
import importlib.resources
import json
from collections.abc import Sequence
from typing import Any

from sidae_jax.methods import METHOD_KEYS
from sidae_jax.report.results import Measured, Summary, Task, by_run, title

HEADER = (
    *("pre-training", "on", "images", "epochs", "seeds", "ours, %", "untrained, %"),
    *("published, %", "published in"),
)


@dataclasses.dataclass(frozen=True)
class Table:
    """Cells are texts; an empty one was not run, or not published."""

    title: str
    rows: tuple[tuple[str, ...], ...]
    header: tuple[str, ...] = HEADER


def published() -> list[dict[str, Any]]:
    """The papers' figures, in per cent: published.json."""
    return json.loads(importlib.resources.files("sidae_jax.report").joinpath("published.json").read_text())


def published_task(row: dict[str, Any]) -> Task:
    """What a published figure measures, with the protocol's defaults."""
    return row["protocol"], row["evaluated_on"], row["label_fraction"], ""


def tables(summaries: Sequence[Summary]) -> list[Table]:
    """One for each protocol, evaluated data set and fraction of labels: the last checkpoint of each run.

    Published figures of that table for which nothing was run have rows of their own, with our cells empty.
    """
    tasks, theirs = sorted({s.measured.task for s in summaries}), published()
    return [_table(task, [s for s in summaries if s.measured.task == task], theirs) for task in tasks]


def _table(task: Task, summaries, every_published) -> Table:
    protocol = task[0]
    matching = [row for row in every_published if published_task(row) == task]
    left, rows = matching, []
    for run, of_run in by_run(summaries).items():
        last = max(of_run, key=lambda s: s.measured.step)
        untrained = next((s for s in of_run if s.measured.step == 0), None)
        theirs = [row for row in matching if _same_pretraining(row, last.measured)]
        left = [row for row in left if row not in theirs]
        trained = last.measured.step > 0
        if protocol == "finetune" and not trained:
            figure = ("", "", str(last.seeds), percent(last), "", "", "")
            rows.append(("supervised, from scratch", "", *figure))
            continue
        rows.append(
            (
                run,
                last.measured.pretrained_on,
                last.measured.images,
                f"{last.measured.epoch:g}" if trained else "",
                str(last.seeds),
                percent(last) if trained else "",
                percent(untrained) if untrained else "",
                " / ".join(_percent(row["accuracy"], row["standard_error"]) for row in theirs),
                " / ".join(row["source"] for row in theirs),
            )
        )
    for row in left:
        name = row["method"] if row["w"] is None else f"{row['method']}, w = {row['w']:g}"
        figure = _percent(row["accuracy"], row["standard_error"])
        rows.append((name, row["pretrained_on"], "", "", "", "", "", figure, row["source"]))
    n_train, n_test = summaries[0].measured.n_train, summaries[0].measured.n_test
    return Table(f"{title(task)} ({n_train} images), {n_test} test images", tuple(rows))


def _same_pretraining(row, measured: Measured) -> bool:
    """A published weight is that of the run; methods without a weight have None in both.

    All published figures are of d = 2048 or, the report's, 128: of the default of the method.
    """
    if measured.d_hid != METHOD_KEYS[measured.method].get("d_hid"):
        return False
    return (row["pretrained_on"], row["method"], row["w"]) == (measured.pretrained_on, measured.method, measured.w)


def percent(summary: Summary) -> str:
    """64.75 (0.27), the standard error in brackets; without one seed alone was run."""
    return _percent(summary.mean, summary.standard_error)


def _percent(mean: float, standard_error: float | None) -> str:
    return f"{mean:.2f}" if standard_error is None else f"{mean:.2f} ({standard_error:.2f})"


def markdown(table: Table) -> str:
    """A GitHub table under its title."""
    lines = [f"### {table.title}", "", _line(table.header), _line(["---"] * len(table.header))]
    return "\n".join([*lines, *(_line(row) for row in table.rows)]) + "\n"


def _line(cells) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
