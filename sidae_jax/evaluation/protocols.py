"""How each protocol measures a backbone.

A new protocol is a file of its own, a line here, one in settings.PROTOCOLS and a config file.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Float

from sidae_jax import data
from sidae_jax.evaluation import finetune, knn, linear_probe, mlp_probe, online_probe
from sidae_jax.evaluation.backbone import Backbone


@dataclasses.dataclass(frozen=True)
class Examples:
    """What a protocol sees of a data set: `features()` are those of the frozen backbone, computed when asked for."""

    images: data.Images
    features: Callable[[], Float[np.ndarray, "n d"]]


def _linear(backbone, train: Examples, test: Examples, settings, seed) -> float:
    labels, classes = train.images.labels, train.images.num_classes
    layer = linear_probe.train_probe(train.features(), labels, classes, settings, seed)
    return linear_probe.accuracy(layer, test.features(), test.images.labels)


def _mlp(backbone, train: Examples, test: Examples, settings, seed) -> float:
    labels, classes = train.images.labels, train.images.num_classes
    mlp = mlp_probe.train_mlp(train.features(), labels, classes, settings, seed)
    return mlp_probe.accuracy(mlp, test.features(), test.images.labels)


def _knn(backbone, train: Examples, test: Examples, settings, seed) -> float:
    return knn.accuracy(train.features(), train.images.labels, test.features(), test.images.labels, settings)


def _finetune(backbone, train: Examples, test: Examples, settings, seed) -> float:
    labels, classes = train.images.labels, train.images.num_classes
    classifier = finetune.finetune(backbone, train.images.images, labels, classes, settings, seed)
    return finetune.accuracy(classifier, test.images.images, test.images.labels)


def _online(backbone, train: Examples, test: Examples, settings, seed) -> float:
    return online_probe.accuracy(backbone, test.features(), test.images.labels)


# measure(backbone, train, test, settings, seed) -> accuracy in [0, 1], the backbone left as it is
MEASURES: dict[str, Callable[[Backbone, Examples, Examples, Any, int], float]] = {
    "linear": _linear,
    "mlp": _mlp,
    "knn": _knn,
    "finetune": _finetune,
    "online": _online,
}
