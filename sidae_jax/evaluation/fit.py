"""The loop that fits a linear layer, a small module or a whole network to labels, for the protocols that need it."""

import functools
import sys
from collections.abc import Callable
from typing import Any, TypeVar

import jax
import numpy as np
import optax
import rich.console
import rich.progress
from flax import nnx
from jaxtyping import Array, Float, Int

from sidae_jax import streams
from sidae_jax.mesh import local_mesh, replicated, rows_sharding
from sidae_jax.networks.precision import in_full
from sidae_jax.streams import Stream

Network = TypeVar("Network", bound=nnx.Module)


def minimize(
    loss_of: Callable, optimizer: optax.GradientTransformation, carry: Any, batches: Int[Array, "steps n"]
) -> Any:
    """Takes one optimizer step for every row of `batches`; the one loop of supervised training.

    loss_of(params, model_state, rows) -> (loss, new model_state), for the examples of a batch.
    carry: (params, model_state, optimizer state), which is returned as it is after the last step.
    """

    def step(carry, rows):
        params, model_state, opt_state = carry
        gradients, model_state = jax.grad(loss_of, has_aux=True)(params, model_state, rows)
        updates, opt_state = optimizer.update(gradients, opt_state, params)
        return (optax.apply_updates(params, updates), model_state, opt_state), None

    return jax.lax.scan(step, carry, batches)[0]


def train_network(
    network: Network,
    optimizer: optax.GradientTransformation,
    inputs: np.ndarray,
    labels: Int[np.ndarray, " n"],
    *,
    epochs: int,
    batch_size: int,
    seed: int,
    what: str,
) -> Network:
    """Returns `network` after minimizing the cross-entropy of its logits; the one given does not change.

    The logits are network(inputs[rows]), Float[rows, num_classes]. `what` names the training for the progress bar. Pass
    the same `optimizer` object for the same settings, since it is compiled in.

    Every epoch goes through all examples in a new order. Its last batch may be smaller than the others, and fewer
    examples than batch_size are one batch. A single example that is left over does not take part in its epoch:
    BatchNorm would make zeros of it, for which PyTorch raises an error and has loaders drop the last batch.

    Each batch is split over the local devices that divide batch_size. XLA sums over them, so BatchNorm's statistics and
    the gradients are of the whole batch. A last batch that they do not divide is whole on each device.
    """
    graphdef, params, batch_stats = nnx.split(network, nnx.Param, nnx.BatchStat)  # type: ignore[misc]  # see pyproject.toml
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
        carry = _epoch(graphdef, optimizer, mesh, carry, inputs, labels, whole, rest[None] if len(rest) > 1 else None)
        jax.block_until_ready(carry)  # so that the progress shown is true
    return nnx.merge(graphdef, carry[0], carry[1])


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def _epoch(graphdef, optimizer, mesh, carry, inputs, labels, whole, rest):
    def loss_of(params, batch_stats, rows) -> tuple[Float[Array, ""], nnx.State]:
        network = nnx.merge(graphdef, params, batch_stats, copy=True)
        batch = jax.lax.with_sharding_constraint(inputs[rows], rows_sharding(mesh, len(rows)))
        logits = in_full(network(batch))
        loss = optax.softmax_cross_entropy_with_integer_labels(logits, labels[rows]).mean()
        return loss, nnx.state(network, nnx.BatchStat)

    carry = minimize(loss_of, optimizer, carry, whole)
    if rest is not None:
        carry = minimize(loss_of, optimizer, carry, rest)
    return jax.lax.with_sharding_constraint(carry, replicated(mesh))  # unchanged, or the next epoch would recompile


def accuracy(logits: Float[Array, "n num_classes"], labels: Int[np.ndarray, " n"]) -> float:
    """Returns the fraction of examples whose largest logit is their label's."""
    return float(np.mean(np.argmax(np.asarray(logits), -1) == labels))
