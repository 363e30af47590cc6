"""Lossless image bytes for TFDS, which would call TensorFlow to encode an array."""

import io

import numpy as np
from jaxtyping import UInt8
from PIL import Image


def encode_png(pixels: UInt8[np.ndarray, "h w *c"]) -> bytes:
    """Encodes uint8 [h, w] (gray) or [h, w, 3] (RGB) as PNG."""
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(buffer, format="PNG")
    return buffer.getvalue()
