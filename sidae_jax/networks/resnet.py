"""ResNet-18 as PyTorch defines it (He et al., 2016), up to the pooled features."""

import dataclasses

import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from sidae_jax.networks.batch_norm import BatchNorm
from sidae_jax.networks.conv import max_pool
from sidae_jax.networks.layers import Conv

STEMS = ("imagenet", "cifar")


@dataclasses.dataclass(frozen=True)
class BackboneSettings:
    """What may differ from PyTorch's ResNet-18.

    stem "imagenet": 7x7/2 convolution, BN, ReLU, 3x3/2 max pool; a 32x32 image becomes an 8x8 map.
    stem "cifar": 3x3/1 convolution, BN, ReLU; the map stays 32x32 (SimSiam's and SimCLR's CIFAR recipe).
    width: channels of the first stage; 64 is ResNet-18.
    zero_init_residual: the last BN scale of each block starts at 0 instead of 1, and so each block as its shortcut.
    """

    stem: str = "imagenet"
    width: int = 64
    zero_init_residual: bool = False


class ResNet18(nnx.Module):
    """Image to features, 8 * width of them."""

    def __init__(self, settings: BackboneSettings, *, axis_name: str | None = None, rng: np.random.Generator):
        stem, width = settings.stem, settings.width
        last_scale = 0.0 if settings.zero_init_residual else 1.0
        if stem == "imagenet":
            self.stem = Conv(3, width, 7, stride=2, rng=rng)
        elif stem == "cifar":
            self.stem = Conv(3, width, 3, rng=rng)
        else:
            raise ValueError(f"stem={stem!r} is none of {', '.join(STEMS)}")
        self.pool = stem == "imagenet"
        self.stem_norm = BatchNorm(width, axis_name=axis_name)
        blocks, c = [], width
        for stage in range(4):
            f = width * 2**stage
            for block in range(2):
                stride = 2 if stage > 0 and block == 0 else 1
                blocks.append(BasicBlock(c, f, stride=stride, last_scale=last_scale, axis_name=axis_name, rng=rng))
                c = f
        self.blocks = nnx.List(blocks)
        self.features = c

    def __call__(self, x: Float[Array, "n h w 3"], views: int) -> Float[Array, "n features"]:
        """`views`: the number of views whose batch statistics are taken apart; 0 in evaluation mode."""
        x = self.stem_norm(self.stem(x), views)
        # PyTorch has the ReLU first: the same values and gradients, on a map four times as large
        x = nnx.relu(max_pool(x) if self.pool else x)
        for block in self.blocks:
            x = block(x, views)
        return x.mean((1, 2))


class BasicBlock(nnx.Module):
    """Two 3x3 convolutions with BN beside a shortcut; the second BN's scale starts at `last_scale`."""

    def __init__(
        self, c: int, f: int, *, stride: int, last_scale: float, axis_name: str | None, rng: np.random.Generator
    ):
        self.conv1 = Conv(c, f, 3, stride=stride, rng=rng)
        self.norm1 = BatchNorm(f, axis_name=axis_name)
        self.conv2 = Conv(f, f, 3, rng=rng)
        self.norm2 = BatchNorm(f, scale=last_scale, axis_name=axis_name)
        if stride == 1 and c == f:
            self.shortcut, self.shortcut_norm = None, None
        else:
            self.shortcut = Conv(c, f, 1, stride=stride, rng=rng)
            self.shortcut_norm = BatchNorm(f, axis_name=axis_name)

    def __call__(self, x: Float[Array, "n h w c"], views: int) -> Float[Array, "n h2 w2 f"]:
        y = nnx.relu(self.norm1(self.conv1(x), views))
        y = self.norm2(self.conv2(y), views)
        if self.shortcut is not None:
            x = self.shortcut_norm(self.shortcut(x), views)
        return nnx.relu(x + y)
