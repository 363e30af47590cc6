"""The autoencoder of the report: it reconstructs the image from the image, through a latent of d dimensions."""

import jax.numpy as jnp
from flax import nnx
from jax import lax
from jaxtyping import Array, Float, Key

from sidae_jax import losses
from sidae_jax.methods.batch import Batch, part_rng
from sidae_jax.networks.heads import Encoder, Mlp
from sidae_jax.networks.residual_decoder import ResidualDecoder
from sidae_jax.settings import AESettings, BackboneSettings


class AE(nnx.Module):
    """Encoder, residual decoder, and a classifier trained on the detached features."""

    def __init__(self, settings: AESettings, *, backbone: BackboneSettings, axis_name: str | None, seed: int):
        rng = part_rng(seed)
        self.encoder = Encoder(backbone, settings.d_hid, axis_name=axis_name, rng=rng["encoder"], projector=Mlp)
        self.decoder = ResidualDecoder(
            settings.d_hid, size=backbone.size, width=backbone.width, axis_name=axis_name, rng=rng["decoder"]
        )
        self.classifier = Mlp(
            self.encoder.backbone.num_features, settings.num_classes, axis_name=axis_name, rng=rng["classifier"]
        )
        self.axis_name = axis_name

    def loss(self, batch: Batch, keys: Key[Array, " n"]) -> tuple[Float[Array, ""], losses.Metrics]:
        """L = mse(x, x') + the classifier's cross-entropy, which has a gradient for the classifier alone."""
        del keys  # only the views are random
        h = self.encoder.backbone(batch.x)
        # the report's code forwards the views too, which moves the running statistics
        self.encoder.backbone(jnp.concatenate([batch.x1, batch.x2]), views=2)
        z = self.encoder.projector(h)
        loss_ae = losses.mse(batch.x, self.decoder(z))
        logits = self.classifier(lax.stop_gradient(h))
        loss_classifier, accuracy = losses.classification(logits, batch.label, self.axis_name)
        metrics = {"loss_ae": loss_ae, "loss_classifier": loss_classifier, "accuracy": accuracy}
        return loss_ae + loss_classifier, {**metrics, "feature_std": losses.feature_std(z, self.axis_name)}

    def reconstruct(self, x: Float[Array, "n size size 3"]) -> Float[Array, "n size size 3"]:
        """Returns x' for images or views, in evaluation mode."""
        return self.decoder(self.encoder(x, use_running_average=True), use_running_average=True)
