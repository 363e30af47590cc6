"""A report as Markdown and as HTML. Whatever a name holds is shown as it is and has no effect."""

import dataclasses
import html
import re
from collections.abc import Iterable, Sequence

from sidae_jax.report.tables import Table

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #222; max-width: 80rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; font-size: 0.8rem; }
.table { margin: 1rem 0 2rem; overflow-x: auto; }
.table p { margin: 0.25rem; font-size: 0.8rem; }
th, td { padding: 0.25rem 0.4rem; border-bottom: 1px solid #ddd; text-align: left; vertical-align: top; }
td { font-variant-numeric: tabular-nums; }
.long { overflow-wrap: anywhere; }
.short { white-space: nowrap; }
figure { display: inline-block; margin: 0 1rem 1rem 0; max-width: 100%; }
figure svg { max-width: 100%; height: auto; }
"""
_NOTE = (
    "Each accuracy is that of the last checkpoint of a run that was evaluated: the mean over the seeds, with the "
    "standard error in brackets if there are at least two seeds. Several evaluations of one pre-training are "
    "averaged first and count as one. Bands around curves show one standard error. Titles name the settings of a "
    "protocol that differ from its defaults, and splits other than train and test. Fine-tuning an untrained "
    "backbone is training from scratch; it uses the normalization of the data set that its row names. An empty cell "
    "was not run or not published. A published accuracy stands beside every run with the same settings. If the "
    "images, the epochs, the batch size or the width of the run are not the published ones, a note says so, and the "
    "two accuracies are not comparable. A run that differs in any other setting has no published accuracy beside it. "
    "The published accuracies are for 200 epochs on all images and five seeds (those of the report: 150 epochs, "
    "number of seeds not stated)."
)
_LEFT_OUT = "Left out of this report"


@dataclasses.dataclass(frozen=True)
class Report:
    """A report: its tables, and by the titles of its sections their figures, each an SVG by its title.

    `left_out` says what of the runs is not in it, and why.
    """

    name: str
    tables: list[Table]
    sections: dict[str, dict[str, str]]
    left_out: Sequence[str] = ()

    @property
    def figures(self) -> dict[str, str]:
        """The figures of all sections in the order of their numbers, which start at 1."""
        return {title: svg for figures in self.sections.values() for title, svg in figures.items()}


def figure_file(number: int) -> str:
    """Returns the path of a figure inside the report's folder."""
    return f"figures/{number:02d}.svg"


def markdown_page(report: Report) -> str:
    """Returns the report as Markdown, which links to the files of its figures."""
    parts = [f"# {markdown_text(report.name)}", _NOTE, "## Tables"]
    parts += [markdown_table(table).strip() for table in report.tables]
    file_of = {title: figure_file(number) for number, title in enumerate(report.figures, start=1)}
    for section, figures in report.sections.items():
        parts += [f"## {section}"] if figures else []
        for title in figures:
            text = markdown_text(title)
            parts.append(f"### {text}\n\n![{text}]({file_of[title]})")
    if report.left_out:
        parts += [f"## {_LEFT_OUT}", "\n".join(f"* {markdown_text(text)}" for text in report.left_out)]
    return "\n\n".join(parts) + "\n"


def html_page(report: Report) -> str:
    """Returns the report as one HTML page with its figures inside."""
    name = html.escape(report.name)
    body = [f"<h1>{name}</h1>", f"<p>{_NOTE}</p>", "<h2>Tables</h2>"]
    body += [html_table(table) for table in report.tables]
    for section, figures in report.sections.items():
        body += [f"<h2>{section}</h2>"] if figures else []
        for title, svg in figures.items():
            body.append(f"<figure><figcaption>{html.escape(title)}</figcaption>{svg}</figure>")
    if report.left_out:
        body += [
            f"<h2>{_LEFT_OUT}</h2>",
            "<ul>",
            *(f"<li>{html.escape(text)}</li>" for text in report.left_out),
            "</ul>",
        ]
    head = f'<meta charset="utf-8"><title>{name}</title><style>{_STYLE}</style>'
    return f'<!doctype html>\n<html lang="en"><head>{head}</head>\n<body>\n' + "\n".join(body) + "\n</body></html>\n"


def markdown_table(table: Table) -> str:
    """Returns a GitHub table below its title and above its notes; without rows there is no table between them."""
    lines = [f"### {markdown_text(table.title)}"]
    if table.rows:
        lines += ["", _markdown_row(table.header), _markdown_row(["---"] * len(table.header))]
    lines += [_markdown_row(map(markdown_text, row)) for row in table.rows]
    for number, note in enumerate(table.notes, start=1):
        lines += ["", f"\\[{number}\\] {markdown_text(note)}" if table.rows else markdown_text(note)]
    return "\n".join(lines) + "\n"


def _markdown_row(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def markdown_text(text: str) -> str:
    """Escapes text for Markdown, so that it forms no HTML, link, emphasis, formula or table cell."""
    # Markdown ignores an underscore inside a word.
    special = re.sub(r"([\\`*~$|\[\]]|(?<![^\W_])_|_(?![^\W_]))", r"\\\1", text)
    return html.escape(special, quote=False)


def html_table(table: Table) -> str:
    """Returns the table in HTML, or only its notes if it has no rows.

    Short cells stay on one line; long words may break anywhere.
    """
    lines = ["".join(f"<th>{html.escape(cell)}</th>" for cell in table.header)]
    lines += ["".join(map(_html_cell, row)) for row in table.rows]
    body = "".join(f"<tr>{line}</tr>\n" for line in lines)
    shown = f"<table>{body}</table>" if table.rows else ""
    notes = "".join(
        f"<p>{f'[{number}] ' if table.rows else ''}{html.escape(note)}</p>\n"
        for number, note in enumerate(table.notes, start=1)
    )
    return f'<h3>{html.escape(table.title)}</h3>\n<div class="table">{shown}{notes}</div>'


_SHORT = 13  # characters of fashion_mnist: a cell up to this length stays on one line
_LONG = 24  # characters: no column becomes wider for a longer word


def _html_cell(cell: str) -> str:
    if len(cell) <= _SHORT:
        return f'<td class="short">{html.escape(cell)}</td>'
    if max(map(len, re.split(r"[\s-]", cell))) > _LONG:
        return f'<td class="long">{html.escape(cell)}</td>'
    with_error = re.sub(r" (?=[(\[])", "\N{NO-BREAK SPACE}", cell)  # accuracy, standard error and note on one line
    return f"<td>{html.escape(with_error)}</td>"
