"""Trackio: an SQLite file in the workdir's trackio/, unless TRACKIO_SPACE_ID or TRACKIO_SERVER_URL names a server.

Trackio has one folder for a process, so the seeds of a run share that of their common workdir.
"""

import contextlib
import os
import pathlib
from collections.abc import Iterator, Mapping

import huggingface_hub.constants
import numpy as np
from jaxtyping import UInt8

from sidae_jax.config_values import flat
from sidae_jax.loggers.protocol import PROJECT, LoggedRun, one_picture

_SERVERS = ("TRACKIO_SPACE_ID", "TRACKIO_SERVER_URL")


class Trackio:
    """A Trackio run, which goes on by its name."""

    def __init__(self, run: LoggedRun):
        online = any(os.environ.get(name) for name in _SERVERS)
        trackio = _imported(run.top_folder / "trackio")
        with contextlib.nullcontext() if online else _no_hub():
            self._run = trackio.init(
                PROJECT,
                name=run.name,
                group=run.group,
                config=flat(run.config),
                resume="allow",
                embed=False,
                auto_log_gpu=False,
                auto_log_cpu=False,
            )
        self._image = trackio.Image
        self._next = 0 if online else _next_step(run.name)

    def log(self, values: Mapping[str, float | int], step: int) -> None:
        """Logs values by their names at a step."""
        if step >= self._next:  # Trackio takes none back: a step done again has the values that it had
            self._run.log(dict(values), step=step)

    def pictures(self, name: str, images: UInt8[np.ndarray, "n h w 3"], step: int) -> None:
        """Logs images, 0..255, as one picture with a row for each."""
        self._run.log({name: self._image(one_picture(images))}, step=step)

    def close(self, *, finished: bool) -> None:
        """Writes what is left."""
        del finished  # Trackio has no state of a run
        self._run.finish()


def _imported(folder: pathlib.Path):
    """Returns the library, which reads its folder from the environment when it is first imported."""
    given = "TRACKIO_DIR" in os.environ
    if not given:
        os.environ["TRACKIO_DIR"] = str(folder)
    try:
        import trackio
        import trackio.utils
    finally:
        if not given:
            del os.environ["TRACKIO_DIR"]
    if not given and folder != trackio.utils.TRACKIO_DIR:
        raise RuntimeError(f"Trackio writes to {trackio.utils.TRACKIO_DIR} as long as this process lives")
    return trackio


def _next_step(name: str) -> int:
    from trackio.sqlite_storage import SQLiteStorage

    last = SQLiteStorage.get_max_step_for_run(PROJECT, name)
    return 0 if last is None else last + 1


@contextlib.contextmanager
def _no_hub() -> Iterator[None]:
    """Keeps Trackio from asking the Hugging Face hub for the user's name, which it does if there is a token."""
    before = huggingface_hub.constants.HF_HUB_OFFLINE
    huggingface_hub.constants.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        huggingface_hub.constants.HF_HUB_OFFLINE = before
