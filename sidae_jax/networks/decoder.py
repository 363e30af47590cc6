"""The decoder: a linear layer and five transposed convolutions that mirror the backbone (paper, 3.2)."""

import itertools

import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from sidae_jax.networks.batch_norm import BatchNorm
from sidae_jax.networks.layers import ConvTranspose, Linear


class Decoder(nnx.Module):
    """Latent -> 1x1x512 -> 2x2x256 -> 4x4x128 -> 8x8x64 -> 16x16x64 -> 32x32x3, at the standard width of 64.

    For larger images the first map is size / 32 pixels high and wide.

    BN and ReLU between the layers mirror the encoder (the paper names no norm). Neither follows the last layer, since
    the images that it reconstructs are normalized.
    """

    def __init__(self, latent_dim: int, *, size: int, width: int, axis_name: str | None, rng: np.random.Generator):
        self.first = size // 32
        channels = [8 * width, 4 * width, 2 * width, width, width]
        self.linear = Linear(latent_dim, self.first**2 * channels[0], rng=rng)
        self.convs = nnx.List([ConvTranspose(*pair, use_bias=False, rng=rng) for pair in itertools.pairwise(channels)])
        self.norms = nnx.List([BatchNorm(out, relu=True, axis_name=axis_name) for out in channels[1:]])
        self.last = ConvTranspose(channels[-1], 3, use_bias=True, rng=rng)

    def __call__(
        self, z: Float[Array, "n d"], views: int = 1, use_running_average: bool = False
    ) -> Float[Array, "n size size 3"]:
        """Decodes latents to normalized images; `views` and `use_running_average` as for BatchNorm."""
        y = self.linear(z).reshape(z.shape[0], self.first, self.first, -1)
        for conv, norm in zip(self.convs, self.norms, strict=True):
            y = norm(conv(y), views, use_running_average)
        return self.last(y)
