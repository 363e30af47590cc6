"""SimSiam spoiled in two ways, as methods of one's own: numbers that are not finite, and no stop-gradient."""

import dataclasses

import jax
import jax.numpy as jnp
from flax import nnx

from sidae_jax import losses, methods, settings
from sidae_jax.methods.batch import part_rng
from sidae_jax.networks.heads import BareEncoder, Encoder, Predictor

PLACES = ("loss", "gradient", "parameter")


@dataclasses.dataclass(frozen=True)
class SpoiledSettings:
    """place: one of PLACES, in which `value` appears in step `at`, counted from 1."""

    d_hid: int = 64
    place: str = "loss"
    value: str = "nan"
    at: int = 1


class Spoiled(nnx.Module):
    """Which place, step and value is a part of the state, so that all cases are the same compiled program."""

    def __init__(self, settings, *, backbone, axis_name, seed):
        rng = part_rng(seed)
        self.encoder = Encoder(backbone, settings.d_hid, axis_name=axis_name, rng=rng["encoder"])
        self.predictor = Predictor(settings.d_hid, axis_name=axis_name, rng=rng["predictor"])
        self.unused = nnx.Param(jnp.zeros(()))  # whose value changes no loss
        self.calls = nnx.BatchStat(jnp.zeros((), jnp.int32))
        self.at = nnx.BatchStat(jnp.int32(settings.at))
        place, value = PLACES.index(settings.place), float(settings.value)
        self.hidden = nnx.BatchStat(_bits(jnp.ones(len(PLACES)).at[place].set(value)))
        self.axis_name = axis_name

    def loss(self, batch, keys):
        del keys
        self.calls[...] += 1
        now = self.calls[...] == self.at[...]
        values = jax.lax.bitcast_convert_type(self.hidden[...], jnp.float32)
        loss_factor, gradient_factor, parameter_factor = jnp.where(now, values, 1.0)
        z = self.encoder(jnp.concatenate([batch.x1, batch.x2]), views=2)
        p = self.predictor(_with_gradient_times(z, gradient_factor), views=2)
        z1, z2 = jnp.split(z, 2)
        p1, p2 = jnp.split(p, 2)
        loss = losses.simsiam(p1, p2, z1, z2) * loss_factor
        loss += _zero_with_gradient(self.unused[...], parameter_factor - 1)
        return loss, {"loss_si": loss, "feature_std": losses.feature_std(z1, self.axis_name)}


def _bits(values):
    """Returns the bits as integers, which a check for numbers that are not finite does not see."""
    return jax.lax.bitcast_convert_type(values.astype(jnp.float32), jnp.int32)


@jax.custom_vjp
def _with_gradient_times(x, factor):
    """Returns x, with its gradient times the factor."""
    del factor
    return x


@jax.custom_vjp
def _zero_with_gradient(x, gradient):
    """Returns 0, whatever x is, with this gradient."""
    del gradient
    return jnp.zeros_like(x)


def _backward(factor, gradient):
    return gradient * factor, jnp.zeros_like(factor)


_with_gradient_times.defvjp(lambda x, factor: (x, factor), _backward)
_zero_with_gradient.defvjp(lambda x, gradient: (jnp.zeros_like(x), gradient), _backward)


@dataclasses.dataclass(frozen=True)
class WithoutStopGradientSettings:
    d_hid: int = 64


class WithoutStopGradient(nnx.Module):
    """Two views brought together with neither stop-gradient nor BatchNorm in the head: soon one point for all images.

    With SimSiam's own head, whose last BatchNorm keeps a variance of 1, the collapse takes many epochs.
    """

    def __init__(self, settings, *, backbone, axis_name, seed):
        rng = part_rng(seed)
        self.encoder = BareEncoder(backbone, axis_name=axis_name, rng=rng["encoder"])
        features = self.encoder.backbone.num_features
        self.head = nnx.Linear(features, settings.d_hid, rngs=nnx.Rngs(seed))
        self.axis_name = axis_name

    def loss(self, batch, keys):
        del keys
        h = self.encoder.backbone(jnp.concatenate([batch.x1, batch.x2]), views=2)
        z1, z2 = jnp.split(self.head(h), 2)
        loss = losses.ncs(z1, z2)
        return loss, {"loss_si": loss, "feature_std": losses.feature_std(z1, self.axis_name)}


settings.METHOD_SETTINGS |= {"spoiled": SpoiledSettings, "no_stop": WithoutStopGradientSettings}
methods.METHODS |= {"spoiled": Spoiled, "no_stop": WithoutStopGradient}
