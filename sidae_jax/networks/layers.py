"""Convolution, transposed convolution and linear layer as PyTorch defines them.

Initial values are drawn by NumPy on the host: compiling some sixty random draws for the device would take longer
than the first steps, and these are the same on every platform.
"""

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from sidae_jax.networks.conv import conv2d, conv_transpose2d


class Conv(nnx.Module):
    """k x k convolution without bias, padding (k - 1) / 2.

    Initialized kaiming normal (fan-out, ReLU), as PyTorch's ResNet is, or with PyTorch's default for a convolution.
    """

    def __init__(
        self, c: int, f: int, k: int, *, stride: int = 1, default_init: bool = False, rng: np.random.Generator
    ):
        if default_init:
            kernel = _uniform(rng, (k, k, c, f), (c * k * k) ** -0.5)
        else:
            std = (2 / (f * k * k)) ** 0.5
            kernel = jnp.asarray(std * rng.standard_normal((k, k, c, f), np.float32))
        self.kernel = nnx.Param(kernel)
        self.stride = stride

    def __call__(self, x: Float[Array, "n h w c"]) -> Float[Array, "n h2 w2 f"]:
        return conv2d(x, self.kernel[...], self.stride)


class ConvTranspose(nnx.Module):
    """Transposed convolution 3x3, stride 2, padding 1, output padding 1, with PyTorch's default initialization.

    PyTorch takes the number of *output* channels for the fan of a transposed convolution.
    """

    def __init__(self, c: int, f: int, *, use_bias: bool, rng: np.random.Generator):
        bound = (9 * f) ** -0.5
        self.kernel = nnx.Param(_uniform(rng, (3, 3, c, f), bound))
        self.bias = nnx.Param(_uniform(rng, (f,), bound)) if use_bias else None

    def __call__(self, x: Float[Array, "n h w c"]) -> Float[Array, "n 2*h 2*w f"]:
        y = conv_transpose2d(x, self.kernel[...])
        return y if self.bias is None else y + self.bias[...]


class Linear(nnx.Module):
    """x @ kernel + bias with PyTorch's default initialization."""

    def __init__(self, c: int, f: int, *, use_bias: bool = True, rng: np.random.Generator):
        bound = c**-0.5
        self.kernel = nnx.Param(_uniform(rng, (c, f), bound))
        self.bias = nnx.Param(_uniform(rng, (f,), bound)) if use_bias else None

    def __call__(self, x: Float[Array, "n c"]) -> Float[Array, "n f"]:
        y = x @ self.kernel[...]
        return y if self.bias is None else y + self.bias[...]


def _uniform(rng: np.random.Generator, shape: tuple[int, ...], bound: float) -> Array:
    return jnp.asarray(rng.uniform(-bound, bound, shape).astype(np.float32))
