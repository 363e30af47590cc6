"""Builds a report from the runs and their results, and writes its files."""

import pathlib
from collections.abc import Sequence

from sidae_jax.files import write_text
from sidae_jax.report import claim_tables, curves, image_figures, pages, summaries, tables, training_curves
from sidae_jax.report.run_index import Run
from sidae_jax.report.run_styles import RunStyles
from sidae_jax.runs.values import printable


def build(name: str, runs: Sequence[Run], rows: Sequence[summaries.Row]) -> pages.Report:
    """Returns the report on these runs and the results of their evaluations."""
    summarized = summaries.summarize(rows)
    pictures = image_figures.read(runs)
    styles = RunStyles(run.pretraining for run in runs)
    return pages.Report(
        name=printable(name),
        tables=[*(claim_tables.claim_tables(rows) or [claim_tables.NO_CLAIM]), *tables.accuracy_tables(summarized)],
        sections={
            "Curves": curves.accuracy_by_epoch(summarized, styles)
            | curves.accuracy_by_weight(summarized)
            | curves.accuracy_by_dimension(summarized)
            | training_curves.training_curves(runs, styles),
            "Pictures": image_figures.augmentations(pictures)
            | image_figures.reconstructions(pictures)
            | image_figures.projections(pictures),
        },
    )


def write(report: pages.Report, folder: pathlib.Path) -> None:
    """Writes report.md, its figures/ and report.html."""
    (folder / "figures").mkdir(exist_ok=True)
    for number, svg in enumerate(report.figures.values(), start=1):
        write_text(folder / pages.figure_file(number), svg)
    write_text(folder / "report.md", pages.markdown_page(report))
    write_text(folder / "report.html", pages.html_page(report))
