"""What a report shows of a checkpoint: views of test images, their reconstructions, and features by t-SNE."""

import functools
import pathlib

import jax
import numpy as np
import rich.console
import sklearn.manifold
import threadpoolctl
from flax import nnx
from jaxtyping import Array, Float, Float32
from ml_collections import ConfigDict

from sidae_jax import data, runtime, streams
from sidae_jax.config import folder_settings, view_settings
from sidae_jax.data.normalization import pixels
from sidae_jax.errors import UserError
from sidae_jax.evaluation import backbone as backbones
from sidae_jax.evaluation import picture_file
from sidae_jax.evaluation.picture_file import Pictures
from sidae_jax.files import disk_trouble_told, open_folder
from sidae_jax.networks.precision import in_full, products_in
from sidae_jax.runs import checkpoint, pretrained
from sidae_jax.streams import Stream
from sidae_jax.views import make_views

_SHOWN, _PROJECTED = 8, 1000  # the first test images


def write(config: ConfigDict, workdir: str) -> pathlib.Path:
    """Writes the pictures of a run to workdir/eval/pictures.npz, and returns its path. Raises UserError."""
    runtime.require_single_process("pictures")
    folder = pretrained.run_folder(workdir)
    with checkpoint.Checkpoints(folder, read_only=True) as checkpoints:
        step = pretrained.one_step(checkpoints, None)
        metadata = checkpoints.metadata(step)
        method = backbones.restore_method(checkpoints, step)
    pretraining, normalization = ConfigDict(metadata["config"]), backbones.normalization_of(metadata)
    size, store_size = pretraining.size, pretraining.store_size or pretraining.size
    test = _load(config, pretraining, size)
    stored = test if store_size == size else _load(config, pretraining, store_size)  # what views are cropped from
    if len(test.images) < _SHOWN:
        raise UserError(
            f"config.test_split={config.test_split} of {pretraining.dataset} has {len(test.images)} images: give one "
            f"of at least {_SHOWN}, such as --config.test_split=test"
        )
    console = rich.console.Console(stderr=True, highlight=False, soft_wrap=True)
    console.print(f"checkpoint {step}: views, reconstructions and t-SNE of {pretraining.dataset} {config.test_split}")
    images = np.asarray(test.images[:_SHOWN])
    keys = jax.random.split(streams.fold(jax.random.key(0), Stream.PICTURES), len(images))
    mean, std = normalization.as_arrays()
    make = jax.jit(make_views, static_argnums=(2, 5))
    x, x1, x2 = make(keys, stored.images[:_SHOWN], view_settings(pretraining), mean, std, size)
    reconstructions = reconstruct(method, np.concatenate([x, x1]))
    backbone = backbones.Backbone(method.encoder.backbone, normalization)
    features = backbones.compute_features(backbone, np.asarray(test.images[:_PROJECTED]))
    pictures = Pictures(
        epoch=float(metadata["epoch"]),
        images=images,
        views=pixels(np.stack([x1, x2], 1), normalization),
        reconstructions=pixels(np.stack(np.split(reconstructions, 2), 1), normalization),
        tsne=_project(features),
        labels=np.asarray(test.labels[:_PROJECTED]),
        class_names=np.array(test.class_names, np.str_),
    )
    path = open_folder(folder, "eval") / picture_file.NAME
    with disk_trouble_told(path, "give the same command again"):
        picture_file.write(path, pictures)
    return path


def _load(config: ConfigDict, pretraining: ConfigDict, size: int) -> data.Images:
    data_dir, folder = config.data_dir or pretraining.data_dir, folder_settings(pretraining)
    return data.load(pretraining.dataset, config.test_split, data_dir, folder=folder, size=size)


def reconstruct(method: nnx.Module, x: Float[np.ndarray, "n size size 3"]) -> Float[np.ndarray, "m size size 3"]:
    """Returns x' for each x, or none (m = 0) if the method has no decoder."""
    if not hasattr(method, "reconstruct"):
        return x[:0]
    return np.asarray(decoded(*nnx.split(method), x))


@functools.partial(jax.jit, static_argnums=0)
def decoded(
    graphdef: nnx.GraphDef, state: nnx.State, x: Float[Array, "n size size 3"]
) -> Float[Array, "n size size 3"]:
    """Returns float32 reconstructions x', computed in the method's own precision."""
    method = nnx.merge(graphdef, state)
    with products_in(method.encoder.backbone.precision):
        return in_full(method.reconstruct(x))


def _project(features: Float32[np.ndarray, "n d"]) -> Float32[np.ndarray, "n 2"]:
    """Projects by t-SNE on one core: more gain little at this size, and lose much if they are busy."""
    perplexity = min(30, (len(features) - 1) / 3)  # scikit-learn's default, or less for few images
    with threadpoolctl.threadpool_limits(1):
        return sklearn.manifold.TSNE(perplexity=perplexity, random_state=0).fit_transform(features)
