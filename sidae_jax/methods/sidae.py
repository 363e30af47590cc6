"""SidAE, the Siamese denoising autoencoder (paper, 3): SimSiam and a denoising autoencoder with one encoder."""

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Key

from sidae_jax import losses
from sidae_jax.methods.batch import Batch, part_rng
from sidae_jax.networks.decoder import Decoder
from sidae_jax.networks.heads import Encoder, Predictor
from sidae_jax.settings import BackboneSettings, SidAESettings


class SidAE(nnx.Module):
    """Encoder, SimSiam's predictor, and decoder."""

    def __init__(self, settings: SidAESettings, *, backbone: BackboneSettings, axis_name: str | None, seed: int):
        rng = part_rng(seed)
        self.encoder = Encoder(backbone, settings.d_hid, axis_name=axis_name, rng=rng["encoder"])
        self.predictor = Predictor(settings.d_hid, axis_name=axis_name, rng=rng["predictor"])
        self.decoder = Decoder(
            settings.d_hid, size=backbone.size, width=backbone.width, axis_name=axis_name, rng=rng["decoder"]
        )
        self.w = settings.w
        self.target = settings.target
        self.axis_name = axis_name

    def loss(self, batch: Batch, keys: Key[Array, " n"]) -> tuple[Float[Array, ""], losses.Metrics]:
        """L = w L_dae + (1 - w) L_si, for the two views x1 and x2 of every image x."""
        del keys  # only the views are random
        z = self.encoder(jnp.concatenate([batch.x1, batch.x2]), views=2)
        p = self.predictor(z, views=2)
        reconstruction1, reconstruction2 = jnp.split(self.decoder(z, views=2), 2)
        z1, z2 = jnp.split(z, 2)
        p1, p2 = jnp.split(p, 2)
        loss_dae = losses.dae(*batch.targets(self.target), reconstruction1, reconstruction2)
        loss_si = losses.simsiam(p1, p2, z1, z2)
        loss, parts = losses.sidae(loss_dae, loss_si, self.w)
        return loss, {**parts, "feature_std": losses.feature_std(z1, self.axis_name)}

    def reconstruct(self, x: Float[Array, "n size size 3"]) -> Float[Array, "n size size 3"]:
        """Returns x' for images or views, in evaluation mode."""
        return self.decoder(self.encoder(x, use_running_average=True), use_running_average=True)
