"""The file between `sidae_jax.pictures`, which computes what pictures show, and the report, which draws it."""

import dataclasses
import io
import pathlib
import struct
import zipfile
import zlib

import numpy as np
from jaxtyping import Float32, Int32, UInt8

from sidae_jax.files import atomic_write, read_regular

NAME = "pictures.npz"  # in a run's eval/
# what zipfile raises of a damaged directory: flags and methods that it does not know, lengths beyond the file's
_DAMAGE = (zipfile.BadZipFile, zlib.error, struct.error, EOFError, NotImplementedError, RuntimeError, MemoryError)
_MOST_BYTES = 1 << 28  # unpacked


@dataclasses.dataclass(frozen=True)
class Pictures:
    """Samples from a run's last checkpoint for the first test images of the pre-training's data set, 0..255.

    reconstructions: of the image and of its first view; n = 0 for a method without a decoder.
    tsne: the pooled features of more test images in two dimensions, without unit.
    """

    epoch: float
    images: UInt8[np.ndarray, "shown size size 3"]
    views: UInt8[np.ndarray, "shown 2 size size 3"]
    reconstructions: UInt8[np.ndarray, "n 2 size size 3"]
    tsne: Float32[np.ndarray, "projected 2"]
    labels: Int32[np.ndarray, " projected"]
    class_names: np.ndarray


def write(path: pathlib.Path, pictures: Pictures) -> None:
    """Writes the file atomically."""
    with atomic_write(path) as file:
        np.savez_compressed(file, allow_pickle=False, **dataclasses.asdict(pictures))


def read(path: pathlib.Path) -> Pictures:
    """Returns what `write` wrote. Raises OSError, or ValueError or KeyError if the file is corrupt."""
    try:
        arrays = np.load(io.BytesIO(_checked(path)), allow_pickle=False)
        found = {field.name: arrays[field.name] for field in dataclasses.fields(Pictures)}
    except _DAMAGE as error:
        raise ValueError(str(error) or type(error).__name__) from error
    return Pictures(**{**found, "epoch": float(found["epoch"])})


def _checked(path: pathlib.Path) -> bytes:
    """Returns the content of a file. Raises ValueError if it would unpack to far more than pictures take."""
    content = read_regular(path)
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        if (unpacked := sum(member.file_size for member in archive.infolist())) > _MOST_BYTES:
            raise ValueError(f"it would unpack to {unpacked} bytes, more than {_MOST_BYTES}")
    return content
