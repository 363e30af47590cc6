"""A TFDS split or slice as one uint8 array of 32x32 RGB images with its labels."""

import dataclasses
import functools
import hashlib
import os
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Int32, UInt8

from sidae_jax import array_cache
from sidae_jax.config import one_of
from sidae_jax.data import decode
from sidae_jax.errors import UserError, nearest

if TYPE_CHECKING:
    import tensorflow_datasets as tfds

DATASETS = ("cifar10", "mnist", "fashion_mnist", "stl10", "digits")


@dataclasses.dataclass(frozen=True)
class Images:
    """Images with their labels, in the order of their TFDS record files.

    Attributes:
      images: uint8 [n, 32, 32, 3], 0..255, read-only; memory-mapped from the cache, so that a process
        holds only the pages it touches. Sums of splits ("train+test") are copied into memory.
      labels: int32 [n], 0..num_classes-1; -1 for an image without a label (stl10 "unlabelled").
      class_names: TFDS's names of the data set's classes, in the order of the labels; all of them, even
        if this slice misses some.
    """

    images: UInt8[np.ndarray, "n 32 32 3"]
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
        digest = hashlib.sha256((",".join(map(str, self.images.shape)) + "\n").encode())
        digest.update(np.ascontiguousarray(self.images))
        digest.update(np.ascontiguousarray(self.labels, dtype="<i4"))
        return digest.hexdigest()


def load(dataset: str, split: str, data_dir: str | None = None) -> Images:
    """Loads a data set's split, preparing it with TFDS and decoding it on first use.

    Args:
      dataset: one of `DATASETS`; all but "digits" are TFDS data sets under their TFDS names.
      split: a TFDS split or slice: "train", "test[:10%]", "train[:10240]", "train[50%:]+test", ...
        (https://www.tensorflow.org/datasets/splits). A percentage is rounded to the closest image.
      data_dir: an existing TFDS folder; None is TFDS's own default ($TFDS_DATA_DIR, or
        ~/tensorflow_datasets). Data sets that are prepared there are only read.

    Returns:
      The images of that slice, resized to 32x32 and gray repeated to three channels; see `Images`.

    Raises:
      UserError: an unknown data set or split, an empty slice, a folder that is not there or cannot be
        read or written, or data that is neither prepared nor can be downloaded.
    """
    one_of("dataset", dataset, DATASETS)
    if data_dir is not None:
        data_dir = _existing_folder(data_dir)
    from sidae_jax.data import prepare  # imports TFDS, which takes most of a second

    builder = prepare.prepared_builder(dataset, data_dir)
    parts = []
    for name, start, stop in _parse_split(split, builder):
        images, labels = _whole_split(builder, name)
        parts.append((images[start:stop], labels[start:stop]))
    if len(parts) == 1:
        ((images, labels),) = parts
    else:
        images, labels = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
        images.flags.writeable = labels.flags.writeable = False
    return Images(images, labels, tuple(builder.info.features["label"].names))


def _existing_folder(data_dir: str) -> str:
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
        f"--config.data_dir={data_dir}: {folder} {problem}: give the folder of your TFDS data sets, make a new "
        "one with mkdir -p, or give None for TFDS's default"
    )


def _parse_split(split: str, builder: "tfds.core.DatasetBuilder") -> list[tuple[str, int, int]]:
    """Returns the non-empty (split name, start, stop) that TFDS parses a slice such as "train[:10%]+test" into."""
    import tensorflow_datasets as tfds

    splits = builder.info.splits
    known = f"({', '.join(f'{name}: {info.num_examples} images' for name, info in splits.items())})"
    wanted = "give --config.train_split or --config.test_split one of these, or a slice such as 'train[:10%]'"
    try:
        absolute = tfds.core.ReadInstruction.from_spec(split).to_absolute(splits)
    # TFDS raises any of these for a bad slice.
    except (ValueError, TypeError, NotImplementedError, AssertionError, KeyError) as error:
        names = [part.split("[")[0].strip() for part in split.split("+")]
        if unknown := [name for name in names if name not in splits]:
            near = nearest(unknown[0], splits)
            hint = f"; did you mean {near}?" if near else ""
            raise UserError(f"dataset {builder.name!r} has no split {unknown[0]!r} {known}: {wanted}{hint}") from error
        reason = str(error).strip().splitlines()[-1].rstrip(".")
        raise UserError(
            f"split {split!r} of dataset {builder.name!r} {known} cannot be read ({reason}): {wanted}"
        ) from error
    slices = []
    for part in absolute:
        name = str(part.splitname)
        start, stop, _ = slice(part.from_, part.to).indices(splits[name].num_examples)
        if start < stop:
            slices.append((name, start, stop))
    if not slices:
        raise UserError(f"split {split!r} of dataset {builder.name!r} holds no image {known}: {wanted}")
    return slices


def _whole_split(builder: "tfds.core.DatasetBuilder", split: str) -> tuple[np.ndarray, np.ndarray]:
    """Returns the images and labels of a whole split, from the cache if it has them."""
    try:
        stats = {path: os.stat(path) for path in map(os.path.realpath, builder.info.splits[split].filepaths)}
    except OSError as error:
        raise decode.unreadable(builder, error) from error
    made_from = {
        "dataset": builder.name,
        "version": str(builder.version),
        "split": split,
        "files": [[path, stat.st_size, stat.st_mtime_ns] for path, stat in stats.items()],
        "decoding": decode.version(),
    }
    name = f"{builder.name}-{builder.version}-{split}"
    build = functools.partial(decode.decode_split, builder, split)
    arrays = array_cache.load_or_build(array_cache.user_folder(), name, ("images", "labels"), made_from, build)
    return arrays["images"], arrays["labels"]
