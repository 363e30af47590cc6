"""The encoder of a checkpoint, or its whole method, written for other programs; the name says for which."""

import os
import pathlib

from sidae_jax.exports import encoder, hub_folder, onnx_file
from sidae_jax.exports.encoder import Exported
from sidae_jax.exports.out_path import write_errors
from sidae_jax.runs import ONNX, WEIGHTS, weights_file

_LOADING = {
    "encoder": "load_state_dict(safetensors.torch.load_file(FILE), strict=False) misses fc alone",
    "method": "its arrays begin with backbone.",
}


def write(workdir: str | os.PathLike, out: pathlib.Path, part: str = "encoder", step: int | str | None = None) -> str:
    """Writes a checkpoint of a run, by default the last, and returns sentences that say how to use it.

    out: a file FILE.safetensors or FILE.onnx, or else a folder in the layout of the Hugging Face hub.
    part: "encoder", the backbone by torchvision's names, or "method", all parameters and statistics, where the names of
      the backbone begin with "backbone."; for FILE.safetensors alone.

    Raises UserError if there is no such run or checkpoint, it is corrupt, PyTorch has no such backbone, or `out` cannot
    be written.
    """
    exported = encoder.read(workdir, part, step)
    with write_errors(out):
        if out.suffix == ONNX:
            how = onnx_file.write(out, exported)
        elif out.suffix == WEIGHTS:
            weights_file.write(out, exported.arrays, exported.metadata)
            how = _for_pytorch(exported)
        else:
            how = hub_folder.write(out, exported)
    said = exported.metadata
    title = (
        f"{out}: the {said['part']} after step {said['step']} ({said['method']} on {said['dataset']}, "
        f"{said['epochs']} epochs), {len(exported.arrays)} arrays"
    )
    return "\n".join([title, *how])


def _for_pytorch(exported: Exported) -> list[str]:
    said = exported.metadata
    return [
        f"network: {said['network']}; {_LOADING[said['part']]}",
        f"images: RGB of {said['size']}x{said['size']} in [0, 1], minus {said['mean']}, divided by {said['std']}",
    ]
