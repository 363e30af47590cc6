"""The optional package sidae_jax_native (native/): every handler against XLA's convolution, errors, threads, cache."""

import concurrent.futures
import os

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from processors import NATIVE_DTYPES

native = pytest.importorskip("sidae_jax_native", reason="sidae_jax_native is not installed: pip install ./native")

_LAYOUT = ("NHWC", "HWIO", "NHWC")
_TOLERANCE = {"float32": 2e-5, "bfloat16": 1e-2}  # of the largest value

# (size, c, f, k, stride) at 32x32: the backbone with its two stems, the decoder (whose layers are gradients of these
# convolutions to their inputs), and shapes that are no multiple of a vector
BACKBONE = [(32, 3, 64, 7, 2), (8, 64, 64, 3, 1), (8, 64, 128, 3, 2), (8, 64, 128, 1, 2), (4, 128, 128, 3, 1)]
BACKBONE += [(4, 128, 256, 3, 2), (4, 128, 256, 1, 2), (2, 256, 256, 3, 1), (2, 256, 512, 3, 2), (2, 256, 512, 1, 2)]
BACKBONE += [(1, 512, 512, 3, 1)]
CIFAR = [(32, 3, 64, 3, 1), (32, 64, 64, 3, 1), (32, 64, 128, 3, 2), (32, 64, 128, 1, 2), (16, 128, 128, 3, 1)]
CIFAR += [(16, 128, 256, 3, 2), (16, 128, 256, 1, 2), (8, 256, 256, 3, 1), (8, 256, 512, 3, 2), (8, 256, 512, 1, 2)]
CIFAR += [(4, 512, 512, 3, 1)]
DECODER = [(2, 256, 512, 3, 2), (4, 128, 256, 3, 2), (8, 64, 128, 3, 2), (16, 64, 64, 3, 2), (32, 3, 64, 3, 2)]
ODD = [(5, 7, 11, 5, 2), (9, 1, 1, 3, 1), (6, 17, 3, 1, 1), (7, 33, 65, 3, 2), (3, 4, 4, 7, 1)]
CASES = [(n, *case) for n in (3, 64) for case in dict.fromkeys(BACKBONE + CIFAR + DECODER + ODD)]


def _plain(x, kernel, stride):
    pad = (kernel.shape[0] - 1) // 2
    return lax.conv_general_dilated(x, kernel, (stride, stride), [(pad, pad)] * 2, dimension_numbers=_LAYOUT)


def _random(dtype, *shapes):
    rng = np.random.default_rng(0)
    return [jnp.asarray(rng.normal(size=shape), dtype) for shape in shapes]


def _arrays(dtype, n, size, c, f, k, stride):
    size_of_y = (size - 1) // stride + 1
    return _random(dtype, (n, size, size, c), (k, k, c, f), (n, size_of_y, size_of_y, f))


def _all_three(x, kernel, dy, stride, dtype=None):
    return (
        native.forward(x, kernel, stride, dtype),
        native.input_gradient(dy, kernel, stride, x.shape, dtype),
        native.kernel_gradient(x, dy, stride, kernel.shape[0], dtype),
    )


def _bits(arrays):
    return [np.asarray(array).tobytes() for array in arrays]


def _assert_close(found, wanted, tolerance):
    found, wanted = np.asarray(found, np.float32), np.asarray(wanted, np.float32)
    np.testing.assert_allclose(found, wanted, rtol=0, atol=tolerance * np.abs(wanted).max())


@pytest.mark.parametrize("dtype", NATIVE_DTYPES)
@pytest.mark.parametrize(("n", "size", "c", "f", "k", "stride"), CASES)
def test_every_handler_against_xla(n, size, c, f, k, stride, dtype):
    x, kernel, dy = _arrays(dtype, n, size, c, f, k, stride)
    full = [array.astype(jnp.float32) for array in (x, kernel)]  # the same values, for sums in float32
    y, pullback = jax.vjp(lambda x, kernel: _plain(x, kernel, stride), *full)
    wanted = (y, *pullback(dy.astype(jnp.float32)))
    for result_dtype in {dtype, "float32"}:
        for found, expected in zip(_all_three(x, kernel, dy, stride, result_dtype), wanted, strict=True):
            assert found.dtype == result_dtype
            # products of bfloat16 are exact in float32: only rounding the results to bfloat16 costs more
            _assert_close(found, expected, _TOLERANCE[result_dtype])


@pytest.mark.parametrize("dtype", NATIVE_DTYPES)
def test_conv2d_has_the_gradients_of_xla_within_a_program(dtype):
    x, kernel, dy = _arrays(dtype, 3, 8, 16, 32, 3, 2)

    def loss(convolve):
        return lambda x, kernel: jnp.vdot(convolve(jnp.sin(x), kernel, 2).astype(jnp.float32), dy.astype(jnp.float32))

    found = jax.jit(jax.grad(loss(native.conv2d), (0, 1)))(x, kernel)
    wanted = jax.grad(loss(_plain), (0, 1))(x, kernel)
    for a, b in zip(found, wanted, strict=True):
        assert a.dtype == dtype
        _assert_close(a, b, _TOLERANCE[dtype])


def test_vmap_convolves_one_after_the_other():
    x, kernel, _ = _arrays("float32", 6, 8, 4, 8, 3, 1)
    found = jax.vmap(native.conv2d, (0, None, None))(x.reshape(2, 3, 8, 8, 4), kernel, 1)
    _assert_close(found.reshape(6, 8, 8, 8), native.conv2d(x, kernel, 1), 1e-6)


@pytest.mark.parametrize("dtype", NATIVE_DTYPES)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("place", ["x", "kernel", "dy"])
def test_nan_and_infinity_pass_through(place, value, dtype):
    """A result with a share in one such value is not finite; all others are as without it."""
    arrays = dict(zip(("x", "kernel", "dy"), _arrays(dtype, 3, 8, 16, 32, 3, 1), strict=True))
    before = _all_three(**arrays, stride=1)
    arrays[place] = arrays[place].at[1, 1, 1, 1].set(value)
    after = _all_three(**arrays, stride=1)
    # with ones for the other arrays and zero but for this value, the result is where the value has a share
    ones = {name: jnp.ones(array.shape) for name, array in arrays.items()}
    ones[place] = jnp.zeros(arrays[place].shape).at[1, 1, 1, 1].set(1)
    y, pullback = jax.vjp(lambda x, kernel: _plain(x, kernel, 1), ones["x"], ones["kernel"])
    shares = (y, *pullback(ones["dy"]))
    reads = {"x": (0, 2), "kernel": (0, 1), "dy": (1, 2)}[place]
    for i, (old, new, share) in enumerate(zip(before, after, shares, strict=True)):
        touched = np.asarray(share) > 0.5 if i in reads else np.zeros(share.shape, bool)
        assert touched.any() == (i in reads)
        np.testing.assert_array_equal(~np.isfinite(np.asarray(new, np.float32)), touched)
        np.testing.assert_array_equal(np.asarray(old)[~touched], np.asarray(new)[~touched])


_X, _K, _Y = ((2, 8, 8, 4), "float32"), ((3, 3, 4, 6), "float32"), ((2, 8, 8, 6), "float32")


def _raw(handler, first, second, result, **attributes):
    """Calls a handler past the checks of the Python functions."""
    native.register()
    call = jax.ffi.ffi_call(f"sidae_jax_native_convolution_{handler}", jax.ShapeDtypeStruct(*result))
    attributes = {name: np.int64(value) for name, value in ({"stride": 1, "padding": 1} | attributes).items()}
    return call(jnp.zeros(*first), jnp.zeros(*second), **attributes).block_until_ready()


WRONG_CALLS = {
    "rank of x": ("forward", ((8, 8, 4), "float32"), _K, _Y, {}, "four dimensions"),
    "rank of y": ("forward", _X, _K, ((2, 8, 48), "float32"), {}, "four dimensions"),
    "scalar": ("forward", ((), "float32"), _K, _Y, {}, "four dimensions"),
    "integers": ("forward", ((2, 8, 8, 4), "int32"), _K, _Y, {}, "float32 or bfloat16"),
    "float16": ("forward", ((2, 8, 8, 4), "float16"), ((3, 3, 4, 6), "float16"), _Y, {}, "float32 or bfloat16"),
    "two dtypes": ("forward", _X, ((3, 3, 4, 6), "bfloat16"), _Y, {}, "same dtype"),
    "narrow result": ("forward", _X, _K, ((2, 8, 8, 6), "bfloat16"), {}, "the result must be"),
    "not square": ("forward", _X, ((3, 5, 4, 6), "float32"), _Y, {}, "square"),
    "empty kernel": ("forward", _X, ((0, 0, 4, 6), "float32"), _Y, {}, "square"),
    "input channels": ("forward", _X, ((3, 3, 5, 6), "float32"), _Y, {}, "input channels"),
    "output channels": ("forward", _X, ((3, 3, 4, 7), "float32"), _Y, {}, "output channels"),
    "images": ("kernel_gradient", ((3, 8, 8, 4), "float32"), _Y, _K, {}, "number of images"),
    "size of y": ("input_gradient", ((2, 7, 8, 6), "float32"), _K, _X, {}, "height and width"),
    "stride": ("forward", _X, _K, _Y, {"stride": 3}, "stride must be 1 or 2"),
    "stride 0": ("forward", _X, _K, _Y, {"stride": 0}, "stride must be 1 or 2"),
    "1x1, stride 2": (
        "kernel_gradient",
        ((5, 20, 12, 1), "float32"),
        ((5, 10, 6, 8), "float32"),
        ((1, 1, 1, 8), "float32"),
        {"stride": 2, "padding": 0},
        "1x1 kernel must have stride 1",
    ),
    "only padding": (
        "kernel_gradient",
        ((2, 9, 1, 4), "bfloat16"),
        ((2, 5, 1, 6), "bfloat16"),
        ((3, 3, 4, 6), "bfloat16"),
        {"stride": 2},
        "meet only padding must have float32",
    ),
    "padding": ("forward", _X, _K, _Y, {"padding": 3}, "padding"),
    "negative padding": ("forward", _X, _K, _Y, {"padding": -(2**62)}, "padding"),
    "x too small": ("forward", ((2, 1, 1, 4), "float32"), _K, ((2, 1, 1, 6), "float32"), {"padding": 0}, "padded x"),
}


@pytest.mark.parametrize("name", WRONG_CALLS)
def test_a_wrong_call_is_an_error_and_the_process_lives(name):
    handler, first, second, result, attributes, message = WRONG_CALLS[name]
    with pytest.raises((jax.errors.JaxRuntimeError, ValueError), match=f"INVALID_ARGUMENT.*{message}"):
        _raw(handler, first, second, result, **attributes)
    assert _raw("forward", _X, _K, _Y).shape == _Y[0]


def test_wrong_arguments_are_errors_of_tracing():
    x, kernel, dy = _arrays("float32", 2, 8, 4, 6, 3, 1)
    for wrong_x, wrong_kernel in [(x[0], kernel), (x, kernel[0]), (x[..., 1:], kernel), (x, kernel[:2, :2])]:
        with pytest.raises(ValueError, match="takes x"):
            native.conv2d(wrong_x, wrong_kernel, 1)
    with pytest.raises(ValueError, match="stride of 1 or 2, not 3"):
        native.conv2d(x, kernel, 3)
    with pytest.raises(ValueError, match="not float32 and bfloat16"):
        native.conv2d(x, kernel.astype(jnp.bfloat16), 1)
    with pytest.raises(ValueError, match="not float16 and float16"):
        native.conv2d(x.astype(jnp.float16), kernel.astype(jnp.float16), 1)
    with pytest.raises(ValueError, match="must be float32 or float32, not bfloat16"):
        native.forward(x, kernel, 1, jnp.bfloat16)
    with pytest.raises(ValueError, match="shape of conv2d's result"):
        native.input_gradient(dy[:, 1:], kernel, 1, x.shape)
    with pytest.raises(ValueError, match="shape of conv2d's result"):
        native.kernel_gradient(x, dy[1:], 1, 3)


def test_no_images_and_no_channels():
    """Sums of nothing are zero."""
    x, kernel, dy = _arrays("float32", 0, 8, 4, 6, 3, 1)
    y, dx, dkernel = _all_three(x, kernel, dy, 1)
    assert y.shape == dy.shape
    assert dx.shape == x.shape
    np.testing.assert_array_equal(dkernel, np.zeros(kernel.shape))
    np.testing.assert_array_equal(native.forward(*_random("float32", (2, 8, 8, 0), (3, 3, 0, 6)), 1), np.zeros(_Y[0]))


@pytest.mark.parametrize("dtype", NATIVE_DTYPES)
def test_the_same_bits_again_and_from_four_threads_at_once(dtype):
    cases = [(64, 8, 64, 64, 3, 1), (64, 4, 128, 128, 3, 1), (64, 32, 3, 64, 7, 2), (3, 2, 256, 512, 3, 2)]
    calls = [(jax.jit(_all_three, static_argnums=3), (*_arrays(dtype, *case), case[-1])) for case in cases]
    alone = [_bits(call(*arguments)) for call, arguments in calls]
    assert [_bits(call(*arguments)) for call, arguments in calls] == alone

    def repeatedly(first):
        order = [(first + i) % len(calls) for i in range(5 * len(calls))]
        return all(_bits(calls[i][0](*calls[i][1])) == alone[i] for i in order)

    with concurrent.futures.ThreadPoolExecutor(4) as threads:
        for firsts in ([0, 1, 2, 3], [0, 0, 0, 0]):  # different shapes at once, the same shape at once
            assert all(threads.map(repeatedly, firsts))


def test_the_cache_is_bounded():
    limit = native.cache_sizes().max_programs
    kernel = jnp.ones((1, 1, 1, 1))

    @jax.jit
    def many_shapes(x):
        return [native.forward(x[:, : 1 + i // 32, : 1 + i % 32], kernel, 1) for i in range(limit + 20)]

    x = jnp.arange(1024.0).reshape(1, 32, 32, 1)
    for _ in range(2):  # the second time every program has been dropped before it is needed again
        for i, y in enumerate(many_shapes(x)):
            np.testing.assert_array_equal(y, x[:, : 1 + i // 32, : 1 + i % 32])
    assert native.cache_sizes().programs == limit


def test_repeated_calls_need_no_more_memory():
    x, kernel, dy = _arrays("float32", 64, 8, 64, 64, 3, 1)
    jax.block_until_ready(_all_three(x, kernel, dy, 1))
    before = native.cache_sizes()
    for _ in range(3):
        for result in _all_three(x, kernel, dy, 1):
            result.block_until_ready()
    after = native.cache_sizes()
    assert after.programs == before.programs
    assert after.workspace_bytes >= kernel.nbytes
    # calls that ran at once before may have left smaller workspaces, which may still grow to the largest
    assert after.workspaces <= max(before.workspaces, len(os.sched_getaffinity(0)) + 3)
