"""Weights & Biases: offline runs in the workdir's wandb/, unless WANDB_MODE says otherwise."""

import os
import secrets
from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import UInt8

from sidae_jax.array_cache import user_folder
from sidae_jax.loggers.protocol import PROJECT, LoggedRun, keep_id, kept_id, one_picture

# read when it is imported, and by its service: reports of errors to W&B, and its log files
os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
os.environ.setdefault("WANDB_CACHE_DIR", str(user_folder() / "wandb"))

import wandb


class WandB:
    """A W&B run whose id is kept in wandb/run_id; offline each start has a folder of its own with this id."""

    def __init__(self, run: LoggedRun):
        run_id = kept_id(run.folder / "wandb")
        if run_id is None:
            run_id = secrets.token_hex(8)
            keep_id(run.folder / "wandb", run_id)
        mode: Any = os.environ.get("WANDB_MODE", "offline")  # W&B says what it may be
        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", PROJECT),
            dir=str(run.folder),
            id=run_id,
            resume="allow",
            reinit="create_new",  # beside the runs of other seeds
            mode=mode,
            name=run.name,
            group=run.group,
            config=run.config,
            # what is not uploaded a minute after the run's end is left to `wandb sync`
            settings=wandb.Settings(silent=True, console="off", disable_git=True, disable_code=True, finish_timeout=60),
        )
        self._next = self._run.step  # 0, or online the step after the last that the server has

    def log(self, values: Mapping[str, float | int], step: int) -> None:
        """Logs values by their names at a step."""
        if step >= self._next:  # W&B takes none back: a step done again has the values that it had
            self._run.log(dict(values), step=step)

    def pictures(self, name: str, images: UInt8[np.ndarray, "n h w 3"], step: int) -> None:
        """Logs images, 0..255, as one picture with a row for each."""
        if step >= self._next:
            self._run.log({name: wandb.Image(one_picture(images))}, step=step)

    def close(self, *, finished: bool) -> None:
        """Writes, or online uploads, what is left."""
        self._run.finish(exit_code=0 if finished else 1)
