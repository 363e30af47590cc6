"""oneDNN's convolutions for JAX on x86-64 CPUs, as custom calls of XLA.

Activations are NHWC, kernels square and HWIO, padding (k - 1) / 2 on every side; a convolution is a zero-padded
cross-correlation. All functions work under jit; `vmap` maps one element after the other; neither second derivatives nor
forward-mode derivatives exist, and XLA does not partition the calls over devices.
"""

import ctypes
import functools
import importlib.metadata
import importlib.util
import os
import threading
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from sidae_jax_native import processors

__all__ = [
    "CacheSizes",
    "cache_sizes",
    "conv2d",
    "forward",
    "has_bfloat16",
    "input_gradient",
    "kernel_gradient",
    "register",
]

_HANDLERS = ("convolution_forward", "convolution_input_gradient", "convolution_kernel_gradient")
_registering = threading.Lock()


class CacheSizes(NamedTuple):
    """What the process keeps between calls."""

    programs: int  # compiled convolutions
    max_programs: int  # beyond these, the one used longest ago is dropped
    workspaces: int  # pieces of memory for packed kernels and scratch: as many as calls ever ran at once
    workspace_bytes: int


def register() -> None:
    """Makes the three custom calls known to XLA; all functions here do so themselves, once per process.

    Call it before running a program that another process compiled.

    OpenMP uses OMP_NUM_THREADS threads, or as many as `processors.usable` returns in the first call. It has read
    these settings before if the process has loaded the system's libgomp.so.1 already.

    Raises:
        ImportError: The shared library of this package, of oneDNN or of GNU OpenMP is missing.
    """
    with _registering:
        _library()


@functools.cache
def _library() -> ctypes.CDLL:
    files = importlib.metadata.files("onednn-cpu-gomp") or []
    onednn = next((file for file in files if file.name == "libdnnl.so.3"), None)
    if onednn is None:
        raise ImportError("libdnnl.so.3 is missing: pip install --force-reinstall 'onednn-cpu-gomp>=2023.2'")
    compiled = importlib.util.find_spec("sidae_jax_native._convolution")
    if compiled is None:  # as in a source tree, or after an installation for another version of Python
        raise ImportError("sidae_jax_native is not compiled for this Python: pip install --force-reinstall ./native")
    try:
        # Not RTLD_GLOBAL, which would put this oneDNN in place of other libraries' own, PyTorch's for instance: our
        # library finds the one that is loaded already by its name.
        _with_settings_of_openmp(lambda: ctypes.CDLL(str(onednn.locate())))
        library = ctypes.CDLL(compiled.origin)
    except OSError as error:
        raise ImportError(f"oneDNN cannot be loaded ({error}); it needs libgomp.so.1, GCC's OpenMP") from error
    for name in _HANDLERS:
        jax.ffi.register_ffi_target(f"sidae_jax_native_{name}", jax.ffi.pycapsule(library[name]), platform="cpu")
    return library


def _with_settings_of_openmp(load):
    """Loads OpenMP with passive waiting and as many threads as may run at once, unless the user chose otherwise.

    By default OpenMP's threads spin for milliseconds after each convolution. XLA's own threads, which compute the
    operations between convolutions on the same cores, would have to share them with this. And by default there is a
    thread for each processor in the affinity mask, whatever the quota of processor time. OpenMP reads the variables
    only when it is loaded; they are removed afterwards, so that child processes keep their environment.
    """
    settings = {}
    if "OMP_WAIT_POLICY" not in os.environ and "GOMP_SPINCOUNT" not in os.environ:
        settings["OMP_WAIT_POLICY"] = "passive"
    if "OMP_NUM_THREADS" not in os.environ:
        settings["OMP_NUM_THREADS"] = str(processors.usable())
    os.environ.update(settings)
    try:
        return load()
    finally:
        for name in settings:
            del os.environ[name]


def cache_sizes() -> CacheSizes:
    """Returns how much the process keeps between calls, all threads together."""
    register()
    sizes = (ctypes.c_int64 * 4)()
    _library().cache_sizes(sizes)
    return CacheSizes(*sizes)


def has_bfloat16() -> bool:
    """Returns whether the processor has instructions for products of bfloat16; without, oneDNN emulates or refuses."""
    register()
    return bool(_library().has_bfloat16())


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def conv2d(x: jax.Array, kernel: jax.Array, stride: int) -> jax.Array:
    """Convolution with padding (k - 1) / 2 on every side, k odd, in the dtype of its operands; sums are float32.

    Args:
        x: float32 or bfloat16 [n, h, w, c].
        kernel: The same dtype, [k, k, c, f].
        stride: 1 or 2.

    Returns:
        [n, (h - 1) // stride + 1, (w - 1) // stride + 1, f].

    Raises:
        ValueError: While tracing: ranks, channels, k, stride or dtypes are others than these.
        jax.errors.JaxRuntimeError: While running: the processor lacks AVX-512, which bfloat16 needs.
    """
    return forward(x, kernel, stride)


def _conv2d_backward(stride, operands, dy):
    x, kernel = operands
    return input_gradient(dy, kernel, stride, x.shape), kernel_gradient(x, dy, stride, kernel.shape[0])


conv2d.defvjp(lambda x, kernel, stride: (forward(x, kernel, stride), (x, kernel)), _conv2d_backward)


def forward(x: jax.Array, kernel: jax.Array, stride: int, dtype: Any = None) -> jax.Array:
    """Returns what `conv2d` does, in `dtype`: float32, or by default that of the operands. It has no gradients."""
    shape = _shape_of_y(x.shape, kernel.shape, stride)
    if _skips_pixels(kernel.shape[0], stride):
        x, stride = x[:, ::stride, ::stride], 1
    return _call("forward", x, kernel, shape, stride, kernel.shape[0], dtype)


def input_gradient(
    dy: jax.Array, kernel: jax.Array, stride: int, shape: tuple[int, int, int, int], dtype: Any = None
) -> jax.Array:
    """Returns the gradient of `conv2d` to its input.

    Args:
        dy: float32 or bfloat16 [n, h2, w2, f], the gradient to the result.
        kernel: The same dtype, [k, k, c, f].
        stride: 1 or 2.
        shape: [n, h, w, c], that of the input and of the gradient.
        dtype: Of the gradient: float32, or by default that of the operands.

    Raises:
        ValueError: As for `conv2d`, or dy's shape is not that of the result.
    """
    _check_dy(dy, shape, kernel.shape, stride)
    if _skips_pixels(kernel.shape[0], stride):
        dx = _call("input_gradient", dy, kernel, (*dy.shape[:3], shape[3]), 1, 1, dtype)
        return jnp.zeros(shape, dx.dtype).at[:, ::stride, ::stride].set(dx)
    return _call("input_gradient", dy, kernel, shape, stride, kernel.shape[0], dtype)


def kernel_gradient(x: jax.Array, dy: jax.Array, stride: int, k: int, dtype: Any = None) -> jax.Array:
    """Returns the gradient of `conv2d` to its kernel, [k, k, c, f]. Arguments and errors as for `input_gradient`."""
    shape = (k, k, *x.shape[-1:], *dy.shape[-1:])
    _check_dy(dy, x.shape, shape, stride)
    if x.dtype == dy.dtype == jnp.bfloat16 and _meets_only_padding(x.shape, k, stride):
        full = kernel_gradient(x.astype(jnp.float32), dy.astype(jnp.float32), stride, k)
        return full.astype(dtype or jnp.bfloat16)
    if _skips_pixels(k, stride):
        x, stride = x[:, ::stride, ::stride], 1
    return _call("kernel_gradient", x, dy, shape, stride, k, dtype)


def _shape_of_y(x, kernel, stride):
    """Returns the shape of the convolution of arrays of these shapes; ValueError if there is none."""
    if len(x) != 4 or len(kernel) != 4 or kernel[0] != kernel[1] or kernel[0] % 2 == 0 or kernel[2] != x[3]:
        raise ValueError(f"conv2d takes x [n, h, w, c] and a kernel [k, k, c, f] with odd k, not {x} and {kernel}")
    if stride not in (1, 2):
        raise ValueError(f"conv2d takes a stride of 1 or 2, not {stride}")
    return x[0], (x[1] - 1) // stride + 1, (x[2] - 1) // stride + 1, kernel[3]


def _skips_pixels(k, stride):
    """Returns whether a convolution ignores pixels of its input. There oneDNN 3.2 has errors: see convolution.cc."""
    return k < stride


def _meets_only_padding(shape, k, stride):
    """Returns whether some row or column of a kernel does. There oneDNN 3.2 has errors in bfloat16."""
    moves_by = [(size - 1) // stride * stride for size in shape[1:3]]
    return any(size <= k // 2 or move < k // 2 for size, move in zip(shape[1:3], moves_by, strict=True))


def _check_dy(dy, x, kernel, stride):
    wanted = _shape_of_y(x, kernel, stride)
    if dy.shape != wanted:
        raise ValueError(f"dy must have the shape of conv2d's result, {wanted}, not {dy.shape}")


def _call(handler, first, second, shape, stride, k, dtype):
    dtype = jnp.dtype(dtype or first.dtype)
    if first.dtype not in (jnp.float32, jnp.bfloat16) or second.dtype != first.dtype:
        raise ValueError(f"the operands must both be float32 or both bfloat16, not {first.dtype} and {second.dtype}")
    if dtype not in (first.dtype, jnp.float32):
        raise ValueError(f"the result must be {first.dtype} or float32, not {dtype}")
    register()
    call = jax.ffi.ffi_call(
        f"sidae_jax_native_convolution_{handler}", jax.ShapeDtypeStruct(shape, dtype), vmap_method="sequential"
    )
    return call(first, second, stride=np.int64(stride), padding=np.int64((k - 1) // 2))
