"""Convolutions for CPUs by oneDNN, from the optional package sidae_jax_native. Arrays and sizes as in `conv.py`."""

import contextlib
import functools
import importlib.util
import platform
import sys

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from sidae_jax.errors import UserError

HINT = (
    "sidae_jax_native is not installed: with it (pip install ./native in a checkout of sidae_jax) steps take about two "
    "thirds of the time on a CPU, and half of it with --config.precision=bfloat16 if the CPU has instructions for that"
)

# a part of the keys of JAX's caches, so that a function is traced again where the choice is another
_used = jax.make_user_context(False)


def choose(native: str, *, mapped: bool = True) -> bool:
    """Returns whether config.native means oneDNN's convolutions in this process: "auto" takes them if they are there.

    mapped: whether the programs are mapped over the devices, as training's is. Of others, XLA would have every device
    compute such a call for all of them, so that on several devices "auto" does without.

    Raises UserError if native is "on" and they cannot be used, saying why.
    """
    problem = None if native == "off" else _problem()
    if native == "auto" and not mapped and jax.local_device_count() > 1:
        return False
    if native == "on" and problem:
        raise UserError(f"config.native=on, but {problem}; or leave --config.native out")
    return native != "off" and problem is None


def hint() -> str | None:
    """Returns what to tell a user of native "auto" on a CPU whose convolutions could be oneDNN's and are not."""
    if jax.default_backend() != "cpu" or (sys.platform, platform.machine()) != ("linux", "x86_64"):
        return None
    if importlib.util.find_spec("sidae_jax_native") is None:
        return HINT
    problem = _problem()
    return problem and f"convolutions without oneDNN, although sidae_jax_native is installed: {problem}"


def _problem():
    if jax.default_backend() != "cpu":
        return f"oneDNN's convolutions are for CPUs, and this process runs on {jax.default_backend()}"
    if importlib.util.find_spec("sidae_jax_native") is None:
        return "the package sidae_jax_native is not installed: pip install ./native in a checkout of sidae_jax"
    try:
        _native().register()
    except ImportError as error:
        return str(error)
    return None


def use(use_them: bool) -> contextlib.AbstractContextManager:
    """Returns a context in which `conv.py` traces convolutions with or without oneDNN. Outside of any it is without."""
    return _used(use_them)


def has_bfloat16() -> bool:
    """Returns whether oneDNN computes bfloat16 as such here, and not in float32."""
    return _native().has_bfloat16()


def in_use() -> bool:
    """Returns whether convolutions are traced with oneDNN here."""
    return _used.value


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def conv2d(x: Float[Array, "n h w c"], kernel: Float[Array, "k k c f"], stride: int) -> Float[Array, "n h2 w2 f"]:
    """`conv.conv2d` by oneDNN."""
    return _forward(x, kernel, stride)


def _conv2d_backward(stride, residuals, dy):
    x, kernel = residuals
    return _input_gradient(dy, kernel, stride, x.shape), _kernel_gradient(x, dy, stride, kernel.shape[0])


conv2d.defvjp(lambda x, kernel, stride: (conv2d(x, kernel, stride), (x, kernel)), _conv2d_backward)


@jax.custom_vjp
def conv_transpose2d(x: Float[Array, "n h w c"], kernel: Float[Array, "3 3 c f"]) -> Float[Array, "n 2*h 2*w f"]:
    """`conv.conv_transpose2d` by oneDNN: the gradient of a strided convolution to its input."""
    n, h, w, _ = x.shape
    return _input_gradient(x, kernel.swapaxes(2, 3), 2, (n, 2 * h, 2 * w, kernel.shape[3]))


def _conv_transpose2d_backward(residuals, dy):
    x, kernel = residuals
    return _forward(dy, kernel.swapaxes(2, 3), 2), _kernel_gradient(dy, x, 2, kernel.shape[0]).swapaxes(2, 3)


conv_transpose2d.defvjp(lambda x, kernel: (conv_transpose2d(x, kernel), (x, kernel)), _conv_transpose2d_backward)


def _native():
    import sidae_jax_native  # optional, so not at the top

    return sidae_jax_native


def _forward(x, kernel, stride):
    return _rounded_where_slow(lambda x, kernel: _native().forward(x, kernel, stride), x, kernel)


def _input_gradient(dy, kernel, stride, shape):
    return _rounded_where_slow(lambda dy, kernel: _native().input_gradient(dy, kernel, stride, shape), dy, kernel)


def _kernel_gradient(x, dy, stride, k):
    return _rounded_where_slow(lambda x, dy: _native().kernel_gradient(x, dy, stride, k), x, dy)


def _rounded_where_slow(compute, a, b):
    """Computes in float32 and rounds the result where the processor has no instructions for bfloat16.

    oneDNN would emulate them, or with AVX2 alone refuse. The products are the same: those of two bfloat16 are exact in
    float32.
    """
    if a.dtype == jnp.bfloat16 and not has_bfloat16():
        return compute(a.astype(jnp.float32), b.astype(jnp.float32)).astype(a.dtype)
    return compute(a, b)
