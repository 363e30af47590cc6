"""The report's supervised baseline: backbone and classifier trained on the labels from scratch.

The paper's own supervised baseline is an evaluation: fine-tuning of the untrained backbone (configs/finetune.py).
"""

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Key

from sidae_jax import losses
from sidae_jax.methods.batch import Batch, part_rng
from sidae_jax.networks.heads import BareEncoder, Mlp
from sidae_jax.settings import BackboneSettings, SupervisedSettings


class Supervised(nnx.Module):
    """Backbone and classifier."""

    def __init__(self, settings: SupervisedSettings, *, backbone: BackboneSettings, axis_name: str | None, seed: int):
        rng = part_rng(seed)
        self.encoder = BareEncoder(backbone, axis_name=axis_name, rng=rng["encoder"])
        self.classifier = Mlp(
            self.encoder.backbone.num_features, settings.num_classes, axis_name=axis_name, rng=rng["classifier"]
        )
        self.axis_name = axis_name

    def loss(self, batch: Batch, keys: Key[Array, " n"]) -> tuple[Float[Array, ""], losses.Metrics]:
        """L = cross-entropy of the labels, on the images without augmentation."""
        del keys  # only the views are random
        h = self.encoder(batch.x)
        # the report's code forwards the views too, which moves the running statistics
        self.encoder(jnp.concatenate([batch.x1, batch.x2]), views=2)
        logits = self.classifier(h)
        loss, accuracy = losses.classification(logits, batch.label, self.axis_name)
        metrics = {"loss_classifier": loss, "accuracy": accuracy}
        return loss, {**metrics, "feature_std": losses.feature_std(logits, self.axis_name)}
