"""The variational autoencoder of the report (Kingma and Welling, 2013), its KL term weighted by beta."""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Key

from sidae_jax import losses
from sidae_jax.methods.batch import Batch, part_rng
from sidae_jax.networks.decoder import Decoder
from sidae_jax.networks.heads import LinearEncoder
from sidae_jax.networks.resnet import BackboneSettings


class VAE(nnx.Module):
    """q(z|x) = N(mean, diag(exp(log_variance))); the encoder gives the two, one after the other."""

    def __init__(self, *, backbone: BackboneSettings, d: int, beta: float, axis_name: str | None, seed: int):
        rng = part_rng(seed)
        self.encoder = LinearEncoder(backbone, 2 * d, axis_name=axis_name, rng=rng["encoder"])
        self.decoder = Decoder(d, width=backbone.width, axis_name=axis_name, rng=rng["decoder"])
        self.beta = beta
        self.axis_name = axis_name

    def loss(self, batch: Batch, keys: Key[Array, " n"]) -> tuple[Float[Array, ""], losses.Metrics]:
        mean, log_variance = jnp.split(self.encoder(batch.x, views=1), 2, axis=-1)
        noise = jax.vmap(lambda key: jax.random.normal(key, mean.shape[1:]))(keys)
        z = mean + jnp.exp(0.5 * log_variance) * noise
        loss_mse = losses.mse(batch.x, self.decoder(z, views=1))
        kl = losses.kl_to_standard_normal(mean, log_variance)
        loss = losses.vae(loss_mse, kl, self.beta, values=batch.x[0].size)
        return loss, {"loss_mse": loss_mse, "kl": kl, "feature_std": losses.feature_std(mean, self.axis_name)}

    def reconstruct(self, x: Float[Array, "n 32 32 3"]) -> Float[Array, "n 32 32 3"]:
        """x' of images or views, decoded from the mean of q(z|x), in evaluation mode."""
        mean, _ = jnp.split(self.encoder(x, views=0), 2, axis=-1)
        return self.decoder(mean, views=0)
