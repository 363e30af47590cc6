"""Convolution, transposed convolution and max pool, each computed in the way that is fastest on its platform.

GPUs and TPUs run XLA's own operations, the plain forms below. CPUs run those of `conv_cpu.py`. All arrays are NHWC,
kernels HWIO; a convolution is a zero-padded cross-correlation, as in PyTorch.
"""

import functools

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from sidae_jax.networks import conv_cpu

_LAYOUT = ("NHWC", "HWIO", "NHWC")


def conv2d(x: Float[Array, "n h w c"], kernel: Float[Array, "k k c f"], stride: int) -> Float[Array, "n h2 w2 f"]:
    """Convolution with padding (k - 1) / 2 on every side, k odd: at stride 1 the map keeps its size."""
    return lax.platform_dependent(
        x,
        kernel,
        cpu=functools.partial(conv_cpu.conv2d, stride=stride),
        default=functools.partial(conv2d_plain, stride=stride),
    )


def conv2d_plain(x: Float[Array, "n h w c"], kernel: Float[Array, "k k c f"], stride: int) -> Float[Array, "n h2 w2 f"]:
    """`conv2d` as XLA's own convolution."""
    pad = (kernel.shape[0] - 1) // 2
    return lax.conv_general_dilated(x, kernel, (stride, stride), [(pad, pad)] * 2, dimension_numbers=_LAYOUT)


def conv_transpose2d(x: Float[Array, "n h w c"], kernel: Float[Array, "3 3 c f"]) -> Float[Array, "n 2*h 2*w f"]:
    """Transposed convolution 3x3, stride 2, padding 1, output padding 1: it doubles height and width.

    kernel[i, j, c, f] is PyTorch's weight[c, f, i, j]: input (y, x) adds kernel[i, j] times its value to output
    (2y + i - 1, 2x + j - 1).
    """
    return lax.platform_dependent(x, kernel, cpu=conv_cpu.conv_transpose2d, default=conv_transpose2d_plain)


def conv_transpose2d_plain(x: Float[Array, "n h w c"], kernel: Float[Array, "3 3 c f"]) -> Float[Array, "n 2*h 2*w f"]:
    """`conv_transpose2d` as XLA's own convolution over the dilated input."""
    flipped = kernel[::-1, ::-1]
    return lax.conv_general_dilated(x, flipped, (1, 1), [(1, 2)] * 2, lhs_dilation=(2, 2), dimension_numbers=_LAYOUT)


def max_pool(x: Float[Array, "n h w c"]) -> Float[Array, "n h//2 w//2 c"]:
    """Max pool 3x3, stride 2, padding 1, for even height and width."""
    return lax.platform_dependent(x, cpu=conv_cpu.max_pool, default=max_pool_plain)


def max_pool_plain(x: Float[Array, "n h w c"]) -> Float[Array, "n h//2 w//2 c"]:
    """`max_pool` as XLA's own window reduction."""
    return lax.reduce_window(x, -jnp.inf, lax.max, (1, 3, 3, 1), (1, 2, 2, 1), [(0, 0), (1, 1), (1, 1), (0, 0)])
