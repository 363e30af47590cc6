"""The batch that a method is given, and the initial values that methods share."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Array, Float, Int

from sidae_jax import streams
from sidae_jax.streams import Stream


class Batch(NamedTuple):
    """Images and two augmented views of each, all normalized; a label of -1 means that an image has none."""

    x: Float[Array, "n size size 3"]
    x1: Float[Array, "n size size 3"]
    x2: Float[Array, "n size size 3"]
    label: Int[Array, " n"]

    def targets(self, target: str) -> tuple[Float[Array, "n size size 3"], Float[Array, "n size size 3"]]:
        """Returns the targets of the two reconstructions: the image (paper, 3.1 and its formulas) or its views."""
        return {"image": (self.x, self.x), "view": (self.x1, self.x2)}[target]


def part_rng(seed: int) -> dict[str, np.random.Generator]:
    """Returns a generator of initial values per part: a seed gives the same backbone in every method."""
    parts = {"encoder": Stream.ENCODER, "predictor": Stream.PREDICTOR, "decoder": Stream.DECODER}
    parts["classifier"] = Stream.CLASSIFIER
    return {name: streams.generator(stream, seed) for name, stream in parts.items()}
