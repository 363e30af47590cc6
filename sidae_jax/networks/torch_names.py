"""This package's names and layouts of parameters and statistics -> PyTorch's, of the backbones as torchvision has them.

    params.encoder.backbone.blocks.2.conv1.kernel [3, 3, in, out] -> backbone.layer2.0.conv1.weight [out, in, 3, 3]
    batch_stats.encoder.projector.norm1.mean -> projector.norm1.running_mean
    params.decoder.linear.kernel [d, h * w * c] -> decoder.linear.weight [c * h * w, d]

PyTorch's `num_batches_tracked` has no counterpart; its load_state_dict sets it to 0 where it is missing. No JAX here.
"""

import itertools
import re
from collections.abc import Iterable, Mapping

import numpy as np

Arrays = dict[str, np.ndarray]

_LEAF = {"kernel": "weight", "scale": "weight", "bias": "bias", "mean": "running_mean", "var": "running_var"}
_STEM = {"stem": "conv1", "stem_norm": "bn1"}
_BLOCK = {"conv1": "conv1", "norm1": "bn1", "conv2": "conv2", "norm2": "bn2", "conv3": "conv3", "norm3": "bn3"}
_BLOCK |= {"shortcut": "downsample.0", "shortcut_norm": "downsample.1"}


def torch_name(name: str, blocks: tuple[int, ...]) -> str:
    """Returns PyTorch's name of a parameter or statistic of a method whose backbone has stages of so many blocks."""
    module, _, leaf = name.partition(".")[2].rpartition(".")
    part, _, inside = module.removeprefix("encoder.").partition(".")
    if part == "backbone":
        inside = _in_torchvision(inside, blocks)
    return f"{part}.{inside}.{_LEAF[leaf]}"


def _in_torchvision(module: str, blocks: tuple[int, ...]) -> str:
    block = re.fullmatch(r"blocks\.(\d+)\.(\w+)", module)
    if not block:
        return _STEM[module]
    number, ends = int(block[1]), list(itertools.accumulate(blocks))
    stage = next(stage for stage, end in enumerate(ends) if number < end)
    return f"layer{stage + 1}.{number - ends[stage] + blocks[stage]}.{_BLOCK[block[2]]}"


def to_torch(arrays: Mapping[str, np.ndarray], blocks: tuple[int, ...]) -> Arrays:
    """Returns the arrays of a method, or some of them, by PyTorch's names and in its layouts."""
    transposed = any(name.startswith("params.decoder.convs.") for name in arrays)  # else a ResidualDecoder
    made = {}
    for name, value in arrays.items():
        if name.startswith("params.decoder.linear."):
            value = _channels_first(value, _channels_after(arrays))
        if value.ndim == 2:
            value = value.T  # [out, in]
        elif value.ndim == 4:  # [out, in, h, w], of a transposed convolution [in, out, h, w]
            value = value.transpose((2, 3, 0, 1) if transposed and ".decoder." in name else (3, 2, 0, 1))
        made[torch_name(name, blocks)] = np.ascontiguousarray(value)
    return made


def backbone_from_torch(state: Mapping[str, np.ndarray], names: Iterable[str], blocks: tuple[int, ...]) -> Arrays:
    """Returns the arrays of a backbone that `to_torch` renamed, by these names of this package."""
    arrays = {}
    for name in names:
        value = state[torch_name(name, blocks)]
        arrays[name] = np.ascontiguousarray(value.transpose(2, 3, 1, 0) if value.ndim == 4 else value)
    return arrays


def _channels_after(arrays):
    """Returns the channels of the map that a decoder's linear layer makes."""
    first = arrays.get("params.decoder.convs.0.kernel", arrays.get("params.decoder.blocks.0.conv1.kernel"))
    return first.shape[2]


def _channels_first(value, channels):
    """Orders a linear layer's outputs, a map [h, w, c] here, as PyTorch's maps [c, h, w]."""
    return value.reshape(*value.shape[:-1], -1, channels).swapaxes(-1, -2).reshape(value.shape)
