"""Convolution, transposed convolution and max pool, each computed in the way that is fastest on its platform.

GPUs and TPUs run XLA's own operations, those of `conv_xla.py`, and CPUs those of `conv_cpu.py`. All arrays are NHWC,
kernels HWIO; a convolution is a zero-padded cross-correlation, as in PyTorch.
"""

import functools

from jax import lax
from jaxtyping import Array, Float

from sidae_jax.networks import conv_cpu, conv_xla


def conv2d(x: Float[Array, "n h w c"], kernel: Float[Array, "k k c f"], stride: int) -> Float[Array, "n h2 w2 f"]:
    """Convolution with padding (k - 1) / 2 on every side, k odd: at stride 1 the map keeps its size."""
    return lax.platform_dependent(
        x,
        kernel,
        cpu=functools.partial(conv_cpu.conv2d, stride=stride),
        default=functools.partial(conv_xla.conv2d, stride=stride),
    )


def conv_transpose2d(x: Float[Array, "n h w c"], kernel: Float[Array, "3 3 c f"]) -> Float[Array, "n 2*h 2*w f"]:
    """Transposed convolution 3x3, stride 2, padding 1, output padding 1: it doubles height and width.

    kernel[i, j, c, f] is PyTorch's weight[c, f, i, j]: input (y, x) adds kernel[i, j] times its value to output
    (2y + i - 1, 2x + j - 1).
    """
    return lax.platform_dependent(x, kernel, cpu=conv_cpu.conv_transpose2d, default=conv_xla.conv_transpose2d)


def max_pool(x: Float[Array, "n h w c"]) -> Float[Array, "n h//2 w//2 c"]:
    """Max pool 3x3, stride 2, padding 1, for even height and width."""
    return lax.platform_dependent(x, cpu=conv_cpu.max_pool, default=conv_xla.max_pool)
