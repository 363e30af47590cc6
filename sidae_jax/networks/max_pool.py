"""Max pool with a gradient that scatters nothing, so that it has the same bits in every run on every platform."""

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, UInt8


@jax.custom_vjp
def max_pool(x: Float[Array, "*n h w c"]) -> Float[Array, "*n h//2 w//2 c"]:
    """Max pool 3x3, stride 2, padding 1, for even height and width.

    As in PyTorch, the gradient goes to the first of equal maxima.
    """
    return max_pool_with_places(x, x)[0]


def max_pool_with_places(
    y: Float[Array, "*n h w c"], x: Float[Array, "*n h w c"]
) -> tuple[Float[Array, "*n h//2 w//2 c"], UInt8[Array, "*n h//2 w//2 c"], Float[Array, "*n h//2 w//2 c"]]:
    """Returns the maxima of y, their places in their windows, 3 i + j with 0 <= i, j <= 2, and x at these places."""
    best = (y, jnp.zeros(y.shape, jnp.uint8), x)
    for axis, weight in ((-2, 1), (-3, 3)):  # along the rows, then down the columns
        size = y.shape[axis] // 2
        taps = []
        for tap in range(3):
            padded = [_pad_before(array, axis, value) for array, value in zip(best, (-jnp.inf, 0, 0), strict=True)]
            largest, place, there = (
                lax.slice_in_dim(a, tap, tap + 2 * size - 1, 2, axis=axis % a.ndim) for a in padded
            )
            taps.append((largest, place + jnp.uint8(weight * tap), there))
        best = taps[0]
        for tap in taps[1:]:
            larger = tap[0] > best[0]
            best = tuple(jnp.where(larger, new, old) for new, old in zip(tap, best, strict=True))
    return best


def _pad_before(array, axis, value):
    return jnp.pad(array, [(int(a == axis % array.ndim), 0) for a in range(array.ndim)], constant_values=value)


def max_pool_gradient(place: UInt8[Array, "*n h w c"], dy: Float[Array, "*n h w c"]) -> Float[Array, "*n 2*h 2*w c"]:
    """Returns the gradient by the input of a max pool whose maxima lie at `place`."""
    outer = [(0, 0, 0)] * (dy.ndim - 3)
    dx = 0
    for i in range(3):
        for j in range(3):
            # row i of window m is row 2 m + i - 1 of the input, and columns likewise
            spread = [*outer, (i - 1, 2 - i, 1), (j - 1, 2 - j, 1), (0, 0, 0)]
            dx += lax.pad(jnp.where(place == 3 * i + j, dy, 0), jnp.zeros((), dy.dtype), spread)
    return dx


max_pool.defvjp(lambda x: max_pool_with_places(x, x)[:2], lambda place, dy: (max_pool_gradient(place, dy),))
