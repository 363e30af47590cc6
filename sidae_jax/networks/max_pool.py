"""Max pool with a gradient that scatters nothing, so that it has the same bits in every run on every platform."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, UInt8


@jax.custom_vjp
def max_pool(x: Float[Array, "*n h w c"]) -> Float[Array, "*n h//2 w//2 c"]:
    """Max pool 3x3, stride 2, padding 1, for even height and width.

    As in PyTorch, the gradient goes to the first of equal maxima.
    """
    return max_pool_with_places(x)[0]


def max_pool_with_places(
    x: Float[Array, "*n h w c"],
) -> tuple[Float[Array, "*n h//2 w//2 c"], UInt8[Array, "*n h//2 w//2 c"]]:
    """Returns the maxima and their places in their windows, 3 i + j with 0 <= i, j <= 2."""
    largest, place = x, jnp.zeros(x.shape, jnp.uint8)
    for axis, weight in ((x.ndim - 2, 1), (x.ndim - 3, 3)):  # along the rows, then down the columns
        taps = zip(_taps(largest, axis, -jnp.inf), _taps(place, axis, 0), strict=True)
        largest, place = next(taps)
        for i, (other, its_place) in enumerate(taps, 1):
            place = jnp.where(other > largest, its_place + jnp.uint8(weight * i), place)
            largest = jnp.maximum(other, largest)
    return largest, place


def _taps(array, axis, outside):
    """Returns the first, second and third values of the windows along an axis; `outside` is before the array."""
    padded = jnp.pad(array, [(int(a == axis), 0) for a in range(array.ndim)], constant_values=outside)
    return [lax.slice_in_dim(padded, i, i + array.shape[axis] - 1, 2, axis) for i in range(3)]


def max_pool_gradient(place: UInt8[Array, "*n h w c"], dy: Float[Array, "*n h w c"]) -> Float[Array, "*n 2*h 2*w c"]:
    """Returns the gradient by the input of a max pool whose maxima lie at `place`.

    It reads for every pixel the four windows that may hold it: row 2m of the input is row 1 of window m; row 2m + 1 is
    row 2 of window m and row 0 of window m + 1. Columns likewise.
    """
    *n, h, w, c = dy.shape
    odd = np.arange(2)
    dx = jnp.zeros((*n, h, 2, w, 2, c), dy.dtype)
    for down in range(2):
        for right in range(2):
            window = [(0, 0, 0)] * len(n) + [(-down, down, 0), (-right, right, 0), (0, 0, 0)]
            their_dy, their_place = (
                jnp.expand_dims(lax.pad(array, jnp.zeros((), array.dtype), window), (-2, -4)) for array in (dy, place)
            )
            row = np.where(odd, 2 * (1 - down), 1 - 2 * down)[:, None, None, None]
            column = np.where(odd, 2 * (1 - right), 1 - 2 * right)[:, None]
            # 9 is no place: for windows that do not hold the pixel
            my_place = np.where((row >= 0) & (column >= 0), 3 * row + column, 9).astype(np.uint8)
            dx += jnp.where(their_place == my_place, their_dy, 0)
    return dx.reshape(*n, 2 * h, 2 * w, c)


max_pool.defvjp(max_pool_with_places, lambda place, dy: (max_pool_gradient(place, dy),))
