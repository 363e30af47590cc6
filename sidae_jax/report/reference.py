"""The settings behind the published accuracies, and how the settings of a run differ from them."""

import functools
from typing import Any

from sidae_jax.config import FREE_KEYS, pretraining
from sidae_jax.config_values import flat, plain
from sidae_jax.experiments import short_key
from sidae_jax.runs.values import setting_text

# Keys that are fields of a Pretraining, and those that distinguish seeds.
_SHOWN = ("dataset", "method", "w", "d_hid", "train_split", "epochs", "batch_size", "width", "seed", "num_seeds")
_MOST_SETTINGS = 100


@functools.cache
def published_settings(method: str, dataset: str) -> dict[str, Any]:
    """Returns the settings of configs/<dataset>.py, flat and as they come back from JSON."""
    config = pretraining(method, dataset)
    if dataset in ("mnist", "fashion_mnist") and method in ("sidae", "simsiam", "dae"):
        config.views.p_blur = 0.5
    if dataset == "stl10" and method != "supervised":
        config.train_split = "unlabelled"
    if dataset == "stl10" and method == "sidae":
        config.w = 0.25
    return flat(plain(config))


def other_settings(config: dict[str, Any]) -> tuple[str, ...]:
    """Returns the settings that differ from the published ones and affect the result, each such as "lr = 1".

    The scale of the run, w and d_hid are skipped: a `Pretraining` has them apart.

    Raises:
      ValueError: if so many keys differ that the config is not one of this package.
    """
    ours, published = flat(config), published_settings(config["method"], config["dataset"])
    keys = (ours.keys() | published.keys()) - {*_SHOWN, *FREE_KEYS, "data_dir"}
    missing = object()
    differing = {key: ours.get(key, "missing") for key in keys if ours.get(key, missing) != published.get(key, missing)}
    if len(differing) > _MOST_SETTINGS:
        raise ValueError(f"{len(differing)} settings differ from the published ones")
    return tuple(setting_text(short_key(key), differing[key]) for key in sorted(differing))
