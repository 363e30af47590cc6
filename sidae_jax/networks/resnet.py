"""ResNet-18 as PyTorch defines it (He et al., 2016), up to the pooled features."""

import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from sidae_jax.networks.batch_norm import BatchNorm
from sidae_jax.networks.layers import Conv
from sidae_jax.networks.precision import as_activations
from sidae_jax.settings import STEMS, BackboneSettings


class ResNet18(nnx.Module):
    """Maps images to `num_features` = 8 * width pooled features."""

    def __init__(self, settings: BackboneSettings, *, axis_name: str | None = None, rng: np.random.Generator):
        stem, width = settings.stem, settings.width
        last_scale = 0.0 if settings.zero_init_residual else 1.0
        if stem == "imagenet":
            self.stem = Conv(3, width, 7, stride=2, rng=rng)
        elif stem == "cifar":
            self.stem = Conv(3, width, 3, rng=rng)
        else:
            raise ValueError(f"stem={stem!r} is none of {', '.join(STEMS)}")
        # PyTorch has the ReLU before the pool: the same values and gradients, on a map four times as large
        self.stem_norm = BatchNorm(width, pool=stem == "imagenet", relu=True, axis_name=axis_name)
        blocks, channels = [], width
        for stage in range(4):
            for block in range(2):
                stride = 2 if stage > 0 and block == 0 else 1
                options = {"stride": stride, "last_scale": last_scale, "axis_name": axis_name, "rng": rng}
                blocks.append(BasicBlock(channels, width * 2**stage, **options))
                channels = width * 2**stage
        self.blocks = nnx.List(blocks)
        self.num_features = channels
        self.size, self.precision = settings.size, settings.precision

    def __call__(
        self, x: Float[Array, "n h w 3"], views: int = 1, use_running_average: bool = False
    ) -> Float[Array, "n features"]:
        """Returns the features of normalized images; `views` and `use_running_average` as for BatchNorm."""
        x = self.stem_norm(self.stem(as_activations(x, self.precision)), views, use_running_average)
        for block in self.blocks:
            x = block(x, views, use_running_average)
        return x.mean((1, 2))


class BasicBlock(nnx.Module):
    """Two 3x3 convolutions with BN beside a shortcut; the second BN's scale starts at `last_scale`."""

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        stride: int,
        last_scale: float,
        axis_name: str | None,
        rng: np.random.Generator,
    ):
        self.conv1 = Conv(in_features, out_features, 3, stride=stride, rng=rng)
        self.norm1 = BatchNorm(out_features, relu=True, axis_name=axis_name)
        self.conv2 = Conv(out_features, out_features, 3, rng=rng)
        self.norm2 = BatchNorm(out_features, scale=last_scale, axis_name=axis_name)
        if stride == 1 and in_features == out_features:
            self.shortcut, self.shortcut_norm = None, None
        else:
            self.shortcut = Conv(in_features, out_features, 1, stride=stride, rng=rng)
            self.shortcut_norm = BatchNorm(out_features, axis_name=axis_name)

    def __call__(
        self, x: Float[Array, "n h w c"], views: int = 1, use_running_average: bool = False
    ) -> Float[Array, "n h2 w2 f"]:
        """Applies the block to a map; `views` and `use_running_average` as for BatchNorm."""
        y = self.norm1(self.conv1(x), views, use_running_average)
        y = self.norm2(self.conv2(y), views, use_running_average)
        if self.shortcut is not None:
            x = self.shortcut_norm(self.shortcut(x), views, use_running_average)
        return nnx.relu(x + y)
