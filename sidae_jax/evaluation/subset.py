"""Which training examples keep their labels."""

import numpy as np
from jaxtyping import Int

from sidae_jax import streams
from sidae_jax.streams import Stream

_SEED = 0  # fixed: the subset is the same for all methods, checkpoints and seeds (paper, 4.1)


def labeled_rows(n: int, fraction: float) -> Int[np.ndarray, " k"]:
    """Returns the rows, ascending, of round(fraction * n) examples, at least one, drawn once for all runs."""
    count = max(1, round(fraction * n))
    return np.sort(streams.generator(Stream.LABELED_SUBSET, _SEED).permutation(n)[:count])
