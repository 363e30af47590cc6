"""The variational autoencoder of the report (Kingma and Welling, 2013), its KL term weighted by beta."""

import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax
from jaxtyping import Array, Float, Key

from sidae_jax import losses
from sidae_jax.methods.batch import Batch, part_rng
from sidae_jax.networks.heads import Encoder, Mlp
from sidae_jax.networks.residual_decoder import ResidualDecoder
from sidae_jax.networks.resnet import BackboneSettings


class VAE(nnx.Module):
    """q(z|x) = N(mean, diag(exp(log_variance))); the encoder gives the two, one after the other."""

    def __init__(
        self, *, backbone: BackboneSettings, d: int, beta: float, classes: int, axis_name: str | None, seed: int
    ):
        rng = part_rng(seed)
        self.encoder = Encoder(backbone, 2 * d, axis_name=axis_name, rng=rng["encoder"], projector=Mlp)
        self.decoder = ResidualDecoder(d, width=backbone.width, axis_name=axis_name, rng=rng["decoder"])
        self.classifier = Mlp(self.encoder.backbone.features, classes, axis_name=axis_name, rng=rng["classifier"])
        self.beta = beta
        self.axis_name = axis_name

    def loss(self, batch: Batch, keys: Key[Array, " n"]) -> tuple[Float[Array, ""], losses.Metrics]:
        """mse + beta KL, and the loss of the classifier, from which nothing else gets a gradient."""
        h = self.encoder.backbone(batch.x, views=1)
        self.encoder.backbone(jnp.concatenate([batch.x1, batch.x2]), views=2)  # for the running statistics alone
        mean, log_variance = jnp.split(self.encoder.projector(h, views=1), 2, axis=-1)
        z = mean + jnp.exp(0.5 * log_variance) * draw_noise(keys, mean.shape[1])
        loss_mse = losses.mse(batch.x, self.decoder(z, views=1))
        kl = losses.kl_to_standard_normal(mean, log_variance)
        logits = self.classifier(lax.stop_gradient(h), views=1)
        loss_classifier, accuracy = losses.classification(logits, batch.label, self.axis_name)
        metrics = {"loss_mse": loss_mse, "kl": kl, "loss_classifier": loss_classifier, "accuracy": accuracy}
        metrics["feature_std"] = losses.feature_std(mean, self.axis_name)
        return loss_mse + self.beta * kl + loss_classifier, metrics

    def reconstruct(self, x: Float[Array, "n 32 32 3"]) -> Float[Array, "n 32 32 3"]:
        """x' of images or views, decoded from the mean of q(z|x), in evaluation mode."""
        mean, _ = jnp.split(self.encoder(x, views=0), 2, axis=-1)
        return self.decoder(mean, views=0)


def draw_noise(keys: Key[Array, " n"], d: int) -> Float[Array, "n d"]:
    """Standard normal, from each example's own key."""
    return jax.vmap(lambda key: jax.random.normal(key, (d,)))(keys)
