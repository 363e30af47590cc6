"""An encoder as an ONNX model, compared with the encoder's own features before it is written."""

import importlib.util
import pathlib

import jax
import numpy as np
from flax import nnx

from sidae_jax.errors import UserError
from sidae_jax.evaluation.backbone import Backbone, forward
from sidae_jax.exports.encoder import Exported
from sidae_jax.files import atomic_write

TOLERANCE = 1e-4  # of the features' largest absolute value, or of 1 if that is less
_IMAGES = 8


def write(out: pathlib.Path, exported: Exported) -> list[str]:
    """Writes the file atomically, and returns what to tell the user.

    Raises UserError if onnxruntime computes other features from it than the encoder has, and OSError as writing does.
    """
    from sidae_jax.exports import onnx_graph  # an extra: only here

    size = exported.config["size"]
    metadata = {**exported.metadata, **_SAID_TOO}
    model = onnx_graph.make(exported.arrays, exported.backbone.normalization, size, exported.groups, metadata)
    content = model.SerializeToString(deterministic=True)
    checked = _check(out, content, exported.backbone)
    with atomic_write(out) as file:
        file.write(content)
    (output,) = model.graph.output
    features = output.type.tensor_type.shape.dim[1].dim_value
    return [
        f"ONNX opset {onnx_graph.OPSET}: images, uint8 [n, 3, {size}, {size}], RGB, 0..255, channels first, to "
        f"features, float32 [n, {features}]; the model normalizes the images itself",
        checked,
    ]


_SAID_TOO = {
    "license": "the code that made this, sidae_jax, is under Apache-2.0; the license of the weights is their maker's",
    "citation": "Baier, Mair and Fadel: Self-Supervised Siamese Autoencoders, arXiv:2304.02549, 2023",
}


def _check(out: pathlib.Path, content: bytes, backbone: Backbone) -> str:
    """Compares the model's features of random images with the encoder's, and returns how far they are apart."""
    if importlib.util.find_spec("onnxruntime") is None:
        return "not checked, for which onnxruntime is needed: pip install onnxruntime, and export again"
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    size = backbone.network.size
    images = np.random.default_rng(0).integers(0, 256, (_IMAGES, size, size, 3), np.uint8)
    images[:2] = np.array([0, 255], np.uint8).reshape(2, 1, 1, 1)
    (found,) = session.run(None, {"images": images.transpose(0, 3, 1, 2)})
    graphdef, state = nnx.split(backbone.network)
    wanted = np.asarray(forward(graphdef, backbone.normalization, state, jax.device_put(images)))
    apart = float(np.abs(found - wanted).max() / max(1.0, np.abs(wanted).max()))
    if not apart <= TOLERANCE:  # nor if it is NaN
        raise UserError(
            f"--out={out} is not written: by onnxruntime {onnxruntime.__version__} its features are {apart:.1e} from "
            f"the encoder's, more than {TOLERANCE:g}; try another version of onnxruntime, or give FILE.safetensors"
        )
    return (
        f"checked: of {_IMAGES} images onnxruntime {onnxruntime.__version__} has the encoder's features to {apart:.1e}"
    )
