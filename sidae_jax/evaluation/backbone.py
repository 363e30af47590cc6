"""The backbone of a checkpoint, and the untrained one to compare it with."""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, UInt8
from ml_collections import ConfigDict

from sidae_jax.data.normalization import Normalization
from sidae_jax.errors import UserError
from sidae_jax.mesh import local_mesh, replicated, rows_sharding
from sidae_jax.methods import make_method
from sidae_jax.networks.batch_norm import BatchNorm
from sidae_jax.networks.heads import Encoder
from sidae_jax.networks.precision import in_full, products_in
from sidae_jax.runs import checkpoint

_BATCH = 512
_WITHIN = {"backbone": "encoder.backbone.", "projector": "encoder."}  # where the network lies in a method


@dataclasses.dataclass(frozen=True)
class Backbone:
    """A network that gives features, and the normalization of the images that it was pre-trained with.

    With kind = "projector" the network is the whole encoder, whose output is z.
    """

    network: Any  # an nnx.Module, of what `sidae_jax.networks` asks for
    normalization: Normalization
    kind: str = "backbone"

    @property
    def size(self) -> int:
        """Height and width of the images that it takes, in pixels."""
        return self.network.size

    @property
    def num_features(self) -> int:
        """The number of features of an image."""
        return self.network.num_features

    def encode(self, images: np.ndarray) -> Float[np.ndarray, "n features"]:
        """Returns the features of images; see `compute_features`."""
        return compute_features(self, images)

    __call__ = encode

    def arrays(self) -> checkpoint.Arrays:
        """Returns all parameters and batch statistics, named as in a checkpoint."""
        return arrays_of(self.network, _WITHIN[self.kind])


def restore_backbone(
    checkpoints: checkpoint.Checkpoints, step: int, kind: str = "backbone", precision: str | None = None
) -> Backbone:
    """Restores the backbone alone, every leaf from the checkpoint; names, shapes, dtypes and checksums are compared.

    precision: one of settings.PRECISIONS; by default the run's own.

    Raises CorruptCheckpoint, and UserError if the method has no such features.
    """
    backbone = _initial(checkpoints.metadata(step), kind, precision)
    return dataclasses.replace(backbone, network=_restored(backbone.network, checkpoints, step, _WITHIN[kind]))


def restore_method(checkpoints: checkpoint.Checkpoints, step: int, precision: str | None = None) -> Any:
    """Restores the whole method, with the same comparisons. Raises CorruptCheckpoint."""
    return _restored(_method(checkpoints.metadata(step), precision), checkpoints, step, "")


def arrays_of(module: nnx.Module, within: str = "") -> checkpoint.Arrays:
    """Returns all parameters and batch statistics, named as in a checkpoint, of the module at `within` in a method."""
    _, params, batch_stats = nnx.split(module, nnx.Param, nnx.BatchStat)  # type: ignore[misc]  # see pyproject.toml
    return checkpoint.to_arrays(params, f"params.{within}") | checkpoint.to_arrays(batch_stats, f"batch_stats.{within}")


def _restored(module: nnx.Module, checkpoints: checkpoint.Checkpoints, step: int, within: str) -> nnx.Module:
    under = (f"params.{within}", f"batch_stats.{within}")
    return with_arrays(module, checkpoints.restore(step, arrays_of(module, within), under), within)


def with_arrays(module: nnx.Module, arrays: checkpoint.Arrays, within: str = "") -> nnx.Module:
    """Returns the module with these parameters and batch statistics, named as `arrays_of` names them."""
    graphdef, params, batch_stats = nnx.split(module, nnx.Param, nnx.BatchStat)  # type: ignore[misc]  # see pyproject.toml
    states = (
        checkpoint.from_arrays(params, arrays, f"params.{within}"),
        checkpoint.from_arrays(batch_stats, arrays, f"batch_stats.{within}"),
    )
    return nnx.merge(graphdef, *map(jax.device_put, states))


def untrained_backbone(
    metadata: dict[str, Any],
    images: UInt8[np.ndarray, "n size size 3"],
    kind: str = "backbone",
    precision: str | None = None,
) -> Backbone:
    """Returns the run's backbone before its first step, with BatchNorm statistics from one pass over `images`.

    The statistics are the means of those of the pass's batches. With its initial ones (mean 0, variance 1) an untrained
    ResNet is nearly linear and its features are badly scaled: a probe on them would measure the scale.
    Raises UserError if the method has no such features.
    """
    backbone = _initial(metadata, kind, precision)
    measuring = nnx.clone(backbone.network)  # fine-tuning trains `backbone` further, with its own momentum
    for _, module in nnx.iter_modules(measuring):
        if isinstance(module, BatchNorm):
            module.momentum = 0.0  # so that the running statistics are those of the last batch
    graphdef, state = nnx.split(measuring)
    size = min(_BATCH, len(images))
    mesh = local_mesh(size)
    state = jax.device_put(state, replicated(mesh))
    starts = range(0, len(images) - size + 1, size)  # whole batches only, so that each counts the same
    batches = (jax.device_put(images[start : start + size], rows_sharding(mesh, size)) for start in starts)
    of_batches = [jax.device_get(_batch_statistics(graphdef, backbone.normalization, state, b)) for b in batches]
    means = jax.tree.map(lambda *values: jnp.asarray(sum(values) / len(values)), *of_batches)
    nnx.update(backbone.network, means)
    return backbone


@functools.partial(jax.jit, static_argnums=(0, 1))  # one compilation for all seeds
def _batch_statistics(
    graphdef: nnx.GraphDef, normalization: Normalization, state: nnx.State, batch: Array
) -> nnx.State:
    network = nnx.merge(graphdef, state, copy=True)
    with products_in(network.precision):
        network(normalize(batch, normalization))
    return nnx.state(network, nnx.BatchStat)


def _initial(metadata: dict[str, Any], kind: str, precision: str | None) -> Backbone:
    """Returns the backbone as the run of a checkpoint's metadata initialized it."""
    encoder = _method(metadata, precision).encoder
    method = metadata["config"]["method"]
    # a VAE's projector gives the mean and log variance of a distribution of z
    if kind == "projector" and (not isinstance(encoder, Encoder) or method == "vae"):
        raise UserError(
            f"config.features=projector, but the run's method, {method}, has no projector to a z: give "
            "--config.features=backbone"
        )
    return Backbone(encoder if kind == "projector" else encoder.backbone, normalization_of(metadata), kind)


def _method(metadata: dict[str, Any], precision: str | None = None) -> Any:
    config = ConfigDict(metadata["config"])
    config.precision = precision or config.precision
    return make_method(config, None)


def normalization_of(metadata: dict[str, Any]) -> Normalization:
    """Returns the normalization of the pre-training's images."""
    return Normalization(**{key: tuple(value) for key, value in metadata["normalization"].items()})


def compute_features(backbone: Backbone, images: np.ndarray) -> Float[np.ndarray, "n features"]:
    """Returns float32 features in evaluation mode, without augmentation; batches are split over the local devices.

    images: uint8 [n, size, size, 3], 0..255, n >= 1, with the network's size. Raises UserError for anything else, such
    as floats in [0, 1], which would all become 0.
    """
    dtype, shape, size = getattr(images, "dtype", type(images).__name__), np.shape(images), backbone.network.size
    if dtype != np.uint8 or shape[1:] != (size, size, 3) or shape[0] == 0:
        raise UserError(
            f"images of dtype {dtype} and shape {shape} have no features: give uint8 of [n, {size}, {size}, 3], "
            "0..255, n at least 1"
        )
    mesh = local_mesh(_BATCH)
    graphdef, state = nnx.split(backbone.network)
    state = jax.device_put(state, replicated(mesh))
    parts = []
    for start in range(0, len(images), _BATCH):
        batch = images[start : start + _BATCH]
        padded = np.zeros((_BATCH, *batch.shape[1:]), np.uint8)  # one shape, one compilation
        padded[: len(batch)] = batch
        padded = jax.device_put(padded, rows_sharding(mesh, _BATCH))
        parts.append(np.asarray(forward(graphdef, backbone.normalization, state, padded))[: len(batch)])
    return np.concatenate(parts)


@functools.partial(jax.jit, static_argnums=(0, 1))  # one compilation for all checkpoints of a run
def forward(graphdef: nnx.GraphDef, normalization: Normalization, state: nnx.State, batch: Array) -> Array:
    """Returns the features of a batch of uint8 images in evaluation mode."""
    network = nnx.merge(graphdef, state)
    with products_in(network.precision):
        return in_full(network(normalize(batch, normalization), use_running_average=True))


def normalize(images: UInt8[Array, "n size size 3"], normalization: Normalization) -> Float[Array, "n size size 3"]:
    """Normalizes images as the train step does."""
    mean, std = normalization.as_arrays()
    return (images.astype(np.float32) / 255 - mean) / std
