"""The autoencoder of the report: the image from the image, through a linear latent of d dimensions."""

from flax import nnx
from jaxtyping import Array, Float, Key

from sidae_jax import losses
from sidae_jax.methods.batch import Batch, part_rng
from sidae_jax.networks.decoder import Decoder
from sidae_jax.networks.heads import LinearEncoder
from sidae_jax.networks.resnet import BackboneSettings


class AE(nnx.Module):
    def __init__(self, *, backbone: BackboneSettings, d: int, axis_name: str | None, seed: int):
        rng = part_rng(seed)
        self.encoder = LinearEncoder(backbone, d, axis_name=axis_name, rng=rng["encoder"])
        self.decoder = Decoder(d, width=backbone.width, axis_name=axis_name, rng=rng["decoder"])
        self.axis_name = axis_name

    def loss(self, batch: Batch, keys: Key[Array, " n"]) -> tuple[Float[Array, ""], losses.Metrics]:
        del keys  # nothing random
        z = self.encoder(batch.x, views=1)
        loss_ae = losses.mse(batch.x, self.decoder(z, views=1))
        return loss_ae, {"loss_ae": loss_ae, "feature_std": losses.feature_std(z, self.axis_name)}

    def reconstruct(self, x: Float[Array, "n 32 32 3"]) -> Float[Array, "n 32 32 3"]:
        """x' of images or views, in evaluation mode."""
        return self.decoder(self.encoder(x, views=0), views=0)
