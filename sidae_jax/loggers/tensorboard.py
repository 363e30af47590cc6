"""TensorBoard: event files in the workdir's tensorboard/, by TensorBoard's own record writer.

torch.utils.tensorboard needs PyTorch; tensorboardX imports PyTorch where it is installed; TensorBoard's EventFileWriter
does so with TensorFlow. Its RecordWriter and messages need neither, and who looks at the files has them already.
"""

import io
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import UInt8
from PIL import Image
from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.hparams.summary_v2 import hparams_pb
from tensorboard.summary.writer.record_writer import RecordWriter

from sidae_jax.config_values import flat
from sidae_jax.loggers.protocol import LoggedRun, one_picture


class TensorBoard:
    """A new event file for each start of the run, beside those of the starts before."""

    def __init__(self, run: LoggedRun):
        folder = run.folder / "tensorboard"
        folder.mkdir(exist_ok=True)
        # the files of a folder are read in the order of their names
        self._writer = RecordWriter((folder / f"events.out.tfevents.{time.time_ns()}").open("xb"))
        self._write(Event(file_version="brain.Event:2"))
        # what earlier files have at or after this step is dropped by who reads them: it is done again
        first = run.step + 1 if run.step else 0
        self._write(Event(step=first, session_log=SessionLog(status=SessionLog.START)))
        config = {key: _number_or_text(value) for key, value in flat(run.config).items()}
        self._write(Event(summary=Summary.FromString(hparams_pb(config, trial_id=run.name).SerializeToString())))

    def log(self, values: Mapping[str, float | int], step: int) -> None:
        """Logs values by their names at a step."""
        scalars = [Summary.Value(tag=name, simple_value=value) for name, value in values.items()]
        self._write(Event(step=step, summary=Summary(value=scalars)))

    def pictures(self, name: str, images: UInt8[np.ndarray, "n h w 3"], step: int) -> None:
        """Logs images, 0..255, as one picture with a row for each."""
        picture, png = one_picture(images), io.BytesIO()
        Image.fromarray(picture).save(png, "png")
        height, width, channels = picture.shape
        image = Summary.Image(height=height, width=width, colorspace=channels, encoded_image_string=png.getvalue())
        self._write(Event(step=step, summary=Summary(value=[Summary.Value(tag=name, image=image)])))

    def close(self, *, finished: bool) -> None:
        """Closes the file."""
        del finished  # TensorBoard has no state of a run
        self._writer.close()

    def _write(self, event: Event) -> None:
        event.wall_time = time.time()
        self._writer.write(event.SerializeToString())
        self._writer.flush()  # for who is looking, and for the run that is killed


def _number_or_text(value: Any) -> bool | int | float | str:
    return value if isinstance(value, bool | int | float) else str(value)
