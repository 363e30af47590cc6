"""The folder and the checkpoints of a run, for programs that read them."""

import os
import pathlib

from sidae_jax.errors import UserError
from sidae_jax.files import existing_folder
from sidae_jax.runs.checkpoint import Checkpoints


def run_folder(workdir: str | os.PathLike, name: str = "--workdir") -> pathlib.Path:
    """Returns the absolute path of a run. Raises UserError, which calls it `name`, if there is none."""
    folder = existing_folder(workdir, name)
    if not (folder / "checkpoints").is_dir():
        inside = (path for pattern in ("*/checkpoints", "*/*/checkpoints") for path in folder.glob(pattern))
        runs = sorted(path.parent.relative_to(folder).as_posix() for path in inside)
        wanted = f"one of the runs in it, such as {name}={workdir}/{runs[0]}" if runs else "a run of sidae_jax.main"
        raise UserError(f"{name}={workdir} has no folder checkpoints: give the folder of {wanted}")
    return folder


def one_step(checkpoints: Checkpoints, step: int | None, *, name: str = "step", last: str = "None for the last") -> int:
    """Returns `step` if it is saved, or the last one that is if it is None.

    Raises UserError, which calls the argument `name` and says by `last` how to ask for the last one.
    """
    saved = saved_steps(checkpoints)
    if step is None:
        return saved[-1]
    if step not in saved:
        problem = "is the untrained backbone, which no checkpoint has" if step == 0 else "is not saved"
        raise UserError(
            f"{name}={step!r} {problem} in {checkpoints.directory}: give one of the integers "
            f"{', '.join(map(str, saved))}, or {last}"
        )
    return step


def saved_steps(checkpoints: Checkpoints, only_step: int | None = None) -> list[int]:
    """Returns the saved steps, or just `only_step`, or none if that is 0. Raises UserError if they are missing."""
    saved = checkpoints.steps()
    if not saved:
        raise UserError(f"{checkpoints.directory} holds no checkpoint yet: let the run save its first one")
    if only_step is None:
        return saved
    if only_step not in (0, *saved):
        raise UserError(
            f"--step={only_step} is not saved in {checkpoints.directory}: "
            f"give one of {', '.join(map(str, saved))}, 0 for the untrained backbone alone, or no --step for all"
        )
    return [only_step] if only_step else []
