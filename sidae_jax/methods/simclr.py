"""SimCLR (Chen et al., 2020) as the report has it: one direction, with the negatives of the other view alone."""

import jax.numpy as jnp
from flax import nnx
from jax import lax
from jaxtyping import Array, Float, Key

from sidae_jax import losses
from sidae_jax.methods.batch import Batch, part_rng
from sidae_jax.networks.heads import Encoder, Mlp
from sidae_jax.networks.resnet import BackboneSettings


class SimCLR(nnx.Module):
    def __init__(
        self, *, backbone: BackboneSettings, d: int, temperature: float, classes: int, axis_name: str | None, seed: int
    ):
        rng = part_rng(seed)
        self.encoder = Encoder(backbone, d, axis_name=axis_name, rng=rng["encoder"], projector=Mlp)
        self.classifier = Mlp(self.encoder.backbone.features, classes, axis_name=axis_name, rng=rng["classifier"])
        self.temperature = temperature
        self.axis_name = axis_name

    def loss(self, batch: Batch, keys: Key[Array, " n"]) -> tuple[Float[Array, ""], losses.Metrics]:
        """That of the two views, and that of the classifier, from which nothing else gets a gradient."""
        del keys  # nothing random beyond the views
        h = self.encoder.backbone(batch.x, views=1)
        z1, z2 = jnp.split(self.encoder(jnp.concatenate([batch.x1, batch.x2]), views=2), 2)
        loss_simclr = losses.info_nce(z1, z2, self.temperature, self.axis_name)
        logits = self.classifier(lax.stop_gradient(h), views=1)
        loss_classifier, accuracy = losses.classification(logits, batch.label, self.axis_name)
        metrics = {"loss_simclr": loss_simclr, "loss_classifier": loss_classifier, "accuracy": accuracy}
        return loss_simclr + loss_classifier, {**metrics, "feature_std": losses.feature_std(z1, self.axis_name)}
