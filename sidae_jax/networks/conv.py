"""How a convolution, a transposed convolution and a max pool are computed, chosen here alone.

GPUs and TPUs keep XLA's own convolutions. XLA's CPU backend has slow paths: for gradients of strided
convolutions, for maps smaller than the kernel and for the gradient of its max pool. On CPU the same sums
are therefore written as matrix products and maxima of slices. All arrays are NHWC, kernels HWIO; a
zero-padded cross-correlation, as in PyTorch.
"""

import functools

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

_LAYOUT = ("NHWC", "HWIO", "NHWC")


def conv2d(x: Float[Array, "n h w c"], kernel: Float[Array, "k k c f"], stride: int) -> Float[Array, "n h2 w2 f"]:
    """Convolution with padding (k - 1) / 2 on every side, k odd: at stride 1 the map keeps its size."""
    return lax.platform_dependent(
        x,
        kernel,
        cpu=functools.partial(_conv2d_cpu, stride=stride),
        default=functools.partial(conv2d_plain, stride=stride),
    )


def conv2d_plain(x, kernel, stride):
    """`conv2d` as XLA's own convolution."""
    pad = (kernel.shape[0] - 1) // 2
    return lax.conv_general_dilated(x, kernel, (stride, stride), [(pad, pad)] * 2, dimension_numbers=_LAYOUT)


def conv_transpose2d(x: Float[Array, "n h w c"], kernel: Float[Array, "3 3 c f"]) -> Float[Array, "n 2*h 2*w f"]:
    """Transposed convolution 3x3, stride 2, padding 1, output padding 1: it doubles height and width.

    kernel[i, j, c, f] is PyTorch's weight[c, f, i, j]: input (y, x) adds kernel[i, j] times its value to output
    (2y + i - 1, 2x + j - 1).
    """
    return lax.platform_dependent(x, kernel, cpu=_conv_transpose2d_cpu, default=conv_transpose2d_plain)


def conv_transpose2d_plain(x, kernel):
    """`conv_transpose2d` as XLA's own convolution over the dilated input."""
    flipped = kernel[::-1, ::-1]
    return lax.conv_general_dilated(x, flipped, (1, 1), [(1, 2)] * 2, lhs_dilation=(2, 2), dimension_numbers=_LAYOUT)


def max_pool(x: Float[Array, "n h w c"]) -> Float[Array, "n h//2 w//2 c"]:
    """Max pool 3x3, stride 2, padding 1, height and width even."""
    return lax.platform_dependent(x, cpu=_max_pool_slices, default=max_pool_plain)


def max_pool_plain(x):
    """`max_pool` as XLA's own window reduction."""
    return lax.reduce_window(x, -jnp.inf, lax.max, (1, 3, 3, 1), (1, 2, 2, 1), [(0, 0), (1, 1), (1, 1), (0, 0)])


def _conv2d_cpu(x, kernel, stride):
    _, h, w, c = x.shape
    if kernel.shape[0] == 1:
        pixels = x[:, ::stride, ::stride]
        return (pixels.reshape(-1, c) @ kernel[0, 0]).reshape(*pixels.shape[:3], -1)
    if h * w <= 4:
        return _conv2d_dense(x, kernel, stride)
    if h * w == 16 and stride == 2:
        return _conv2d_patches(x, kernel, stride)
    return _conv2d_mixed(x, kernel, stride)


def _conv2d_dense(x, kernel, stride):
    """One matrix from all input pixels to all output pixels; taps that fall on padding do not exist in it."""
    n, h, w, c = x.shape
    k, _, _, f = kernel.shape
    pad = (k - 1) // 2
    h2, w2 = (h - 1) // stride + 1, (w - 1) // stride + 1
    roomy = jnp.pad(kernel, ((h, h), (w, w), (0, 0), (0, 0)))
    columns = []  # for each output pixel, what each input pixel contributes to it: [h, w, c, f]
    for i in range(h2):
        for j in range(w2):
            top, left = h + pad - stride * i, w + pad - stride * j
            columns.append(roomy[top : top + h, left : left + w])
    matrix = jnp.stack(columns, axis=3).reshape(h * w * c, h2 * w2 * f)
    return (x.reshape(n, h * w * c) @ matrix).reshape(n, h2, w2, f)


def _conv2d_patches(x, kernel, stride):
    """Every output pixel's window as one row (im2col), times the kernel as one matrix."""
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
    return (patches @ kernel.reshape(k * k * c, f)).reshape(n, h2, w2, f)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def _conv2d_mixed(x, kernel, stride):
    """XLA's convolution forwards, matrix products for those of its gradients that it computes slowly."""
    return conv2d_plain(x, kernel, stride)


def _conv2d_mixed_forward(x, kernel, stride):
    return conv2d_plain(x, kernel, stride), (x, kernel)


def _conv2d_mixed_backward(stride, residuals, dy):
    x, kernel = residuals
    if stride == 2 and kernel.shape[0] == 3 and x.shape[1] % 2 == 0:
        dx = _conv_transpose2d_taps(dy, kernel.swapaxes(2, 3))
    elif stride == 1:
        # without the barrier the compiler may read the kernel with its channels exchanged, which is three times slower
        flipped = lax.optimization_barrier(kernel[::-1, ::-1].swapaxes(2, 3))
        dx = conv2d_plain(dy, flipped, stride)
    else:
        (dx,) = jax.vjp(lambda x: _conv2d_patches(x, kernel, stride), x)[1](dy)
    if stride == 1 and x.shape[2] <= 8:
        return dx, _kernel_gradient_by_rows(x, dy, kernel.shape[0])
    (dkernel,) = jax.vjp(lambda kernel: _conv2d_patches(x, kernel, stride), kernel)[1](dy)
    return dx, dkernel


def _kernel_gradient_by_rows(x, dy, k):
    """The gradient of a stride 1 kernel: one product of the k rows of x around each row of dy with that row.

    The product has every pair of columns; the gradient of tap j is the sum over those that lie j - pad apart. On
    narrow maps that is several times more multiplications than needed, in a product of a shape that runs faster.
    """
    n, h, w, c = x.shape
    f = dy.shape[-1]
    pad = (k - 1) // 2
    padded = jnp.pad(x, ((0, 0), (pad, pad), (0, 0), (0, 0)))
    rows = jnp.concatenate([padded[:, i : i + h] for i in range(k)], axis=2).reshape(n * h, k * w * c)
    pairs = (rows.T @ dy.reshape(n * h, w * f)).reshape(k, w, c, w, f)
    columns = ([(q + j - pad, q) for q in range(w) if 0 <= q + j - pad < w] for j in range(k))
    return jnp.stack([sum(pairs[:, p, :, q] for p, q in column) for column in columns], axis=1)


_conv2d_mixed.defvjp(_conv2d_mixed_forward, _conv2d_mixed_backward)


@jax.custom_vjp
def _conv_transpose2d_cpu(x, kernel):
    return _conv_transpose2d_taps(x, kernel)


def _conv_transpose2d_backward(residuals, dy):
    """Each input pixel's nine outputs as one row of dy: a product with the kernel gives dx, one with x its own."""
    x, kernel = residuals
    n, h, w, c = x.shape
    f = kernel.shape[-1]
    padded = jnp.pad(dy, ((0, 0), (1, 0), (1, 0), (0, 0)))
    taps = [padded[:, i : i + 2 * h : 2, j : j + 2 * w : 2] for i in range(3) for j in range(3)]
    # without the barrier the compiler would write the rows twice, once for each product
    rows = lax.optimization_barrier(jnp.concatenate(taps, axis=-1).reshape(n * h * w, 9 * f))
    dx = rows @ kernel.transpose(0, 1, 3, 2).reshape(9 * f, c)
    dkernel = x.reshape(n * h * w, c).T @ rows
    return dx.reshape(x.shape), dkernel.reshape(c, 3, 3, f).transpose(1, 2, 0, 3)


_conv_transpose2d_cpu.defvjp(
    lambda x, kernel: (_conv_transpose2d_taps(x, kernel), (x, kernel)), _conv_transpose2d_backward
)


def _conv_transpose2d_taps(x, kernel):
    """One product gives all nine taps of every input pixel; shifted sums put them in place.

    Along one axis, output 2m takes tap 1 of input m; output 2m+1 takes tap 2 of input m and tap 0 of
    input m+1 (nothing beyond the last).
    """
    n, h, w, c = x.shape
    f = kernel.shape[-1]
    taps = x.reshape(n * h * w, c) @ kernel.transpose(2, 0, 1, 3).reshape(c, 9 * f)
    taps = taps.reshape(n, h, w, 3, 3, f)
    taps = _interleave(taps[..., 0, :, :], taps[..., 1, :, :], taps[..., 2, :, :], axis=1)  # [n, 2h, w, 3, f]
    return _interleave(taps[..., 0, :], taps[..., 1, :], taps[..., 2, :], axis=2)


def _interleave(tap0, tap1, tap2, axis):
    size = tap0.shape[axis]
    beyond_last = [(0, 1, 0) if a == axis else (0, 0, 0) for a in range(tap0.ndim)]
    next_tap0 = lax.slice_in_dim(lax.pad(tap0, jnp.zeros((), tap0.dtype), beyond_last), 1, size + 1, axis=axis)
    pair = jnp.stack([tap1, tap2 + next_tap0], axis=axis + 1)
    return pair.reshape(*tap0.shape[:axis], 2 * size, *tap0.shape[axis + 1 :])


def _max_pool_slices(x):
    """The maximum of three strided slices along one axis, then along the other.

    Where the maximum is reached more than once the gradient is shared between the places, not given to
    the first as PyTorch does: the same sum, the same for equal windows.
    """
    for axis in (1, 2):
        even, odd = (lax.slice_in_dim(x, i, None, stride=2, axis=axis) for i in range(2))
        one_before = [(1, -1, 0) if a == axis else (0, 0, 0) for a in range(4)]
        before = lax.pad(odd, jnp.full((), -jnp.inf, x.dtype), one_before)
        x = jnp.maximum(jnp.maximum(even, odd), before)
    return x
