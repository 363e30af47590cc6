"""The probe of the report: a two-layer perceptron with BatchNorm on frozen features."""

import functools

import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Float, Int

from sidae_jax import streams
from sidae_jax.evaluation.linear_probe import accuracy_of
from sidae_jax.evaluation.settings import MlpSettings
from sidae_jax.evaluation.training import train
from sidae_jax.networks.heads import Mlp
from sidae_jax.streams import Stream


def train_mlp(
    features: Float[np.ndarray, "n d"], labels: Int[np.ndarray, " n"], classes: int, settings: MlpSettings, seed: int
) -> Mlp:
    """The trained perceptron, a function of the arguments alone."""
    rng = streams.generator(Stream.PROBE_INIT, seed)
    start = Mlp(features.shape[1], classes, hidden=settings.hidden, rng=rng)
    loop = {"epochs": settings.epochs, "batch_size": settings.batch_size, "seed": seed, "what": "MLP probe"}
    return train(start, _optimizer(settings), features, labels, **loop)


def accuracy(mlp: Mlp, features: Float[np.ndarray, "n d"], labels: Int[np.ndarray, " n"]) -> float:
    """The share of examples whose largest logit, in evaluation mode, is their label's."""
    return accuracy_of(mlp(jnp.asarray(features), views=0), labels)


@functools.lru_cache
def _optimizer(settings: MlpSettings) -> optax.GradientTransformation:
    return optax.adam(settings.lr)
