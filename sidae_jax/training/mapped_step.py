"""The step that a run calls: the plain step, wrapped for its input, its seeds and its platform, and compiled."""

import functools
from collections.abc import Callable

import optax
from flax import nnx
from jax.sharding import Mesh
from ml_collections import ConfigDict

from sidae_jax.config import view_settings
from sidae_jax.data.normalization import Normalization
from sidae_jax.training.resident import gather_batch, resident_spec
from sidae_jax.training.several_seeds import map_seeds
from sidae_jax.training.several_steps import repeat, steps_per_call
from sidae_jax.training.step import data_parallel, train_step


def make_mapped_step(
    config: ConfigDict,
    graphdef: nnx.GraphDef,
    optimizer: optax.GradientTransformation,
    normalization: Normalization,
    mesh: Mesh,
    *,
    resident: bool,
    num_seeds: int = 1,
) -> Callable:
    """Returns the jitted step (state, batch, key) -> (state, metrics).

    batch: a ResidentBatch if `resident`, else an ImageBatch.
    """
    step: Callable = functools.partial(
        train_step,
        graphdef=graphdef,
        optimizer=optimizer,
        views=view_settings(config),
        normalization=normalization,
        size=config.size,
        precision=config.precision,
        accumulate=config.accumulate,
    )
    if not resident:
        return data_parallel(step, mesh)
    step = gather_batch(step)
    if num_seeds > 1:
        step = map_seeds(step, mesh.devices.flat[0].platform)
    if steps_per_call(mesh) > 1:
        step = repeat(step)
    return data_parallel(step, mesh, resident_spec(num_seeds))
