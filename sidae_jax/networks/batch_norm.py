"""Batch normalization as PyTorch defines it, over the batch of all devices, for several views in one call."""

import functools

import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax
from jaxtyping import Array, Float

_EPSILON = 1e-5


class BatchNorm(nnx.Module):
    """Batch normalization over all axes but the last, epsilon 1e-5.

    In training mode the batch may hold several views, one after another along the first axis. Each view has its own
    statistics, as if the network had been called once per view. With `axis_name` the statistics are of the batch over
    all devices of that mapped axis. The running statistics move by 1 - momentum toward those of each view in turn, with
    the unbiased variance, as in PyTorch (whose `momentum` is 1 minus this one).
    """

    def __init__(self, num_features: int, *, affine: bool = True, scale: float = 1.0, axis_name: str | None = None):
        """Creates scale and bias (if `affine`) and running statistics of mean 0 and variance 1."""
        self.scale = nnx.Param(jnp.full((num_features,), scale, jnp.float32)) if affine else None
        self.bias = nnx.Param(jnp.zeros((num_features,))) if affine else None
        self.mean = nnx.BatchStat(jnp.zeros((num_features,)))
        self.var = nnx.BatchStat(jnp.ones((num_features,)))
        self.momentum = 0.9
        self.axis_name = axis_name

    def __call__(
        self, x: Float[Array, "n *hw c"], views: int = 1, use_running_average: bool = False
    ) -> Float[Array, "n *hw c"]:
        """Normalizes by the statistics of each of `views` views, or by the running statistics (evaluation mode)."""
        scale = self.scale[...] if self.scale is not None else jnp.ones_like(self.mean[...])
        bias = self.bias[...] if self.bias is not None else jnp.zeros_like(self.mean[...])
        if use_running_average:
            return _apply(x, self.mean[...], lax.rsqrt(self.var[...] + _EPSILON) * scale, bias)
        by_view = x.reshape(views, x.shape[0] // views, *x.shape[1:])
        y, mean, var = _normalize(by_view, scale, bias, self.axis_name)
        self._update_running(mean, var, _count(by_view, self.axis_name))
        return y.reshape(x.shape)

    def _update_running(self, mean, var, count):
        unbiased = var * (count / max(count - 1, 1))
        running_mean, running_var = self.mean[...], self.var[...]
        for view in range(mean.shape[0]):
            running_mean = self.momentum * running_mean + (1 - self.momentum) * lax.stop_gradient(mean[view])
            running_var = self.momentum * running_var + (1 - self.momentum) * lax.stop_gradient(unbiased[view])
        self.mean[...], self.var[...] = running_mean, running_var


@functools.partial(jax.custom_vjp, nondiff_argnums=(3,))
def _normalize(
    x: Float[Array, "v n *hw c"], scale: Float[Array, " c"], bias: Float[Array, " c"], axis_name: str | None
) -> tuple[Float[Array, "v n *hw c"], Float[Array, "v c"], Float[Array, "v c"]]:
    """Returns y and the mean and biased variance of each view; no gradient flows through these statistics.

    Its own gradient keeps only x for the backward pass; JAX's would keep x - mean and more beside it.
    """
    return _normalize_forward(x, scale, bias, axis_name)[0]


def _normalize_forward(x, scale, bias, axis_name):
    axes = _pixels(x)
    mean, square = x.mean(axes), jnp.square(x).mean(axes)
    if axis_name is not None:
        mean, square = lax.pmean((mean, square), axis_name)
    var = jnp.maximum(square - jnp.square(mean), 0.0)
    rstd = lax.rsqrt(var + _EPSILON)
    return (_apply(x, mean, rstd * scale, bias), mean, var), (x, scale, mean, rstd)


def _normalize_backward(axis_name, residuals, cotangents):
    """With u = (x - mean) / std: dx = scale / std (dy - mean(dy) - u mean(dy u)), means over the view's batch."""
    x, scale, mean, rstd = residuals
    dy, _, _ = cotangents
    axes, count = _pixels(x), _count(x, axis_name)
    sum_dy = dy.sum(axes)
    sum_dyu = (dy * (x - _spread(mean, x))).sum(axes) * rstd
    total_dy, total_dyu = sum_dy, sum_dyu
    if axis_name is not None:  # scale and bias get this device's share of their gradient; the statistics are of all
        total_dy, total_dyu = lax.psum((sum_dy, sum_dyu), axis_name)
    slope = rstd * total_dyu / count
    dx = _spread(rstd * scale, x) * (dy - _spread(total_dy / count, x) - (x - _spread(mean, x)) * _spread(slope, x))
    return dx, sum_dyu.sum(0), sum_dy.sum(0)


_normalize.defvjp(_normalize_forward, _normalize_backward)


def _apply(x, mean, factor, bias):
    return (x - _spread(mean, x)) * _spread(factor, x) + bias


def _spread(statistics, x):
    """Reshapes [v, c] or [c] so that it broadcasts with x."""
    return statistics.reshape(*statistics.shape[:-1], *(1,) * (x.ndim - statistics.ndim), statistics.shape[-1])


def _pixels(x):
    return tuple(range(1, x.ndim - 1))


def _count(x, axis_name):
    """Returns the number of values that a view's mean is taken over, on all devices."""
    count = x[0, ..., 0].size
    return count * lax.axis_size(axis_name) if axis_name is not None else count
