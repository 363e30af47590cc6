"""The encoder of a checkpoint, or its whole method, as a file that PyTorch loads."""

import json
import os
import pathlib
from typing import Any

import sidae_jax
from sidae_jax.errors import UserError
from sidae_jax.evaluation import backbone as backbones
from sidae_jax.networks import torch_names
from sidae_jax.networks.backbones import BACKBONES
from sidae_jax.networks.group_norm import groups_at
from sidae_jax.runs import pretrained, weights_file
from sidae_jax.runs.checkpoint import Checkpoints

_PREFIX = "backbone."
_LOADING = {
    "encoder": "load_state_dict(safetensors.torch.load_file(FILE), strict=False) misses fc alone",
    "method": "its arrays begin with backbone.",
}
_OF_CONFIG = ("method", "dataset", "backbone", "stem", "width", "size", "precision")


def write(workdir: str | os.PathLike, out: pathlib.Path, part: str = "encoder", step: int | None = None) -> str:
    """Writes a checkpoint of a run, by default the last, to a file, and returns sentences that say how to use it.

    part: "encoder", the backbone by torchvision's names, or "method", all parameters and statistics, where the names of
      the backbone begin with "backbone.".

    Raises UserError if there is no such run or checkpoint, it is corrupt, PyTorch has no such backbone, or `out` cannot
    be written.
    """
    with Checkpoints(pretrained.run_folder(workdir), read_only=True) as checkpoints:
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
        if part == "encoder":
            made = torch_names.to_torch(backbones.restore_backbone(checkpoints, step).arrays(), blocks)
            arrays = {name.removeprefix(_PREFIX): value for name, value in made.items()}
        else:
            arrays = torch_names.to_torch(backbones.arrays_of(backbones.restore_method(checkpoints, step)), blocks)
    metadata = _metadata(saved, part, step)
    try:
        weights_file.write(out, arrays, metadata)
    except OSError as error:
        raise UserError(
            f"--out={out} cannot be written ({error.strerror}): give a file in a folder that is there and is yours"
        ) from error
    return _summary(out, metadata, len(arrays))


def _metadata(saved: dict[str, Any], part: str, step: int) -> dict[str, str]:
    """Returns what stands beside the arrays: strings, as safetensors has it."""
    normalization = backbones.normalization_of(saved)
    return {
        "format": "pt",  # transformers and others ask for it
        "sidae_jax": sidae_jax.__version__,
        "part": part,
        **{key: str(saved["config"][key]) for key in _OF_CONFIG},
        "epochs": f"{saved['epoch']:g}",
        "step": str(step),
        "mean": json.dumps(normalization.mean),
        "std": json.dumps(normalization.std),
        "network": _network(saved["config"]),
    }


def _network(config: dict[str, Any]) -> str:
    """Returns how torchvision's network is made into this one."""
    architecture, width = BACKBONES[config["backbone"]], config["width"]
    name, _ = architecture.torchvision
    norm = ""
    if architecture.norm == "group":
        groups = groups_at(width)
        of_channels = groups if width % groups == 0 else f"math.gcd({groups}, channels)"
        norm = f"norm_layer=lambda channels: torch.nn.GroupNorm({of_channels}, channels)"
    changes = []
    if width != 64:
        changes.append(f"{width} channels in the first stage instead of 64")
    if config["stem"] == "cifar":
        changes.append(f"conv1 = torch.nn.Conv2d(3, {width}, 3, 1, 1, bias=False)")
        changes.append("maxpool = torch.nn.Identity()")
    return f"torchvision.models.{name}({norm})" + (f" with {', '.join(changes)}" if changes else "")


def _summary(out: pathlib.Path, metadata: dict[str, str], arrays: int) -> str:
    m = metadata
    lines = [
        f"{out}: the {m['part']} after step {m['step']} ({m['method']} on {m['dataset']}, {m['epochs']} epochs), "
        f"{arrays} arrays",
        f"network: {m['network']}; {_LOADING[m['part']]}",
        f"images: RGB of {m['size']}x{m['size']} in [0, 1], minus {m['mean']}, divided by {m['std']}",
    ]
    return "\n".join(lines)
