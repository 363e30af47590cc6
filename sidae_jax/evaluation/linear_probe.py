"""The linear probe of the paper (4.1): one linear layer on frozen features."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int, Key

from sidae_jax import streams
from sidae_jax.evaluation.fit import minimize
from sidae_jax.evaluation.protocols import LinearProbe
from sidae_jax.streams import Stream


def train_probe(
    features: Float[np.ndarray, "n d"],
    labels: Int[np.ndarray, " n"],
    num_classes: int,
    settings: LinearProbe,
    seed: int,
) -> dict[str, Array]:
    """Returns the trained layer {"kernel": [d, num_classes], "bias": [num_classes]}, a function of the arguments alone.

    Every epoch goes through all examples in a new order; its last batch may be smaller than the others.
    """
    key = jax.random.key(seed)
    initial, order = streams.fold(key, Stream.PROBE_INIT), streams.fold(key, Stream.PROBE_ORDER)
    bound = features.shape[1] ** -0.5  # PyTorch's initialization of a linear layer
    shapes = {"kernel": (features.shape[1], num_classes), "bias": (num_classes,)}
    layer = {
        name: jax.random.uniform(jax.random.fold_in(initial, i), shape, minval=-bound, maxval=bound)
        for i, (name, shape) in enumerate(shapes.items())
    }
    return _train(layer, order, jnp.asarray(features), jnp.asarray(labels), settings)


@functools.partial(jax.jit, static_argnames="settings")
def _train(layer, key: Key[Array, ""], features, labels, settings: LinearProbe):
    optimizer = optax.sgd(settings.lr, settings.momentum)
    n = features.shape[0]
    batches = -(-n // settings.batch_size)

    def loss_of(layer, model_state, rows):
        """Returns the mean cross-entropy over the rows of this batch; a row of n is padding."""
        used = rows < n
        x = features.at[rows].get(mode="clip")
        losses = optax.softmax_cross_entropy_with_integer_labels(logits(layer, x), labels.at[rows].get(mode="clip"))
        return jnp.where(used, losses, 0).sum() / used.sum(), model_state

    def epoch(carry, key):
        order = jax.random.permutation(key, n)
        padded = jnp.concatenate([order, jnp.full(batches * settings.batch_size - n, n, order.dtype)])
        return minimize(loss_of, optimizer, carry, padded.reshape(batches, settings.batch_size)), None

    carry: Any = layer, None, optimizer.init(layer)
    (layer, *_), _ = jax.lax.scan(epoch, carry, jax.random.split(key, settings.epochs))
    return layer


def logits(layer: dict[str, Array], features: Float[Array | np.ndarray, "n d"]) -> Float[Array, "n num_classes"]:
    """Returns the outputs of a trained layer."""
    return jnp.asarray(features) @ layer["kernel"] + layer["bias"]
