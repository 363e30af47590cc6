"""Fine-tuning (paper, 4.1): backbone and a linear layer on it, all of their parameters trained on the labels.

Fine-tuning the untrained backbone is the supervised baseline, trained from scratch.
"""

import functools
from typing import Any

import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jaxtyping import Array, Float, Int, UInt8

from sidae_jax import streams
from sidae_jax.data.normalization import Normalization
from sidae_jax.evaluation.backbone import Backbone, compute_features, normalize
from sidae_jax.evaluation.fit import train_network
from sidae_jax.evaluation.protocols import FineTuning
from sidae_jax.networks.layers import Linear
from sidae_jax.streams import Stream


class Classifier(nnx.Module):
    """Maps uint8 images to logits."""

    def __init__(self, backbone: Any, normalization: Normalization, num_classes: int, rng: np.random.Generator):
        self.backbone = backbone
        self.normalization = normalization
        self.linear = Linear(backbone.num_features, num_classes, rng=rng)

    def __call__(self, images: UInt8[Array, "n size size 3"]) -> Float[Array, "n num_classes"]:
        """Returns logits in training mode."""
        return self.linear(self.backbone(normalize(images, self.normalization)))


def finetune(
    backbone: Backbone,
    images: UInt8[np.ndarray, "n size size 3"],
    labels: Int[np.ndarray, " n"],
    num_classes: int,
    settings: FineTuning,
    seed: int,
) -> Classifier:
    """Returns the trained classifier, a function of the arguments alone; `backbone` itself does not change."""
    rng = streams.generator(Stream.PROBE_INIT, seed)
    initial = Classifier(backbone.network, backbone.normalization, num_classes, rng)
    return train_network(
        initial,
        _optimizer(settings),
        images,
        labels,
        epochs=settings.epochs,
        batch_size=settings.batch_size,
        seed=seed,
        what="fine-tuning",
    )


def classify(classifier: Classifier, images: UInt8[np.ndarray, "n size size 3"]) -> Float[Array, "n num_classes"]:
    """Returns logits in evaluation mode."""
    h = compute_features(Backbone(classifier.backbone, classifier.normalization), images)
    return classifier.linear(jnp.asarray(h))


@functools.lru_cache
def _optimizer(settings: FineTuning) -> optax.GradientTransformation:
    return optax.sgd(settings.lr, settings.momentum)
