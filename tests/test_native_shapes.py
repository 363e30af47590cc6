"""sidae_jax_native at random shapes, against a loop over the kernel in NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from processors import HAS_AVX512

native = pytest.importorskip("sidae_jax_native", reason="sidae_jax_native is not installed: pip install ./native")


def _wanted(x, kernel, dy, stride):
    """Returns the convolution and its gradients, [dy, x, kernel], in float64."""
    _, h, w, _ = x.shape
    k, p = len(kernel), len(kernel) // 2
    padded = np.pad(x.astype(float), [(0, 0), (p, p), (p, p), (0, 0)])
    y, dpadded, dkernel = np.zeros(dy.shape), np.zeros(padded.shape), np.zeros(kernel.shape)
    for i in range(k):
        for j in range(k):
            pixels = np.s_[:, i : i + stride * dy.shape[1] : stride, j : j + stride * dy.shape[2] : stride]
            y += padded[pixels] @ kernel[i, j]
            dpadded[pixels] += dy @ kernel[i, j].T
            dkernel[i, j] = np.tensordot(padded[pixels], dy, ((0, 1, 2), (0, 1, 2)))
    return y, dpadded[:, p : p + h, p : p + w], dkernel


def _found(x, kernel, dy, stride, dtype):
    y = native.forward(x, kernel, stride, dtype)
    dx = native.input_gradient(dy, kernel, stride, x.shape, dtype)
    return y, dx, native.kernel_gradient(x, dy, stride, len(kernel), dtype)


# The same examples every time, so that a failure is one of the change that is tested.
@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    n=st.integers(1, 5),
    h=st.integers(1, 20),
    w=st.integers(1, 20),
    c=st.integers(1, 40),
    f=st.integers(1, 40),
    k=st.sampled_from([1, 3, 5, 7]),
    stride=st.sampled_from([1, 2]),
    dtype=st.sampled_from(["float32", "bfloat16"]),
    seed=st.integers(0, 2**32 - 1),
)
# What oneDNN 3.2 is not asked for. It took memory that nobody had written for the padding,
@example(n=3, h=18, w=1, c=22, f=13, k=3, stride=2, dtype="bfloat16", seed=0)
@example(n=5, h=1, w=1, c=6, f=13, k=7, stride=2, dtype="bfloat16", seed=0)
@example(n=5, h=1, w=1, c=256, f=64, k=5, stride=2, dtype="bfloat16", seed=0)
# had values in the gradients of kernel rows that meet only padding,
@example(n=4, h=2, w=2, c=128, f=64, k=7, stride=1, dtype="bfloat16", seed=0)
# and wrote past the end of its memory, or with AVX2 alone returned wrong values.
@example(n=5, h=20, w=12, c=1, f=8, k=1, stride=2, dtype="float32", seed=0)
@example(n=3, h=14, w=10, c=8, f=12, k=1, stride=2, dtype="float32", seed=0)
def test_every_handler_is_exact_on_integers(n, h, w, c, f, k, stride, dtype, seed):
    """Of small integers all sums are exact in float32, in any order: the results are equal, rounded once."""
    dtype = dtype if HAS_AVX512 else "float32"  # oneDNN refuses bfloat16 without it
    _found(*(jnp.full(shape, np.nan, dtype) for shape in _shapes(5, 20, 20, 40, 40, 7, 1)), 1, dtype)  # left in scratch
    rng = np.random.default_rng(seed)
    arrays = [rng.integers(-8, 9, shape) for shape in _shapes(n, h, w, c, f, k, stride)]
    wanted = _wanted(*arrays, stride)
    program = jax.jit(_found, static_argnums=(3, 4))
    for result in {dtype, "float32"}:
        found = program(*(jnp.asarray(array, dtype) for array in arrays), stride, result)
        for name, a, b in zip(("y", "dx", "dkernel"), found, wanted, strict=True):
            assert a.dtype == result
            np.testing.assert_array_equal(a, b.astype(np.float32).astype(a.dtype), err_msg=name)


def _shapes(n, h, w, c, f, k, stride):
    return (n, h, w, c), (k, k, c, f), (n, (h - 1) // stride + 1, (w - 1) // stride + 1, f)
