"""ResNets as torchvision defines them (He et al., 2016), up to the pooled features."""

import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from sidae_jax.networks.batch_norm import BatchNorm
from sidae_jax.networks.layers import Conv
from sidae_jax.networks.precision import as_activations
from sidae_jax.settings import STEMS, BackboneSettings


class ResNet(nnx.Module):
    """Maps images to `num_features` pooled features: 8 * width with basic blocks, 32 * width with bottlenecks."""

    def __init__(
        self,
        block: str,
        blocks: tuple[int, int, int, int],
        settings: BackboneSettings,
        *,
        axis_name: str | None = None,
        rng: np.random.Generator,
    ):
        """Creates stages of `blocks` blocks, which are of kind `block`, "basic" or "bottleneck"."""
        stem, width = settings.stem, settings.width
        if stem == "imagenet":
            self.stem = Conv(3, width, 7, stride=2, rng=rng)
        elif stem == "cifar":
            self.stem = Conv(3, width, 3, rng=rng)
        else:
            raise ValueError(f"stem={stem!r} is none of {', '.join(STEMS)}")
        # PyTorch has the ReLU before the pool: the same values and gradients, on a map four times as large
        self.stem_norm = BatchNorm(width, pool=stem == "imagenet", relu=True, axis_name=axis_name)
        kinds: dict[str, type[BasicBlock | Bottleneck]] = {"basic": BasicBlock, "bottleneck": Bottleneck}
        make_block = kinds[block]
        last_scale = 0.0 if settings.zero_init_residual else 1.0
        made: list[nnx.Module] = []
        channels = width
        for stage, count in enumerate(blocks):
            for i in range(count):
                stride = 2 if stage > 0 and i == 0 else 1
                made.append(
                    make_block(
                        channels, width * 2**stage, stride=stride, last_scale=last_scale, axis_name=axis_name, rng=rng
                    )
                )
                channels = width * 2**stage * make_block.expansion
        self.blocks = nnx.List(made)
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

    expansion = 1

    def __init__(
        self,
        in_features: int,
        features: int,
        *,
        stride: int,
        last_scale: float,
        axis_name: str | None,
        rng: np.random.Generator,
    ):
        self.conv1 = Conv(in_features, features, 3, stride=stride, rng=rng)
        self.norm1 = BatchNorm(features, relu=True, axis_name=axis_name)
        self.conv2 = Conv(features, features, 3, rng=rng)
        self.norm2 = BatchNorm(features, scale=last_scale, axis_name=axis_name)
        self.shortcut, self.shortcut_norm = _shortcut(in_features, features, stride, axis_name, rng)

    def __call__(
        self, x: Float[Array, "n h w c"], views: int = 1, use_running_average: bool = False
    ) -> Float[Array, "n h2 w2 f"]:
        """Applies the block to a map; `views` and `use_running_average` as for BatchNorm."""
        y = self.norm1(self.conv1(x), views, use_running_average)
        y = self.norm2(self.conv2(y), views, use_running_average)
        if self.shortcut is not None:
            x = self.shortcut_norm(self.shortcut(x), views, use_running_average)
        return nnx.relu(x + y)


class Bottleneck(nnx.Module):
    """1x1, 3x3 and 1x1 convolutions with BN beside a shortcut; the third BN's scale starts at `last_scale`.

    The 3x3 convolution has the stride, as torchvision's (ResNet v1.5); in He et al. the first one has it.
    """

    expansion = 4

    def __init__(
        self,
        in_features: int,
        features: int,
        *,
        stride: int,
        last_scale: float,
        axis_name: str | None,
        rng: np.random.Generator,
    ):
        out_features = self.expansion * features
        self.conv1 = Conv(in_features, features, 1, rng=rng)
        self.norm1 = BatchNorm(features, relu=True, axis_name=axis_name)
        self.conv2 = Conv(features, features, 3, stride=stride, rng=rng)
        self.norm2 = BatchNorm(features, relu=True, axis_name=axis_name)
        self.conv3 = Conv(features, out_features, 1, rng=rng)
        self.norm3 = BatchNorm(out_features, scale=last_scale, axis_name=axis_name)
        self.shortcut, self.shortcut_norm = _shortcut(in_features, out_features, stride, axis_name, rng)

    def __call__(
        self, x: Float[Array, "n h w c"], views: int = 1, use_running_average: bool = False
    ) -> Float[Array, "n h2 w2 f"]:
        """Applies the block to a map; `views` and `use_running_average` as for BatchNorm."""
        y = self.norm1(self.conv1(x), views, use_running_average)
        y = self.norm2(self.conv2(y), views, use_running_average)
        y = self.norm3(self.conv3(y), views, use_running_average)
        if self.shortcut is not None:
            x = self.shortcut_norm(self.shortcut(x), views, use_running_average)
        return nnx.relu(x + y)


def _shortcut(in_features, out_features, stride, axis_name, rng):
    """Returns the 1x1 convolution and the BN beside a block, None and None where its input has the output's shape."""
    if stride == 1 and in_features == out_features:
        return None, None
    return Conv(in_features, out_features, 1, stride=stride, rng=rng), BatchNorm(out_features, axis_name=axis_name)
