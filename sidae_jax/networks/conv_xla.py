"""Convolution and transposed convolution as XLA's own operations. Arrays and sizes as in `conv.py`."""

import jax
from jax import lax
from jaxtyping import Array, Float

_LAYOUT = ("NHWC", "HWIO", "NHWC")


def conv2d(x: Float[Array, "n h w c"], kernel: Float[Array, "k k c f"], stride: int) -> Float[Array, "n h2 w2 f"]:
    """`conv.conv2d` as a convolution."""
    pad = (kernel.shape[0] - 1) // 2
    return lax.conv_general_dilated(x, kernel, (stride, stride), [(pad, pad)] * 2, dimension_numbers=_LAYOUT)


@jax.custom_vjp
def conv_transpose2d(x: Float[Array, "n h w c"], kernel: Float[Array, "3 3 c f"]) -> Float[Array, "n 2*h 2*w f"]:
    """`conv.conv_transpose2d` as the transposition of a strided convolution, and so are its gradients.

    JAX's own gradients would be convolutions over dilated maps, with windows as large as the maps.
    """
    n, h, w, _ = x.shape
    doubled = jax.ShapeDtypeStruct((n, 2 * h, 2 * w, kernel.shape[3]), x.dtype)
    return jax.linear_transpose(lambda y: _halve(y, kernel), doubled)(x)[0]


def _halve(y, kernel):
    """The strided convolution that `conv_transpose2d` transposes."""
    return conv2d(y, kernel.swapaxes(2, 3), 2)


def _conv_transpose2d_backward(residuals, dy):
    x, kernel = residuals
    return _halve(dy, kernel), jax.linear_transpose(lambda kernel: _halve(dy, kernel), kernel)(x)[0]


conv_transpose2d.defvjp(lambda x, kernel: (conv_transpose2d(x, kernel), (x, kernel)), _conv_transpose2d_backward)
