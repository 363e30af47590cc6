"""The names and layouts of pytorch_report's parameters and statistics -> this package's."""

import re

import numpy as np
import torch_names

_HEAD = {"0": "linear1", "1": "norm1", "3": "linear2"}
_HEADS = {"head": "encoder.projector", "classifier": "classifier"}
_BLOCK = {"conv1": "conv1", "bn1": "norm1", "conv2": "conv2", "conv2.1": "conv2", "bn2": "norm2"}
_BLOCK |= {"upsample.0.1": "shortcut", "upsample.1": "shortcut_norm"}
_LEAF = {"running_mean": ("batch_stats", "mean"), "running_var": ("batch_stats", "var"), "bias": ("params", "bias")}


def from_torch(state: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """{"params.decoder.blocks.0.conv1.kernel": ...}"""
    arrays = {}
    for name, value in state.items():
        if name.startswith("backbone."):
            arrays |= torch_names.from_torch({f"encoder.{name}": value})
            continue
        module, _, leaf = name.rpartition(".")
        default = ("params", "scale" if value.ndim == 1 else "kernel")
        kind, own = _LEAF.get(leaf, default)
        if module == "decoder.linear":
            value = _pixels_first(value)
        if own == "kernel":
            value = value.transpose((1, 0) if value.ndim == 2 else (2, 3, 1, 0))
        arrays[f"{kind}.{_module(module)}.{own}"] = value
    return arrays


def _module(name: str) -> str:
    part, _, rest = name.partition(".")
    if part in _HEADS:
        return f"{_HEADS[part]}.{_HEAD[rest]}"
    block = re.fullmatch(r"layer(\d)\.(\d)\.(.+)", rest)
    if block:
        return f"decoder.blocks.{2 * (int(block[1]) - 1) + int(block[2])}.{_BLOCK[block[3]]}"
    return {"linear": "decoder.linear", "conv1": "decoder.last"}[rest]


def _pixels_first(value: np.ndarray) -> np.ndarray:
    """The outputs of the decoder's linear layer: [channel, pixel] in PyTorch, here [pixel, channel]."""
    return value.reshape(-1, 16, *value.shape[1:]).swapaxes(0, 1).reshape(value.shape)
