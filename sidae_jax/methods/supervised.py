"""The report's baseline: backbone and classifier trained on the labels from scratch.

The paper's is an evaluation: fine-tuning of the untrained backbone (configs/finetune.py).
"""

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Key

from sidae_jax import losses
from sidae_jax.methods.batch import Batch, part_rng
from sidae_jax.networks.heads import BareEncoder, Mlp
from sidae_jax.networks.resnet import BackboneSettings


class Supervised(nnx.Module):
    def __init__(self, *, backbone: BackboneSettings, classes: int, axis_name: str | None, seed: int):
        rng = part_rng(seed)
        self.encoder = BareEncoder(backbone, axis_name=axis_name, rng=rng["encoder"])
        self.classifier = Mlp(self.encoder.backbone.features, classes, axis_name=axis_name, rng=rng["classifier"])
        self.axis_name = axis_name

    def loss(self, batch: Batch, keys: Key[Array, " n"]) -> tuple[Float[Array, ""], losses.Metrics]:
        """Cross-entropy with the labels, on the images as they are."""
        del keys  # nothing random beyond the views
        h = self.encoder(batch.x, views=1)
        self.encoder(jnp.concatenate([batch.x1, batch.x2]), views=2)  # for the running statistics alone
        logits = self.classifier(h, views=1)
        loss, accuracy = losses.classification(logits, batch.label, self.axis_name)
        metrics = {"loss_classifier": loss, "accuracy": accuracy}
        return loss, {**metrics, "feature_std": losses.feature_std(logits, self.axis_name)}
