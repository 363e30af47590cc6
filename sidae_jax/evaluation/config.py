"""The settings of an evaluation, and the check of the values given."""

import dataclasses

from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder

from sidae_jax.config import check_folder
from sidae_jax.config_values import check, check_keys, one_of
from sidae_jax.errors import UserError
from sidae_jax.evaluation import data_set
from sidae_jax.evaluation.protocols import FEATURES, PROTOCOLS
from sidae_jax.networks.backbones import BACKBONES
from sidae_jax.settings import METHOD_SETTINGS, NATIVE, PRECISIONS, method_keys


def protocol(name: str = "linear") -> ConfigDict:
    """Returns the settings of a protocol, the papers' if they have it, on the data set of the pre-training.

    Where a key is None the pre-training's value is taken; `key_help` has the meanings of all keys.
    """
    chosen = PROTOCOLS[one_of("protocol", name, PROTOCOLS)]
    config = ConfigDict(
        {
            "protocol": name,
            "dataset": placeholder(str),
            "data_dir": placeholder(str),
            "images": placeholder(str),
            "test_share": placeholder(float),
            "on_damage": placeholder(str),
            "train_split": "train",
            "test_split": "test",
            "label_fraction": 1.0,
            "precision": placeholder(str),
            "native": "auto",
            "seed": 0,  # of initial values and the order of examples; the labeled subset is always the same
            **({"features": "backbone"} if chosen.frozen else {}),
            chosen.section: dataclasses.asdict(chosen()),
        }
    )
    return config.lock()


def pictures() -> ConfigDict:
    """Returns the settings of the report's pictures, which show the pre-training's data set."""
    return ConfigDict({"data_dir": placeholder(str), "test_split": "test"}).lock()  # None: the pre-training's data_dir


def validate(config: ConfigDict) -> None:
    """Raises UserError naming the first key whose value cannot work, and what would."""
    name = one_of("protocol", config.get("protocol", "linear"), PROTOCOLS)
    check_keys(config, protocol(name), f"an evaluation by {name}", PROTOCOLS[name].config_name)
    check_folder(config)
    check(config, "label_fraction", 0 < config.label_fraction <= 1, "above 0 and at most 1")
    if not PROTOCOLS[name].trains and config.label_fraction != 1:
        raise UserError(
            f"config.label_fraction={config.label_fraction} has no meaning for {PROTOCOLS[name].title}, whose "
            "classifier was trained during the pre-training: leave --config.label_fraction out"
        )
    if config.precision is not None:
        one_of("precision", config.precision, PRECISIONS)
    one_of("native", config.native, NATIVE)
    check(config, "seed", 0 <= config.seed < 2**32, "between 0 and 4294967295")
    if PROTOCOLS[name].frozen:
        one_of("features", config.features, FEATURES)
    section = PROTOCOLS[name].section
    for key, value in config[section].items():
        if key == "momentum":
            check(config, f"{section}.{key}", 0 <= value < 1, "at least 0 and below 1")
        elif key == "batch_size" and name in ("finetune", "mlp"):
            check(config, f"{section}.{key}", value >= 2, "at least 2, BatchNorm needs two images")
        elif isinstance(value, int):
            check(config, f"{section}.{key}", value >= 1, "at least 1")
        else:
            check(config, f"{section}.{key}", 0 < value < float("inf"), "above 0")


def check_run(config: ConfigDict, pretraining: ConfigDict, only_step: int | str | None) -> None:
    """Raises UserError if a run of this pre-training has nothing that the protocol could evaluate."""
    chosen = data_set.choose(config, pretraining)
    one_of("the run's config.backbone", pretraining.backbone, BACKBONES)
    if PROTOCOLS[config.protocol].trains:
        return
    if "num_classes" not in method_keys(pretraining.method):
        having = ", ".join(method for method in METHOD_SETTINGS if "num_classes" in method_keys(method))
        raise UserError(
            f"config.protocol=online needs a classifier trained on the way, which {pretraining.method} does not have: "
            f"give a run of {having}, or another config, such as --config=linear_eval"
        )
    if chosen.name != pretraining.dataset:
        raise UserError(
            f"config.dataset={chosen.name} cannot be evaluated online by a classifier trained on "
            f"{pretraining.dataset}: leave --config.dataset out, or give another config, such as "
            "--config=mlp_eval"
        )
    if chosen.folder is not None and chosen.folder.images != pretraining.images:
        raise UserError(
            f"config.images={config.images} cannot be evaluated online by a classifier trained on "
            f"{pretraining.images}: leave --config.images out, or give another config, such as "
            "--config=mlp_eval"
        )
    if chosen.folder is not None and chosen.folder.test_share != pretraining.test_share:
        raise UserError(
            f"config.test_share={config.test_share} cannot be evaluated online, since the classifier was trained with "
            f"test_share={pretraining.test_share} and on other images than are left so: leave --config.test_share out"
        )
    if pretraining.train_split.startswith("unlabelled") and "+" not in pretraining.train_split:
        raise UserError(
            f"config.protocol=online needs labels, and the run was on {pretraining.dataset} "
            f"{pretraining.train_split}, whose images have none: give another config, such as "
            "--config=mlp_eval"
        )
    if only_step == 0:
        raise UserError(
            "--step=0, the untrained backbone, has no trained classifier: give the step of a checkpoint, or no --step"
        )


def check_images(config: ConfigDict, n: int) -> None:
    """Raises UserError if the protocol cannot do with `n` labeled images."""
    left = f"config.train_split={config.train_split}, config.label_fraction={config.label_fraction} leave {n} image(s)"
    if config.protocol == "knn" and config.knn.k > n:
        raise UserError(f"config.knn.k={config.knn.k} is too many neighbors: {left}; give --config.knn.k={n} or less")
    if config.protocol in ("finetune", "mlp") and n < 2:
        raise UserError(f"{left}, and BatchNorm needs two: give a larger --config.label_fraction")
