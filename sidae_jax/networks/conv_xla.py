"""Convolution, transposed convolution and max pool as XLA's own operations. Arrays and sizes as in `conv.py`."""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

_LAYOUT = ("NHWC", "HWIO", "NHWC")


def conv2d(x: Float[Array, "n h w c"], kernel: Float[Array, "k k c f"], stride: int) -> Float[Array, "n h2 w2 f"]:
    """`conv.conv2d` as a convolution."""
    pad = (kernel.shape[0] - 1) // 2
    return lax.conv_general_dilated(x, kernel, (stride, stride), [(pad, pad)] * 2, dimension_numbers=_LAYOUT)


def conv_transpose2d(x: Float[Array, "n h w c"], kernel: Float[Array, "3 3 c f"]) -> Float[Array, "n 2*h 2*w f"]:
    """`conv.conv_transpose2d` as a convolution over the dilated input."""
    flipped = kernel[::-1, ::-1]
    return lax.conv_general_dilated(x, flipped, (1, 1), [(1, 2)] * 2, lhs_dilation=(2, 2), dimension_numbers=_LAYOUT)


def max_pool(x: Float[Array, "n h w c"]) -> Float[Array, "n h//2 w//2 c"]:
    """`conv.max_pool` as a window reduction."""
    return lax.reduce_window(x, -jnp.inf, lax.max, (1, 3, 3, 1), (1, 2, 2, 1), [(0, 0), (1, 1), (1, 1), (0, 0)])
