"""The encoded records of a prepared TFDS split, decoded with PIL into 32x32 RGB arrays."""

import concurrent.futures
import io
import os
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
import PIL
import rich.console
import rich.progress
from absl import logging
from jaxtyping import UInt8
from PIL import Image

from sidae_jax.array_cache import Arrays
from sidae_jax.errors import UserError

if TYPE_CHECKING:
    import tensorflow_datasets as tfds

SIZE = 32
_VERSION = 1  # raised when decode_image returns other numbers, so that older caches are not used
_CHUNK = 512  # records read at a time, so that the encoded split is never held in memory
_BLOCK = 64  # images that a thread decodes at a time: one by one, threads would be slower than none


def version() -> str:
    """Returns what the decoded numbers depend on besides the records: this module and Pillow's decoders."""
    return f"{_VERSION}, pillow {PIL.__version__}"


def decode_image(encoded: bytes) -> UInt8[np.ndarray, "32 32 3"]:
    """Decodes a PNG or JPEG image, always with PIL, so that the numbers do not depend on OpenCV.

    Where the size differs from 32x32 it is resized with PIL's antialiased bilinear filter, in the
    image's own mode; gray is repeated to three channels afterward.

    Returns:
      uint8 [32, 32, 3], 0..255.

    Raises:
      OSError: the bytes are no image (PIL.UnidentifiedImageError) or a truncated one.
    """
    with Image.open(io.BytesIO(encoded)) as opened:
        image = opened if opened.mode in ("L", "RGB") else opened.convert("RGB")
        if image.size != (SIZE, SIZE):
            image = image.resize((SIZE, SIZE), Image.Resampling.BILINEAR)
        pixels = np.asarray(image)
    return pixels if pixels.ndim == 3 else np.repeat(pixels[:, :, None], 3, axis=2)


def decode_split(builder: "tfds.core.DatasetBuilder", split: str) -> Arrays:
    """Decodes a whole split, in the order of its record files.

    Returns:
      "images", uint8 [n, 32, 32, 3], and "labels", int32 [n] (-1 for an image without a label).

    Raises:
      UserError: a record file is corrupt or cannot be read.
    """
    import tensorflow_datasets as tfds

    count = builder.info.splits[split].num_examples
    images = np.empty((count, SIZE, SIZE, 3), np.uint8)
    labels = np.empty(count, np.int32)
    try:
        source = builder.as_data_source(split, decoders={"image": tfds.decode.SkipDecoding()})
        # PIL releases the interpreter lock while it decodes and resizes: a gain for 96x96 images.
        with concurrent.futures.ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
            for start in _progress(range(0, count, _CHUNK), f"Decoding {count} images of {builder.name} {split}"):
                stop = min(start + _CHUNK, count)
                records = source.__getitems__(list(range(start, stop)))
                labels[start:stop] = [record["label"] for record in records]
                encoded = [record["image"] for record in records]
                blocks = [encoded[first : first + _BLOCK] for first in range(0, len(encoded), _BLOCK)]
                images[start:stop] = np.concatenate(list(pool.map(_decode_block, blocks)))
    # array_record raises its own mixture for a corrupt or truncated file.
    except (OSError, ValueError, IndexError, KeyError, RuntimeError) as error:
        raise unreadable(builder, error) from error
    return {"images": images, "labels": labels}


def _decode_block(encoded: list[bytes]) -> UInt8[np.ndarray, "n 32 32 3"]:
    return np.stack([decode_image(image) for image in encoded])


def unreadable(builder: "tfds.core.DatasetBuilder", error: Exception) -> UserError:
    """Returns the error for a prepared data set that cannot be read."""
    return UserError(
        f"dataset {builder.name!r} lies prepared in {builder.data_dir} but cannot be read ({one_line(error)}): copy or "
        "prepare that folder anew, or give another --config.data_dir"
    )


def one_line(error: Exception) -> str:
    """Returns the message of an error for the middle of a sentence."""
    return " ".join(str(error).split()).rstrip(".")


def _progress(starts: range, description: str) -> Iterable[int]:
    """Returns the starts, with a bar on a terminal and one log line elsewhere."""
    if not sys.stderr.isatty():
        logging.info("%s, once; the cache keeps them.", description)
        return starts
    return rich.progress.track(starts, description, console=rich.console.Console(stderr=True), transient=True)
