"""The protocols of evaluation and their settings, with the papers' values where they have them."""

import dataclasses

FEATURES = ("backbone", "projector")  # the pooled ones, or z, whose dimension the paper names for its classifier (4.1)


@dataclasses.dataclass(frozen=True)
class ProbeSettings:
    """SGD at a constant learning rate, without weight decay (paper, 4.1)."""

    epochs: int = 50
    batch_size: int = 256
    lr: float = 0.05
    momentum: float = 0.9


@dataclasses.dataclass(frozen=True)
class FinetuneSettings(ProbeSettings):
    """As the probe's, without augmentation; BatchNorm in training mode (paper, 4.1)."""


@dataclasses.dataclass(frozen=True)
class MlpSettings:
    """Adam at a constant learning rate, the report's for its pre-training; hidden: units of the first layer."""

    epochs: int = 50
    batch_size: int = 256
    lr: float = 3e-4
    hidden: int = 512


@dataclasses.dataclass(frozen=True)
class KnnSettings:
    """k: neighbors, at most the number of training examples; temperature T: of their weights exp(cosine / T)."""

    k: int = 200
    temperature: float = 0.07


@dataclasses.dataclass(frozen=True)
class OnlineSettings:
    """None: the classifier was trained with the backbone."""


@dataclasses.dataclass(frozen=True)
class Protocol:
    """`section` is the key of the config that holds the settings, `title` what tables call the protocol.

    frozen: it sees nothing but the features of a frozen network, which its config's key `features` chooses.
    trains: whether it trains something itself, and so measures the untrained backbone and parts of the labels too.
    """

    title: str
    section: str
    settings: type
    config_file: str
    frozen: bool = False
    trains: bool = True


PROTOCOLS = {
    "linear": Protocol("linear probe", "probe", ProbeSettings, "configs/linear_eval.py", frozen=True),
    "mlp": Protocol("MLP probe", "probe", MlpSettings, "configs/mlp_eval.py", frozen=True),
    "knn": Protocol("weighted kNN", "knn", KnnSettings, "configs/knn_eval.py", frozen=True),
    "finetune": Protocol("fine-tuning", "finetune", FinetuneSettings, "configs/finetune.py"),
    "online": Protocol("online probe", "online", OnlineSettings, "configs/online_eval.py", trains=False),
}


def task_title(protocol: str, dataset: str, label_fraction: float) -> str:
    """linear probe on cifar10, 1% of the labels."""
    return f"{PROTOCOLS[protocol].title} on {dataset}, {100 * label_fraction:g}% of the labels"
