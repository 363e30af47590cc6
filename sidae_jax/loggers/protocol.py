"""What a logger is, and what it is told of its run."""

import dataclasses
import pathlib
from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import UInt8

from sidae_jax.files import write_text

PROJECT = "sidae_jax"  # what W&B and Trackio call a project, and MLflow an experiment


@dataclasses.dataclass(frozen=True)
class LoggedRun:
    """A run with one seed, as its loggers see it.

    Attributes:
      folder: its workdir, absolute.
      top_folder: the workdir that the user gave: that of all seeds, or of this run.
      name: its name among other runs.
      group: the name of the runs that it belongs with.
      config: the config as JSON would have it.
      step: the checkpoint that this start goes on from; 0 at the beginning.
    """

    folder: pathlib.Path
    top_folder: pathlib.Path
    name: str
    group: str
    config: dict[str, Any]
    step: int


@runtime_checkable
class Logger(Protocol):
    """One library's run, which goes on where it was if it was there before.

    Its methods may raise anything, and take their time: `BackgroundLogger` calls them.
    """

    def log(self, values: Mapping[str, float | int], step: int) -> None:
        """Logs values by their names at a step."""

    def pictures(self, name: str, images: UInt8[np.ndarray, "n h w 3"], step: int) -> None:
        """Logs images, 0..255, as one picture with a row for each."""

    def close(self, *, finished: bool) -> None:
        """Writes what is left. finished: whether the run's last step is done, and not stopped before."""


def kept_id(folder: pathlib.Path) -> str | None:
    """Returns the id that `keep_id` wrote into a folder, by which a library knows its run; None if there is none."""
    path = folder / "run_id"
    return path.read_text().strip() if path.exists() else None


def keep_id(folder: pathlib.Path, run_id: str) -> None:
    """Writes the id for the next start."""
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / "run_id", run_id + "\n")


def one_picture(images: UInt8[np.ndarray, "n h w 3"]) -> UInt8[np.ndarray, "nh w 3"]:
    """Returns the images below each other."""
    return images.reshape(-1, *images.shape[2:])
