"""SimCLR (Chen et al., 2020) as in the report: one direction, with negatives from the other view only."""

import jax.numpy as jnp
from flax import nnx
from jax import lax
from jaxtyping import Array, Float, Key

from sidae_jax import losses
from sidae_jax.methods.batch import Batch, part_rng
from sidae_jax.networks.heads import Encoder, Mlp
from sidae_jax.settings import BackboneSettings, SimCLRSettings


class SimCLR(nnx.Module):
    """Encoder, and a classifier trained on the detached features."""

    def __init__(self, settings: SimCLRSettings, *, backbone: BackboneSettings, axis_name: str | None, seed: int):
        rng = part_rng(seed)
        self.encoder = Encoder(backbone, settings.d_hid, axis_name=axis_name, rng=rng["encoder"], projector=Mlp)
        self.classifier = Mlp(
            self.encoder.backbone.num_features, settings.num_classes, axis_name=axis_name, rng=rng["classifier"]
        )
        self.temperature = settings.temperature
        self.axis_name = axis_name

    def loss(self, batch: Batch, keys: Key[Array, " n"]) -> tuple[Float[Array, ""], losses.Metrics]:
        """L = InfoNCE of the views + the classifier's cross-entropy, which has a gradient for the classifier alone."""
        del keys  # only the views are random
        h = self.encoder.backbone(batch.x)
        z1, z2 = jnp.split(self.encoder(jnp.concatenate([batch.x1, batch.x2]), views=2), 2)
        loss_simclr = losses.info_nce(z1, z2, self.temperature, self.axis_name)
        logits = self.classifier(lax.stop_gradient(h))
        loss_classifier, accuracy = losses.classification(logits, batch.label, self.axis_name)
        metrics = {"loss_simclr": loss_simclr, "loss_classifier": loss_classifier, "accuracy": accuracy}
        return loss_simclr + loss_classifier, {**metrics, "feature_std": losses.feature_std(z1, self.axis_name)}
