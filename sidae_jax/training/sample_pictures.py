"""Pictures of a state for loggers: images beside their views and reconstructions."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Int, Key, UInt8
from ml_collections import ConfigDict

from sidae_jax import streams
from sidae_jax.config import view_settings
from sidae_jax.data.normalization import Normalization, pixels
from sidae_jax.networks.precision import in_full, products_in
from sidae_jax.settings import ViewSettings
from sidae_jax.streams import Stream
from sidae_jax.training.step import TrainState
from sidae_jax.views import make_views

SHOWN = 8  # images


class SamplePictures:
    """Makes the pictures of one seed, always of the same images: the first ones of its run's first batch.

    Their views at step k have the random numbers that the train step draws at step k for the first places of its
    batch; at step 0 they are the views that it makes.
    """

    def __init__(
        self,
        config: ConfigDict,
        graphdef: nnx.GraphDef,
        images: UInt8[np.ndarray, "n side side 3"],
        normalization: Normalization,
    ):
        """Computes nothing yet; graphdef is that of the method."""
        self._images, self._normalization = images, normalization
        self._key = functools.partial(jax.random.key, config.seed)
        self._sample = functools.partial(
            _sample, graphdef, view_settings(config), normalization, config.size, config.precision
        )

    def make(self, step: int, state: TrainState) -> dict[str, UInt8[np.ndarray, "n size width 3"]]:
        """Returns "views" and, of a method with a decoder, "reconstructions", 0..255, from a state on the host.

        Beside each other lie x, x1, x2, and x, x', x1, x1'.
        """
        sampled = self._sample(state.params, state.batch_stats, self._key(), np.int32(step), self._images)
        x, x1, x2, *reconstructed = (pixels(array, self._normalization) for array in jax.device_get(sampled))
        made = {"views": np.concatenate([x, x1, x2], 2)}
        if reconstructed:
            made["reconstructions"] = np.concatenate([x, reconstructed[0], x1, reconstructed[1]], 2)
        return made


@functools.partial(jax.jit, static_argnums=(0, 1, 2, 3, 4))
def _sample(
    graphdef: nnx.GraphDef,
    views: ViewSettings,
    normalization: Normalization,
    size: int,
    precision: str,
    params: nnx.State,
    batch_stats: nnx.State,
    key: Key[Array, ""],
    step: Int[Array | np.number, ""],
    images: UInt8[Array, "n side side 3"],
) -> tuple[Float[Array, "n size size 3"], ...]:
    """Returns x, x1 and x2, normalized, and of a method with a decoder x' and x1', in evaluation mode."""
    keys = streams.example_keys(key, Stream.VIEWS, step, jnp.arange(len(images)))
    mean, std = normalization.as_arrays()
    x, x1, x2 = make_views(keys, images, views, mean, std, size)
    method = nnx.merge(graphdef, params, batch_stats, copy=True)
    if not hasattr(method, "reconstruct"):
        return x, x1, x2
    with products_in(precision):
        return x, x1, x2, in_full(method.reconstruct(x)), in_full(method.reconstruct(x1))
