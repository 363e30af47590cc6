"""The baseline of both papers: backbone and linear classifier, trained on the labels from scratch."""

import optax
from flax import nnx
from jaxtyping import Array, Float, Key

from sidae_jax import losses
from sidae_jax.methods.batch import Batch, part_rng
from sidae_jax.networks.heads import LinearEncoder
from sidae_jax.networks.resnet import BackboneSettings


class Supervised(nnx.Module):
    def __init__(self, *, backbone: BackboneSettings, classes: int, axis_name: str | None, seed: int):
        self.encoder = LinearEncoder(backbone, classes, axis_name=axis_name, rng=part_rng(seed)["encoder"])
        self.axis_name = axis_name

    def loss(self, batch: Batch, keys: Key[Array, " n"]) -> tuple[Float[Array, ""], losses.Metrics]:
        """Cross-entropy with the labels, on the images as they are: the downstream settings have no augmentation."""
        del keys  # nothing random
        logits = self.encoder(batch.x, views=1)
        loss = optax.softmax_cross_entropy_with_integer_labels(logits, batch.label).mean()
        accuracy = (logits.argmax(-1) == batch.label).mean()
        return loss, {"accuracy": accuracy, "feature_std": losses.feature_std(logits, self.axis_name)}
