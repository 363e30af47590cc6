"""Convolution and transposed convolution, each computed in the way that is fastest.

Small maps and 1x1 kernels are matrix products everywhere. For the rest GPUs and TPUs run XLA's convolutions, those of
`conv_xla.py`, and CPUs what is in `conv_cpu.py`. All arrays are NHWC, kernels HWIO; a convolution is a zero-padded
cross-correlation, as in PyTorch.
"""

import functools

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from sidae_jax.networks import conv_cpu, conv_onednn, conv_xla
from sidae_jax.networks.product import matmul

# Maps of at most this many pixels are convolved as one dense matrix, which has no taps that fall on padding. On a CPU,
# with gradients and 1,024 images: 15 ms where patches take 54 at 2x2x256, and 4 where they take 33 at 1x1x512. On GPUs
# XLA exchanges images and channels in convolutions of such maps, which costs several transpositions.
_DENSE_PIXELS = 4


def conv2d(x: Float[Array, "n h w c"], kernel: Float[Array, "k k c f"], stride: int) -> Float[Array, "n h2 w2 f"]:
    """Convolution with padding (k - 1) / 2 on every side, k odd: at stride 1 the map keeps its size."""
    _, h, w, c = x.shape
    if kernel.shape[0] == 1:
        # without the barrier XLA's compiler for GPUs ends the process: its products cannot be fused with such slices
        pixels = lax.optimization_barrier(x[:, ::stride, ::stride])
        return matmul(pixels.reshape(-1, c), kernel[0, 0]).reshape(*pixels.shape[:3], -1)
    if h * w <= _DENSE_PIXELS:
        return _dense(x, kernel, stride)
    by_onednn = conv_onednn.in_use() and _onednn_is_faster(h // stride * (w // stride), x.dtype)
    on_cpu = (conv_onednn if by_onednn else conv_cpu).conv2d
    return lax.platform_dependent(
        x,
        kernel,
        cpu=functools.partial(on_cpu, stride=stride),
        default=functools.partial(conv_xla.conv2d, stride=stride),
    )


def conv_transpose2d(x: Float[Array, "n h w c"], kernel: Float[Array, "3 3 c f"]) -> Float[Array, "n 2*h 2*w f"]:
    """Transposed convolution 3x3, stride 2, padding 1, output padding 1: it doubles height and width.

    kernel[i, j, c, f] is PyTorch's weight[c, f, i, j]: input (y, x) adds kernel[i, j] times its value to output
    (2y + i - 1, 2x + j - 1).
    """
    by_onednn = conv_onednn.in_use() and _onednn_is_faster(x.shape[1] * x.shape[2])
    on_cpu = (conv_onednn if by_onednn else conv_cpu).conv_transpose2d
    return lax.platform_dependent(x, kernel, cpu=on_cpu, default=conv_transpose2d_on_accelerators)


def _onednn_is_faster(pixels, dtype=None):
    """Returns whether oneDNN is, for a convolution between maps of which the smaller has so many pixels.

    Measured by native/benchmark.py; docs/performance.md has the table.
    """
    in_bfloat16 = dtype == jnp.bfloat16 and conv_onednn.has_bfloat16()
    return pixels > _DENSE_PIXELS or (pixels == _DENSE_PIXELS and in_bfloat16)


def conv_transpose2d_on_accelerators(
    x: Float[Array, "n h w c"], kernel: Float[Array, "3 3 c f"]
) -> Float[Array, "n 2*h 2*w f"]:
    """`conv_transpose2d` for GPUs and TPUs."""
    n, h, w, c = x.shape
    if h * w > _DENSE_PIXELS:
        return conv_xla.conv_transpose2d(x, kernel)
    matrix = _dense_matrix(kernel.swapaxes(2, 3), 2 * h, 2 * w, 2)
    return matmul(x.reshape(n, h * w * c), matrix.T).reshape(n, 2 * h, 2 * w, -1)


def _dense(x, kernel, stride):
    """Multiplies by one matrix from all input pixels to all output pixels."""
    n, h, w, c = x.shape
    y = matmul(x.reshape(n, h * w * c), _dense_matrix(kernel, h, w, stride))
    return y.reshape(n, (h - 1) // stride + 1, (w - 1) // stride + 1, -1)


def _dense_matrix(kernel, h, w, stride):
    """Returns the matrix of a convolution of maps of h by w, from [h w c] to [h2 w2 f]."""
    k, _, c, f = kernel.shape
    pad = (k - 1) // 2
    h2, w2 = (h - 1) // stride + 1, (w - 1) // stride + 1
    roomy = jnp.pad(kernel, ((h, h), (w, w), (0, 0), (0, 0)))
    columns = []  # for each output pixel, what each input pixel contributes to it: [h, w, c, f]
    for i in range(h2):
        for j in range(w2):
            top, left = h + pad - stride * i, w + pad - stride * j
            columns.append(roomy[top : top + h, left : left + w])
    return jnp.stack(columns, axis=3).reshape(h * w * c, h2 * w2 * f)
