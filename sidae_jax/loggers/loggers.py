"""The loggers of a run with one seed."""

import functools
import time
from collections.abc import Callable, Mapping

import numpy as np
from jaxtyping import UInt8

from sidae_jax.errors import one_line
from sidae_jax.loggers.background import BackgroundLogger
from sidae_jax.loggers.protocol import LoggedRun, Logger


def open_one(name: str, run: LoggedRun) -> Logger:
    """Imports the library of a logger and opens, or goes on with, its run. Raises whatever the library does."""
    Library: Callable[[LoggedRun], Logger]  # noqa: N806
    match name:
        case "tensorboard":
            from sidae_jax.loggers.tensorboard import TensorBoard as Library
        case "wandb":
            from sidae_jax.loggers.wandb import WandB as Library
        case "mlflow":
            from sidae_jax.loggers.mlflow import MLflow as Library
        case "trackio":
            from sidae_jax.loggers.trackio import Trackio as Library
    return Library(run)


class Loggers:
    """Hands what a run logs to all of its loggers.

    Every method returns sentences for the user on the loggers that had to be left out, each once. None raises.
    """

    def __init__(self, names: list[str], run: LoggedRun):
        """Opens the loggers of these names, of `names.LOGGERS`, in the background."""
        self._loggers = [BackgroundLogger(name, functools.partial(open_one, name, run)) for name in names]
        self._without_pictures = False
        self._closed = False

    def log(self, record: Mapping[str, float | int]) -> list[str]:
        """Logs the values of a line of metrics at its "step"."""
        values = dict(record)  # nobody changes it while it waits
        step = int(values.pop("step"))
        for each in self._loggers:
            each.call(lambda logger: logger.log(values, step))
        return self._news()

    def pictures(self, make: Callable[[], Mapping[str, UInt8[np.ndarray, "n h w 3"]]], step: int) -> list[str]:
        """Makes pictures by their names, each with a row for every image, and logs them, if any logger is left."""
        if self._without_pictures or not any(each.works for each in self._loggers):
            return self._news()
        try:
            made = make()
        except Exception as error:  # such as a device that has no memory left for them
            self._without_pictures = True
            problem = f"{type(error).__name__}: {one_line(error)[:500]}"
            return [f"warning: the loggers get no pictures from here on: {problem}", *self._news()]
        for each in self._loggers:
            for name, images in made.items():
                each.call(functools.partial(_picture, name=name, images=images, step=step))
        return self._news()

    def close(self, *, finished: bool) -> list[str]:
        """Closes the loggers. They get a minute for what they have not written yet, or ten seconds of a stopped run.

        finished: whether the run's last step is done. A second call does nothing.
        """
        if not self._closed:
            self._closed = True
            for each in self._loggers:
                each.close(finished=finished)
            end = time.monotonic() + (60 if finished else 10)
            for each in self._loggers:
                each.wait(max(0.0, end - time.monotonic()))
        return self._news()

    def _news(self) -> list[str]:
        return [news for each in self._loggers if (news := each.news())]


def _picture(logger: Logger, *, name: str, images: UInt8[np.ndarray, "n h w 3"], step: int) -> None:
    logger.pictures(name, images, step)
