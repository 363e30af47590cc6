"""Heads on the backbone's features, and the encoders: a backbone and what follows it."""

import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from sidae_jax.networks.backbones import make_backbone
from sidae_jax.networks.batch_norm import BatchNorm
from sidae_jax.networks.layers import Linear
from sidae_jax.settings import BackboneSettings


class Projector(nnx.Module):
    """SimSiam's projector (Chen and He, 2021): Linear-BN-ReLU, Linear-BN-ReLU, Linear-BN without affine.

    The hidden layers are as wide as the features.
    """

    def __init__(self, in_features: int, out_features: int, *, axis_name: str | None, rng: np.random.Generator):
        self.linear1 = Linear(in_features, in_features, use_bias=False, rng=rng)
        self.norm1 = BatchNorm(in_features, relu=True, axis_name=axis_name)
        self.linear2 = Linear(in_features, in_features, use_bias=False, rng=rng)
        self.norm2 = BatchNorm(in_features, relu=True, axis_name=axis_name)
        self.linear3 = Linear(in_features, out_features, use_bias=False, rng=rng)
        self.norm3 = BatchNorm(out_features, affine=False, axis_name=axis_name)

    def __call__(
        self, h: Float[Array, "n features"], views: int = 1, use_running_average: bool = False
    ) -> Float[Array, "n d"]:
        """Projects features to z; `views` and `use_running_average` as for BatchNorm."""
        h = self.norm1(self.linear1(h), views, use_running_average)
        h = self.norm2(self.linear2(h), views, use_running_average)
        return self.norm3(self.linear3(h), views, use_running_average)


class Predictor(nnx.Module):
    """SimSiam's predictor (Chen and He, 2021), d -> d/4 -> d: Linear-BN-ReLU, Linear."""

    def __init__(self, latent_dim: int, *, axis_name: str | None, rng: np.random.Generator):
        self.linear1 = Linear(latent_dim, latent_dim // 4, use_bias=False, rng=rng)
        self.norm1 = BatchNorm(latent_dim // 4, relu=True, axis_name=axis_name)
        self.linear2 = Linear(latent_dim // 4, latent_dim, rng=rng)

    def __call__(
        self, z: Float[Array, "n d"], views: int = 1, use_running_average: bool = False
    ) -> Float[Array, "n d"]:
        """Predicts the other view's z from z; `views` and `use_running_average` as for BatchNorm."""
        return self.linear2(self.norm1(self.linear1(z), views, use_running_average))


class Mlp(nnx.Module):
    """Linear-BN-ReLU, Linear, with biases: every head of the report's code, and its probe.

    The hidden layer is as wide as the features unless `hidden` is given.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        hidden: int | None = None,
        axis_name: str | None = None,
        rng: np.random.Generator,
    ):
        hidden = hidden or in_features
        self.linear1 = Linear(in_features, hidden, rng=rng)
        self.norm1 = BatchNorm(hidden, relu=True, axis_name=axis_name)
        self.linear2 = Linear(hidden, out_features, rng=rng)

    def __call__(
        self, h: Float[Array, "n features"], views: int = 1, use_running_average: bool = False
    ) -> Float[Array, "n d"]:
        """Returns z, or logits; `views` and `use_running_average` as for BatchNorm."""
        return self.linear2(self.norm1(self.linear1(h), views, use_running_average))


class Encoder(nnx.Module):
    """z = projector(f(x)), with f the backbone (paper, 3.2)."""

    def __init__(
        self,
        backbone: BackboneSettings,
        latent_dim: int,
        *,
        axis_name: str | None,
        rng: np.random.Generator,
        projector: type[Projector | Mlp] = Projector,
    ):
        self.backbone = make_backbone(backbone, axis_name=axis_name, rng=rng)
        self.size, self.precision = backbone.size, backbone.precision
        self.projector = projector(self.backbone.num_features, latent_dim, axis_name=axis_name, rng=rng)

    def __call__(
        self, x: Float[Array, "n size size 3"], views: int = 1, use_running_average: bool = False
    ) -> Float[Array, "n d"]:
        """Encodes normalized images; `views` and `use_running_average` as for BatchNorm."""
        return self.projector(self.backbone(x, views, use_running_average), views, use_running_average)


class BareEncoder(nnx.Module):
    """z = f(x): the backbone alone."""

    def __init__(self, backbone: BackboneSettings, *, axis_name: str | None, rng: np.random.Generator):
        self.backbone = make_backbone(backbone, axis_name=axis_name, rng=rng)

    def __call__(
        self, x: Float[Array, "n size size 3"], views: int = 1, use_running_average: bool = False
    ) -> Float[Array, "n features"]:
        """Encodes normalized images; `views` and `use_running_average` as for BatchNorm."""
        return self.backbone(x, views, use_running_average)
