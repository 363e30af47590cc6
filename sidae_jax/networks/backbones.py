"""The backbones by name, and what each is made of. Importing this does not import JAX, as reading a config needs it.

A ResNet is a line of BACKBONES; see the docstring of `sidae_jax.networks` for another network.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from sidae_jax.settings import BackboneSettings


@dataclasses.dataclass(frozen=True)
class Architecture:
    """How a backbone is built, and how it and the heads and decoders of its methods are normalized.

    build: called as build(settings, axis_name=..., rng=...), returns the module.
    norm: "batch", or "group" to have GroupNorm put in the place of every BatchNorm, after all initial values are drawn.
    torchvision: the name of torchvision's network of which this is one, and the number of blocks in each of its stages;
      None if there is none.
    """

    build: Callable[..., Any]  # no type of nnx says what the docstring of `sidae_jax.networks` asks of the module
    norm: str = "batch"
    torchvision: tuple[str, tuple[int, ...]] | None = None


def _resnet(name: str, block: str, blocks: tuple[int, int, int, int], norm: str = "batch") -> Architecture:
    def build(settings: BackboneSettings, **options):
        from sidae_jax.networks.resnet import ResNet

        return ResNet(block, blocks, settings, **options)

    return Architecture(build, norm, (name, blocks))


# torchvision's name, block, and how many of them in each of the four stages (He et al., 2016, table 1)
BACKBONES: dict[str, Architecture] = {
    "resnet18": _resnet("resnet18", "basic", (2, 2, 2, 2)),
    "resnet34": _resnet("resnet34", "basic", (3, 4, 6, 3)),
    "resnet50": _resnet("resnet50", "bottleneck", (3, 4, 6, 3)),
    "resnet18_gn": _resnet("resnet18", "basic", (2, 2, 2, 2), norm="group"),
}


def make_backbone(settings: BackboneSettings, *, axis_name: str | None = None, rng: np.random.Generator) -> Any:
    """Returns the backbone with its BatchNorms; `methods.make_method` has them replaced where `norm` is "group".

    axis_name: the mapped axis over which BatchNorm gathers; None on a single device.
    """
    return BACKBONES[settings.backbone].build(settings, axis_name=axis_name, rng=rng)
