"""What the features are worth during the training: measured on the devices, without changing a bit of the training.

The images are some of the training's own, always the same ones, so that no test image has a part in any choice.
"""

import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import lax
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P
from jaxtyping import Array, Float, Int, UInt8
from ml_collections import ConfigDict

from sidae_jax import quality, streams
from sidae_jax.config import view_settings
from sidae_jax.data import Images
from sidae_jax.data.normalization import Normalization
from sidae_jax.errors import UserError
from sidae_jax.evaluation.protocols import NearestNeighbors
from sidae_jax.mesh import AXIS, put
from sidae_jax.monitoring import epochs_between, stop_rule
from sidae_jax.networks.precision import in_full, products_in
from sidae_jax.streams import Stream
from sidae_jax.training.step import TrainState
from sidae_jax.views import make_views, resized

_MOST_IMAGES = 10_000
_MOST_BYTES = 512 << 20  # of the images on all devices together
_LEAST_IMAGES = 512  # with fewer, kNN says little; in a run of seconds they cost more than a few percent
_MOST_ASKED = 2_000  # by kNN
_IMAGES_PER_NEIGHBOR = 20  # at least: 200 neighbors of a few hundred images would be of all classes
_BATCH = 256
_SEED = 0  # the same images and views for all runs on a data set

_Images = tuple[UInt8[Array, "_ bytes"], Int[Array, " _"]]  # and their places among those of all devices


class Monitor:
    """Measures the features of a state.

    kNN asks each of the first 2,000 images about all others; alignment and uniformity are of two views of an eighth of
    the images.
    """

    def __init__(
        self,
        config: ConfigDict,
        images: Images,
        graphdef: nnx.GraphDef,
        normalization: Normalization,
        mesh: Mesh,
    ):
        """Puts the images on the devices, each its part. All processes must call this together."""
        n = count(len(images.images), epochs_between(config), math.prod(images.images.shape[1:]))
        rows = streams.generator(Stream.MONITOR, _SEED).permutation(len(images.images))[:n]
        labels = images.labels[rows]
        self._batch = max(1, min(_BATCH, config.batch_size // config.accumulate // mesh.size))  # of a device

        def sharded(rows: Int[np.ndarray, " n"]) -> tuple[jax.Array, jax.Array]:
            """Returns the images, and their places, with some of them twice so that they are whole batches."""
            places = np.resize(np.arange(len(rows)), math.ceil(len(rows) / chunk) * chunk)
            pixels = images.images[rows[places]]
            return put(mesh, pixels.reshape(len(pixels), -1), P(AXIS)), put(mesh, places, P(AXIS))

        chunk = self._batch * mesh.size
        self._inputs = sharded(rows), sharded(rows[: max(2, n // 8)]), put(mesh, labels)
        labeled = int((labels >= 0).sum())
        # of one class all are right
        knn_possible = len(set(labels[labels >= 0])) > 1 and bool((labels[:_MOST_ASKED] >= 0).any())
        rule = stop_rule(config)
        if rule and rule.measure == "knn" and not knn_possible:
            raise UserError(
                f"config.stop_when={config.stop_when} needs kNN, for which too few of the {n} images that are measured "
                f"have labels: give another measure, such as rankme:{rule.patience}"
            )
        knn = NearestNeighbors()
        program = functools.partial(
            _measure,
            graphdef=graphdef,
            config=config,
            normalization=normalization,
            num_pairs=max(2, n // 8),
            batch=self._batch,
            num_asked=min(n, _MOST_ASKED),
            k=min(knn.k, max(1, labeled // _IMAGES_PER_NEIGHBOR)) if knn_possible else 0,
            temperature=knn.temperature,
        )
        specs = P(), P(), P(AXIS), P(AXIS), P()
        self._program = jax.jit(jax.shard_map(program, mesh=mesh, in_specs=specs, out_specs=P(), check_vma=False))

    def measure(self, state: TrainState) -> dict[str, float]:
        """Returns knn (if images have labels), rankme, alignment and uniformity of one seed's state. Collective."""
        measures, features = jax.device_get(self._program(state.params, state.batch_stats, *self._inputs))
        return {"rankme": quality.rankme(features), **{name: float(value) for name, value in measures.items()}}


def count(num_images: int, every: int, image_bytes: int) -> int:
    """Returns how many images are measured: as many as cost about 2% of the steps between.

    An image costs 1.25 forward passes here, and six or more in the step of an epoch: two views, forward and backward.
    """
    affordable = max(_LEAST_IMAGES, every * num_images // 10)
    return min(num_images, _MOST_IMAGES, affordable, max(_BATCH, _MOST_BYTES // image_bytes))


def _measure(
    params: nnx.State,
    batch_stats: nnx.State,
    images: _Images,
    pairs: _Images,
    labels: Int[Array, " n"],
    *,
    graphdef: nnx.GraphDef,
    config: ConfigDict,
    normalization: Normalization,
    num_pairs: int,
    batch: int,
    num_asked: int,
    k: int,
    temperature: float,
) -> tuple[dict[str, Float[Array, ""]], Float[Array, "n d"]]:
    """Returns the measures but for RankMe, and the features, of the images of all devices, on each of them.

    `batch` of a device's own images pass at a time.
    k is 0 if too few images have a label for kNN.
    """
    backbone = nnx.merge(graphdef, params, batch_stats, copy=True).encoder.backbone
    mean, std = normalization.as_arrays()

    def features(x: Float[Array, "b size size 3"]) -> Float[Array, "b d"]:
        with products_in(config.precision):
            return in_full(backbone(x, use_running_average=True))

    def of_image(part: UInt8[Array, "b side side 3"], _) -> Float[Array, "b d"]:
        return features(resized(part, mean, std, config.size))

    def of_views(part: UInt8[Array, "b side side 3"], places: Int[Array, " b"]) -> tuple[Float[Array, "b d"], ...]:
        keys = streams.example_keys(jax.random.key(_SEED), Stream.MONITOR, jnp.int32(0), places)
        _, x1, x2 = make_views(keys, part, view_settings(config), mean, std, config.size)
        return features(x1), features(x2)

    def gathered(function: Callable, inputs: _Images) -> Any:
        """Returns the function's features of the images of all devices."""
        rows, places = inputs
        side = math.isqrt(rows.shape[1] // 3)
        parts = rows.reshape(-1, batch, side, side, 3), places.reshape(-1, batch)
        outputs = lax.map(lambda part: function(*part), parts)
        return jax.tree.map(lambda f: lax.all_gather(f.reshape(-1, f.shape[-1]), AXIS, tiled=True), outputs)

    n = labels.shape[0]
    h = gathered(of_image, images)[:n]
    h1, h2 = (f[:num_pairs] for f in gathered(of_views, pairs))
    found = {
        "alignment": quality.alignment(h1, h2),
        "uniformity": (quality.uniformity(h1) + quality.uniformity(h2)) / 2,
    }
    if k:
        knn = quality.knn_accuracy(h, labels, num_asked=num_asked, k=k, temperature=temperature)
        found = {"knn": knn, **found}
    return found, h
