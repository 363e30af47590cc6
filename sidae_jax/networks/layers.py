"""Convolution, transposed convolution, linear layer and batch normalisation as PyTorch defines them.

Initial values are drawn by NumPy on the host: compiling some sixty random draws for the device would take longer
than the first steps, and these are the same on every platform.
"""

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import lax
from jaxtyping import Array, Float

from sidae_jax.networks.conv import conv2d, conv_transpose2d


class Conv(nnx.Module):
    """k x k convolution without bias, padding (k - 1) / 2, initialised kaiming normal (fan-out, ReLU)."""

    def __init__(self, c: int, f: int, k: int, *, stride: int = 1, rng: np.random.Generator):
        std = (2 / (f * k * k)) ** 0.5
        self.kernel = nnx.Param(jnp.asarray(std * rng.standard_normal((k, k, c, f), np.float32)))
        self.stride = stride

    def __call__(self, x: Float[Array, "n h w c"]) -> Float[Array, "n h2 w2 f"]:
        return conv2d(x, self.kernel[...], self.stride)


class ConvTranspose(nnx.Module):
    """Transposed convolution 3x3, stride 2, padding 1, output padding 1, with PyTorch's default initialisation.

    PyTorch takes the number of *output* channels for the fan of a transposed convolution.
    """

    def __init__(self, c: int, f: int, *, use_bias: bool, rng: np.random.Generator):
        bound = (9 * f) ** -0.5
        self.kernel = nnx.Param(_uniform(rng, (3, 3, c, f), bound))
        self.bias = nnx.Param(_uniform(rng, (f,), bound)) if use_bias else None

    def __call__(self, x: Float[Array, "n h w c"]) -> Float[Array, "n 2*h 2*w f"]:
        y = conv_transpose2d(x, self.kernel[...])
        return y if self.bias is None else y + self.bias[...]


class Linear(nnx.Module):
    """x @ kernel + bias with PyTorch's default initialisation."""

    def __init__(self, c: int, f: int, *, use_bias: bool = True, rng: np.random.Generator):
        bound = c**-0.5
        self.kernel = nnx.Param(_uniform(rng, (c, f), bound))
        self.bias = nnx.Param(_uniform(rng, (f,), bound)) if use_bias else None

    def __call__(self, x: Float[Array, "n c"]) -> Float[Array, "n f"]:
        y = x @ self.kernel[...]
        return y if self.bias is None else y + self.bias[...]


def _uniform(rng: np.random.Generator, shape: tuple[int, ...], bound: float) -> Array:
    return jnp.asarray(rng.uniform(-bound, bound, shape).astype(np.float32))


class BatchNorm(nnx.Module):
    """Batch normalisation over all axes but the last, epsilon 1e-5.

    In training the batch may hold several views, one after another along the first axis; each view has its
    own statistics, as if the network had been called once a view. With `axis_name` the statistics are those
    of the batch over all devices of that mapped axis. Running statistics move by 1 - momentum towards each
    view's in turn, with the unbiased variance, as in PyTorch (whose `momentum` is 1 minus this one).
    """

    def __init__(self, c: int, *, affine: bool = True, scale: float = 1.0, axis_name: str | None = None):
        self.scale = nnx.Param(jnp.full((c,), scale, jnp.float32)) if affine else None
        self.bias = nnx.Param(jnp.zeros((c,))) if affine else None
        self.mean = nnx.BatchStat(jnp.zeros((c,)))
        self.var = nnx.BatchStat(jnp.ones((c,)))
        self.momentum = 0.9
        self.axis_name = axis_name

    def __call__(self, x: Float[Array, "n *hw c"], views: int) -> Float[Array, "n *hw c"]:
        """Training mode over `views` views, or, with views = 0, evaluation mode by the running statistics."""
        if views == 0:
            return self._normalise(x, self.mean[...], self.var[...])
        by_view = x.reshape(views, x.shape[0] // views, *x.shape[1:])
        mean, var = self._batch_statistics(by_view)
        self._update_running(mean, var, by_view[0, ..., 0].size)
        over_pixels = (slice(None), *[None] * (by_view.ndim - 2))
        return self._normalise(by_view, mean[over_pixels], var[over_pixels]).reshape(x.shape)

    def _normalise(self, x, mean, var):
        scale = lax.rsqrt(var + 1e-5)
        if self.scale is not None:
            scale = scale * self.scale[...]
        y = (x - mean) * scale
        return y if self.bias is None else y + self.bias[...]

    def _batch_statistics(self, by_view):
        """Mean and biased variance of each view: two arrays [views, c]."""
        axes = tuple(range(1, by_view.ndim - 1))
        mean = by_view.mean(axes)
        square = jnp.square(by_view).mean(axes)
        if self.axis_name is not None:
            mean, square = lax.pmean((mean, square), self.axis_name)
        return mean, jnp.maximum(square - jnp.square(mean), 0.0)

    def _update_running(self, mean, var, count):
        if self.axis_name is not None:
            count *= lax.axis_size(self.axis_name)
        unbiased = var * (count / max(count - 1, 1))
        running_mean, running_var = self.mean[...], self.var[...]
        for view in range(mean.shape[0]):
            running_mean = self.momentum * running_mean + (1 - self.momentum) * lax.stop_gradient(mean[view])
            running_var = self.momentum * running_var + (1 - self.momentum) * lax.stop_gradient(unbiased[view])
        self.mean[...], self.var[...] = running_mean, running_var
