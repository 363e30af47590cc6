"""Several steps in one call, for CPUs.

On a CPU the memory of a program's intermediate values is new in each call, and touching it took a sixth of a step's
processor time (docs/performance.md). Accelerators keep that memory, and a loop would make them wait for its condition.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.sharding import Mesh
from jaxtyping import Array, Int

from sidae_jax.training.step import TrainState


def steps_per_call(mesh: Mesh) -> int:
    """Returns the most steps that one call does."""
    return 5 if mesh.devices.flat[0].platform == "cpu" else 1


def repeat(step: Callable) -> Callable:
    """Returns a step that does batch.num_steps >= 1 steps: the last state, and the metrics of the last step."""

    def steps(state: TrainState, batch: Any, key: Array) -> tuple[TrainState, dict[str, Array]]:
        return repeat_steps(step, batch.num_steps, state, batch, key)

    return steps


def repeat_steps(step: Callable, num_steps: Int[Array, ""], state: TrainState, *arguments: Any) -> Any:
    """Does step(state, *arguments) `num_steps` >= 1 times; returns the last state and the metrics of the last step."""
    step = jax.jit(step)  # traced once, for the shapes of its metrics and for the loop
    _, shapes = jax.eval_shape(step, state, *arguments)
    metrics = jax.tree.map(lambda metric: jnp.zeros(metric.shape, metric.dtype), shapes)
    return lax.fori_loop(0, num_steps, lambda _, last: step(last[0], *arguments), (state, metrics))
