"""The denoising autoencoder of the paper (2.0.2 and 4.1): two augmented views, each decoded to the image."""

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Key

from sidae_jax import losses
from sidae_jax.methods.batch import Batch, part_rng
from sidae_jax.networks.decoder import Decoder
from sidae_jax.networks.heads import Encoder
from sidae_jax.networks.resnet import BackboneSettings


class DAE(nnx.Module):
    def __init__(self, *, backbone: BackboneSettings, d: int, target: str, axis_name: str | None, seed: int):
        rng = part_rng(seed)
        self.encoder = Encoder(backbone, d, axis_name=axis_name, rng=rng["encoder"])
        self.decoder = Decoder(d, width=backbone.width, axis_name=axis_name, rng=rng["decoder"])
        self.target = target
        self.axis_name = axis_name

    def loss(self, batch: Batch, keys: Key[Array, " n"]) -> tuple[Float[Array, ""], losses.Metrics]:
        del keys  # nothing random beyond the views
        z = self.encoder(jnp.concatenate([batch.x1, batch.x2]), views=2)
        reconstruction1, reconstruction2 = jnp.split(self.decoder(z, views=2), 2)
        z1, _ = jnp.split(z, 2)
        loss_dae = losses.dae(*batch.targets(self.target), reconstruction1, reconstruction2)
        return loss_dae, {"loss_dae": loss_dae, "feature_std": losses.feature_std(z1, self.axis_name)}

    def reconstruct(self, x: Float[Array, "n 32 32 3"]) -> Float[Array, "n 32 32 3"]:
        """x' of images or views, in evaluation mode."""
        return self.decoder(self.encoder(x, views=0), views=0)
