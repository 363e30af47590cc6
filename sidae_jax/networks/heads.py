"""Projectors, the predictor of SimSiam (Chen and He, 2021), the report's heads, and the encoders: backbone and what
follows it."""

import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from sidae_jax.networks.batch_norm import BatchNorm
from sidae_jax.networks.layers import Linear
from sidae_jax.networks.resnet import BackboneSettings, ResNet18


class Projector(nnx.Module):
    """features -> d: Linear-BN-ReLU, Linear-BN-ReLU, Linear-BN without affine; hidden width = features."""

    def __init__(self, features: int, d: int, *, axis_name: str | None, rng: np.random.Generator):
        self.linear1 = Linear(features, features, use_bias=False, rng=rng)
        self.norm1 = BatchNorm(features, axis_name=axis_name)
        self.linear2 = Linear(features, features, use_bias=False, rng=rng)
        self.norm2 = BatchNorm(features, axis_name=axis_name)
        self.linear3 = Linear(features, d, use_bias=False, rng=rng)
        self.norm3 = BatchNorm(d, affine=False, axis_name=axis_name)

    def __call__(self, h: Float[Array, "n features"], views: int) -> Float[Array, "n d"]:
        h = nnx.relu(self.norm1(self.linear1(h), views))
        h = nnx.relu(self.norm2(self.linear2(h), views))
        return self.norm3(self.linear3(h), views)


class Predictor(nnx.Module):
    """d -> d/4 -> d: Linear-BN-ReLU, Linear."""

    def __init__(self, d: int, *, axis_name: str | None, rng: np.random.Generator):
        self.linear1 = Linear(d, d // 4, use_bias=False, rng=rng)
        self.norm1 = BatchNorm(d // 4, axis_name=axis_name)
        self.linear2 = Linear(d // 4, d, rng=rng)

    def __call__(self, z: Float[Array, "n d"], views: int) -> Float[Array, "n d"]:
        return self.linear2(nnx.relu(self.norm1(self.linear1(z), views)))


class Mlp(nnx.Module):
    """features -> d: Linear-BN-ReLU, Linear, with biases: every head of the report's code, and its probe.

    The hidden width is that of the features unless given.
    """

    def __init__(
        self,
        features: int,
        d: int,
        *,
        hidden: int | None = None,
        axis_name: str | None = None,
        rng: np.random.Generator,
    ):
        hidden = hidden or features
        self.linear1 = Linear(features, hidden, rng=rng)
        self.norm1 = BatchNorm(hidden, axis_name=axis_name)
        self.linear2 = Linear(hidden, d, rng=rng)

    def __call__(self, h: Float[Array, "n features"], views: int) -> Float[Array, "n d"]:
        return self.linear2(nnx.relu(self.norm1(self.linear1(h), views)))


class Encoder(nnx.Module):
    """z = projector(f(x)), with f the ResNet-18 backbone (paper, 3.2)."""

    def __init__(
        self,
        backbone: BackboneSettings,
        d: int,
        *,
        axis_name: str | None,
        rng: np.random.Generator,
        projector: type[nnx.Module] = Projector,
    ):
        self.backbone = ResNet18(backbone, axis_name=axis_name, rng=rng)
        self.projector = projector(self.backbone.features, d, axis_name=axis_name, rng=rng)

    def __call__(self, x: Float[Array, "n 32 32 3"], views: int) -> Float[Array, "n d"]:
        return self.projector(self.backbone(x, views), views)


class BareEncoder(nnx.Module):
    """z = f(x): the backbone alone."""

    def __init__(self, backbone: BackboneSettings, *, axis_name: str | None, rng: np.random.Generator):
        self.backbone = ResNet18(backbone, axis_name=axis_name, rng=rng)

    def __call__(self, x: Float[Array, "n 32 32 3"], views: int) -> Float[Array, "n features"]:
        return self.backbone(x, views)
