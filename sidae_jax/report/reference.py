"""What a run's settings are compared with: those of the published figures."""

import functools
from typing import Any

from sidae_jax.config import FREE_KEYS, flat, plain, pretraining
from sidae_jax.experiments import short_key

# training and test images (4.1)
_SIZES = {"cifar10": (50_000, 10_000), "mnist": (60_000, 10_000), "fashion_mnist": (60_000, 10_000)}
_SIZES["stl10"] = (5_000, 8_000)
# What a table shows in columns of its own, or in its name, and what tells seeds apart.
_SHOWN = ("dataset", "method", "w", "d_hid", "train_split", "epochs", "batch_size", "seed", "num_seeds")
_MOST_SETTINGS = 100


@functools.cache
def reference(method: str, dataset: str) -> dict[str, Any]:
    """The settings of the published figures, flat and as they come back from JSON: those of configs/<dataset>.py."""
    config = pretraining(method, dataset)
    if dataset in ("mnist", "fashion_mnist") and method in ("sidae", "simsiam", "dae"):
        config.views.p_blur = 0.5
    if dataset == "stl10" and method != "supervised":
        config.train_split = "unlabelled"
    if dataset == "stl10" and method == "sidae":
        config.w = 0.25
    return flat(plain(config))


def other_settings(config: dict[str, Any]) -> str:
    """lr = 1, stem = cifar: what differs from the reference and changes the result, beside what tables show anyway.

    Raises ValueError where so much differs that this is none of our configs.
    """
    ours, published = flat(config), reference(config["method"], config["dataset"])
    keys = (ours.keys() | published.keys()) - {*_SHOWN, *FREE_KEYS, "data_dir"}
    missing = object()
    differing = {key: ours.get(key, "missing") for key in keys if ours.get(key, missing) != published.get(key, missing)}
    if len(differing) > _MOST_SETTINGS:
        raise ValueError(f"{len(differing)} settings differ from the published ones")
    return ", ".join(setting(short_key(key), differing[key]) for key in sorted(differing))


def setting(key: str, value: Any) -> str:
    """lr = 1."""
    return f"{short_text(key)} = {short_text(value)}"


def short_text(value: Any) -> str:
    """Of a setting or its key, in few characters, all of them printable."""
    text = printable(f"{value:g}" if isinstance(value, float) else str(value))
    return text if len(text) <= 40 else text[:37] + "..."


def printable(text: str) -> str:
    r"""With \n, \x00 and the like in the place of what is no character of a page, such as half a surrogate pair."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def whole(task: Any) -> bool:
    """Whether a results.Task has that fraction of all training images, and all test images, as in the papers."""
    all_train, all_test = _SIZES.get(task.evaluated_on, (None, None))
    if (task.train_split, task.test_split, task.n_test) != ("train", "test", all_test):
        return False
    return task.n_train == round(task.label_fraction * all_train)
