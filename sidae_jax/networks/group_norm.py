"""Group normalization (Wu and He, 2018) in the place of BatchNorm, for batches too small for its statistics."""

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax
from jaxtyping import Array, Float

from sidae_jax.networks.batch_norm import BatchNorm
from sidae_jax.networks.max_pool import max_pool_gradient
from sidae_jax.networks.precision import in_full
from sidae_jax.networks.statistics import EPSILON, apply, pool_and_apply, spread, sums


class GroupNorm(nnx.Module):
    """Normalization of each example over its map and a group of channels, epsilon 1e-5, as PyTorch defines it.

    With `pool`, max pool follows, with `relu`, ReLU. Nothing is shared between examples, so there are no running
    statistics, and an example's output does not depend on the batch, in training or evaluation mode.
    """

    def __init__(self, num_features: int, groups: int, *, affine: bool = True, pool: bool = False, relu: bool = False):
        """Creates scale 1 and bias 0 (if `affine`); `groups` must divide `num_features`."""
        self.scale = nnx.Param(jnp.ones((num_features,))) if affine else None
        self.bias = nnx.Param(jnp.zeros((num_features,))) if affine else None
        self.num_features, self.groups = num_features, groups
        self.pool, self.relu = pool, relu

    def __call__(
        self, x: Float[Array, "n *hw c"], views: int = 1, use_running_average: bool = False
    ) -> Float[Array, "n *hw2 c"]:
        """Normalizes each example; `views` and `use_running_average`, which BatchNorm takes, change nothing."""
        del views, use_running_average
        scale = self.scale[...] if self.scale is not None else jnp.ones((self.num_features,))
        bias = self.bias[...] if self.bias is not None else jnp.zeros((self.num_features,))
        return _normalize(x[:, None], scale, bias, self.groups, self.pool, self.relu)[:, 0]


def groups_at(width: int) -> int:
    """Returns the number of groups of a network whose first stage has `width` channels: 32, as Wu and He have it.

    In a narrower one it is width / 2, so that a group has as many channels as at the standard width of 64. With 32 of
    them a group could be one channel, of which a map of one pixel would leave nothing.
    """
    return max(1, min(32, width // 2))


def replace_batch_norms(network: nnx.Module, groups: int) -> None:
    """Puts GroupNorm in the place of every BatchNorm of a network, in place; its other parameters keep their values.

    Where `groups` does not divide the channels, their greatest common divisor is taken.
    """
    norms = [(path, module) for path, module in nnx.iter_modules(network) if isinstance(module, BatchNorm)]
    for (*path, name), norm in norms:
        owner: Any = functools.reduce(_child, path, network)
        num_features = norm.mean.shape[0]
        replacement = GroupNorm(
            num_features, math.gcd(groups, num_features), affine=norm.scale is not None, pool=norm.pool, relu=norm.relu
        )
        replacement.scale, replacement.bias = norm.scale, norm.bias
        if isinstance(name, int):
            owner[name] = replacement
        else:
            setattr(owner, str(name), replacement)


def _child(module, name):
    return module[name] if isinstance(name, int) else getattr(module, name)


@functools.partial(jax.custom_vjp, nondiff_argnums=(3, 4, 5))
def _normalize(
    x: Float[Array, "n 1 *hw c"],
    scale: Float[Array, " c"],
    bias: Float[Array, " c"],
    groups: int,
    pool: bool,
    relu: bool,
) -> Float[Array, "n 1 *hw2 c"]:
    """Returns y. Its own gradient keeps only x for the backward pass, as BatchNorm's does."""
    return _normalize_forward(x, scale, bias, groups, pool, relu)[0]


def _normalize_forward(x, scale, bias, groups, pool, relu):
    full, count = in_full(x), x[0, ..., 0].size
    total, total_square = sums(full, jnp.square(full))
    mean, square = _over_group(total / count, groups), _over_group(total_square / count, groups)
    rstd = lax.rsqrt(jnp.maximum(square - jnp.square(mean), 0.0) + EPSILON)
    y, place, x_kept = pool_and_apply(x, mean, rstd, scale, bias, pool=pool, relu=relu)
    return y.astype(x.dtype), (x, scale, bias, mean, rstd, place, x_kept)


def _normalize_backward(groups, pool, relu, residuals, dy):
    """With u = (x - mean) / std and g = scale dy: dx = (g - mean(g) - u mean(g u)) / std, means over the group."""
    x, scale, bias, mean, rstd, place, x_kept = residuals
    dy, count = in_full(dy), x[0, ..., 0].size
    if relu:
        dy = jnp.where(apply(x_kept, mean, rstd * scale, bias) > 0, dy, 0)
    sum_dy, sum_dyx = sums(dy, dy * (x_kept - spread(mean, x)))
    sum_dyu = sum_dyx * rstd
    mean_g, mean_gu = (_over_group(scale * total / count, groups) for total in (sum_dy, sum_dyu))
    dy = max_pool_gradient(place, dy) if pool else dy
    slope = rstd * rstd * mean_gu
    dx = spread(rstd * scale, x) * dy - spread(rstd * mean_g, x) - (x - spread(mean, x)) * spread(slope, x)
    return dx.astype(x.dtype), sum_dyu.sum(0), sum_dy.sum(0)


_normalize.defvjp(_normalize_forward, _normalize_backward)


def _over_group(values: Float[Array, "n c"], groups: int) -> Float[Array, "n c"]:
    """Returns for each channel the mean over the channels of its group."""
    n, c = values.shape
    means = values.reshape(n, groups, c // groups).mean(-1, keepdims=True)
    return jnp.broadcast_to(means, (n, groups, c // groups)).reshape(n, c)
