"""Fine-tuning (paper, 4.1): backbone and a linear layer on it, all of their parameters trained on the labels.

From the untrained backbone that is the supervised baseline, trained from scratch.
"""

import functools

import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jaxtyping import Array, Float, Int, UInt8

from sidae_jax import streams
from sidae_jax.data.normalization import Normalization
from sidae_jax.evaluation.backbone import Backbone, features, normalize
from sidae_jax.evaluation.linear_probe import accuracy_of
from sidae_jax.evaluation.settings import FinetuneSettings
from sidae_jax.evaluation.training import train
from sidae_jax.networks.layers import Linear
from sidae_jax.networks.resnet import ResNet18
from sidae_jax.streams import Stream


class Classifier(nnx.Module):
    """uint8 images to logits."""

    def __init__(self, backbone: ResNet18, by: Normalization, classes: int, rng: np.random.Generator):
        self.backbone = backbone
        self.by = by
        self.linear = Linear(backbone.num_features, classes, rng=rng)

    def __call__(self, images: UInt8[Array, "n 32 32 3"], views: int) -> Float[Array, "n classes"]:
        return self.linear(self.backbone(normalize(images, self.by), views))


def finetune(
    backbone: Backbone,
    images: UInt8[np.ndarray, "n 32 32 3"],
    labels: Int[np.ndarray, " n"],
    classes: int,
    settings: FinetuneSettings,
    seed: int,
) -> Classifier:
    """The trained classifier, a function of the arguments alone; `backbone` itself is left as it is."""
    start = Classifier(backbone.network, backbone.normalization, classes, streams.generator(Stream.PROBE_INIT, seed))
    loop = {"epochs": settings.epochs, "batch_size": settings.batch_size, "seed": seed, "what": "fine-tuning"}
    return train(start, _optimizer(settings), images, labels, **loop)


def accuracy(classifier: Classifier, images: UInt8[np.ndarray, "n 32 32 3"], labels: Int[np.ndarray, " n"]) -> float:
    """The share of the images whose largest logit, in evaluation mode, is their label's."""
    h = features(Backbone(classifier.backbone, classifier.by), images)
    return accuracy_of(classifier.linear(jnp.asarray(h)), labels)


@functools.lru_cache
def _optimizer(settings: FinetuneSettings) -> optax.GradientTransformation:
    return optax.sgd(settings.lr, settings.momentum)
