"""The linear probe of the paper (4.1): one linear layer on frozen features."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int, Key

from sidae_jax import streams
from sidae_jax.evaluation.settings import ProbeSettings
from sidae_jax.streams import Stream


def train_probe(
    features: Float[np.ndarray, "n d"],
    labels: Int[np.ndarray, " n"],
    classes: int,
    settings: ProbeSettings,
    seed: int,
) -> dict[str, Array]:
    """The trained layer {"kernel": [d, classes], "bias": [classes]}, a function of the arguments alone.

    Every epoch goes through all examples in a new order; its last batch may be smaller than the others.
    """
    key = jax.random.key(seed)
    initial, order = streams.fold(key, Stream.PROBE_INIT), streams.fold(key, Stream.PROBE_ORDER)
    bound = features.shape[1] ** -0.5  # PyTorch's initialization of a linear layer
    shapes = {"kernel": (features.shape[1], classes), "bias": (classes,)}
    layer = {
        name: jax.random.uniform(jax.random.fold_in(initial, i), shape, minval=-bound, maxval=bound)
        for i, (name, shape) in enumerate(shapes.items())
    }
    return _train(layer, order, jnp.asarray(features), jnp.asarray(labels), settings)


@functools.partial(jax.jit, static_argnames="settings")
def _train(layer, key: Key[Array, ""], features, labels, settings: ProbeSettings):
    optimizer = optax.sgd(settings.lr, settings.momentum)
    n = features.shape[0]
    batches = -(-n // settings.batch_size)

    def loss_of(layer, rows):
        """Mean cross-entropy over the rows of this batch; a row of n is padding."""
        used = rows < n
        x = features.at[rows].get(mode="clip")
        losses = optax.softmax_cross_entropy_with_integer_labels(logits(layer, x), labels.at[rows].get(mode="clip"))
        return jnp.where(used, losses, 0).sum() / used.sum()

    def step(carry, rows):
        layer, state = carry
        updates, state = optimizer.update(jax.grad(loss_of)(layer, rows), state)
        return (optax.apply_updates(layer, updates), state), None

    def epoch(carry, key):
        order = jax.random.permutation(key, n)
        padded = jnp.concatenate([order, jnp.full(batches * settings.batch_size - n, n, order.dtype)])
        return jax.lax.scan(step, carry, padded.reshape(batches, settings.batch_size))

    carry = layer, optimizer.init(layer)
    (layer, _), _ = jax.lax.scan(epoch, carry, jax.random.split(key, settings.epochs))
    return layer


def logits(layer: dict[str, Array], features: Float[Array, "n d"]) -> Float[Array, "n classes"]:
    return features @ layer["kernel"] + layer["bias"]


def accuracy(layer: dict[str, Array], features: Float[np.ndarray, "n d"], labels: Int[np.ndarray, " n"]) -> float:
    """The share of examples whose largest logit is their label's."""
    return accuracy_of(logits(layer, jnp.asarray(features)), labels)


def accuracy_of(logits: Float[Array, "n classes"], labels: Int[np.ndarray, " n"]) -> float:
    """The share of examples whose largest logit is their label's."""
    return float(np.mean(np.argmax(np.asarray(logits), -1) == labels))
