"""Supervised training of a small module or of a whole network, for the protocols that need it."""

import functools
import sys

import jax
import numpy as np
import optax
import rich.console
import rich.progress
from flax import nnx
from jaxtyping import Array, Float, Int

from sidae_jax import streams
from sidae_jax.mesh import local_mesh, replicated, rows_sharding
from sidae_jax.streams import Stream


def train(
    network: nnx.Module,
    optimizer: optax.GradientTransformation,
    inputs: np.ndarray,
    labels: Int[np.ndarray, " n"],
    *,
    epochs: int,
    batch_size: int,
    seed: int,
    what: str,
) -> nnx.Module:
    """`network` after so many epochs of minimizing the cross-entropy of its logits; the one given is left as it is.

    network(inputs[rows], views) -> Float[rows, classes], in training mode with views=1 and in evaluation mode with 0.
    Every epoch goes through all examples in a new order. Its last batch may be smaller than the others, and fewer
    examples than batch_size are one batch; but a single example that is left over is left out of its epoch: BatchNorm
    would make zeros of it, for which PyTorch raises an error and has loaders drop the last batch. The same settings
    should come with the same object as `optimizer`, which is compiled in.

    Each batch is split over the local devices that divide batch_size; XLA adds their sums up, so that BatchNorm's
    statistics and the gradients are of the whole batch. A last batch that they do not divide is on each device whole.
    """
    graphdef, params, batch_stats = nnx.split(network, nnx.Param, nnx.BatchStat)
    batch_size = min(batch_size, len(labels))
    mesh = local_mesh(batch_size)
    carry = jax.device_put((params, batch_stats, optimizer.init(params)), replicated(mesh))
    inputs, labels = jax.device_put((inputs, labels), replicated(mesh))
    steps = len(labels) // batch_size
    rng = streams.generator(Stream.PROBE_ORDER, seed)
    console = rich.console.Console(stderr=True)
    for _ in rich.progress.track(range(epochs), what, console=console, disable=not sys.stderr.isatty()):
        order = rng.permutation(len(labels)).astype(np.int32)
        whole, rest = order[: steps * batch_size].reshape(steps, batch_size), order[steps * batch_size :]
        carry = _epoch(graphdef, optimizer, mesh, carry, inputs, labels, whole, rest if len(rest) > 1 else None)
        jax.block_until_ready(carry)  # so that the progress shown is true
    return nnx.merge(graphdef, carry[0], carry[1])


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def _epoch(graphdef, optimizer, mesh, carry, inputs, labels, whole, rest):
    def step(carry, rows):
        params, batch_stats, state = carry

        def loss_of(params) -> tuple[Float[Array, ""], nnx.State]:
            network = nnx.merge(graphdef, params, batch_stats, copy=True)
            batch = jax.lax.with_sharding_constraint(inputs[rows], rows_sharding(mesh, len(rows)))
            logits = network(batch, views=1)
            loss = optax.softmax_cross_entropy_with_integer_labels(logits, labels[rows]).mean()
            return loss, nnx.state(network, nnx.BatchStat)

        gradients, batch_stats = jax.grad(loss_of, has_aux=True)(params)
        updates, state = optimizer.update(gradients, state, params)
        return (optax.apply_updates(params, updates), batch_stats, state), None

    carry, _ = jax.lax.scan(step, carry, whole)
    if rest is not None:
        carry, _ = step(carry, rest)
    return jax.lax.with_sharding_constraint(carry, replicated(mesh))  # as it came, or the next epoch were compiled anew
