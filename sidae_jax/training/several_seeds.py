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

    On a CPU the seeds take turns, since convolutions with the kernels of several seeds have no fast lowering there.
    """

    def step_of_each_seed(
        state: TrainState, batch: ResidentBatch, key: Key[Array, " seeds"]
    ) -> tuple[TrainState, dict[str, Float[Array, " seeds"]]]:
        def step_of_one(inputs):
            own_state, own_order, own_key = inputs
            return step(own_state, batch._replace(order=own_order), own_key)

        at_once = None if platform == "cpu" else key.shape[0]
        return lax.map(step_of_one, (state, batch.order, key), batch_size=at_once)

    return step_of_each_seed
