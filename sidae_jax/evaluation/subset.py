"""Which training examples keep their labels."""

import numpy as np
from jaxtyping import Int

_SEED = 20240605  # fixed: the subset is the same for all methods, checkpoints and seeds (paper, 4.1)


def labelled_rows(n: int, fraction: float) -> Int[np.ndarray, " k"]:
    """The rows, ascending, of round(fraction * n) examples, at least one, drawn once for all runs."""
    count = max(1, round(fraction * n))
    return np.sort(np.random.default_rng(_SEED).permutation(n)[:count])
