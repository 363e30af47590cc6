"""A split or slice of a data set as one uint8 array of square RGB images with its labels."""

import dataclasses
import hashlib
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Int32, UInt8

from sidae_jax.data import prepared, splits
from sidae_jax.data.encoded import EncodedImages
from sidae_jax.errors import UserError
from sidae_jax.settings import FOLDER, FolderSettings

DATASETS = ("cifar10", "cifar100", "svhn_cropped", "mnist", "fashion_mnist", "stl10", "digits")
_DEFAULT = "~/tensorflow_datasets"  # TFDS's


@dataclasses.dataclass(frozen=True)
class Images:
    """Images with their labels, in the order of their TFDS record files or of their paths in a folder.

    Attributes:
      images: uint8 [n, size, size, 3], 0..255, read-only; memory-mapped from the cache, so that a process
        holds only the pages it touches. Sums of splits ("train+test") are copied into memory. Or, as `load`
        was asked, an `EncodedImages`, which decodes the rows that are read.
      labels: int32 [n], 0..num_classes-1; -1 for an image without a label (stl10 "unlabelled", a flat folder).
      class_names: the names of the data set's classes, in the order of the labels; all of them, even
        if this slice misses some. None if the data set has no labels.
    """

    images: UInt8[np.ndarray, "n size size 3"] | EncodedImages
    labels: Int32[np.ndarray, " n"]
    class_names: tuple[str, ...]

    @property
    def num_classes(self) -> int:
        """The number of the data set's classes."""
        return len(self.class_names)

    def sha256(self) -> str:
        r"""Returns the SHA-256 (hexadecimal) of the shape, the pixels and the labels of exactly these images.

        The bytes hashed are the shape as text ("10240,32,32,3\n"), the pixels in C order, and the
        labels as little-endian int32, so the value is the same on every machine.
        """
        images = self.images
        if isinstance(images, EncodedImages):
            return images.cached_sha256(self.labels, lambda: self._sha256_of(images.blocks()))
        return self._sha256_of([images])

    def _sha256_of(self, blocks: Iterable[np.ndarray]) -> str:
        digest = hashlib.sha256((",".join(map(str, self.images.shape)) + "\n").encode())
        for block in blocks:
            digest.update(np.ascontiguousarray(block).data)
        digest.update(np.ascontiguousarray(self.labels, dtype="<i4").data)
        return digest.hexdigest()


@runtime_checkable
class Source(Protocol):
    """Where the splits of a data set come from: `TfdsSource` or `FolderSource`."""

    name: str
    class_names: tuple[str, ...]

    def counts(self, named: Sequence[str]) -> Mapping[str, int]:
        """Returns the number of images of each split, which has to be exact for those that are named."""

    def whole_split(self, split: str) -> tuple[np.ndarray | EncodedImages, np.ndarray]:
        """Returns images and labels."""

    def names(self, split: str) -> list[str] | None:
        """Returns the names of the images of a split that `whole_split` returned, None if they have none."""


class Slice(NamedTuple):
    """Images of one split, with their labels as in `Images`; names: their paths from the folder, None of a data set."""

    images: UInt8[np.ndarray, "n size size 3"] | EncodedImages
    labels: Int32[np.ndarray, " n"]
    names: list[str] | None


def load(
    dataset: str,
    split: str,
    data_dir: str | None = None,
    *,
    folder: FolderSettings | None = None,
    size: int = 32,
    encoded: bool = False,
) -> Images:
    """Loads a data set's split, preparing it with TFDS and decoding it on first use.

    Args:
      dataset: one of `DATASETS`, all of which but "digits" are TFDS data sets under their TFDS names; the name of
        another TFDS data set that lies prepared in `data_dir`, such as "eurosat" or "imagenet_resized/64x64"; or
        "folder".
      split: a TFDS split or slice: "train", "test[:10%]", "train[:10240]", "train[50%:]+test", ...
        (https://www.tensorflow.org/datasets/splits). A percentage is rounded to the closest image. "test" is the
        validation split of a data set that has no other.
      data_dir: an existing TFDS folder; None is TFDS's own default ($TFDS_DATA_DIR, or
        ~/tensorflow_datasets). Data sets that are prepared there are only read.
      folder: which images "folder" means.
      size: the side of the images returned, in pixels; see `decode.decode_image` for what happens to others. To keep
        more than views of `size` show, give the `store_size` of the pre-training.
      encoded: whether the images are decoded when they are read and not stored decoded, one split at a time. They are
        decoded twice on first use all the same, for what depends on all of them: damage and normalization, SHA-256.

    Returns:
      The images of that slice; see `Images`.

    Raises:
      UserError: an unknown data set or split, an empty slice, a folder that is not there or cannot be
        read or written, damaged images, or data that is neither prepared nor can be downloaded.
    """
    source = _open(dataset, data_dir, folder, size, encoded)
    parts = [(images, labels) for images, labels, _ in _slices(source, split)]
    if len(parts) == 1:
        ((images, labels),) = parts
    elif encoded:
        raise UserError(f"config.input=decode cannot read a sum of splits, such as {split!r}: give a single split")
    else:
        images, labels = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
        images.flags.writeable = labels.flags.writeable = False
    return Images(images, labels, source.class_names)


def load_slices(
    dataset: str, split: str, data_dir: str | None = None, *, folder: FolderSettings | None = None, size: int = 32
) -> tuple[list[Slice], tuple[str, ...]]:
    """Loads what `load` does, with names and without copying sums of splits; returns the class names behind it."""
    source = _open(dataset, data_dir, folder, size, encoded=False)
    return _slices(source, split), source.class_names


def _slices(source: Source, split: str) -> list[Slice]:
    parts = []
    for name, start, stop in splits.parse(split, source.counts(splits.named(split)), source.name):
        images, labels = source.whole_split(name)
        names = source.names(name)
        parts.append(Slice(images[start:stop], labels[start:stop], names and names[start:stop]))
    return parts


def check_name(dataset: str, data_dir: str | None) -> None:
    """Raises UserError unless `load` knows the data set's name or finds it prepared; imports nothing slow."""
    if dataset not in (*DATASETS, FOLDER):
        default = os.environ.get("TFDS_DATA_DIR") or _DEFAULT
        prepared.folder_of(dataset, os.path.expanduser(data_dir or default), DATASETS)


def make_ready(dataset: str, data_dir: str | None, folder: FolderSettings | None, size: int) -> None:
    """Downloads and prepares a data set that is not prepared yet; of a folder of images only looks at its files.

    Args and errors are those of `load`, which does the same; no image is decoded.
    """
    _open(dataset, data_dir, folder, size, encoded=True)


def _open(dataset: str, data_dir: str | None, folder: FolderSettings | None, size: int, encoded: bool) -> Source:
    if dataset == FOLDER:
        from sidae_jax.data.folder_source import FolderSource

        return FolderSource(folder or FolderSettings(), size, encoded)
    if data_dir is not None:
        data_dir = _existing_folder("--config.data_dir", data_dir)
    elif default := os.environ.get("TFDS_DATA_DIR"):
        _existing_folder("TFDS_DATA_DIR", default)
    elif default is not None:  # empty, which to TFDS is the current folder
        data_dir = os.path.expanduser(_DEFAULT)
    from sidae_jax.data.tfds_source import TfdsSource  # imports TFDS, which takes most of a second

    return TfdsSource(dataset, data_dir, size, encoded)


def _existing_folder(key: str, data_dir: str) -> str:
    folder = data_dir and os.path.abspath(os.path.expanduser(data_dir))
    if not os.path.exists(folder):
        problem = "does not exist"
    elif not os.path.isdir(folder):
        problem = "is not a folder"
    elif not os.access(folder, os.R_OK | os.X_OK):
        problem = "cannot be read by this user"
    else:
        return folder
    raise UserError(
        f"{key}={data_dir}: {folder} {problem}: give the folder of your TFDS data sets, make a new one with mkdir -p, "
        f"or {'unset it' if key == 'TFDS_DATA_DIR' else 'give None'} for TFDS's default"
    )
