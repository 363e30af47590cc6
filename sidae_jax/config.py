"""The settings of a pre-training run: their defaults from the papers, and the check of the values given."""

import dataclasses
from typing import Any, TypeVar

from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder

from sidae_jax import monitoring, settings
from sidae_jax.config_values import check, check_keys, one_of
from sidae_jax.errors import UserError
from sidae_jax.loggers.names import LOGGERS, names_in, require_installed
from sidae_jax.networks.backbones import BACKBONES
from sidae_jax.settings import FOLDER, ON_DAMAGE, BackboneSettings, FolderSettings, ViewSettings

T = TypeVar("T")
OPTIMIZERS = ("sgd", "adam")
SCHEDULES = ("cosine", "constant")
PEER_TIMEOUT = 100
INPUTS = ("auto", "resident", "stream", "decode")
# A run may be continued with other values of these keys. Only num_seeds and native affect the result, by rounding,
# since they compile a different program.
FREE_KEYS = (
    "data_dir",
    "checkpoint_every",
    "log_every",
    "monitor_every",
    "stop_when",
    "loggers",
    "input",
    "num_seeds",
    "native",
    "peer_timeout",
)
# Where the images lie. It may change too, since those of a run are compared by their SHA-256.
PLACE_KEYS = ("data_dir", "images")


def pretraining(method: str, dataset: str, **changes: Any) -> ConfigDict:
    """Returns the settings of the method's paper (SidAE: 4.1) for a data set, with `changes` in place of some of them.

    The defaults of all keys are here, and those of backbone, views and methods in `settings`; their meanings are in
    `key_help`.

    Raises:
      UserError: the method or a key is unknown.
    """
    one_of("method", method, settings.METHOD_SETTINGS)
    own = settings.own_settings(method)
    config = ConfigDict(
        {
            "method": method,
            "dataset": dataset,
            "data_dir": placeholder(str),
            **(_folder_keys() if dataset == FOLDER else {}),
            "train_split": "train",
            "seed": 0,
            "num_seeds": 1,
            "epochs": 200,
            "batch_size": 512,
            "accumulate": 1,
            "optimizer": "sgd",
            "schedule": "cosine",
            "lr": 0.03,
            "momentum": 0.9,
            "weight_decay": 5e-4,
            "checkpoint_every": 25,
            "log_every": 10,
            "monitor_every": placeholder(int),
            "stop_when": placeholder(str),
            "loggers": placeholder(str),
            "input": "auto",
            "init_from": placeholder(str),
            "native": "auto",
            "store_size": placeholder(int),
            "peer_timeout": PEER_TIMEOUT,
            **dataclasses.asdict(BackboneSettings()),
            **settings.method_keys(method),
            **own,
            "views": dataclasses.asdict(ViewSettings(**own.get("views", {}))),
        }
    ).lock()
    for key in changes:
        one_of("key of a config", key, list(config))
    config.update(changes)
    return config


def _folder_keys() -> dict[str, Any]:
    return {**dataclasses.asdict(FolderSettings()), "images": placeholder(str)}


def single_seeds(config: ConfigDict) -> list[ConfigDict]:
    """Returns a config with one seed for each of the config's `num_seeds` seeds."""
    singles = [config.copy_and_resolve_references() for _ in range(config.num_seeds)]
    for i, single in enumerate(singles):
        single.update(seed=config.seed + i, num_seeds=1)
    return singles


def folder_settings(config: ConfigDict) -> FolderSettings | None:
    """Returns the keys of a config that say which folder of images it is on, or None if it is on none."""
    return _from_keys(FolderSettings, config) if config.dataset == FOLDER else None


def backbone_settings(config: ConfigDict) -> BackboneSettings:
    """Returns the keys of a config that define the backbone."""
    return _from_keys(BackboneSettings, config)


def view_settings(config: ConfigDict) -> ViewSettings:
    """Returns config.views as the views take them."""
    return _from_keys(ViewSettings, config.views)


def method_settings(config: ConfigDict) -> Any:
    """Returns the keys of a config that only its method has, as the method's constructor takes them."""
    return _from_keys(settings.METHOD_SETTINGS[config.method], config)


def _from_keys(cls: type[T], config: ConfigDict) -> T:
    values = {field.name: config[field.name] for field in dataclasses.fields(cls)}  # type: ignore[arg-type]
    # the config of a checkpoint was JSON, which turns tuples into lists
    return cls(**{name: tuple(value) if isinstance(value, list) else value for name, value in values.items()})


def validate(config: ConfigDict) -> None:
    """Raises UserError naming the first key whose value cannot work, and what would."""
    if "protocol" in config:
        raise UserError(
            f"this is an evaluation's config (config.protocol={config.protocol}): start sidae_jax.linear_eval with it, "
            "or give a pre-training's, such as --config=cifar10"
        )
    method = one_of("method", config.get("method", "sidae"), settings.METHOD_SETTINGS)
    dataset = config.get("dataset", "")
    if not isinstance(dataset, str):
        raise UserError(f"config.dataset={dataset!r:.80} is no name of a data set: give a text, such as cifar10")
    example = "folder" if dataset == FOLDER else "cifar10"
    if dataset != FOLDER and "images" in config:
        raise UserError(
            f"config.dataset={dataset} is no folder of images, and this config is for one: leave --config.dataset out, "
            "or give another config, such as --config=cifar10"
        )
    check_keys(config, pretraining(method, dataset), f"pre-training by {method}", f"{example}:{method}")
    if dataset == FOLDER:
        if config.images is None:
            raise UserError("config.images is missing: give the folder of your images, --config.images=DIR")
        check_folder(config)
    one_of("backbone", config.backbone, BACKBONES)
    one_of("stem", config.stem, settings.STEMS)
    one_of("precision", config.precision, settings.PRECISIONS)
    check(config, "size", config.size in settings.SIZES, f"one of {', '.join(map(str, settings.SIZES))}")
    stored = config.store_size is None or config.size <= config.store_size <= 1024
    check(config, "store_size", stored, f"from config.size={config.size}, that of the views, to 1024")
    one_of("native", config.native, settings.NATIVE)
    one_of("input", config.input, INPUTS)
    for name in names_in(config.loggers):
        one_of("loggers", name, LOGGERS)
        require_installed(name)
    for key in ("epochs", "checkpoint_every", "log_every", "num_seeds", "accumulate"):
        check(config, key, 1 <= config[key] < 2**31, "at least 1 and below 2147483648")
    check(config, "width", 1 <= config.width <= 4096, "from 1 to 4096")
    if config.monitor_every is not None:
        check(config, "monitor_every", config.monitor_every >= 0, "at least 1, or 0 to measure nothing")
    monitoring.stop_rule(config)
    check(config, "batch_size", 2 <= config.batch_size < 2**31, "at least 2, BatchNorm needs two images")
    _validate_parts(config)
    check(config, "seed", config.seed >= 0 and config.seed + config.num_seeds <= 2**32, "between 0 and 4294967295")
    check(config, "peer_timeout", 5 <= config.peer_timeout <= 86400, "from 5 to 86400 seconds, such as 100")
    several_seeds_can = config.input in ("auto", "resident") or config.num_seeds == 1
    check(config, "input", several_seeds_can, "auto or resident when num_seeds is above 1")
    check(config, "lr", 0 < config.lr < float("inf"), "above 0")
    check(config, "momentum", 0 <= config.momentum < 1, "at least 0 and below 1")
    check(config, "weight_decay", 0 <= config.weight_decay < float("inf"), "at least 0")
    one_of("optimizer", config.optimizer, OPTIMIZERS)
    one_of("schedule", config.schedule, SCHEDULES)
    if method in ("sidae", "simsiam"):
        bottleneck = config.d_hid >= 4 and config.d_hid % 4 == 0
        check(config, "d_hid", bottleneck, "a multiple of 4, the predictor's bottleneck")
    if "d_hid" in config:
        check(config, "d_hid", 1 <= config.d_hid <= 2**20, "from 1 to 1048576")
    if "beta" in config:
        check(config, "beta", 0 <= config.beta < float("inf"), "at least 0, such as 0.1")
    if "temperature" in config:
        check(config, "temperature", 0 < config.temperature < float("inf"), "above 0, such as 0.1")
    if "num_classes" in config:
        check(config, "num_classes", 2 <= config.num_classes <= 2**20, "the number of the data set's classes")
    if "w" in config:
        check(config, "w", 0 <= config.w <= 1, "in [0, 1]: 0 is SimSiam, 1 the denoising autoencoder")
    if "target" in config:
        one_of("target", config.target, settings.TARGETS)
    _validate_views(config)


def _validate_parts(config: ConfigDict) -> None:
    size, parts = config.batch_size, config.accumulate
    if size % parts or size < 2 * parts:
        lower = max(2 * parts, size - size % parts)
        near = [str(lower)] if lower >= size else [str(lower), str(lower + parts)]
        raise UserError(
            f"config.batch_size={size} is not config.accumulate={parts} equal parts of two or more images, which "
            f"BatchNorm needs: give --config.batch_size={' or '.join(near)}, or another --config.accumulate"
        )


def _validate_views(config: ConfigDict) -> None:
    for name, value in config.views.items():
        key = f"views.{name}"
        if name.startswith("p_"):
            check(config, key, 0 <= value <= 1, "a probability in [0, 1]")
        elif isinstance(value, tuple):
            ordered = len(value) == 2 and 0 < value[0] <= value[1] < float("inf")
            check(config, key, ordered, f"two numbers, 0 < low <= high, such as {getattr(ViewSettings, name)}")
        elif name == "hue":
            check(config, key, 0 <= value <= 0.5, "in [0, 0.5] turns")
        else:
            check(config, key, 0 <= value <= 1000, "from 0 to 1000")
    check(config, "views.blur_sigma", config.views.blur_sigma[1] <= 1000, "at most 1000 pixels")
    check(config, "views.crop_scale", config.views.crop_scale[1] <= 1, "at most 1, the whole image")
    low, high = config.views.crop_ratio
    check(config, "views.crop_ratio", low <= 1 <= high, "a range that holds 1, the images being square")


def check_folder(config: ConfigDict) -> None:
    """Raises UserError if a key of a folder of images has a value out of its range; None, an evaluation's, is in it."""
    if config.test_share is not None:
        check(config, "test_share", 0 <= config.test_share < 1, "at least 0 and below 1")
    if config.on_damage is not None:
        one_of("on_damage", config.on_damage, ON_DAMAGE)
