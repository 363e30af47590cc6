"""The arithmetic that BatchNorm and GroupNorm share: sums over a map, and normalizing by their results.

x is [v, n, *hw, c]; statistics are [v, c], of the v parts of x that have statistics of their own, or [c].
"""

import jax.numpy as jnp
from jax import lax

from sidae_jax.networks.max_pool import max_pool_with_places

EPSILON = 1e-5


def apply(x, mean, factor, bias):
    """Returns (x - mean) factor + bias, in the dtype of the statistics."""
    return (x - spread(mean, x)) * spread(factor, x) + bias


def pool_and_apply(x, mean, rstd, scale, bias, *, pool, relu):
    """Normalizes, with max pool and ReLU if wanted.

    Returns y in the dtype of the statistics; for the gradient, the places of the maxima in their windows, None without
    a pool; and the values of x that y is of.
    """
    place, x_kept = None, x
    if pool:  # the maxima of y are where those of x are, or its minima where the scale is negative
        sign = jnp.where(scale < 0, -1, 1).astype(x.dtype)
        largest, place = max_pool_with_places(x * sign)
        x_kept = largest * sign
    y = apply(x_kept, mean, rstd * scale, bias)
    return jnp.maximum(y, 0) if relu else y, place, x_kept


def spread(statistics, x):
    """Reshapes [v, c] or [c] so that it broadcasts with x."""
    return statistics.reshape(*statistics.shape[:-1], *(1,) * (x.ndim - statistics.ndim), statistics.shape[-1])


def sums(a, b):
    """Returns the sums of both [v, n, *hw, c] for each part and feature."""
    return lax.platform_dependent(a, b, default=_sums_one_by_one, cuda=_sums_of_pairs)


def _sums_one_by_one(a, b):
    axes = tuple(range(1, a.ndim - 1))
    return a.sum(axes), b.sum(axes)


def _sums_of_pairs(a, b):
    """One reduction of pairs, which XLA's compiler for NVIDIA finishes in one kernel instead of two."""

    def add(left, right):
        return left[0] + right[0], left[1] + right[1]

    return tuple(lax.reduce((a, b), (jnp.zeros((), a.dtype), jnp.zeros((), b.dtype)), add, tuple(range(1, a.ndim - 1))))
