"""The denoising autoencoder of the paper (2.0.2 and 4.1): two augmented views, each decoded to the image."""

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Key

from sidae_jax import losses
from sidae_jax.methods.batch import Batch, part_rng
from sidae_jax.networks.decoder import Decoder
from sidae_jax.networks.heads import Encoder
from sidae_jax.settings import BackboneSettings, DAESettings


class DAE(nnx.Module):
    """Encoder and decoder."""

    def __init__(self, settings: DAESettings, *, backbone: BackboneSettings, axis_name: str | None, seed: int):
        rng = part_rng(seed)
        self.encoder = Encoder(backbone, settings.d_hid, axis_name=axis_name, rng=rng["encoder"])
        self.decoder = Decoder(
            settings.d_hid, size=backbone.size, width=backbone.width, axis_name=axis_name, rng=rng["decoder"]
        )
        self.target = settings.target
        self.axis_name = axis_name

    def loss(self, batch: Batch, keys: Key[Array, " n"]) -> tuple[Float[Array, ""], losses.Metrics]:
        """L_dae = mse(x, x1')/2 + mse(x, x2')/2."""
        del keys  # only the views are random
        z = self.encoder(jnp.concatenate([batch.x1, batch.x2]), views=2)
        reconstruction1, reconstruction2 = jnp.split(self.decoder(z, views=2), 2)
        z1, _ = jnp.split(z, 2)
        loss_dae = losses.dae(*batch.targets(self.target), reconstruction1, reconstruction2)
        return loss_dae, {"loss_dae": loss_dae, "feature_std": losses.feature_std(z1, self.axis_name)}

    def reconstruct(self, x: Float[Array, "n size size 3"]) -> Float[Array, "n size size 3"]:
        """Returns x' for images or views, in evaluation mode."""
        return self.decoder(self.encoder(x, use_running_average=True), use_running_average=True)
