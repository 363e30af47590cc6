"""The autoencoder of the report: the image from the image, through a latent of d dimensions."""

import jax.numpy as jnp
from flax import nnx
from jax import lax
from jaxtyping import Array, Float, Key

from sidae_jax import losses
from sidae_jax.methods.batch import Batch, part_rng
from sidae_jax.networks.heads import Encoder, Mlp
from sidae_jax.networks.residual_decoder import ResidualDecoder
from sidae_jax.networks.resnet import BackboneSettings


class AE(nnx.Module):
    def __init__(self, *, backbone: BackboneSettings, d: int, classes: int, axis_name: str | None, seed: int):
        rng = part_rng(seed)
        self.encoder = Encoder(backbone, d, axis_name=axis_name, rng=rng["encoder"], projector=Mlp)
        self.decoder = ResidualDecoder(d, width=backbone.width, axis_name=axis_name, rng=rng["decoder"])
        self.classifier = Mlp(self.encoder.backbone.features, classes, axis_name=axis_name, rng=rng["classifier"])
        self.axis_name = axis_name

    def loss(self, batch: Batch, keys: Key[Array, " n"]) -> tuple[Float[Array, ""], losses.Metrics]:
        """That of the reconstruction, and that of the classifier, from which nothing else gets a gradient."""
        del keys  # nothing random beyond the views
        h = self.encoder.backbone(batch.x, views=1)
        self.encoder.backbone(jnp.concatenate([batch.x1, batch.x2]), views=2)  # for the running statistics alone
        z = self.encoder.projector(h, views=1)
        loss_ae = losses.mse(batch.x, self.decoder(z, views=1))
        logits = self.classifier(lax.stop_gradient(h), views=1)
        loss_classifier, accuracy = losses.classification(logits, batch.label, self.axis_name)
        metrics = {"loss_ae": loss_ae, "loss_classifier": loss_classifier, "accuracy": accuracy}
        return loss_ae + loss_classifier, {**metrics, "feature_std": losses.feature_std(z, self.axis_name)}

    def reconstruct(self, x: Float[Array, "n 32 32 3"]) -> Float[Array, "n 32 32 3"]:
        """x' of images or views, in evaluation mode."""
        return self.decoder(self.encoder(x, views=0), views=0)
