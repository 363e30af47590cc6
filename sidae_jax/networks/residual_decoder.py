"""The report's decoder: the ResNet-18 of the encoder in reverse (lightning-bolts' resnet18_decoder for 32x32)."""

import itertools

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from sidae_jax.networks.batch_norm import BatchNorm
from sidae_jax.networks.layers import Conv, Linear


class ResidualDecoder(nnx.Module):
    """Latent -> 4x4x512 -> 8x8x256 -> 16x16x128 -> 32x32x64 -> 32x32x64 -> 32x32x3, at the standard width of 64.

    For larger images the first map is size / 8 pixels high and wide.

    A linear layer, four stages of two residual blocks, and a 3x3 convolution without bias or activation, since the
    images that it reconstructs are normalized. All have PyTorch's default initial values.
    """

    def __init__(self, latent_dim: int, *, size: int, width: int, axis_name: str | None, rng: np.random.Generator):
        self.first = size // 8
        channels = [8 * width, 4 * width, 2 * width, width, width]
        self.linear = Linear(latent_dim, self.first**2 * channels[0], rng=rng)
        blocks = []
        for stage, (before, after) in enumerate(itertools.pairwise(channels)):
            blocks.append(DecoderBlock(before, after, scale=2 if stage < 3 else 1, axis_name=axis_name, rng=rng))
            blocks.append(DecoderBlock(after, after, scale=1, axis_name=axis_name, rng=rng))
        self.blocks = nnx.List(blocks)
        self.last = Conv(channels[-1], 3, 3, default_init=True, rng=rng)

    def __call__(
        self, z: Float[Array, "n d"], views: int = 1, use_running_average: bool = False
    ) -> Float[Array, "n size size 3"]:
        """Decodes latents to normalized images; `views` and `use_running_average` as for BatchNorm."""
        y = self.linear(z).reshape(z.shape[0], self.first, self.first, -1)
        for block in self.blocks:
            y = block(y, views, use_running_average)
        return self.last(y)


class DecoderBlock(nnx.Module):
    """Two 3x3 convolutions with BN beside a shortcut; the second one changes the channels, on the enlarged map."""

    def __init__(
        self, in_features: int, out_features: int, *, scale: int, axis_name: str | None, rng: np.random.Generator
    ):
        self.scale = scale
        self.conv1 = Conv(in_features, in_features, 3, default_init=True, rng=rng)
        self.norm1 = BatchNorm(in_features, relu=True, axis_name=axis_name)
        self.conv2 = Conv(in_features, out_features, 3, default_init=True, rng=rng)
        self.norm2 = BatchNorm(out_features, axis_name=axis_name)
        if scale == 1 and in_features == out_features:
            self.shortcut, self.shortcut_norm = None, None
        else:
            self.shortcut = Conv(in_features, out_features, 1, default_init=True, rng=rng)
            self.shortcut_norm = BatchNorm(out_features, axis_name=axis_name)

    def __call__(
        self, x: Float[Array, "n h w c"], views: int = 1, use_running_average: bool = False
    ) -> Float[Array, "n h2 w2 f"]:
        """Applies the block to a map; `views` and `use_running_average` as for BatchNorm."""
        y = self.norm1(self.conv1(x), views, use_running_average)
        y = self.norm2(self.conv2(_enlarge(y, self.scale)), views, use_running_average)
        if self.shortcut is not None and self.shortcut_norm is not None:
            # enlarged after the 1x1 convolution instead of before: the same values for a quarter of the work
            x = self.shortcut_norm(_enlarge(self.shortcut(x), self.scale), views, use_running_average)
        return nnx.relu(x + y)


def _enlarge(x: Float[Array, "n h w c"], scale: int) -> Float[Array, "n h2 w2 c"]:
    """Repeats each pixel `scale` times in both directions: nearest neighbors."""
    return x if scale == 1 else jnp.repeat(jnp.repeat(x, scale, axis=1), scale, axis=2)
