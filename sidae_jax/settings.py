"""Every setting of the networks, the views and the methods, with its default. Nothing here imports JAX.

A method is given its settings as one object, so its fields are the one list of its keys: `config.py` makes the keys of
a config from them, and `methods` hands them to the method's constructor.
"""

import dataclasses
from typing import Any

STEMS = ("imagenet", "cifar")
TARGETS = ("image", "view")
SIZES = (32, 64, 96, 128, 160, 192, 224)  # the decoder doubles its first map five times
PRECISIONS = ("float32", "tensorfloat32", "bfloat16")
NATIVE = ("auto", "on", "off")
FOLDER = "folder"  # the data set that is a folder of the user's images
ON_DAMAGE = ("refuse", "skip")


@dataclasses.dataclass(frozen=True)
class BackboneSettings:
    """Which backbone, and how it differs from PyTorch's; by default it is PyTorch's ResNet-18.

    backbone: one of networks/backbones.py: resnet18, resnet34, resnet50, or resnet18_gn, whose heads and decoder have
      GroupNorm in the place of BatchNorm too.
    stem "imagenet": 7x7/2 convolution, BN, ReLU, 3x3/2 max pool; a 32x32 image becomes an 8x8 map.
    stem "cifar": 3x3/1 convolution, BN, ReLU; the map stays 32x32 (SimSiam's and SimCLR's CIFAR recipe).
    size: height and width of the images that the networks take, one of SIZES.
    width: channels of the first stage; 64 is the standard, less is for tests.
    zero_init_residual: the last norm's scale of each block starts at 0 instead of 1, so that each block starts as its
      shortcut; True in SimSiam's released code (docs/results has what short runs reached with both).
    precision: one of PRECISIONS, of the activations and products of the backbone and of the networks that follow it in
      pre-training and fine-tuning; see networks/precision.py. Probes on features have float32 activations in each of
      them, and their products are full float32 in "float32" and XLA's default in the others.
    """

    backbone: str = "resnet18"
    stem: str = "imagenet"
    size: int = 32
    width: int = 64
    zero_init_residual: bool = False
    precision: str = "tensorfloat32"


@dataclasses.dataclass(frozen=True)
class FolderSettings:
    """The keys of the data set "folder".

    images: a folder of images, with or without a folder for each class, and with or without train/ and test/ above.
    test_share: how much of "train" is "test" where there is no folder test/ or val/, in [0, 1).
    on_damage: one of ON_DAMAGE, what is done with files that cannot be decoded.
    """

    images: str | None = None
    test_share: float = 0.1
    on_damage: str = "refuse"


FOLDER_KEYS = tuple(field.name for field in dataclasses.fields(FolderSettings))


@dataclasses.dataclass(frozen=True)
class ViewSettings:
    """Ranges and probabilities of the augmentations, in torchvision's terms; the defaults are the paper's (3.2).

    crop_scale: the crop's share of the image's area; crop_ratio: its width over its height; brightness, contrast,
    saturation: factors in [1 - s, 1 + s]; hue: shift in [-hue, hue] turns; blur_sigma: pixels; p_*: probabilities.
    """

    crop_scale: tuple[float, float] = (0.2, 1.0)
    crop_ratio: tuple[float, float] = (3 / 4, 4 / 3)
    p_jitter: float = 0.8
    brightness: float = 0.4
    contrast: float = 0.4
    saturation: float = 0.4
    hue: float = 0.1
    p_gray: float = 0.2
    p_blur: float = 0.0
    blur_sigma: tuple[float, float] = (0.1, 2.0)
    p_flip: float = 0.5


@dataclasses.dataclass(frozen=True)
class SimSiamSettings:
    """d_hid: dimensions of z, the paper's d (4.1)."""

    d_hid: int = 2048


@dataclasses.dataclass(frozen=True)
class DAESettings:
    """target: what is reconstructed, the "image" (paper, 3.2) or each "view"."""

    d_hid: int = 2048
    target: str = "image"


@dataclasses.dataclass(frozen=True)
class SidAESettings:
    """w: the weight of the reconstruction, in [0, 1]; 0 is SimSiam, 1 the denoising autoencoder."""

    d_hid: int = 2048
    w: float = 0.5
    target: str = "image"


@dataclasses.dataclass(frozen=True)
class SupervisedSettings:
    """num_classes: outputs of the classifier."""

    num_classes: int = 10


@dataclasses.dataclass(frozen=True)
class AESettings:
    """d_hid: dimensions of z; num_classes: outputs of the classifier that is trained on the way."""

    d_hid: int = 128
    num_classes: int = 10


@dataclasses.dataclass(frozen=True)
class VAESettings(AESettings):
    """beta: the weight of the KL term, at least 0."""

    beta: float = 0.1


@dataclasses.dataclass(frozen=True)
class SimCLRSettings(AESettings):
    """temperature: what cosine similarities are divided by, above 0."""

    temperature: float = 0.1


METHOD_SETTINGS: dict[str, type] = {
    "sidae": SidAESettings,
    "simsiam": SimSiamSettings,
    "dae": DAESettings,
    "ae": AESettings,
    "vae": VAESettings,
    "simclr": SimCLRSettings,
    "supervised": SupervisedSettings,
}

# The baselines of the report, and what its released code has instead of the SidAE paper's settings.
REPORT_METHODS = ("ae", "vae", "simclr", "supervised")
_REPORT = {
    "stem": "cifar",
    "epochs": 150,
    "batch_size": 256,
    "optimizer": "adam",
    "schedule": "constant",
    "lr": 3e-4,
    "weight_decay": 0.0,
    "views": {"crop_scale": (0.08, 1.0)},
}


def method_keys(method: str) -> dict[str, Any]:
    """Returns the config keys that only some methods have, with this method's defaults."""
    return dataclasses.asdict(METHOD_SETTINGS[method]())


def own_settings(method: str) -> dict[str, Any]:
    """Returns what the method's own source sets differently from the SidAE paper; "views" holds fields."""
    return _REPORT if method in REPORT_METHODS else {}
