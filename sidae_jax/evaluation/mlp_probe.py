"""The probe of the report: a two-layer perceptron with BatchNorm on frozen features."""

import functools

import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int

from sidae_jax import streams
from sidae_jax.evaluation.fit import train_network
from sidae_jax.evaluation.protocols import MlpProbe
from sidae_jax.networks.heads import Mlp
from sidae_jax.streams import Stream


def train_mlp(
    features: Float[np.ndarray, "n d"], labels: Int[np.ndarray, " n"], num_classes: int, settings: MlpProbe, seed: int
) -> Mlp:
    """Returns the trained perceptron, a function of the arguments alone."""
    rng = streams.generator(Stream.PROBE_INIT, seed)
    initial = Mlp(features.shape[1], num_classes, hidden=settings.hidden, rng=rng)
    return train_network(
        initial,
        _optimizer(settings),
        features,
        labels,
        epochs=settings.epochs,
        batch_size=settings.batch_size,
        seed=seed,
        what="MLP probe",
    )


def logits(mlp: Mlp, features: Float[np.ndarray, "n d"]) -> Float[Array, "n num_classes"]:
    """Returns the outputs of a perceptron in evaluation mode."""
    return mlp(jnp.asarray(features), use_running_average=True)


@functools.lru_cache
def _optimizer(settings: MlpProbe) -> optax.GradientTransformation:
    return optax.adam(settings.lr)
