"""Write a report of the runs under a folder: tables beside the published figures, curves and pictures.

python -m sidae_jax.report [--workdir=DIR] [--out=DIR/report]

DIR is the workdir of a sweep, or of a run. The report is made of the runs' files alone, report.md with figures/ and
report.html, one page that needs no other file; the same files give the same report, but for the line with the date.
"""

from sidae_jax import interrupt  # noqa: F401, I001 (first: what follows takes a while to import)

import datetime
import html
import pathlib

from absl import flags

from sidae_jax import cli
from sidae_jax.errors import UserError
from sidae_jax.runs import newest
from sidae_jax.files import open_folder, write_text

_WORKDIR = flags.DEFINE_string(
    "workdir", None, "Folder with the runs, such as a sweep's; by default the newest in runs/."
)
_OUT = flags.DEFINE_string("out", None, "Folder of the report; by default report/ in the workdir.")

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
    "Accuracies of the last checkpoint of each run, the mean over its seeds with the standard error in brackets where "
    "there are two seeds or more; several evaluations of one pre-training are averaged first and count as one. The "
    "bands of the curves are of one standard error. A protocol's settings are named where they are not its defaults, "
    "and splits where they are not train and test; fine-tuning an untrained backbone is training from scratch, with "
    "the normalization of the data set in the column 'on'. An empty cell was not run, or not published. A published "
    "figure stands beside a run with the same settings; images, epochs and batch may be others, which a note at the "
    "figure then says: such a run does not compare with it. A run whose other settings differ has no published figure "
    "beside it. The published figures are those of 200 epochs on all images and five seeds (the report's: 150 epochs, "
    "its seeds not said)."
)


def main() -> None:
    """Raises UserError."""
    workdir = _WORKDIR.value or newest.announce(newest.newest_run_or_sweep())
    folder = pathlib.Path(workdir).expanduser().absolute()
    from sidae_jax.report import results
    from sidae_jax.report.reference import printable
    from sidae_jax.report.runs import runs as runs_in

    runs, name = runs_in(folder) if folder.is_dir() else [], printable(folder.name)
    rows = results.read(runs)
    if not rows:
        raise UserError(f"--workdir={workdir} holds no results: evaluate its runs by sidae_jax.linear_eval first")
    try:
        from sidae_jax.report import figures, pictures, tables, training
    except ImportError as error:
        raise UserError(f"{error}: a report needs it, pip install 'sidae_jax[report]'") from error
    summaries = results.summarize(rows)
    made = tables.tables(summaries)
    curves = figures.accuracy_by_epoch(summaries) | figures.accuracy_by_weight(summaries)
    curves |= figures.accuracy_by_dimension(summaries) | training.training_curves(runs)
    seen = pictures.read(runs)
    shown = pictures.augmentations(seen) | pictures.reconstructions(seen) | pictures.projections(seen)
    drawn = {"Curves": curves, "Pictures": shown}
    out = open_folder(_OUT.value or str(folder / "report"))
    date = f"Made on {datetime.date.today().isoformat()}."
    number_of = {title: number for number, title in enumerate(curves | shown, start=1)}
    (out / "figures").mkdir(exist_ok=True)

    parts = [
        f"# {tables.markdown_text(name)}",
        date,
        _NOTE,
        "## Tables",
        *(tables.markdown(table).strip() for table in made),
    ]
    for section, figures_of in drawn.items():
        parts += [f"## {section}"] if figures_of else []
        for title, svg in figures_of.items():
            file, shown = f"figures/{number_of[title]:02d}.svg", tables.markdown_text(title)
            write_text(out / file, svg)
            parts.append(f"### {shown}\n\n![{shown}]({file})")
    write_text(out / "report.md", "\n\n".join(parts) + "\n")
    write_text(out / "report.html", _page(name, date, [tables.page(table) for table in made], drawn))
    print(f"{len(made)} tables and {len(number_of)} figures of {len(rows)} results in {out}/report.html")


def _page(name, date, tables, drawn) -> str:
    body = [f"<h1>{html.escape(name)}</h1>", f"<p>{date}</p>", f"<p>{_NOTE}</p>", "<h2>Tables</h2>", *tables]
    for section, figures_of in drawn.items():
        body += [f"<h2>{section}</h2>"] if figures_of else []
        for title, svg in figures_of.items():
            body.append(f"<figure><figcaption>{html.escape(title)}</figcaption>{svg}</figure>")
    head = f'<meta charset="utf-8"><title>{html.escape(name)}</title><style>{_STYLE}</style>'
    return f'<!doctype html>\n<html lang="en"><head>{head}</head>\n<body>\n' + "\n".join(body) + "\n</body></html>\n"


if __name__ == "__main__":
    cli.run_without_config(main)
