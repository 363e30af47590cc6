"""An encoder as a folder in the layout of the Hugging Face hub: weights, timm's config.json, and a model card."""

import json
import os
import pathlib
import secrets
import shutil

from sidae_jax import files
from sidae_jax.exports import card_results, card_usage, model_card
from sidae_jax.exports.encoder import Exported
from sidae_jax.exports.out_path import FILES
from sidae_jax.networks.backbones import BACKBONES
from sidae_jax.runs import weights_file

_WEIGHTS, _CONFIG, _CARD = FILES


def write(out: pathlib.Path, exported: Exported) -> list[str]:
    """Writes the folder, and returns what to tell the user. Raises OSError as writing files does.

    A new folder appears with all of its files at once. In one that has files already, each of ours is replaced
    atomically, the card last, and others stay, such as a clone's .git.
    """
    results = card_results.of_run(exported)
    # made beside it: only within one file system can it be renamed
    made = out.with_name(f".{out.name}.{secrets.token_hex(8)}")
    made.mkdir()
    try:
        weights_file.write(made / _WEIGHTS, exported.arrays, exported.metadata)
        files.write_text(made / _CONFIG, json.dumps(config(exported), indent=2) + "\n")
        files.write_text(made / _CARD, model_card.text(exported, results))
        if out.is_dir() and any(out.iterdir()):
            for name in FILES:
                os.replace(made / name, out / name)
        else:
            os.replace(made, out)  # an empty folder may be there
    finally:
        shutil.rmtree(made, ignore_errors=True)
    fits = "timm loads it" if card_usage.fits_timm(exported.config) else "not for timm, which has no such network"
    return [
        f"{', '.join(FILES)}: {fits}; the card has {len(results)} result(s)",
        f"sidae_jax.load({str(out)!r}) has its features; {_CARD} shows how PyTorch has them",
    ]


def config(exported: Exported) -> dict:
    """Returns the content of config.json, in timm's layout.

    Where timm has no such network its "architecture" is none of timm's, so that timm says so and loads nothing else.
    """
    settings, normalization = exported.config, exported.backbone.normalization
    size, fits = settings["size"], card_usage.fits_timm(settings)
    name, _ = BACKBONES[settings["backbone"]].torchvision  # type: ignore[misc]  # `read` refuses one without
    of_group = {"model_args": {"norm_layer": "groupnorm"}} if fits and exported.groups else {}
    return {
        "architecture": name if fits else f"sidae_jax_{settings['backbone']}_{settings['stem']}_{settings['width']}",
        "num_classes": 0,
        "num_features": exported.backbone.network.num_features,
        "global_pool": "avg",
        **of_group,
        "pretrained_cfg": {
            "custom_load": False,
            "input_size": [3, size, size],
            "fixed_input_size": False,
            "interpolation": "bilinear",
            "crop_pct": 1.0,
            "crop_mode": "center",
            "mean": list(normalization.mean),
            "std": list(normalization.std),
            "num_classes": 0,
            "pool_size": [max(1, size // (32 if settings["stem"] == "imagenet" else 8))] * 2,
            "first_conv": "conv1",
            "classifier": "fc",
        },
        "sidae_jax": exported.metadata,
    }
