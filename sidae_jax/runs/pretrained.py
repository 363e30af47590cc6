"""The folder and the checkpoints of a run, for programs that read them."""

import os
import pathlib

from sidae_jax.errors import UserError
from sidae_jax.files import existing_folder
from sidae_jax.monitoring import Measured
from sidae_jax.runs import measured, metrics_file
from sidae_jax.runs.checkpoint import Checkpoints
from sidae_jax.runs.measured import BEST


def run_folder(workdir: str | os.PathLike, name: str = "--workdir") -> pathlib.Path:
    """Returns the absolute path of a run. Raises UserError, which calls it `name`, if there is none."""
    folder = existing_folder(workdir, name)
    if not (folder / "checkpoints").is_dir():
        inside = (path for pattern in ("*/checkpoints", "*/*/checkpoints") for path in folder.glob(pattern))
        runs = sorted(path.parent.relative_to(folder).as_posix() for path in inside)
        wanted = f"one of the runs in it, such as {name}={workdir}/{runs[0]}" if runs else "a run of sidae_jax.main"
        raise UserError(f"{name}={workdir} has no folder checkpoints: give the folder of {wanted}")
    return folder


def one_step(
    checkpoints: Checkpoints, step: int | str | None, *, name: str = "step", last: str = "None for the last"
) -> int:
    """Returns a saved step: `step` itself, the last one if it is None, or that of the highest kNN if it is "best".

    Raises UserError, which calls the argument `name` and says by `last` how to ask for the last one.
    """
    saved = _saved(checkpoints)
    if step is None:
        return saved[-1]
    if step == BEST:
        return _best(checkpoints, name)
    if step not in saved:
        problem = "is the untrained backbone, which no checkpoint has" if step == 0 else "is not saved"
        raise UserError(
            f"{name}={step!r} {problem} in {checkpoints.directory}: give one of the integers "
            f"{', '.join(map(str, saved))}, {BEST} for the one with the highest kNN, or {last}"
        )
    return step


def evaluated_steps(checkpoints: Checkpoints, only_step: int | str | None = None) -> list[int]:
    """Returns the steps that an evaluation is of: just `only_step`, none if that is 0, or by default those of the run.

    Those are the scheduled ones and the last; one kept as the best alone is evaluated where it is asked for, since it
    is another step in each seed. Raises UserError if they are missing.
    """
    saved = _saved(checkpoints)
    if only_step is None:
        return [step for step in saved if step == saved[-1] or not checkpoints.is_temporary(step)]
    if only_step == BEST:
        return [_best(checkpoints, "--step")]
    if only_step not in (0, *saved):
        raise UserError(
            f"--step={only_step} is not saved in {checkpoints.directory}: "
            f"give one of {', '.join(map(str, saved))}, {BEST} for the one with the highest kNN, 0 for the untrained "
            "backbone alone, or no --step for all"
        )
    return [only_step] if only_step else []


def _saved(checkpoints: Checkpoints) -> list[int]:
    if saved := checkpoints.steps():
        return saved
    raise UserError(f"{checkpoints.directory} holds no checkpoint yet: let the run save its first one")


def _best(checkpoints: Checkpoints, name: str) -> int:
    folder = checkpoints.directory.parent
    try:
        damage = metrics_file.problem(folder / "metrics.jsonl")
    except OSError as error:
        damage = f"metrics.jsonl cannot be read ({error.strerror})"
    if damage is not None:
        raise UserError(
            f"{name}={BEST} needs the kNN of each step, but in {folder} {damage}: put back a copy of metrics.jsonl, or "
            "give the number of a step"
        )
    best = Measured(measured.read(folder)).best_step(checkpoints.steps())
    if best is None:
        raise UserError(
            f"{name}={BEST}, but {folder / 'metrics.jsonl'} has no kNN of a saved step, as for "
            "images without labels, or with config.monitor_every=0: give the number of a step"
        )
    return best
