"""What a method sees of a batch, and the parts that methods share."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Array, Float, Int

from sidae_jax import streams
from sidae_jax.streams import Stream


class Batch(NamedTuple):
    """Images and two augmented views of each, all normalized; labels are -1 where there is none."""

    x: Float[Array, "n 32 32 3"]
    x1: Float[Array, "n 32 32 3"]
    x2: Float[Array, "n 32 32 3"]
    label: Int[Array, " n"]

    def targets(self, target: str) -> tuple[Float[Array, "n 32 32 3"], Float[Array, "n 32 32 3"]]:
        """What the two reconstructions are compared with: the image (paper, 3.1 and its formulas) or its views."""
        return {"image": (self.x, self.x), "view": (self.x1, self.x2)}[target]


def part_rng(seed: int) -> dict[str, np.random.Generator]:
    """Initial values for each part: the same seed gives the same encoder in every method."""
    parts = {"encoder": Stream.ENCODER, "predictor": Stream.PREDICTOR, "decoder": Stream.DECODER}
    parts["classifier"] = Stream.CLASSIFIER
    return {name: streams.generator(stream, seed) for name, stream in parts.items()}
