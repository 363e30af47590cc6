"""Where runs go, and which is meant, when the command line names no workdir."""

import pathlib

from sidae_jax.errors import UserError

ROOT = pathlib.Path("runs")


def newest_run() -> pathlib.Path:
    """The run under runs/ of the current folder that saved a checkpoint last. Raises UserError where there is none."""
    runs = {}
    for path in ROOT.glob("**/checkpoints/*"):
        if path.name.isdigit():
            run = path.parent.parent
            runs[run] = max(runs.get(run, 0.0), path.stat().st_mtime)
    if not runs:
        raise UserError(
            f"--workdir is missing, and {ROOT.absolute()} holds no checkpoint: give the folder of a run of "
            "sidae_jax.main, such as --workdir=runs/cifar10-sidae"
        )
    return max(runs, key=runs.__getitem__)


def newest_of_root() -> pathlib.Path:
    """The folder in runs/ that holds the newest run: it itself, or the sweep to which it belongs. Raises UserError."""
    run = newest_run()
    return ROOT / run.relative_to(ROOT).parts[0]


def announced(folder: pathlib.Path) -> str:
    """The folder as a --workdir, after it was said which it is."""
    print(f"workdir: {folder} (the newest; --workdir=DIR takes another)", flush=True)
    return str(folder)
