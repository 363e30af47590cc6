"""Batch normalization as PyTorch defines it, over the batch of all devices, for several views in one call."""

import functools

import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax
from jaxtyping import Array, Float

from sidae_jax.networks.max_pool import max_pool, max_pool_gradient
from sidae_jax.networks.precision import in_full
from sidae_jax.networks.statistics import EPSILON, apply, pool_and_apply, spread, sums


class BatchNorm(nnx.Module):
    """Batch normalization over all axes but the last, epsilon 1e-5; with `pool`, max pool follows, with `relu`, ReLU.

    In training mode the batch may hold several views, one after another along the first axis. Each view has its own
    statistics, as if the network had been called once per view. With `axis_name` the statistics are of the batch over
    all devices of that mapped axis. The running statistics move by 1 - momentum toward those of each view in turn, with
    the unbiased variance, as in PyTorch (whose `momentum` is 1 minus this one).
    """

    def __init__(
        self,
        num_features: int,
        *,
        affine: bool = True,
        scale: float = 1.0,
        pool: bool = False,
        relu: bool = False,
        axis_name: str | None = None,
    ):
        """Creates scale and bias (if `affine`) and running statistics of mean 0 and variance 1."""
        self.scale = nnx.Param(jnp.full((num_features,), scale, jnp.float32)) if affine else None
        self.bias = nnx.Param(jnp.zeros((num_features,))) if affine else None
        self.mean = nnx.BatchStat(jnp.zeros((num_features,)))
        self.var = nnx.BatchStat(jnp.ones((num_features,)))
        self.pool, self.relu = pool, relu
        self.momentum = 0.9
        self.axis_name = axis_name

    def __call__(
        self, x: Float[Array, "n *hw c"], views: int = 1, use_running_average: bool = False
    ) -> Float[Array, "n *hw2 c"]:
        """Normalizes by the statistics of each of `views` views, or by the running statistics (evaluation mode)."""
        scale = self.scale[...] if self.scale is not None else jnp.ones_like(self.mean[...])
        bias = self.bias[...] if self.bias is not None else jnp.zeros_like(self.mean[...])
        if use_running_average:
            y = apply(x, self.mean[...], lax.rsqrt(self.var[...] + EPSILON) * scale, bias).astype(x.dtype)
            y = max_pool(y) if self.pool else y
            return nnx.relu(y) if self.relu else y
        by_view = x.reshape(views, x.shape[0] // views, *x.shape[1:])
        y, mean, var = _normalize(by_view, scale, bias, self.pool, self.relu, self.axis_name)
        self._update_running(mean, var, _count(by_view, self.axis_name))
        return y.reshape(-1, *y.shape[2:])

    def _update_running(self, mean, var, count):
        unbiased = var * (count / max(count - 1, 1))
        running_mean, running_var = self.mean[...], self.var[...]
        for view in range(mean.shape[0]):
            running_mean = self.momentum * running_mean + (1 - self.momentum) * lax.stop_gradient(mean[view])
            running_var = self.momentum * running_var + (1 - self.momentum) * lax.stop_gradient(unbiased[view])
        # with [...] = Flax would ask for the sharding of a tracer, which takes a sixth of all tracing
        self.mean.set_value(running_mean)
        self.var.set_value(running_var)


@functools.partial(jax.custom_vjp, nondiff_argnums=(3, 4, 5))
def _normalize(
    x: Float[Array, "v n *hw c"],
    scale: Float[Array, " c"],
    bias: Float[Array, " c"],
    pool: bool,
    relu: bool,
    axis_name: str | None,
) -> tuple[Float[Array, "v n *hw2 c"], Float[Array, "v c"], Float[Array, "v c"]]:
    """Returns y and the mean and biased variance of each view; no gradient flows through these statistics.

    Its own gradient keeps only x for the backward pass; JAX's would keep x - mean, the places where ReLU is 0 and more.
    """
    return _normalize_forward(x, scale, bias, pool, relu, axis_name)[0]


def _normalize_forward(x, scale, bias, pool, relu, axis_name):
    full, count = in_full(x), x[0, ..., 0].size
    total, total_square = sums(full, jnp.square(full))
    mean, square = total / count, total_square / count
    if axis_name is not None:
        mean, square = lax.pmean((mean, square), axis_name)
    var = jnp.maximum(square - jnp.square(mean), 0.0)
    rstd = lax.rsqrt(var + EPSILON)
    y, place, x_kept = pool_and_apply(x, mean, rstd, scale, bias, pool=pool, relu=relu)
    return (y.astype(x.dtype), mean, var), (x, scale, bias, mean, rstd, place, x_kept)


def _normalize_backward(pool, relu, axis_name, residuals, cotangents):
    """With u = (x - mean) / std: dx = scale / std (dy - mean(dy) - u mean(dy u)), means over the view's batch.

    After a max pool dy is 0 but at the maxima, so that the means need only these, a quarter of the map.
    """
    x, scale, bias, mean, rstd, place, x_kept = residuals
    dy = in_full(cotangents[0])
    if relu:
        dy = jnp.where(apply(x_kept, mean, rstd * scale, bias) > 0, dy, 0)
    count = _count(x, axis_name)
    sum_dy, sum_dyx = sums(dy, dy * (x_kept - spread(mean, x)))
    sum_dyu = sum_dyx * rstd
    total_dy, total_dyu = sum_dy, sum_dyu
    if axis_name is not None:  # scale and bias get this device's share of their gradient; the statistics are of all
        total_dy, total_dyu = lax.psum((sum_dy, sum_dyu), axis_name)
    slope = rstd * total_dyu / count
    dy = max_pool_gradient(place, dy) if pool else dy
    dx = spread(rstd * scale, x) * (dy - spread(total_dy / count, x) - (x - spread(mean, x)) * spread(slope, x))
    return dx.astype(x.dtype), sum(sum_dyu), sum(sum_dy)


_normalize.defvjp(_normalize_forward, _normalize_backward)


def _count(x, axis_name):
    """Returns the number of values that a view's mean is taken over, on all devices."""
    count = x[0, ..., 0].size
    return count * lax.axis_size(axis_name) if axis_name is not None else count
