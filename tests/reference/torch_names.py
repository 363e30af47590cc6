"""PyTorch's names and layouts of a SidAE's parameters and statistics -> this package's.

`from_torch` takes a PyTorch state dict as NumPy arrays, and how many blocks the backbone's stages have.
"""

import re

import numpy as np

_BACKBONE = {"conv1": "stem", "bn1": "stem_norm"}
_PROJECTOR = {"0": "linear1", "1": "norm1", "3": "linear2", "4": "norm2", "6": "linear3", "7": "norm3"}
_PREDICTOR = {"0": "linear1", "1": "norm1", "3": "linear2"}
_BLOCK = {"conv1": "conv1", "bn1": "norm1", "conv2": "conv2", "bn2": "norm2"}
_BLOCK |= {"conv3": "conv3", "bn3": "norm3", "downsample.0": "shortcut", "downsample.1": "shortcut_norm"}


def from_torch(state: dict[str, np.ndarray], blocks: tuple[int, ...] = (2, 2, 2, 2)) -> dict[str, np.ndarray]:
    """{"params.encoder.backbone.stem.kernel": ...}; `num_batches_tracked` has no counterpart."""
    arrays = {}
    for name, value in state.items():
        module, _, leaf = name.rpartition(".")
        if leaf == "num_batches_tracked":
            continue
        path = _module(module, blocks)
        if leaf.startswith("running_"):
            arrays[f"batch_stats.{path}.{leaf.removeprefix('running_')}"] = value
        elif leaf == "bias":
            arrays[f"params.{path}.bias"] = value
        elif value.ndim == 1:
            arrays[f"params.{path}.scale"] = value
        else:
            arrays[f"params.{path}.kernel"] = value.transpose(_LAYOUT[value.ndim, "decoder" in path])
    return arrays


# linear [out, in]; convolution [out, in, kh, kw]; transposed convolution [in, out, kh, kw]
_LAYOUT = {(2, False): (1, 0), (2, True): (1, 0), (4, False): (2, 3, 1, 0), (4, True): (2, 3, 0, 1)}


def _module(name: str, blocks: tuple[int, ...]) -> str:
    part, _, rest = name.removeprefix("encoder.").partition(".")
    if part == "backbone":
        block = re.fullmatch(r"layer(\d)\.(\d)\.(.+)", rest)
        if block:
            number = sum(blocks[: int(block[1]) - 1]) + int(block[2])
            return f"encoder.backbone.blocks.{number}.{_BLOCK[block[3]]}"
        return f"encoder.backbone.{_BACKBONE[rest]}"
    if part == "projector":
        return f"encoder.projector.{_PROJECTOR[rest]}"
    if part == "predictor":
        return f"predictor.{_PREDICTOR[rest]}"
    if rest == "fc":
        return "decoder.linear"
    number, norm = divmod(int(rest.removeprefix("deconv.")), 3)
    return f"decoder.norms.{number}" if norm else ("decoder.last" if number == 4 else f"decoder.convs.{number}")
