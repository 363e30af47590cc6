"""The settings of an evaluation, and the check of the values given."""

import dataclasses

from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder

from sidae_jax.config import check, check_keys, one_of
from sidae_jax.errors import UserError
from sidae_jax.evaluation.protocols import FEATURES, PROTOCOLS


def protocol(name: str = "linear") -> ConfigDict:
    """Returns the settings of a protocol, the papers' if they have it, on the data set of the pre-training."""
    chosen = PROTOCOLS[one_of("protocol", name, PROTOCOLS)]
    config = ConfigDict(
        {
            "protocol": name,
            "dataset": placeholder(str),  # None: the pre-training's
            "data_dir": placeholder(str),  # None: TFDS's own default
            "train_split": "train",
            "test_split": "test",
            "label_fraction": 1.0,
            "seed": 0,  # of initial values and the order of examples; the labeled subset is always the same
            **({"features": "backbone"} if chosen.frozen else {}),  # or projector
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
    check_keys(config, protocol(name), f"an evaluation by {name}", PROTOCOLS[name].config_file)
    check(config, "label_fraction", 0 < config.label_fraction <= 1, "above 0 and at most 1")
    if not PROTOCOLS[name].trains and config.label_fraction != 1:
        raise UserError(
            f"config.label_fraction={config.label_fraction} has no meaning for {PROTOCOLS[name].title}, whose "
            "classifier was trained during the pre-training: leave --config.label_fraction out"
        )
    check(config, "seed", 0 <= config.seed < 2**32, "between 0 and 4294967295")
    if PROTOCOLS[name].frozen:
        one_of("features", config.features, FEATURES)
    section = PROTOCOLS[name].section
    for key, value in config[section].items():
        if key == "momentum":
            check(config, f"{section}.{key}", 0 <= value < 1, "at least 0 and below 1")
        elif isinstance(value, int):
            check(config, f"{section}.{key}", value >= 1, "at least 1")
        else:
            check(config, f"{section}.{key}", 0 < value < float("inf"), "above 0")
