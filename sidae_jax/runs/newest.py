"""The run that a command takes if the command line names none."""

import pathlib

from sidae_jax.errors import UserError
from sidae_jax.runs import ROOT


def newest_run() -> pathlib.Path:
    """Returns the run under ./runs/ that saved a checkpoint last. Raises UserError if there is none."""
    checkpoints = [path for path in ROOT.glob("**/checkpoints/*") if path.name.isdigit()]
    if not checkpoints:
        raise UserError(
            f"--workdir is missing, and {ROOT.absolute()} holds no checkpoint: give the folder of a run of "
            "sidae_jax.main, such as --workdir=runs/cifar10-sidae"
        )
    return max(checkpoints, key=lambda path: path.stat().st_mtime).parent.parent


def newest_run_or_sweep() -> pathlib.Path:
    """Returns the newest run, or the sweep in runs/ to which it belongs. Raises UserError if there is none."""
    run = newest_run()
    return ROOT / run.relative_to(ROOT).parts[0]


def announce(folder: pathlib.Path) -> str:
    """Prints which folder was taken, and returns it as a --workdir."""
    print(f"workdir: {folder} (the newest; --workdir=DIR takes another)", flush=True)
    return str(folder)
