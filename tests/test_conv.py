"""Every lowering of the convolutions and the max pool against a plain operation of XLA, with gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from sidae_jax.networks import conv, conv_xla
from sidae_jax.networks.max_pool import max_pool

# (size, c, f, k, stride) of the backbone at 32x32, by stem, with few channels
IMAGENET = [(32, 3, 4, 7, 2), (8, 4, 4, 3, 1), (8, 4, 6, 3, 2), (8, 4, 6, 1, 2), (4, 6, 6, 3, 1), (4, 4, 6, 3, 2)]
IMAGENET += [(4, 4, 6, 1, 2), (2, 6, 6, 3, 1), (2, 4, 6, 3, 2), (2, 4, 6, 1, 2), (1, 6, 6, 3, 1)]
CIFAR = [(32, 3, 4, 3, 1), (32, 4, 4, 3, 1), (32, 4, 6, 3, 2), (32, 4, 6, 1, 2), (16, 6, 6, 3, 1), (16, 4, 6, 3, 2)]


def _random(*shapes):
    rng = np.random.default_rng(0)
    return [jnp.asarray(rng.normal(size=shape), jnp.float32) for shape in shapes]


_LAYOUT = ("NHWC", "HWIO", "NHWC")


def plain_conv2d(x, kernel, stride):
    pad = (kernel.shape[0] - 1) // 2
    return lax.conv_general_dilated(x, kernel, (stride, stride), [(pad, pad)] * 2, dimension_numbers=_LAYOUT)


def plain_conv_transpose2d(x, kernel):
    flipped = kernel[::-1, ::-1]
    return lax.conv_general_dilated(x, flipped, (1, 1), [(1, 2)] * 2, lhs_dilation=(2, 2), dimension_numbers=_LAYOUT)


def plain_max_pool(x):
    return lax.reduce_window(x, -jnp.inf, lax.max, (1, 3, 3, 1), (1, 2, 2, 1), [(0, 0), (1, 1), (1, 1), (0, 0)])


def _assert_same(ours, plain, *arguments):
    y, pullback = jax.vjp(jax.jit(ours), *arguments)
    wanted, wanted_pullback = jax.vjp(plain, *arguments)
    np.testing.assert_allclose(y, wanted, rtol=1e-5, atol=1e-5)
    (cotangent,) = _random(y.shape)
    for found, gradient in zip(pullback(cotangent), wanted_pullback(cotangent), strict=True):
        np.testing.assert_allclose(found, gradient, rtol=1e-5, atol=1e-5 * float(jnp.abs(gradient).max()))


@pytest.mark.parametrize(("size", "c", "f", "k", "stride"), IMAGENET + CIFAR)
def test_conv2d(size, c, f, k, stride):
    x, kernel = _random((3, size, size, c), (k, k, c, f))
    _assert_same(lambda x, w: conv.conv2d(x, w, stride), lambda x, w: plain_conv2d(x, w, stride), x, kernel)
    _assert_same(lambda x, w: conv_xla.conv2d(x, w, stride), lambda x, w: plain_conv2d(x, w, stride), x, kernel)


@pytest.mark.parametrize(("h", "w"), [(6, 5), (5, 6), (7, 5), (6, 10)])
@pytest.mark.parametrize("stride", [1, 2])
def test_conv2d_of_maps_that_are_not_square_or_odd(h, w, stride):
    """The library's own are 32x32 and its halves."""
    x, kernel = _random((3, h, w, 4), (3, 3, 4, 6))
    _assert_same(lambda x, w: conv.conv2d(x, w, stride), lambda x, w: plain_conv2d(x, w, stride), x, kernel)


@pytest.mark.parametrize(("size", "f"), [(1, 5), (2, 5), (4, 5), (8, 5), (8, 3), (16, 5), (16, 3)])
def test_conv_transpose2d(size, f):
    x, kernel = _random((3, size, size, 4), (3, 3, 4, f))
    _assert_same(conv.conv_transpose2d, plain_conv_transpose2d, x, kernel)
    _assert_same(conv.conv_transpose2d_on_accelerators, plain_conv_transpose2d, x, kernel)


def test_max_pool():
    (x,) = _random((3, 16, 12, 4))
    _assert_same(max_pool, plain_max_pool, x)


def test_of_equal_maxima_the_first_has_the_gradient():
    """As in PyTorch; XLA's own gradient agrees."""
    x = jnp.zeros((1, 4, 4, 1))
    (gradient,) = jax.vjp(max_pool, x)[1](jnp.arange(1.0, 5).reshape(1, 2, 2, 1))
    by_hand = np.array([[1, 2, 0, 0], [3, 4, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]])
    np.testing.assert_array_equal(gradient[0, :, :, 0], by_hand)


def test_the_plain_lowerings_by_hand():
    """A convolution is a correlation; a transposed one adds kernel[i, j] at (2y + i - 1, 2x + j - 1)."""
    x, kernel = _random((1, 2, 2, 1), (3, 3, 1, 1))
    image, weight = np.asarray(x)[0, :, :, 0], np.asarray(kernel)[:, :, 0, 0]
    correlated = np.zeros((2, 2))
    transposed = np.zeros((4, 4))
    for y in range(2):
        for x_ in range(2):
            for i in range(3):
                for j in range(3):
                    if 0 <= y + i - 1 < 2 and 0 <= x_ + j - 1 < 2:
                        correlated[y, x_] += image[y + i - 1, x_ + j - 1] * weight[i, j]
                    if 0 <= 2 * y + i - 1 < 4 and 0 <= 2 * x_ + j - 1 < 4:
                        transposed[2 * y + i - 1, 2 * x_ + j - 1] += image[y, x_] * weight[i, j]
    np.testing.assert_allclose(plain_conv2d(x, kernel, 1)[0, :, :, 0], correlated, rtol=1e-5)
    np.testing.assert_allclose(plain_conv_transpose2d(x, kernel)[0, :, :, 0], transposed, rtol=1e-5)
