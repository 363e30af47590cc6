"""Write a report on the runs under a folder: tables beside the published accuracies, curves and pictures.

python -m sidae_jax.report [--workdir=DIR] [--out=DIR/report]

DIR is the workdir of a sweep or of a single run. The report is computed from the files of the runs alone. It consists
of report.md with figures/, and of report.html, a single page that needs no other file. The same files give the same
report, byte for byte.
"""

from sidae_jax import interrupt  # noqa: F401, I001 (first, because the other imports take a while)

import dataclasses

from absl import flags

from sidae_jax import cli
from sidae_jax.errors import UserError
from sidae_jax.runs import newest
from sidae_jax.files import disk_trouble_told, existing_folder, open_folder

_WORKDIR = flags.DEFINE_string(
    "workdir", None, "Folder with the runs, such as the workdir of a sweep; by default the newest in runs/."
)
_OUT = flags.DEFINE_string("out", None, "Folder for the report; by default report/ in the workdir.")


def main() -> None:
    """Writes the report and prints where it is.

    Raises:
      UserError: if the runs have no results, matplotlib is missing, or a folder cannot be used.
    """
    workdir = _WORKDIR.value or newest.announce(newest.newest_run_or_sweep())
    folder = existing_folder(workdir)
    from sidae_jax.report import left_out, run_index, summaries

    with left_out.noted() as messages:
        runs = run_index.find_runs(folder)
        rows = summaries.read(runs)
        if not runs:
            raise UserError(
                f"--workdir={workdir} holds no run: give a folder with runs, each of which has a config.json"
            )
        if not rows:
            raise UserError(f"--workdir={workdir} holds no results: evaluate its runs with sidae_jax.linear_eval first")
        try:
            from sidae_jax.report import build
        except ImportError as error:
            raise UserError(f"{error}: a report needs it, pip install 'sidae-jax[report]'") from error
        report = build.build(folder.name, runs, rows)
    report = dataclasses.replace(report, left_out=left_out.shown(messages, folder))
    out = open_folder(_OUT.value, flag="--out") if _OUT.value else open_folder(folder, "report")
    with disk_trouble_told(out, "give the same command again"):
        build.write(report, out)
    count = sum(bool(table.rows) for table in report.tables)
    print(f"{count} tables and {len(report.figures)} figures of {len(rows)} results in {out}/report.html")


if __name__ == "__main__":
    cli.run_without_config(main)
