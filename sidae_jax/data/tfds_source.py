"""The splits of a data set that lies prepared in a TFDS folder."""

import os
import struct
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from array_record.python import array_record_module
from PIL import Image

from sidae_jax import array_cache, grown_arrays
from sidae_jax.array_cache import Arrays
from sidae_jax.data import decode, decoding, prepare
from sidae_jax.data.encoded import EncodedImages
from sidae_jax.growing_entry import Part

_CHUNK = 512  # records read at a time, so that the encoded split is never held in memory
# What array_record raises for a corrupt or truncated file, and PIL for a corrupt image.
_CORRUPT = (OSError, ValueError, IndexError, KeyError, RuntimeError, SyntaxError, struct.error)


class TfdsSource:
    """A prepared TFDS data set with a feature `image` and perhaps a `label`.

    Attributes:
      name: what it is called in messages.
      class_names: TFDS's names of its classes; none if it has no labels.
    """

    def __init__(self, dataset: str, data_dir: str | None, size: int, encoded: bool = False):
        """Opens a data set, preparing it if it is a known one; its images become squares of side `size`.

        encoded: whether they stay encoded and are decoded when they are read.

        Raises:
          UserError: it is neither known nor prepared, or cannot be read, downloaded or written.
        """
        self._builder = prepare.prepared_builder(dataset, data_dir)
        self._size = size
        self._kept = decoding.SUMS if encoded else decoding.pixels(size)
        self.name = f"dataset {dataset!r}"
        label: Any = dict(self._builder.info.features.items()).get("label")
        self._labeled = isinstance(label, tfds.features.ClassLabel) and bool(label.names)
        self.class_names = tuple(label.names) if self._labeled else ()

    def counts(self, named: Sequence[str]) -> Mapping[str, int]:
        """Returns the number of images of each split."""
        del named  # known of all splits
        return {name: info.num_examples for name, info in self._builder.info.splits.items()}

    def whole_split(self, split: str) -> tuple[np.ndarray | EncodedImages, np.ndarray]:
        """Returns the images and labels of a split, from the cache if it has them; see `source.Images`."""
        builder = self._builder
        try:
            stats = {path: os.stat(path) for path in map(os.path.realpath, builder.info.splits[split].filepaths)}
        except (OSError, ValueError, KeyError) as error:  # TFDS raises the last two for a damaged pattern of names
            raise prepare.unreadable(builder, error) from error
        made_from = {
            "dataset": builder.name,
            "version": str(builder.version),
            "split": split,
            "files": [[path, stat.st_size, stat.st_mtime_ns] for path, stat in stats.items()],
            "size": self._size,
            "decoding": decode.version(),
        }
        arrays, _ = grown_arrays.load_or_grow(
            array_cache.user_folder(),
            f"{builder.name}-{builder.version}-{split}",
            {self._kept.name: self._kept.row, "labels": ((), np.int32)},
            made_from | {"kept": self._kept.name},
            builder.info.splits[split].num_examples,
            lambda start: self._decode(split, start),
        )
        if self._kept.name == "images":
            return arrays["images"], arrays["labels"]
        source = self._records(split)

        def read(item: int) -> bytes:
            try:
                return source[item]["image"]
            except _CORRUPT as error:
                raise prepare.unreadable(builder, error) from error

        items = np.arange(len(arrays["labels"]))
        return EncodedImages(read, items, arrays["sums"], self._size, made_from), arrays["labels"]

    def names(self, split: str) -> None:
        """Returns None: the images of a TFDS data set have numbers alone."""

    def _decode(self, split: str, start: int) -> Iterator[Part]:
        """Yields the parts of a split from record `start`, in the order of its record files.

        Raises:
          UserError: a record file is corrupt or cannot be read.
        """
        builder, count = self._builder, self._builder.info.splits[split].num_examples
        self._check_lengths(split)
        parts = decoding.in_threads(self._decode_block, self._read(split, start, count))
        try:
            yield from decoding.with_progress(parts, start, count, f"{builder.name} {split}")
        except (*_CORRUPT, Image.DecompressionBombError) as error:
            raise prepare.unreadable(builder, error) from error

    def _check_lengths(self, split: str) -> None:
        """Raises UserError if a file has not as many records as dataset_info.json says, which TFDS believes."""
        info = self._builder.info.splits[split]
        try:
            for path, length in zip(info.filepaths, info.shard_lengths, strict=True):
                reader = array_record_module.ArrayRecordReader(os.fspath(path))
                found = reader.num_records()
                reader.close()
                if found != length:
                    raise ValueError(f"{path} has {found} records, and dataset_info.json says {length}")
        except _CORRUPT as error:
            raise prepare.unreadable(self._builder, error) from error

    def _read(self, split: str, start: int, count: int) -> Iterator[tuple[int, list[dict]]]:
        """Yields blocks of encoded records, each with the number of the record behind it."""
        source = self._records(split)
        for first in range(start, count, _CHUNK):
            records = source.__getitems__(list(range(first, min(first + _CHUNK, count))))
            for begin in range(0, len(records), decoding.BLOCK):
                block = records[begin : begin + decoding.BLOCK]
                yield first + begin + len(block), block

    def _records(self, split: str) -> Any:
        """Returns the records of a split, with images as encoded bytes."""
        features = self._builder.info.features.items()
        skip = {name: tfds.decode.SkipDecoding() for name, feature in features if prepare.is_image(feature)}
        return self._builder.as_data_source(split, decoders=skip)

    def _decode_block(self, block: tuple[int, list[dict]]) -> Part:
        done, records = block
        arrays: Arrays = {
            self._kept.name: np.stack(
                [self._kept.of(decode.decode_image(record["image"], self._size)) for record in records]
            ),
            "labels": np.array([record["label"] if self._labeled else -1 for record in records], np.int32),
        }
        return Part(done, arrays, [])
