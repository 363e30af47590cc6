"""The protocols of evaluation: a class each, whose fields are its settings. Importing them does not import JAX.

To add a protocol, write its class here, with its computation in a file of its own, and a config file.
"""

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import numpy as np
from jaxtyping import Float

if TYPE_CHECKING:
    from sidae_jax.data import Images
    from sidae_jax.evaluation.backbone import Backbone

# The pooled features, or z, whose dimension the paper names for its classifier (4.1).
FEATURES = ("backbone", "projector")


@dataclasses.dataclass(frozen=True)
class Examples:
    """A labeled set; `features()` computes the features of the frozen backbone, or reads them from the cache."""

    images: "Images"
    features: Callable[[], Float[np.ndarray, "n d"]]


@dataclasses.dataclass(frozen=True)
class Measurement:
    """All that a protocol may use: a backbone, which it must not change, labeled examples, and a seed."""

    backbone: "Backbone"
    train: Examples
    test: Examples
    seed: int


class EvaluationProtocol(Protocol):
    """What every protocol has beside its settings.

    title: its name in tables; section: the config's key that holds its settings; config_name: the packaged config.
    frozen: whether it sees only features of a frozen network, which the config's key `features` chooses.
    trains: whether it trains something, and so measures the untrained backbone and fractions of the labels too.
    """

    title: str
    section: str
    config_name: str
    frozen: bool
    trains: bool
    __dataclass_fields__: ClassVar[dict[str, Any]]

    def accuracy(self, data: Measurement) -> float:
        """Returns the accuracy on the test examples, in [0, 1]."""


@dataclasses.dataclass(frozen=True)
class _PaperSGD:
    """SGD at a constant learning rate without weight decay: for the linear probe and fine-tuning alike (paper, 4.1)."""

    epochs: int = 50
    batch_size: int = 256
    lr: float = 0.05
    momentum: float = 0.9


@dataclasses.dataclass(frozen=True)
class LinearProbe(_PaperSGD):
    """One linear layer on frozen features (paper, 4.1)."""

    title, section, config_name, frozen, trains = "linear probe", "probe", "linear_eval", True, True

    def accuracy(self, data: Measurement) -> float:
        """See EvaluationProtocol."""
        from sidae_jax.evaluation.fit import accuracy
        from sidae_jax.evaluation.linear_probe import logits, train_probe

        train = data.train.images
        layer = train_probe(data.train.features(), train.labels, train.num_classes, self, data.seed)
        return accuracy(logits(layer, data.test.features()), data.test.images.labels)


@dataclasses.dataclass(frozen=True)
class MlpProbe:
    """The report's probe: two layers with BatchNorm on frozen features, by Adam at a constant learning rate.

    hidden: units of the first layer.
    """

    title, section, config_name, frozen, trains = "MLP probe", "probe", "mlp_eval", True, True

    epochs: int = 50
    batch_size: int = 256
    lr: float = 3e-4
    hidden: int = 512

    def accuracy(self, data: Measurement) -> float:
        """See EvaluationProtocol."""
        from sidae_jax.evaluation.fit import accuracy
        from sidae_jax.evaluation.mlp_probe import logits, train_mlp

        train = data.train.images
        mlp = train_mlp(data.train.features(), train.labels, train.num_classes, self, data.seed)
        return accuracy(logits(mlp, data.test.features()), data.test.images.labels)


@dataclasses.dataclass(frozen=True)
class NearestNeighbors:
    """Weighted nearest neighbors of frozen features (Wu et al., 2018).

    k: neighbors, at most the number of training examples; temperature T: of their weights exp(cosine / T).
    """

    title, section, config_name, frozen, trains = "weighted kNN", "knn", "knn_eval", True, True

    k: int = 200
    temperature: float = 0.07

    def accuracy(self, data: Measurement) -> float:
        """See EvaluationProtocol."""
        from sidae_jax.evaluation import knn

        train, test = data.train, data.test
        return knn.accuracy(train.features(), train.images.labels, test.features(), test.images.labels, self)


@dataclasses.dataclass(frozen=True)
class FineTuning(_PaperSGD):
    """Backbone and a linear layer, all trained on the labels, without augmentation (paper, 4.1)."""

    title, section, config_name, frozen, trains = "fine-tuning", "finetune", "finetune", False, True

    def accuracy(self, data: Measurement) -> float:
        """See EvaluationProtocol."""
        from sidae_jax.evaluation.finetune import classify, finetune
        from sidae_jax.evaluation.fit import accuracy

        train = data.train.images
        seen: Any = train.images  # decoded, as is all that an evaluation loads
        tested: Any = data.test.images.images
        classifier = finetune(data.backbone, seen, train.labels, train.num_classes, self, data.seed)
        return accuracy(classify(classifier, tested), data.test.images.labels)


@dataclasses.dataclass(frozen=True)
class OnlineProbe:
    """The classifier that a method of the report trains beside the backbone; there is nothing to set."""

    title, section, config_name, frozen, trains = "online probe", "online", "online_eval", False, False

    def accuracy(self, data: Measurement) -> float:
        """See EvaluationProtocol."""
        from sidae_jax.evaluation.fit import accuracy
        from sidae_jax.evaluation.mlp_probe import logits

        classified: Any = data.backbone  # an online_probe.Classified
        return accuracy(logits(classified.classifier, data.test.features()), data.test.images.labels)


PROTOCOLS: dict[str, type[EvaluationProtocol]] = {
    "linear": LinearProbe,
    "mlp": MlpProbe,
    "knn": NearestNeighbors,
    "finetune": FineTuning,
    "online": OnlineProbe,
}


def task_title(protocol: str, images: str, label_fraction: float) -> str:
    """Returns a title such as "linear probe on cifar10, 1% of the labels"; `images` is the data set, or its title."""
    return f"{PROTOCOLS[protocol].title} on {images}, {100 * label_fraction:g}% of the labels"
