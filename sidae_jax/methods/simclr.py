"""SimCLR (Chen et al., 2020) as the report uses it: NT-Xent over the two views of the whole batch."""

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Key

from sidae_jax import losses
from sidae_jax.methods.batch import Batch, part_rng
from sidae_jax.networks.heads import Encoder, ProjectorOfSimCLR
from sidae_jax.networks.resnet import BackboneSettings


class SimCLR(nnx.Module):
    def __init__(self, *, backbone: BackboneSettings, d: int, temperature: float, axis_name: str | None, seed: int):
        self.encoder = Encoder(
            backbone, d, axis_name=axis_name, rng=part_rng(seed)["encoder"], projector=ProjectorOfSimCLR
        )
        self.temperature = temperature
        self.axis_name = axis_name

    def loss(self, batch: Batch, keys: Key[Array, " n"]) -> tuple[Float[Array, ""], losses.Metrics]:
        del keys  # nothing random beyond the views
        z1, z2 = jnp.split(self.encoder(jnp.concatenate([batch.x1, batch.x2]), views=2), 2)
        loss = losses.nt_xent(z1, z2, self.temperature, self.axis_name)
        return loss, {"loss_nt_xent": loss, "feature_std": losses.feature_std(z1, self.axis_name)}
