"""The variational autoencoder of the report (Kingma and Welling, 2013), its KL term weighted by beta."""

import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax
from jaxtyping import Array, Float, Key

from sidae_jax import losses
from sidae_jax.methods.batch import Batch, part_rng
from sidae_jax.networks.heads import Encoder, Mlp
from sidae_jax.networks.precision import in_full
from sidae_jax.networks.residual_decoder import ResidualDecoder
from sidae_jax.settings import BackboneSettings, VAESettings


class VAE(nnx.Module):
    """Encoder of q(z|x) = N(mean, diag(exp(log_variance))), residual decoder, and a classifier on detached features.

    The encoder's output is the mean followed by the log variance.
    """

    def __init__(self, settings: VAESettings, *, backbone: BackboneSettings, axis_name: str | None, seed: int):
        rng = part_rng(seed)
        self.encoder = Encoder(backbone, 2 * settings.d_hid, axis_name=axis_name, rng=rng["encoder"], projector=Mlp)
        self.decoder = ResidualDecoder(
            settings.d_hid, size=backbone.size, width=backbone.width, axis_name=axis_name, rng=rng["decoder"]
        )
        self.classifier = Mlp(
            self.encoder.backbone.num_features, settings.num_classes, axis_name=axis_name, rng=rng["classifier"]
        )
        self.beta = settings.beta
        self.axis_name = axis_name

    def loss(self, batch: Batch, keys: Key[Array, " n"]) -> tuple[Float[Array, ""], losses.Metrics]:
        """L = mse + beta KL + the classifier's cross-entropy, which has a gradient for the classifier alone."""
        h = self.encoder.backbone(batch.x)
        # the report's code forwards the views too, which moves the running statistics
        self.encoder.backbone(jnp.concatenate([batch.x1, batch.x2]), views=2)
        mean, log_variance = jnp.split(in_full(self.encoder.projector(h)), 2, axis=-1)
        z = mean + jnp.exp(0.5 * log_variance) * sample_noise(keys, mean.shape[1])
        loss_mse = losses.mse(batch.x, self.decoder(z.astype(h.dtype)))
        kl = losses.kl_to_standard_normal(mean, log_variance)
        logits = self.classifier(lax.stop_gradient(h))
        loss_classifier, accuracy = losses.classification(logits, batch.label, self.axis_name)
        metrics = {"loss_mse": loss_mse, "kl": kl, "loss_classifier": loss_classifier, "accuracy": accuracy}
        metrics["feature_std"] = losses.feature_std(mean, self.axis_name)
        return loss_mse + self.beta * kl + loss_classifier, metrics

    def reconstruct(self, x: Float[Array, "n size size 3"]) -> Float[Array, "n size size 3"]:
        """Returns x' for images or views, decoded from the mean of q(z|x), in evaluation mode."""
        mean, _ = jnp.split(self.encoder(x, use_running_average=True), 2, axis=-1)
        return self.decoder(mean, use_running_average=True)


def sample_noise(keys: Key[Array, " n"], latent_dim: int) -> Float[Array, "n d"]:
    """Draws standard normal noise, each example's from its own key."""
    return jax.vmap(lambda key: jax.random.normal(key, (latent_dim,)))(keys)
