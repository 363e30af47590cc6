"""What each key of a config means: the one place for --help and the documentation. Nothing here imports JAX.

A new key needs a line in `_MEANINGS`, which a test compares with the keys of all methods and protocols.
"""

import dataclasses
import textwrap
from collections.abc import Iterable
from typing import Any

from ml_collections import ConfigDict

from sidae_jax import settings
from sidae_jax.config import INPUTS, OPTIMIZERS, SCHEDULES
from sidae_jax.config_values import flat
from sidae_jax.evaluation.protocols import FEATURES, PROTOCOLS
from sidae_jax.loggers.names import LOGGERS
from sidae_jax.monitoring import STOP_MEASURES
from sidae_jax.networks.backbones import BACKBONES


@dataclasses.dataclass(frozen=True)
class Key:
    """A key of a config for its reader.

    name: in full, such as "views.hue"; default: its value in the config; meaning: one line, with the unit; values: what
    it may be, in words.
    """

    name: str
    default: Any
    meaning: str
    values: str


def _one_of(names: Iterable[object]) -> str:
    return ", ".join(map(str, names))


_COUNT = "at least 1"
_PROBABILITY = "0 to 1"
_STRENGTH = "0 to 1000"
_RANGE = "low, high with 0 < low <= high"
_TEXT = "a text"

# By the names of keys, first those of pre-training: the meaning, and the values that `config.validate` lets pass.
# Names without their section where all sections mean the same.
_MEANINGS: dict[str, tuple[str, str]] = {
    "method": ("the method, chosen after the colon of --config=NAME:METHOD", _one_of(settings.METHOD_SETTINGS)),
    "dataset": ("the data set, by its name in TFDS; None: the pre-training's", "a TFDS name, or folder"),
    "data_dir": ("folder of prepared TFDS data sets; None: TFDS's default, or the pre-training's", "a folder, or None"),
    "images": ("folder of your own images, of the data set folder", "a folder"),
    "test_share": (
        "share of a folder's images that are test where it has no test/ or val/",
        "at least 0, below 1",
    ),
    "on_damage": ("what is done about files that are no intact images", _one_of(settings.ON_DAMAGE)),
    "train_split": ("the training images, a split of TFDS or a slice of one", "such as train[:10%]"),
    "seed": ("seed of all random numbers", "0 to 4294967295"),
    "num_seeds": ("seeds trained in one program: seed, seed + 1, ...", _COUNT),
    "epochs": ("passes over the training images", _COUNT),
    "batch_size": ("images of a step, of all devices together", "at least 2"),
    "accumulate": ("parts of a batch, worked through one after another, whose gradients are averaged", _COUNT),
    "optimizer": ("the optimizer, as PyTorch has it", _one_of(OPTIMIZERS)),
    "schedule": ("learning rate over the steps: cosine decays to 0", _one_of(SCHEDULES)),
    "lr": ("learning rate, not scaled by the batch size", "above 0"),
    "momentum": ("momentum of sgd", "at least 0, below 1"),
    "weight_decay": ("decay of every parameter, added to its gradient", "at least 0"),
    "checkpoint_every": ("epochs from a checkpoint to the next", _COUNT),
    "log_every": ("steps from a line of metrics to the next", _COUNT),
    "monitor_every": ("epochs from a measure of the features to the next; None: ten times a run", "0 (never) or more"),
    "stop_when": (
        "MEASURE:EPOCHS ends a run whose measure has had no better value for so many epochs; None: never",
        f"such as knn:50, of {_one_of(STOP_MEASURES)}",
    ),
    "loggers": ("where metrics go besides metrics.jsonl; None: nowhere", f"of {_one_of(LOGGERS)}, with commas between"),
    "input": (
        "where batches come from: the device's memory (resident), the disk (stream), or encoded files (decode); "
        "auto: resident if it fits",
        _one_of(INPUTS),
    ),
    "init_from": ("a run, or a file of sidae_jax.export, whose backbone this one starts from", "a path, or None"),
    "native": ("oneDNN's convolutions on CPUs; auto: on if sidae_jax_native is installed", _one_of(settings.NATIVE)),
    "store_size": ("side of the images that views are cropped from, in pixels; None: size", "size to 1024, or None"),
    "peer_timeout": ("seconds after which a process of several that does not answer ends the others", "5 to 86400"),
    "backbone": ("the network that gives the features", _one_of(BACKBONES)),
    "stem": ("the first layers: 7x7/2 convolution and max pool (imagenet), or 3x3/1 (cifar)", _one_of(settings.STEMS)),
    "size": ("side of the views, in pixels", _one_of(settings.SIZES)),
    "width": ("channels of the backbone's first stage; 64 is the standard", "1 to 4096"),
    "zero_init_residual": ("start each residual block as its shortcut", "True, False"),
    "precision": ("of products and activations; None: the pre-training's", _one_of(settings.PRECISIONS)),
    "d_hid": ("dimensions of z", "1 to 1048576; sidae, simsiam: a multiple of 4"),
    "w": ("weight of the reconstruction: 0 is SimSiam, 1 the denoising autoencoder", "0 to 1"),
    "target": ("what is reconstructed: the image, or each view", _one_of(settings.TARGETS)),
    "beta": ("weight of the KL term", "at least 0"),
    "temperature": ("what cosine similarities are divided by", "above 0"),
    "num_classes": ("outputs of the classifier that is trained on the way", "at least 2"),
    "views.crop_scale": ("share of the image's area that a crop takes", f"{_RANGE} <= 1"),
    "views.crop_ratio": ("width of a crop over its height", f"{_RANGE}, 1 between them"),
    "views.p_jitter": ("probability of the color jitter", _PROBABILITY),
    "views.brightness": ("its factor lies in [1 - s, 1 + s]", _STRENGTH),
    "views.contrast": ("its factor lies in [1 - s, 1 + s]", _STRENGTH),
    "views.saturation": ("its factor lies in [1 - s, 1 + s]", _STRENGTH),
    "views.hue": ("largest shift of the hue, in turns of the color circle", "0 to 0.5"),
    "views.p_gray": ("probability of grayscale", _PROBABILITY),
    "views.p_blur": ("probability of the Gaussian blur", _PROBABILITY),
    "views.blur_sigma": ("standard deviation of the blur, in pixels", f"{_RANGE} <= 1000"),
    "views.p_flip": ("probability of the horizontal flip", _PROBABILITY),
    # of evaluations
    "protocol": ("the protocol, chosen by the config", _one_of(PROTOCOLS)),
    "test_split": ("the test images, a split of TFDS or a slice of one", "such as test[:5000]"),
    "label_fraction": ("share of the training images that keep their labels", "above 0, at most 1"),
    "features": ("the pooled features of the backbone, or z", _one_of(FEATURES)),
    "hidden": ("units of the probe's first layer", _COUNT),
    "k": ("neighbors, at most the number of training images", _COUNT),
    "knn.temperature": ("T of a neighbor's weight exp(cosine / T)", "above 0"),
}


def keys(config: ConfigDict) -> list[Key]:
    """Returns the keys of a config, in its order; those of a method of the user's own have no meaning and values."""
    found = []
    for name, default in flat(config).items():
        meaning, values = _MEANINGS.get(name) or _MEANINGS.get(name.rpartition(".")[2], ("", ""))
        found.append(Key(name, default, meaning, values))
    return found


def text(config: ConfigDict, columns: int = 100) -> str:
    """Returns a line "  KEY = VALUE   MEANING (VALUES)" for each key, wrapped to a terminal's `columns`."""
    found = keys(config)
    settings_ = [f"  {key.name} = {key.default}" for key in found]
    indent = min(36, max(map(len, settings_)) + 2)
    lines = []
    for setting, key in zip(settings_, found, strict=True):
        first = setting.ljust(indent) if len(setting) < indent else setting + "\n" + " " * indent
        about = textwrap.wrap(f"{key.meaning} ({key.values})" if key.meaning else "", max(40, columns - indent))
        lines.append((first + ("\n" + " " * indent).join(about)).rstrip())
    return "\n".join(lines)
