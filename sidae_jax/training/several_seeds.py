"""Several seeds in one program: their states stacked along a first axis."""

from collections.abc import Callable, Sequence

import jax
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Key

from sidae_jax.training.resident import ResidentBatch
from sidae_jax.training.step import TrainState


def stack(states: Sequence[TrainState]) -> TrainState:
    """Returns the states of the seeds as one, stacked along a first axis; a single state as it is."""
    if len(states) == 1:
        return states[0]
    return jax.tree.map(lambda *leaves: np.stack([np.asarray(leaf) for leaf in leaves]), *states)


def unstack(state: TrainState, num_seeds: int) -> list[TrainState]:
    """Returns the state of each seed: undoes `stack`."""
    if num_seeds == 1:
        return [state]
    return [jax.tree.map(lambda leaf, i=i: leaf[i], state) for i in range(num_seeds)]


def map_seeds(step: Callable, platform: str) -> Callable:
    """Returns `step` for several seeds: state, order, key and metrics have a first axis over the seeds.

    The seeds take turns, since convolutions with the kernels of several seeds at once have no fast lowering on any
    platform: on a CPU in a loop, which is compiled once; on accelerators one after another, without the copies of their
    states that a loop would make (docs/performance.md).
    """

    def step_of_each_seed(
        state: TrainState, batch: ResidentBatch, key: Key[Array, " seeds"]
    ) -> tuple[TrainState, dict[str, Float[Array, " seeds"]]]:
        def step_of_one(_, inputs):
            own_state, own_order, own_key = inputs
            return None, step(own_state, batch._replace(order=own_order), own_key)

        return lax.scan(step_of_one, None, (state, batch.order, key), unroll=platform != "cpu")[1]

    return step_of_each_seed
