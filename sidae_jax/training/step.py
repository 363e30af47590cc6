"""The train step: one function for each device, mapped over the data axis."""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

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
from sidae_jax.streams import Stream
from sidae_jax.views import ViewSettings, make_views


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=["step", "params", "batch_stats", "opt_state"],
    meta_fields=[],
)
@dataclasses.dataclass(frozen=True)
class TrainState:
    """All that training changes. Donated to the step: a state that has been stepped is gone."""

    step: Any  # int32 scalar: the number of steps done
    params: nnx.State
    batch_stats: nnx.State
    opt_state: Any


def make_optimizer(
    lr: float,
    momentum: float,
    weight_decay: float,
    total_steps: int,
    optimizer: str = "sgd",
    schedule: str = "cosine",
) -> tuple[optax.GradientTransformation, optax.Schedule]:
    """PyTorch's "sgd" or "adam", decay added to the gradient of every parameter, and its learning rate by step.

    schedule: "cosine" decay to 0 (paper, 4.1), or "constant". Adam has PyTorch's betas and epsilon, not `momentum`.
    """
    rate = {"cosine": optax.cosine_decay_schedule(lr, total_steps), "constant": optax.constant_schedule(lr)}[schedule]
    update = {"sgd": lambda: optax.sgd(rate, momentum), "adam": lambda: optax.adam(rate)}[optimizer]()
    return optax.chain(optax.add_decayed_weights(weight_decay), update), rate


def create_state(method: nnx.Module, optimizer: optax.GradientTransformation) -> tuple[nnx.GraphDef, TrainState]:
    """The method's structure, and the state from which its training starts, on no mesh yet."""
    graphdef, params, batch_stats = nnx.split(method, nnx.Param, nnx.BatchStat)
    return graphdef, TrainState(np.zeros((), np.int32), params, batch_stats, optimizer.init(params))


def stack(states: Sequence[TrainState]) -> TrainState:
    """The states of several seeds as one, along a first axis."""
    return jax.tree.map(lambda *leaves: np.stack([np.asarray(leaf) for leaf in leaves]), *states)


def unstack(state: TrainState, seeds: int) -> list[TrainState]:
    """The state of each seed; of one seed the state is its own."""
    return [jax.tree.map(lambda leaf, i=i: leaf[i], state) for i in range(seeds)] if seeds > 1 else [state]


def make_update(
    graphdef: nnx.GraphDef, optimizer: optax.GradientTransformation
) -> Callable[[TrainState, Batch, Key[Array, " n"]], tuple[TrainState, Metrics]]:
    """One device's update (state, its part of the batch, a key an example) -> (state, metrics).

    To be mapped over the axis "data": gradients and metrics are means over the devices, and so the same on each.
    """

    def update(state: TrainState, batch: Batch, keys: Key[Array, " n"]) -> tuple[TrainState, Metrics]:
        def loss_of(params: nnx.State) -> tuple[Float[Array, ""], tuple[Metrics, nnx.State]]:
            # copy: inside a transformation a module must not share variables with the outside
            method = nnx.merge(graphdef, params, state.batch_stats, copy=True)
            loss, metrics = method.loss(batch, keys)
            return loss, ({"loss": loss, **metrics}, nnx.state(method, nnx.BatchStat))

        gradients, (metrics, batch_stats) = jax.grad(loss_of, has_aux=True)(state.params)
        gradients, metrics = lax.pmean((gradients, metrics), AXIS)
        updates, opt_state = optimizer.update(gradients, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        return TrainState(state.step + 1, params, batch_stats, opt_state), metrics

    return update


def make_device_step(
    graphdef: nnx.GraphDef,
    optimizer: optax.GradientTransformation,
    views: ViewSettings,
    normalization: Normalization,
) -> Callable[..., tuple[TrainState, Metrics]]:
    """One device's step (state, its uint8 images, their labels, key) -> (state, metrics): the views, then the update.

    What is drawn for an example depends on the key, the step and the example's place in the global batch.
    """
    mean, std = np.float32(normalization.mean), np.float32(normalization.std)
    update = make_update(graphdef, optimizer)

    def device_step(
        state: TrainState, images: UInt8[Array, "n 32 32 3"], labels: Int[Array, " n"], key: Key[Array, ""]
    ) -> tuple[TrainState, Metrics]:
        n = images.shape[0]
        places = lax.axis_index(AXIS) * n + jnp.arange(n)
        of_views, of_method = (
            streams.example_keys(key, stream, state.step, places) for stream in (Stream.VIEWS, Stream.METHOD)
        )
        batch = Batch(*make_views(of_views, images, views, mean, std), labels)
        return update(state, batch, of_method)

    return device_step


def map_stream_step(device_step: Callable, mesh: Mesh) -> Callable:
    """jit(shard_map(...)): (state, images, labels, key) -> (state, metrics), the batch split over the devices.

    check_vma=False gives the semantics of pmap: with the check, gradients of replicated parameters would arrive
    already summed over the devices, and the mean in the step would change nothing.
    """
    mapped = jax.shard_map(
        device_step, mesh=mesh, in_specs=(P(), P(AXIS), P(AXIS), P()), out_specs=P(), check_vma=False
    )
    return jax.jit(mapped, donate_argnums=0)


def steps_per_call(mesh: Mesh) -> int:
    """How many steps a call of `map_resident_step`'s function may do at most.

    On CPU the memory of a program's intermediate values is new in each call, and a fifth of a step's processor time
    went into touching it. Accelerators keep theirs, and a loop would have them wait for its condition.
    """
    return 5 if mesh.devices.flat[0].platform == "cpu" else 1


def repeat(
    step: Callable, n: Int[Array, ""], state: TrainState, *arguments: Any
) -> tuple[TrainState, dict[str, Array]]:
    """`step(state, *arguments)` done `n` >= 1 times: the last state and the metrics of the last step."""
    step = jax.jit(step)  # traced once, for the shapes of its metrics and for the loop
    _, shapes = jax.eval_shape(step, state, *arguments)
    metrics = jax.tree.map(lambda metric: jnp.zeros(metric.shape, metric.dtype), shapes)
    return lax.fori_loop(0, n, lambda _, last: step(last[0], *arguments), (state, metrics))


def map_resident_step(device_step: Callable, mesh: Mesh, *, several_seeds: bool = False) -> Callable:
    """As `map_stream_step`, with the whole data set on every device and an epoch's order instead of a batch.

    (state, all images, all labels, order [steps an epoch, batch], key, n) -> (state, metrics): `n` steps of this
    epoch, at most `steps_per_call`, and the metrics of the last. With `several_seeds` the state, the order, the key
    and the metrics have a first axis over the seeds.
    """
    on_cpu = mesh.devices.flat[0].platform == "cpu"

    def gather_and_step(state, images, labels, order, key):
        rows = order[state.step % order.shape[0]]
        return device_step(state, images[rows], labels[rows], key)

    def step_of_each_seed(state, images, labels, order, key):
        # On CPU one after the other: convolutions with kernels of several seeds have no fast lowering there.
        at_once = None if on_cpu else key.shape[0]
        one = lambda seed: gather_and_step(seed[0], images, labels, *seed[1:])  # noqa: E731
        return lax.map(one, (state, order, key), batch_size=at_once)

    once = step_of_each_seed if several_seeds else gather_and_step

    def steps(state, images, labels, order, key, n):
        arguments = (state, images, labels, order, key)
        return once(*arguments) if steps_per_call(mesh) == 1 else repeat(once, n, *arguments)

    mapped = jax.shard_map(
        steps,
        mesh=mesh,
        in_specs=(P(), P(), P(), P(None, None, AXIS) if several_seeds else P(None, AXIS), P(), P()),
        out_specs=P(),
        check_vma=False,
    )
    return jax.jit(mapped, donate_argnums=0)
