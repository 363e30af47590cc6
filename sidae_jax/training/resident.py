"""The step on a data set that lies whole on every device, from which it gathers its batch."""

import math
from collections.abc import Callable
from typing import NamedTuple

from jax.sharding import PartitionSpec as P
from jaxtyping import Array, Int, Int32, Key, UInt8

from sidae_jax.losses import Metrics
from sidae_jax.mesh import AXIS
from sidae_jax.training.step import ImageBatch, TrainState


class ResidentBatch(NamedTuple):
    """The whole data set, the rows of every batch of an epoch, and how many steps of it one call does.

    An image is a row of bytes: TPUs would copy an array of four axes to another layout in every step.
    With several seeds `order` has a first axis over them.
    """

    images: UInt8[Array, "images bytes"]
    labels: Int[Array, " images"]
    order: Int32[Array, "*seeds steps n"]
    num_steps: Int32[Array, ""]


def resident_spec(num_seeds: int) -> ResidentBatch:
    """Returns how a ResidentBatch lies on the devices: the batches of the order in parts, all else whole."""
    return ResidentBatch(P(), P(), P(None, AXIS) if num_seeds == 1 else P(None, None, AXIS), P())  # type: ignore[arg-type]


def gather_batch(step: Callable) -> Callable:
    """Returns `step` on a ResidentBatch: it takes the batch of the state's step."""

    def resident_step(state: TrainState, batch: ResidentBatch, key: Key[Array, ""]) -> tuple[TrainState, Metrics]:
        rows = batch.order[state.step % batch.order.shape[0]]
        side = math.isqrt(batch.images.shape[1] // 3)
        images = batch.images[rows].reshape(-1, side, side, 3)
        return step(state, ImageBatch(images, batch.labels[rows]), key)

    return resident_step
