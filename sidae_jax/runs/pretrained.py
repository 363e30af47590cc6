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
