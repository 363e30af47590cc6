"""Convolution, transposed convolution and linear layer as PyTorch defines them.

NumPy draws the initial values on the host: compiling some sixty random draws for the device would take longer than the
first steps, and NumPy's draws are the same on every platform.
"""

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from sidae_jax.networks.conv import conv2d, conv_transpose2d
from sidae_jax.networks.product import matmul


class Conv(nnx.Module):
    """Square convolution without bias, padding (kernel_size - 1) / 2.

    The initial values are Kaiming normal (fan-out, ReLU), as in PyTorch's ResNet, or, with `default_init`, PyTorch's
    default for a convolution.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        kernel_size: int,
        *,
        stride: int = 1,
        default_init: bool = False,
        rng: np.random.Generator,
    ):
        shape = (kernel_size, kernel_size, in_features, out_features)
        if default_init:
            kernel = _uniform(rng, shape, (in_features * kernel_size * kernel_size) ** -0.5)
        else:
            std = (2 / (out_features * kernel_size * kernel_size)) ** 0.5
            kernel = jnp.asarray(std * rng.standard_normal(shape, np.float32))
        self.kernel = nnx.Param(kernel)
        self.stride = stride

    def __call__(self, x: Float[Array, "n h w c"]) -> Float[Array, "n h2 w2 f"]:
        """Convolves a map."""
        return conv2d(x, self.kernel[...].astype(x.dtype), self.stride)


class ConvTranspose(nnx.Module):
    """Transposed convolution 3x3, stride 2, padding 1, output padding 1, with PyTorch's default initialization.

    PyTorch takes the number of *output* channels for the fan of a transposed convolution.
    """

    def __init__(self, in_features: int, out_features: int, *, use_bias: bool, rng: np.random.Generator):
        bound = (9 * out_features) ** -0.5
        self.kernel = nnx.Param(_uniform(rng, (3, 3, in_features, out_features), bound))
        self.bias = nnx.Param(_uniform(rng, (out_features,), bound)) if use_bias else None

    def __call__(self, x: Float[Array, "n h w c"]) -> Float[Array, "n 2*h 2*w f"]:
        """Doubles the height and width of a map."""
        y = conv_transpose2d(x, self.kernel[...].astype(x.dtype))
        return y if self.bias is None else (y + self.bias[...]).astype(y.dtype)


class Linear(nnx.Module):
    """x @ kernel + bias with PyTorch's default initialization."""

    def __init__(self, in_features: int, out_features: int, *, use_bias: bool = True, rng: np.random.Generator):
        bound = in_features**-0.5
        self.kernel = nnx.Param(_uniform(rng, (in_features, out_features), bound))
        self.bias = nnx.Param(_uniform(rng, (out_features,), bound)) if use_bias else None

    def __call__(self, x: Float[Array, "n c"]) -> Float[Array, "n f"]:
        """Maps the last axis."""
        y = matmul(x, self.kernel[...].astype(x.dtype))
        return y if self.bias is None else (y + self.bias[...]).astype(y.dtype)


def _uniform(rng: np.random.Generator, shape: tuple[int, ...], bound: float) -> Array:
    return jnp.asarray(rng.uniform(-bound, bound, shape).astype(np.float32))
