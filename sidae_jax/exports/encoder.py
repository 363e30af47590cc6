"""The encoder of a checkpoint, or its whole method, as other programs take it: PyTorch's names, and what it needs."""

import dataclasses
import json
import os
import pathlib
from typing import Any

import numpy as np

import sidae_jax
from sidae_jax.data.normalization import Normalization
from sidae_jax.errors import UserError
from sidae_jax.evaluation import backbone as backbones
from sidae_jax.exports.out_path import FILES
from sidae_jax.networks import torch_names
from sidae_jax.networks.backbones import BACKBONES, make_backbone
from sidae_jax.networks.group_norm import groups_at, replace_batch_norms
from sidae_jax.runs import WEIGHTS, pretrained, weights_file
from sidae_jax.runs.checkpoint import Arrays, Checkpoints
from sidae_jax.settings import FOLDER, BackboneSettings

IN_FOLDER = FILES[0]
_PREFIX, _WITHIN = "backbone.", "encoder.backbone."
_OF_CONFIG = ("method", "dataset", "train_split", "backbone", "stem", "width", "size", "precision", "seed")


@dataclasses.dataclass(frozen=True)
class Exported:
    """A checkpoint for other programs.

    Attributes:
      run: the run's folder; step: the checkpoint's.
      config: the run's settings, as plain JSON values.
      arrays: float32, by the names and in the layouts of torchvision's network; those of a whole method begin with
        "backbone.", "projector." and so on.
      metadata: what stands beside the arrays: strings, as safetensors has it.
      backbone: the network, with products in float32.
    """

    run: pathlib.Path
    step: int
    config: dict[str, Any]
    arrays: Arrays
    metadata: dict[str, str]
    backbone: backbones.Backbone

    @property
    def groups(self) -> int | None:
        """The groups of its GroupNorms at the most, None if it has BatchNorms."""
        return groups_at(self.config["width"]) if BACKBONES[self.config["backbone"]].norm == "group" else None


def read(workdir: str | os.PathLike, part: str = "encoder", step: int | str | None = None) -> Exported:
    """Reads a checkpoint of a run, by default the last.

    part: "encoder", the backbone, or "method", all parameters and statistics.

    Raises UserError if there is no such run or checkpoint, it is corrupt, or PyTorch has no such backbone.
    """
    folder = pretrained.run_folder(workdir)
    with Checkpoints(folder, read_only=True) as checkpoints:
        step = pretrained.one_step(checkpoints, step, name="--step", last="no --step for the last")
        saved = checkpoints.metadata(step)
        config = saved["config"]
        architecture = BACKBONES.get(config["backbone"])
        if architecture is None or architecture.torchvision is None:
            raise UserError(
                f"the backbone of --workdir={workdir}, {config['backbone']}, is none of torchvision's: give a run with "
                f"one of {', '.join(name for name, each in BACKBONES.items() if each.torchvision)}"
            )
        _, blocks = architecture.torchvision
        backbone = backbones.restore_backbone(checkpoints, step, precision="float32")
        if part == "encoder":
            made = torch_names.to_torch(backbone.arrays(), blocks)
            arrays = {name.removeprefix(_PREFIX): value for name, value in made.items()}
        else:
            arrays = torch_names.to_torch(backbones.arrays_of(backbones.restore_method(checkpoints, step)), blocks)
    return Exported(folder, step, config, arrays, _metadata(saved, part, step), backbone)


def load(path: str | os.PathLike) -> backbones.Backbone:
    """Returns the encoder in a file of weights that `sidae_jax.export` wrote, in the run's precision.

    Raises UserError if the file cannot be read, is not what was written, or does not say what encoder it holds.
    """
    found, said = weights_file.read(path, f"run={path}")
    try:
        settings = BackboneSettings(
            backbone=said["backbone"],
            stem=said["stem"],
            precision=said["precision"],
            size=int(said["size"]),
            width=int(said["width"]),
        )
        normalization = Normalization(_three_numbers(said["mean"]), _three_numbers(said["std"]))
        if min(normalization.std) <= 0:
            raise ValueError("std")
        if said["part"] == "encoder":
            found = {_PREFIX + name: value for name, value in found.items()}
        if found[f"{_PREFIX}conv1.weight"].shape[0] != settings.width:  # before a network of that width takes memory
            raise ValueError("width")
        network = make_backbone(settings, rng=np.random.default_rng(0))
        if BACKBONES[settings.backbone].norm == "group":
            replace_batch_norms(network, groups_at(settings.width))
        like = backbones.arrays_of(network, _WITHIN)
        arrays = torch_names.backbone_from_torch(found, like, BACKBONES[settings.backbone].torchvision[1])  # type: ignore[index]
        if any(arrays[name].shape != value.shape for name, value in like.items()):
            raise ValueError("shapes")
    except (KeyError, ValueError, TypeError, RecursionError) as error:
        raise UserError(
            f"run={path} does not say what encoder it holds, or holds another: give a file that sidae_jax.export "
            "wrote, or the folder of a run"
        ) from error
    return backbones.Backbone(backbones.with_arrays(network, arrays, _WITHIN), normalization)


def _three_numbers(text: str) -> tuple[float, float, float]:
    red, green, blue = map(float, json.loads(text))
    if not np.isfinite([red, green, blue]).all():
        raise ValueError(f"{text:.40} is not finite")
    return red, green, blue


def exported_file(path: str | os.PathLike) -> pathlib.Path | None:
    """Returns the file of weights that `path` is, or that lies in this folder for the Hugging Face hub, or None."""
    path = pathlib.Path(path).expanduser()
    if path.suffix == WEIGHTS and not path.is_dir():
        return path
    if (path / "checkpoints").is_dir():  # a run, whatever else was put there
        return None
    return path / IN_FOLDER if (path / IN_FOLDER).is_file() else None


def data_title(config: dict[str, Any]) -> str:
    """Returns what the run's images are called: "cifar10", or "folder pets" for those in /data/pets."""
    if config["dataset"] != FOLDER:
        return config["dataset"]
    return f"{FOLDER} {os.path.basename(config['images'])}"  # others need not know where it lay


def _metadata(saved: dict[str, Any], part: str, step: int) -> dict[str, str]:
    config, normalization = saved["config"], backbones.normalization_of(saved)
    return {
        "format": "pt",  # transformers and others ask for it
        "sidae_jax": sidae_jax.__version__,
        "part": part,
        **{key: str(config[key]) for key in _OF_CONFIG},
        "dataset": data_title(config),
        "epochs": f"{saved['epoch']:g}",
        "epochs_planned": str(config["epochs"]),
        "step": str(step),
        "mean": json.dumps(normalization.mean),
        "std": json.dumps(normalization.std),
        "network": network_of(config),
    }


def network_of(config: dict[str, Any]) -> str:
    """Returns how torchvision's network is made into the one of a config."""
    width, changes = config["width"], []
    if width != 64:
        changes.append(f"{width} channels in the first stage instead of 64")
    if config["stem"] == "cifar":
        changes += [f"{name} = {value}" for name, value in cifar_stem(width).items()]
    return torchvision_call(config) + (f" with {', '.join(changes)}" if changes else "")


def torchvision_call(config: dict[str, Any]) -> str:
    """Returns the Python expression that makes torchvision's network."""
    architecture, width = BACKBONES[config["backbone"]], config["width"]
    name, _ = architecture.torchvision  # type: ignore[misc]  # `read` refuses one without
    norm = ""
    if architecture.norm == "group":
        groups = groups_at(width)
        of_channels = groups if width % groups == 0 else f"math.gcd({groups}, channels)"
        norm = f"norm_layer=lambda channels: torch.nn.GroupNorm({of_channels}, channels)"
    return f"torchvision.models.{name}({norm})"


def cifar_stem(width: int) -> dict[str, str]:
    """Returns the modules that the stem "cifar" has in the place of torchvision's, as Python expressions."""
    return {"conv1": f"torch.nn.Conv2d(3, {width}, 3, 1, 1, bias=False)", "maxpool": "torch.nn.Identity()"}
