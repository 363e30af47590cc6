"""Tables of accuracies, ours beside the published ones; what was not run stays empty."""

import dataclasses
import html
import importlib.resources
import json
import re
from collections.abc import Sequence
from typing import Any

from sidae_jax.report.reference import reference, short_text, whole
from sidae_jax.report.results import Summary, Task, by_run
from sidae_jax.report.runs import Pretraining

HEADER = (
    *("pre-training", "on", "images", "epochs", "batch", "other settings", "seeds", "ours, %", "untrained, %"),
    *("published, %", "published in"),
)
SCALE = "published for all training and test images and the epochs and batch of its source, which are not this row's"
# by the beginning of a source
NOTES = {
    "report": "the report's text names a two-layer MLP on frozen representations, so that its AE, VAE and SimCLR stand "
    "beside the MLP probe and its supervised network beside the online probe, but its released code, which the "
    "settings are from, measures only the classifier trained on the way: "
    "see 'What differs from the report's code' in the README"
}


@dataclasses.dataclass(frozen=True)
class Table:
    """Cells are texts; an empty one was not run, or not published. Cells refer to notes by their numbers, from [1]."""

    title: str
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()
    header: tuple[str, ...] = HEADER


def published() -> list[dict[str, Any]]:
    """The papers' figures, in percent: published.json."""
    return json.loads(importlib.resources.files("sidae_jax.report").joinpath("published.json").read_text())


def is_published(row: dict[str, Any], task: Task) -> bool:
    """Whether a published figure is of this task, with the protocol's defaults."""
    theirs = (row["protocol"], row["evaluated_on"], row["label_fraction"], "")
    return theirs == (task.protocol, task.evaluated_on, task.label_fraction, task.settings)


def tables(summaries: Sequence[Summary]) -> list[Table]:
    """One for each protocol, evaluated data set and fraction of labels: the last checkpoint of each run.

    A published figure stands beside each run that has its settings, but for the scale: images, epochs, batch. One that
    stands beside none has a row of its own, with our cells empty.
    """
    tasks, theirs = sorted({s.measured.task for s in summaries}), published()
    return [_table(task, [s for s in summaries if s.measured.task == task], theirs) for task in tasks]


def _table(task: Task, summaries, every_published) -> Table:
    matching = [row for row in every_published if is_published(row, task)]
    left, rows, notes = matching, [], {}  # notes by text, in the order of their numbers
    for run, of_run in by_run(summaries).items():
        last = max(of_run, key=lambda s: s.measured.step)
        untrained = next((s for s in of_run if s.measured.step == 0), None)
        trained = last.measured.step > 0
        if task.protocol == "finetune" and not trained:
            settings = (of_the_backbone(run), str(last.seeds), percent(last))
            rows.append(("supervised, from scratch", run.dataset, *[""] * 3, *settings, *[""] * 3))
            continue
        theirs = [row for row in matching if _same_pretraining(row, run)]
        left = [row for row in left if row not in theirs]
        other_scale = not _published_scale(last)
        rows.append(
            (
                *(run.label, run.dataset, run.images, _epochs(last) if trained else "", str(run.batch_size)),
                *(settings_of(run), str(last.seeds), percent(last) if trained else ""),
                percent(untrained) if untrained else "",
                " / ".join(_figure(row, notes, other_scale) for row in theirs),
                " / ".join(row["source"] for row in theirs),
            )
        )
    for row in left:
        name = row["method"] if row["w"] is None else f"{row['method']}, w = {row['w']:g}"
        rows.append((name, row["pretrained_on"], *[""] * 7, _figure(row, notes, False), row["source"]))
    return Table(task.title, tuple(rows), tuple(notes))


def _same_pretraining(row, run: Pretraining) -> bool:
    """All published figures are of the reference's d; methods without a weight have None in both."""
    if run.settings or run.d_hid != reference(run.method, run.dataset).get("d_hid"):
        return False
    return (row["pretrained_on"], row["method"], row["w"]) == (run.dataset, run.method, run.w)


def _published_scale(last: Summary) -> bool:
    """Whether images, epochs and batch are the published ones, of the pre-training and of what came after it."""
    task, run = last.measured.task, last.measured.pretraining
    theirs = reference(run.method, run.dataset)
    ours = (run.images, run.epochs, run.batch_size, last.measured.epoch)
    same = ours == (theirs["train_split"], theirs["epochs"], theirs["batch_size"], theirs["epochs"])
    return same and whole(task)


def settings_of(run: Pretraining) -> str:
    """All that the reference has otherwise, w and d among it, but for the scale."""
    theirs = reference(run.method, run.dataset)
    own = {"w": run.w, "d_hid": run.d_hid}
    differing = [f"{key} = {short_text(value)}" for key, value in own.items() if value != theirs.get(key)]
    return ", ".join([*differing, *([run.settings] if run.settings else [])])


def of_the_backbone(run: Pretraining) -> str:
    """Of the settings of a run, those that its untrained backbone has too."""
    keys = ("stem", "width", "zero_init_residual")
    return ", ".join(part for part in run.settings.split(", ") if part.partition(" = ")[0] in keys)


def _epochs(last: Summary) -> str:
    done, of = last.measured.epoch, last.measured.pretraining.epochs
    return f"{done:g}" if done == of else f"{done:g} of {of}"


def _figure(row, notes: dict[str, int], other_scale: bool) -> str:
    """64.75 (0.27) [1]: a published figure, and its notes' numbers, which new ones get here."""
    wanted = [SCALE] if other_scale else []
    wanted += [text for source, text in NOTES.items() if row["source"].startswith(source)]
    wanted += [row["note"]] if "note" in row else []
    numbers = "".join(f" [{notes.setdefault(text, len(notes) + 1)}]" for text in wanted)
    return _percent(row["accuracy"], row["standard_error"]) + numbers


def percent(summary: Summary) -> str:
    """64.75 (0.27), the standard error in brackets; without where one seed alone was run."""
    return _percent(summary.mean, summary.standard_error)


def _percent(mean: float, standard_error: float | None) -> str:
    return f"{mean:.2f}" if standard_error is None else f"{mean:.2f} ({standard_error:.2f})"


def markdown(table: Table) -> str:
    """A GitHub table under its title, and its notes under it."""
    lines = [f"### {markdown_text(table.title)}", "", _line(table.header), _line(["---"] * len(table.header))]
    notes = [f"\n{markdown_text(f'[{number}]')} {markdown_text(note)}" for number, note in _numbered(table)]
    return "\n".join([*lines, *(_line(map(markdown_text, row)) for row in table.rows), *notes]) + "\n"


def page(table: Table) -> str:
    """The same in HTML. Short cells are not broken, long ones anywhere."""
    cells = [(table.header, "th"), *((row, "td") for row in table.rows)]
    lines = ("".join(_cell(cell, tag) for cell in row) for row, tag in cells)
    notes = "".join(f"<p>[{number}] {html.escape(note)}</p>\n" for number, note in _numbered(table))
    body = "".join(f"<tr>{line}</tr>\n" for line in lines)
    return f'<h3>{html.escape(table.title)}</h3>\n<div class="table"><table>{body}</table>{notes}</div>'


SHORT, LONG = 13, 24  # characters of fashion_mnist, and of a word that no column is widened for


def _cell(cell: str, tag: str) -> str:
    kind = "short" if len(cell) <= SHORT else "long" if max(map(len, re.split(r"[\s-]", cell))) > LONG else ""
    text = html.escape(cell) if tag == "th" or kind else html.escape(re.sub(r" (?=[(\[])", "\N{NO-BREAK SPACE}", cell))
    return f'<{tag} class="{kind}">{text}</{tag}>' if kind and tag == "td" else f"<{tag}>{text}</{tag}>"


def _numbered(table: Table):
    return enumerate(table.notes, start=1)


def markdown_text(text: str) -> str:
    """Text as Markdown that shows it, whatever is in it: no HTML, links, emphasis or formulas."""
    # an underscore inside a word is none of Markdown's
    special = re.sub(r"([\\`*~$|\[\]]|(?<![^\W_])_|_(?![^\W_]))", r"\\\1", text)
    return html.escape(special, quote=False)


def _line(cells) -> str:
    return "| " + " | ".join(cells) + " |"
