"""SimSiam (Chen and He, 2021) as the paper re-implements it (2.0.1 and 4.1)."""

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Key

from sidae_jax import losses
from sidae_jax.methods.batch import Batch, part_rng
from sidae_jax.networks.heads import Encoder, Predictor
from sidae_jax.settings import BackboneSettings, SimSiamSettings


class SimSiam(nnx.Module):
    """Encoder and predictor."""

    def __init__(self, settings: SimSiamSettings, *, backbone: BackboneSettings, axis_name: str | None, seed: int):
        rng = part_rng(seed)
        self.encoder = Encoder(backbone, settings.d_hid, axis_name=axis_name, rng=rng["encoder"])
        self.predictor = Predictor(settings.d_hid, axis_name=axis_name, rng=rng["predictor"])
        self.axis_name = axis_name

    def loss(self, batch: Batch, keys: Key[Array, " n"]) -> tuple[Float[Array, ""], losses.Metrics]:
        """L_si = ncs(p1, sg z2)/2 + ncs(p2, sg z1)/2."""
        del keys  # only the views are random
        z = self.encoder(jnp.concatenate([batch.x1, batch.x2]), views=2)
        p = self.predictor(z, views=2)
        z1, z2 = jnp.split(z, 2)
        p1, p2 = jnp.split(p, 2)
        loss_si = losses.simsiam(p1, p2, z1, z2)
        return loss_si, {"loss_si": loss_si, "feature_std": losses.feature_std(z1, self.axis_name)}
