"""The train step: one function for each device, mapped over the devices."""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jax import lax
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P
from jaxtyping import Array, Float, Int, Key, UInt8

from sidae_jax import streams
from sidae_jax.data.normalization import Normalization
from sidae_jax.losses import Metrics
from sidae_jax.mesh import AXIS
from sidae_jax.methods.batch import Batch
from sidae_jax.networks.precision import products_in
from sidae_jax.streams import Stream
from sidae_jax.views import ViewSettings, make_views

_ROWS = P(AXIS)
_Gradients = tuple[nnx.State, Metrics, nnx.State]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class TrainState:
    """All that training updates. The step donates its input, so do not use a state after passing it in."""

    step: Any  # int32 scalar: the number of steps done
    params: nnx.State
    batch_stats: nnx.State
    opt_state: Any


class ImageBatch(NamedTuple):
    """The images of one step, 0..255, and their labels; -1 if an image has none."""

    images: UInt8[Array, "n size size 3"]
    labels: Int[Array, " n"]


def train_step(
    state: TrainState,
    batch: ImageBatch,
    key: Key[Array, ""],
    *,
    graphdef: nnx.GraphDef,
    optimizer: optax.GradientTransformation,
    views: ViewSettings,
    normalization: Normalization,
    size: int | None = None,
    precision: str = "tensorfloat32",
    accumulate: int = 1,
) -> tuple[TrainState, Metrics]:
    """Makes the views of one device's images and updates the state.

    The random numbers of an example depend on the key, the step and the example's place in the global batch. The views
    are of `size`, by default that of the images.

    accumulate: into how many equal parts the batch is divided. They are worked through one after another, views
      included, in the memory of one part; gradients and metrics are the means over the parts, and the running
      statistics of BatchNorm move in each. The device's images are its share of the first part, then of the second,
      and so on, as `input_pipeline.in_parts` has it.
    """
    n = batch.images.shape[0] // accumulate
    places = lax.axis_index(AXIS) * n + jnp.arange(n)
    mean, std = normalization.as_arrays()

    def gradients_of(batch_stats: nnx.State, batch: ImageBatch, places: Int[Array, " n"]) -> _Gradients:
        view_keys = streams.example_keys(key, Stream.VIEWS, state.step, places)
        method_keys = streams.example_keys(key, Stream.METHOD, state.step, places)
        x, x1, x2 = make_views(view_keys, batch.images, views, mean, std, size)
        views_of = Batch(x, x1, x2, batch.labels)
        return _gradients(state.params, batch_stats, views_of, method_keys, graphdef, precision)

    if accumulate == 1:
        return _apply(state, *gradients_of(state.batch_stats, batch, places), optimizer)
    parts = jax.tree.map(lambda array: array.reshape(accumulate, n, *array.shape[1:]), batch)
    places += lax.axis_size(AXIS) * n * jnp.arange(accumulate)[:, None]
    return _apply(state, *_mean_over_parts(gradients_of, state, parts, places), optimizer)


def update(
    state: TrainState,
    batch: Batch,
    keys: Key[Array, " n"],
    *,
    graphdef: nnx.GraphDef,
    optimizer: optax.GradientTransformation,
    precision: str = "tensorfloat32",
) -> tuple[TrainState, Metrics]:
    """Takes one optimizer step on the loss of one device's part of the batch; `keys` has one key per example.

    Gradients and metrics are averaged over the devices of the mapped axis "data", and so are the same on each.
    """
    return _apply(state, *_gradients(state.params, state.batch_stats, batch, keys, graphdef, precision), optimizer)


def _gradients(
    params: nnx.State,
    batch_stats: nnx.State,
    batch: Batch,
    keys: Key[Array, " n"],
    graphdef: nnx.GraphDef,
    precision: str,
) -> _Gradients:
    """Returns one device's gradients and metrics, and the BatchNorm statistics after the batch."""

    def loss_of(params: nnx.State) -> tuple[Float[Array, ""], tuple[Metrics, nnx.State]]:
        # copy: inside a transformation a module must not share variables with the outside
        method = nnx.merge(graphdef, params, batch_stats, copy=True)
        loss, metrics = method.loss(batch, keys)
        return loss, ({"loss": loss, **metrics}, nnx.state(method, nnx.BatchStat))

    with products_in(precision):
        gradients, (metrics, after) = jax.grad(loss_of, has_aux=True)(params)
    return gradients, metrics, after


def _mean_over_parts(
    gradients_of: Callable[..., _Gradients],
    state: TrainState,
    parts: ImageBatch,
    places: Int[Array, "parts n"],
) -> _Gradients:
    """Returns the means of the parts' gradients and metrics, and the BatchNorm statistics after all of them."""

    def add_part(carry, part):
        total, batch_stats = carry
        gradients, metrics, batch_stats = gradients_of(batch_stats, *part)
        return (jax.tree.map(jnp.add, total, gradients), batch_stats), metrics

    zero = jax.tree.map(jnp.zeros_like, state.params)
    (total, batch_stats), metrics = lax.scan(add_part, (zero, state.batch_stats), (parts, places))
    count = places.shape[0]
    return jax.tree.map(lambda g: g / count, total), jax.tree.map(lambda m: m.mean(0), metrics), batch_stats


def _apply(
    state: TrainState,
    gradients: nnx.State,
    metrics: Metrics,
    batch_stats: nnx.State,
    optimizer: optax.GradientTransformation,
) -> tuple[TrainState, Metrics]:
    """Takes the optimizer's step on the mean of all devices' gradients."""
    gradients, metrics = lax.pmean((gradients, metrics), AXIS)
    updates, opt_state = optimizer.update(gradients, state.opt_state, state.params)
    params = optax.apply_updates(state.params, updates)
    return TrainState(state.step + 1, params, batch_stats, opt_state), metrics


def data_parallel(step: Callable, mesh: Mesh, batch_spec: Any = _ROWS) -> Callable:
    """Maps one device's step (state, batch, key) -> (state, metrics) over the devices and compiles it.

    batch_spec: how the batch lies on the devices; by default in equal parts along its first axis.

    check_vma=False gives the semantics of pmap: with the check, gradients of replicated parameters would arrive already
    summed over the devices, and the mean in the step would change nothing.
    """
    mapped = jax.shard_map(step, mesh=mesh, in_specs=(P(), batch_spec, P()), out_specs=P(), check_vma=False)
    return jax.jit(mapped, donate_argnums=0)


def make_optimizer(
    lr: float,
    momentum: float,
    weight_decay: float,
    total_steps: int,
    optimizer: str = "sgd",
    schedule: str = "cosine",
) -> tuple[optax.GradientTransformation, optax.Schedule]:
    """Returns PyTorch's "sgd" or "adam", with decay added to the gradient of every parameter, and the learning rate.

    The names are those of config.OPTIMIZERS and config.SCHEDULES; "cosine" decays to 0 (paper, 4.1). Adam has PyTorch's
    betas and epsilon, not `momentum`.
    """
    rate = {"cosine": optax.cosine_decay_schedule(lr, total_steps), "constant": optax.constant_schedule(lr)}[schedule]
    update_rule = {"sgd": lambda: optax.sgd(rate, momentum), "adam": lambda: optax.adam(rate)}[optimizer]()
    return optax.chain(optax.add_decayed_weights(weight_decay), update_rule), rate


def create_state(method: nnx.Module, optimizer: optax.GradientTransformation) -> tuple[nnx.GraphDef, TrainState]:
    """Returns the method's structure and the state at step 0, which lies on no mesh yet."""
    graphdef, params, batch_stats = nnx.split(method, nnx.Param, nnx.BatchStat)  # type: ignore[misc]  # see pyproject.toml
    return graphdef, TrainState(np.zeros((), np.int32), params, batch_stats, optimizer.init(params))
