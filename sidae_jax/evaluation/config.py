"""The settings of an evaluation, and the check of the values given."""

import dataclasses

from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder

from sidae_jax.config import check, check_keys, one_of
from sidae_jax.evaluation.linear_probe import ProbeSettings


def linear_probe() -> ConfigDict:
    """The paper's linear probe (4.1) on the data set of the pre-training."""
    config = ConfigDict(
        {
            "protocol": "linear",
            "dataset": placeholder(str),  # None: that of the pre-training
            "data_dir": placeholder(str),  # None: TFDS's own default
            "train_split": "train",
            "test_split": "test",
            "label_fraction": 1.0,
            "seed": 0,  # of the probe's initial values and order; the labelled subset is always the same
            "probe": dataclasses.asdict(ProbeSettings()),
        }
    )
    return config.lock()


def validate(config: ConfigDict) -> None:
    """Raises UserError naming the first key whose value cannot work, and what would."""
    check_keys(config, linear_probe(), "a linear evaluation", "configs/linear_eval.py")
    one_of("protocol", config.protocol, ("linear",))
    check(config, "label_fraction", 0 < config.label_fraction <= 1, "above 0 and at most 1")
    check(config, "seed", 0 <= config.seed < 2**32, "between 0 and 4294967295")
    for key in ("epochs", "batch_size"):
        check(config, f"probe.{key}", config.probe[key] >= 1, "at least 1")
    check(config, "probe.lr", 0 < config.probe.lr < float("inf"), "above 0")
    check(config, "probe.momentum", 0 <= config.probe.momentum < 1, "at least 0 and below 1")
