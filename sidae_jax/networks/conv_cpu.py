"""Convolutions for CPUs, written as matrix products where XLA is slow, as in the gradients of strided convolutions.

docs/performance.md has the measurements behind every choice. Arrays as in `conv.py`, which alone calls this file.
"""

import functools

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from sidae_jax.networks import conv_xla
from sidae_jax.networks.product import matmul

# At stride 2, maps of this many pixels (4x4) are convolved by patches: 28 ms with gradients where XLA's convolution
# with products for gradients takes 36 (1,024 images, 128 to 256 channels).
_PATCHES_PIXELS = 16
# Up to this width the gradient of a stride-1 kernel is computed by rows: 74 ms where patches take 98 at 8x8x64, and 43
# where they take 63 at 4x4x128 (1,024 images). It multiplies all pairs of columns, which does not pay on wider maps.
_ROWS_WIDTH = 8


def conv2d(x: Float[Array, "n h w c"], kernel: Float[Array, "k k c f"], stride: int) -> Float[Array, "n h2 w2 f"]:
    """`conv.conv2d` for CPUs."""
    if x.shape[1] * x.shape[2] == _PATCHES_PIXELS and stride == 2:
        return _conv2d_patches(x, kernel, stride)
    return _conv2d_mixed(x, kernel, stride)


def _conv2d_patches(x, kernel, stride):
    """Multiplies the window of every output pixel, as one row (im2col), by the kernel as one matrix."""
    n, h, w, c = x.shape
    k, _, _, f = kernel.shape
    pad = (k - 1) // 2
    h2, w2 = (h - 1) // stride + 1, (w - 1) // stride + 1
    padded = jnp.pad(x, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
    taps = [
        padded[:, i : i + stride * (h2 - 1) + 1 : stride, j : j + stride * (w2 - 1) + 1 : stride]
        for i in range(k)
        for j in range(k)
    ]
    patches = jnp.concatenate(taps, axis=-1).reshape(n * h2 * w2, k * k * c)
    return matmul(patches, kernel.reshape(k * k * c, f)).reshape(n, h2, w2, f)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def _conv2d_mixed(x, kernel, stride):
    """XLA's own convolution, with matrix products for the gradients that XLA computes slowly."""
    return conv_xla.conv2d(x, kernel, stride)


def _conv2d_mixed_forward(x, kernel, stride):
    return conv_xla.conv2d(x, kernel, stride), (x, kernel)


def _conv2d_mixed_backward(stride, residuals, dy):
    x, kernel = residuals
    if stride == 2 and kernel.shape[0] == 3 and x.shape[1] % 2 == x.shape[2] % 2 == 0:
        dx = _conv_transpose2d_taps(dy, kernel.swapaxes(2, 3))
    elif stride == 1:
        # without the barrier the compiler may read the kernel with its channels exchanged, which is three times slower
        flipped = lax.optimization_barrier(kernel[::-1, ::-1].swapaxes(2, 3))
        dx = conv_xla.conv2d(dy, flipped, stride)
    else:
        (dx,) = jax.vjp(lambda x: _conv2d_patches(x, kernel, stride), x)[1](dy)
    if stride == 1 and x.shape[2] <= _ROWS_WIDTH:
        return dx, _kernel_gradient_by_rows(x, dy, kernel.shape[0])
    (dkernel,) = jax.vjp(lambda kernel: _conv2d_patches(x, kernel, stride), kernel)[1](dy)
    return dx, dkernel


def _kernel_gradient_by_rows(x, dy, k):
    """Returns the gradient of a stride-1 kernel from one product of each row of dy with the k rows of x around it.

    The product pairs every column with every other; the gradient of tap j sums the pairs that lie j - pad apart. On
    narrow maps that is several times more multiplications than needed, in a product whose shape runs faster.
    """
    n, h, w, c = x.shape
    f = dy.shape[-1]
    pad = (k - 1) // 2
    padded = jnp.pad(x, ((0, 0), (pad, pad), (0, 0), (0, 0)))
    rows = jnp.concatenate([padded[:, i : i + h] for i in range(k)], axis=2).reshape(n * h, k * w * c)
    pairs = matmul(rows.T, dy.reshape(n * h, w * f)).reshape(k, w, c, w, f)
    columns = ([(q + j - pad, q) for q in range(w) if 0 <= q + j - pad < w] for j in range(k))
    return jnp.stack([sum(pairs[:, p, :, q] for p, q in column) for column in columns], axis=1)


_conv2d_mixed.defvjp(_conv2d_mixed_forward, _conv2d_mixed_backward)


@jax.custom_vjp
def conv_transpose2d(x: Float[Array, "n h w c"], kernel: Float[Array, "3 3 c f"]) -> Float[Array, "n 2*h 2*w f"]:
    """`conv.conv_transpose2d` for CPUs."""
    return _conv_transpose2d_taps(x, kernel)


def _conv_transpose2d_backward(residuals, dy):
    """Gathers each input pixel's nine outputs of dy into a row; products with kernel and x give both gradients."""
    x, kernel = residuals
    n, h, w, c = x.shape
    f = kernel.shape[-1]
    padded = jnp.pad(dy, ((0, 0), (1, 0), (1, 0), (0, 0)))
    taps = [padded[:, i : i + 2 * h : 2, j : j + 2 * w : 2] for i in range(3) for j in range(3)]
    # without the barrier the compiler would write the rows twice, once for each product
    rows = lax.optimization_barrier(jnp.concatenate(taps, axis=-1).reshape(n * h * w, 9 * f))
    dx = matmul(rows, kernel.transpose(0, 1, 3, 2).reshape(9 * f, c))
    dkernel = matmul(x.reshape(n * h * w, c).T, rows)
    return dx.reshape(x.shape), dkernel.reshape(c, 3, 3, f).transpose(1, 2, 0, 3)


conv_transpose2d.defvjp(lambda x, kernel: (_conv_transpose2d_taps(x, kernel), (x, kernel)), _conv_transpose2d_backward)


def _conv_transpose2d_taps(x, kernel):
    """Computes all nine taps of every input pixel by one product, and puts them in place by shifted sums.

    Along one axis, output 2m takes tap 1 of input m; output 2m+1 takes tap 2 of input m and tap 0 of input m+1, if
    there is one.
    """
    n, h, w, c = x.shape
    f = kernel.shape[-1]
    taps = matmul(x.reshape(n * h * w, c), kernel.transpose(2, 0, 1, 3).reshape(c, 9 * f))
    taps = taps.reshape(n, h, w, 3, 3, f)
    taps = _interleave(taps[..., 0, :, :], taps[..., 1, :, :], taps[..., 2, :, :], axis=1)  # [n, 2h, w, 3, f]
    return _interleave(taps[..., 0, :], taps[..., 1, :], taps[..., 2, :], axis=2)


def _interleave(tap0, tap1, tap2, axis):
    size = tap0.shape[axis]
    beyond_last = [(0, 1, 0) if a == axis else (0, 0, 0) for a in range(tap0.ndim)]
    next_tap0 = lax.slice_in_dim(lax.pad(tap0, jnp.zeros((), tap0.dtype), beyond_last), 1, size + 1, axis=axis)
    pair = jnp.stack([tap1, tap2 + next_tap0], axis=axis + 1)
    return pair.reshape(*tap0.shape[:axis], 2 * size, *tap0.shape[axis + 1 :])
