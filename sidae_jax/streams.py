"""The streams of random numbers, each with a tag that only this file assigns, so that no two streams ever meet.

A stream is a function of its tag and a seed. NumPy's generators are seeded by [tag, seed]; JAX's keys fold the tag into
the seed's key before anything else.
"""

import enum

import jax
import numpy as np
from jaxtyping import Array, Int, Key


class Stream(enum.IntEnum):
    """The tags. None is 0, since NumPy seeds [s, 0] and s alike, and no tag is ever given to another stream."""

    BATCH_ORDER = 1  # pre-training: the images of every batch
    VIEWS = 2  # pre-training: augmentations
    METHOD = 3  # pre-training: what a method draws itself, such as a VAE's noise
    ENCODER = 4  # initial values, as the next three
    PREDICTOR = 5
    DECODER = 6
    CLASSIFIER = 7
    PROBE_INIT = 8  # evaluation: initial values of the layers that a protocol trains
    PROBE_ORDER = 9  # evaluation: the examples of every batch
    PICTURES = 10  # the views shown in a report
    MONITOR = 11  # pre-training: the images whose features are measured on the way, and the views of them
    # evaluation: which training images keep their labels; the tag of all versions, so that the subset stays the same
    LABELED_SUBSET = 20240605


def generator(stream: Stream, seed: int) -> np.random.Generator:
    """Returns the stream of a seed, 0 <= seed < 2**32, for NumPy."""
    return np.random.default_rng([stream, seed])


def integer(stream: Stream, seed: int) -> int:
    """Returns a number in [0, 2**32) for the stream of a seed, for libraries that take no more.

    Neighboring seeds give numbers far apart, so a library that adds an epoch to its seed does not reach another seed's.
    """
    return int(np.random.SeedSequence([stream, seed]).generate_state(1)[0])


def fold(key: Key[Array, "*seeds"], stream: Stream) -> Key[Array, "*seeds"]:
    """Returns the stream of the seed whose jax.random.key is `key`."""
    return jax.random.fold_in(key, stream)


def example_keys(
    key: Key[Array, ""], stream: Stream, step: Int[Array | np.number, ""], places: Int[Array, " n"]
) -> Key[Array, " n"]:
    """Returns one key per example of a step: a function of the seed, the step and the place in the global batch."""
    return jax.vmap(jax.random.fold_in, (None, 0))(jax.random.fold_in(fold(key, stream), step), places)
