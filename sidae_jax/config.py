"""The settings of a pre-training run: their defaults from the papers, and the check of the values given."""

import dataclasses
import functools
import operator
from typing import Any

from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder

from sidae_jax.errors import UserError, nearest
from sidae_jax.methods import METHOD_KEYS
from sidae_jax.networks.resnet import STEMS
from sidae_jax.views import ViewSettings

OPTIMIZERS = ("sgd", "adam")
SCHEDULES = ("cosine", "constant")
# What may differ between a run and its continuation. None of it changes a bit of the result but num_seeds, which makes
# another program of the step: its results differ by rounding, as they do on another number of devices.
FREE_KEYS = ("data_dir", "checkpoint_every", "log_every", "input", "num_seeds")


def pretraining(method: str, dataset: str, **changes) -> ConfigDict:
    """The settings of the method's paper (SidAE: 4.1) for a data set; `changes` replaces some of them.

    Raises UserError for an unknown method or key.
    """
    config = ConfigDict(
        {
            "method": one_of("method", method, METHOD_KEYS),
            "dataset": dataset,
            "data_dir": placeholder(str),  # a TFDS folder; None: TFDS's own default
            "train_split": "train",  # takes TFDS slices, such as train[:10%]
            "seed": 0,
            "num_seeds": 1,  # seed, seed + 1, ... in one program
            "epochs": 200,
            "batch_size": 512,  # of all devices together
            "optimizer": "sgd",  # or adam
            "schedule": "cosine",  # of the learning rate, to 0, or constant
            "lr": 0.03,  # not scaled by the batch size
            "momentum": 0.9,  # of sgd
            "weight_decay": 5e-4,
            "stem": "imagenet",
            "width": 64,  # channels of the first stage; 64 is ResNet-18, less is for tests
            "zero_init_residual": False,  # True in SimSiam's released code; see the README
            **METHOD_KEYS[method],
            "views": dataclasses.asdict(ViewSettings(**METHOD_KEYS[method].get("views", {}))),
            "checkpoint_every": 25,  # epochs
            "log_every": 10,  # steps
            "input": "auto",  # resident (the data set lies on the device), stream, or auto: resident where it fits
        }
    ).lock()
    for key in changes:
        one_of("key of a config", key, list(config))
    config.update(changes)
    return config


def single_seeds(config: ConfigDict) -> list[ConfigDict]:
    """The configs of the runs with one seed that a config with several stands for."""
    singles = [config.copy_and_resolve_references() for _ in range(config.num_seeds)]
    for i, single in enumerate(singles):
        single.update(seed=config.seed + i, num_seeds=1)
    return singles


def view_settings(config: ConfigDict) -> ViewSettings:
    """config.views as the views take them; in the config of a checkpoint, which was JSON, the pairs are lists."""
    return ViewSettings(
        **{key: tuple(value) if isinstance(value, list) else value for key, value in config.views.items()}
    )


def validate(config: ConfigDict) -> None:
    """Raises UserError naming the first key whose value cannot work, and what would."""
    method = one_of("method", config.get("method", "sidae"), METHOD_KEYS)
    check_keys(config, pretraining(method, ""), f"pre-training by {method}", f"configs/cifar10.py:{method}")
    one_of("stem", config.stem, STEMS)
    one_of("input", config.input, ("auto", "resident", "stream"))
    for key in ("epochs", "checkpoint_every", "log_every", "width", "num_seeds"):
        check(config, key, config[key] >= 1, "at least 1")
    check(config, "batch_size", config.batch_size >= 2, "at least 2, BatchNorm needs two images")
    check(config, "seed", config.seed >= 0 and config.seed + config.num_seeds <= 2**32, "between 0 and 4294967295")
    check(config, "input", config.input != "stream" or config.num_seeds == 1, "auto or resident, with several seeds")
    check(config, "lr", 0 < config.lr < float("inf"), "above 0")
    check(config, "momentum", 0 <= config.momentum < 1, "at least 0 and below 1")
    check(config, "weight_decay", 0 <= config.weight_decay < float("inf"), "at least 0")
    one_of("optimizer", config.optimizer, OPTIMIZERS)
    one_of("schedule", config.schedule, SCHEDULES)
    if method in ("sidae", "simsiam"):
        bottleneck = config.d_hid >= 4 and config.d_hid % 4 == 0
        check(config, "d_hid", bottleneck, "a multiple of 4, the predictor's bottleneck")
    elif "d_hid" in config:
        check(config, "d_hid", config.d_hid >= 1, "at least 1")
    if "beta" in config:
        check(config, "beta", 0 <= config.beta < float("inf"), "at least 0, such as 0.1")
    if "temperature" in config:
        check(config, "temperature", 0 < config.temperature < float("inf"), "above 0, such as 0.1")
    if "classes" in config:
        check(config, "classes", config.classes >= 2, "the number of the data set's classes")
    if "w" in config:
        check(config, "w", 0 <= config.w <= 1, "in [0, 1]: 0 is SimSiam, 1 the denoising autoencoder")
    if "target" in config:
        one_of("target", config.target, ("image", "view"))
    _validate_views(config)


def _validate_views(config):
    for name, value in config.views.items():
        key = f"views.{name}"
        if name.startswith("p_"):
            check(config, key, 0 <= value <= 1, "a probability in [0, 1]")
        elif isinstance(value, tuple):
            ordered = len(value) == 2 and 0 < value[0] <= value[1] < float("inf")
            check(
                config,
                key,
                ordered,
                "two numbers, 0 < low <= high, such as " + str(getattr(ViewSettings, name)),
            )
        elif name == "hue":
            check(config, key, 0 <= value <= 0.5, "in [0, 0.5] turns")
        else:
            check(config, key, 0 <= value < float("inf"), "at least 0")
    check(config, "views.crop_scale", config.views.crop_scale[1] <= 1, "at most 1, the whole image")
    low, high = config.views.crop_ratio
    check(config, "views.crop_ratio", low <= 1 <= high, "a range that holds 1, the images being square")


def check(config: ConfigDict, key: str, good: bool, wanted: str) -> None:
    """A UserError that names the key, its value and what is wanted, unless `good`."""
    if not good:
        seen = value_of(config, key)
        raise UserError(f"config.{key}={seen} is out of range: give --config.{key}=VALUE with VALUE {wanted}")


def check_keys(config: ConfigDict, wanted: ConfigDict, what: str, example: str) -> None:
    """A UserError that names a key which one of the two configs has alone, and an example of a config for `what`."""
    for key in sorted(set(flat_keys(config)) ^ set(flat_keys(wanted))):
        problem = "is no key" if key in flat_keys(config) else "is a missing key"
        raise UserError(f"config.{key} {problem} of {what}: give a config such as --config={example}")


def flat_keys(config: ConfigDict) -> list[str]:
    """The keys that hold values, with those of the sections: "views.hue"."""
    keys = []
    for key in config:
        keys += [f"{key}.{k}" for k in flat_keys(config[key])] if isinstance(config[key], ConfigDict) else [key]
    return keys


def value_of(config: ConfigDict, key: str) -> Any:
    """The value of one of `flat_keys`."""
    return functools.reduce(operator.getitem, key.split("."), config)


def one_of(key: str, value: str | None, names) -> str:
    """`value`, or a UserError that lists `names` and the nearest of them."""
    if value in names:
        return value
    near = nearest(str(value), names)
    hint = f"; did you mean {near}?" if near else ""
    raise UserError(f"{key}={value!r} is unknown: wanted is one of {', '.join(names)}{hint}")
