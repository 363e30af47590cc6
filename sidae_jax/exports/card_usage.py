"""How an encoder is loaded by other programs, for its model card."""

from typing import Any

from sidae_jax.exports import encoder
from sidae_jax.exports.encoder import Exported


def fits_timm(config: dict[str, Any]) -> bool:
    """Returns whether timm has the network of a run's config."""
    return config["stem"] == "imagenet" and config["width"] == 64


def lines(exported: Exported) -> list[str]:
    """Returns the lines of Markdown that show how to load the encoder in PyTorch, timm and JAX."""
    said, config = exported.metadata, exported.config
    shown = ["In PyTorch, with the network of torchvision:", ""]
    if config["width"] == 64:
        shown += ["```python", *_pytorch_code(exported), "```", ""]
    else:
        shown = [f"torchvision and timm have no such network: its first stage has {config['width']} channels, not 64."]
    if fits_timm(config):
        shown += [
            "With [timm](https://github.com/huggingface/pytorch-image-models), from the hub (`hf_hub:USER/NAME`) or "
            "this folder:",
            "",
            "```python",
            "import timm",
            "",
            'network = timm.create_model("local-dir:.", pretrained=True).eval()',
            "transform = timm.data.create_transform(**timm.data.resolve_model_data_config(network))  # of a PIL image",
            "```",
        ]
    elif config["width"] == 64:
        shown.append(
            f"timm has no such network: its {config['backbone']} has another stem than this one, a 3x3 convolution of "
            "stride 1 without a pool (`cifar`). The PyTorch code above works."
        )
    size, features = said["size"], exported.backbone.network.num_features
    return [
        *shown,
        "",
        "In JAX, with sidae_jax:",
        "",
        "```python",
        "import sidae_jax",
        "",
        'encoder = sidae_jax.load(".")  # this folder',
        f"features = encoder(images)  # uint8 [n, {size}, {size}, 3], 0..255 -> float32 [n, {features}]",
        "```",
        "",
        "A pre-training starts from these weights with "
        f"`python -m sidae_jax.main --config=FILE.py --config.init_from={encoder.IN_FOLDER}`.",
        "",
    ]


def _pytorch_code(exported: Exported) -> list[str]:
    """Returns the lines of Python that load the weights into torchvision's network, of width 64."""
    said, config = exported.metadata, exported.config
    call = encoder.torchvision_call(config)
    stem = encoder.cifar_stem(config["width"]) if config["stem"] == "cifar" else {}
    size = said["size"]
    return [
        *(["import math", ""] if "math." in call else []),
        "import safetensors.torch",
        "import torch",
        "import torchvision",
        "",
        f"network = {call}",
        *(f"network.{name} = {value}" for name, value in stem.items()),
        f'network.load_state_dict(safetensors.torch.load_file("{encoder.IN_FOLDER}"), strict=False)  # misses fc alone',
        "network.fc = torch.nn.Identity()",
        "network.eval()",
        f"mean = torch.tensor({said['mean']}).reshape(3, 1, 1)",
        f"std = torch.tensor({said['std']}).reshape(3, 1, 1)",
        f"images = torch.zeros(5, 3, {size}, {size})  # RGB in [0, 1]",
        "features = network((images - mean) / std)",
    ]
