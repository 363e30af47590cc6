"""TFDS's own data sets, prepared from their archives without TensorFlow.

Each class is the stock builder with its name, version, features, registered checksums, record keys
and so record order; only the reading of the archive is ours, with the standard library. The archives
are not extracted through TFDS: two data sets that share a download folder would get mixed up there.
"""

import contextlib
import gzip
import io
import os
import posixpath
import struct
import tarfile
import urllib.parse
from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from sidae_jax.data.digits import Digits
from sidae_jax.data.png import encode_png

Examples = Iterator[tuple[int, dict]]


class _IdxImages:
    """Reads the four .gz files of MNIST (http://yann.lecun.com/exdb/mnist/) from below `self.URL`."""

    def _split_generators(self, dl_manager):
        urls = {
            split: {
                "images_path": urllib.parse.urljoin(self.URL, f"{prefix}-images-idx3-ubyte.gz"),
                "labels_path": urllib.parse.urljoin(self.URL, f"{prefix}-labels-idx1-ubyte.gz"),
            }
            for split, prefix in (("train", "train"), ("test", "t10k"))
        }
        return {split: self._generate_examples(**paths) for split, paths in dl_manager.download(urls).items()}

    def _generate_examples(self, images_path, labels_path) -> Examples:
        images, labels = read_idx(images_path, ndim=3), read_idx(labels_path, ndim=1)
        for index, (image, label) in enumerate(zip(images, labels, strict=True)):
            yield index, {"image": encode_png(image), "label": int(label)}


class Mnist(_IdxImages, tfds.builder_cls("mnist"), skip_registration=True):
    """MNIST's IDX files."""

    name = "mnist"


class FashionMnist(_IdxImages, tfds.builder_cls("fashion_mnist"), skip_registration=True):
    """Fashion-MNIST's IDX files."""

    name = "fashion_mnist"


class _CifarBinary:
    """Reads a binary archive of CIFAR: records of one byte a label and 3x32x32 bytes, channels first."""

    _cifar_info: Any

    def _split_generators(self, dl_manager):
        cifar = self._cifar_info  # the stock builder's url, file names and labels
        archive = dl_manager.download(cifar.url)
        names = read_members(archive, [cifar.prefix + file for file in cifar.label_files])
        for key, file in zip(cifar.label_keys, cifar.label_files, strict=True):
            lines = names[cifar.prefix + file].decode().split("\n")
            self.info.features[key].names = [name for name in lines if name]
        return {
            split: self._generate_examples(archive, f"{split}_", [cifar.prefix + file for file in files])
            for split, files in (("train", cifar.train_files), ("test", cifar.test_files))
        }

    def _generate_examples(self, archive, id_prefix: str, members: list[str]) -> Examples:
        index, keys = 0, self._cifar_info.label_keys
        for member in members:  # the order of the stock builder, which is not the archive's
            with open_member(archive, member) as (file, size):
                for record in read_records(file, size, len(keys) + 3 * 32 * 32):
                    labels = dict(zip(keys, map(int, record[: len(keys)]), strict=True))
                    image = record[len(keys) :].reshape(3, 32, 32).transpose(1, 2, 0)
                    yield index, {"id": f"{id_prefix}{index:05d}", "image": encode_png(image), **labels}
                    index += 1


class Cifar10(_CifarBinary, tfds.builder_cls("cifar10"), skip_registration=True):
    """CIFAR-10's binary archive."""

    name = "cifar10"


class Cifar100(_CifarBinary, tfds.builder_cls("cifar100"), skip_registration=True):
    """CIFAR-100's binary archive; `label` is the fine one of its two labels."""

    name = "cifar100"


class SvhnCropped(tfds.builder_cls("svhn_cropped"), skip_registration=True):
    """The cropped digits of SVHN in MATLAB files: X, uint8 [32, 32, 3, n], and y, [n, 1] in 1..10, where 10 is zero.

    A file is read whole, as the stock builder does: the largest, "extra", takes 1.6 GB.
    """

    name = "svhn_cropped"

    def _split_generators(self, dl_manager):
        urls = {info.filename.partition("_")[0]: url for url, info in self.url_infos.items()}
        paths = dl_manager.download({split: urls[split] for split in ("train", "test", "extra")})
        return {split: self._generate_examples(f"{split}_", path) for split, path in paths.items()}

    def _generate_examples(self, id_prefix: str, path: str | os.PathLike) -> Examples:
        import scipy.io  # here: only a preparation needs this slow import

        arrays = scipy.io.loadmat(path, variable_names=("X", "y"))
        images, labels = np.moveaxis(arrays["X"], 3, 0), arrays["y"][:, 0].astype(int)
        if labels.min() < 1 or labels.max() > 10:
            raise ValueError(f"{path} has labels from {labels.min()} to {labels.max()}, not from 1 to 10")
        for index, (image, label) in enumerate(zip(images, labels, strict=True)):
            yield index, {"id": f"{id_prefix}{index:06d}", "image": encode_png(image), "label": int(label) % 10}


class Stl10(tfds.builder_cls("stl10"), skip_registration=True):
    """STL-10's binary archive: 3x96x96 bytes an image, column-major; labels 1..10; -1 is unlabelled.

    The archive is read as a stream, once for the names and labels and once for each split: its
    largest member, 2.7 GB, is never held in memory or on disk.
    """

    name = "stl10"

    def _split_generators(self, dl_manager):
        (url,) = self.url_infos
        archive = dl_manager.download(url)
        names, *labels = (f"stl10_binary/{file}" for file in ("class_names.txt", "train_y.bin", "test_y.bin"))
        small = read_members(archive, [names, *labels])
        self.info.features["label"].names = small[names].decode().splitlines()
        train, test = (np.frombuffer(small[name], np.uint8).astype(int) - 1 for name in labels)
        return {
            "train": self._generate_examples(archive, "stl10_binary/train_X.bin", train),
            "test": self._generate_examples(archive, "stl10_binary/test_X.bin", test),
            "unlabelled": self._generate_examples(archive, "stl10_binary/unlabeled_X.bin", None),
        }

    def _generate_examples(self, archive, member: str, labels) -> Examples:
        with open_member(archive, member) as (file, size):
            records = read_records(file, size, 3 * 96 * 96)
            count = size // (3 * 96 * 96)
            labels = np.full(count, -1) if labels is None else labels
            for index, (record, label) in enumerate(zip(records, labels, strict=True)):
                image = record.reshape(3, 96, 96).transpose(2, 1, 0)
                yield index, {"image": encode_png(image), "label": int(label)}


BUILDERS: dict[str, type[tfds.core.GeneratorBasedBuilder]] = {
    builder.name: builder for builder in (Cifar10, Cifar100, SvhnCropped, Mnist, FashionMnist, Stl10, Digits)
}
for _ours in (Cifar10, Cifar100, SvhnCropped, Mnist, FashionMnist, Stl10):
    # TFDS finds a builder's checksums and writes its origin by its module. Set after the class is made,
    # so that TFDS's own list of that module's builders stays as it was.
    _ours.__module__ = tfds.builder_cls(_ours.name).__module__


def read_idx(path: str | os.PathLike, ndim: int) -> np.ndarray:
    """Reads a gzipped IDX file of unsigned bytes: big-endian magic number, shape, values.

    Returns:
      uint8, of the shape in the header.

    Raises:
      ValueError: the header is not that of `ndim` dimensions of bytes, or the length is not its shape's.
    """
    with gzip.open(path) as file:
        data = file.read()
    header = 4 + 4 * ndim
    magic, *shape = struct.unpack(f">{1 + ndim}I", data[:header]) if len(data) >= header else (0,)
    if magic != 0x0800 + ndim or len(data) - header != np.prod(shape):
        raise ValueError(f"{path} is no IDX file of {ndim}-dimensional bytes")
    return np.frombuffer(data, np.uint8, offset=header).reshape(shape)


@contextlib.contextmanager
def open_member(archive: str | os.PathLike, name: str) -> Iterator[tuple[io.BufferedIOBase, int]]:
    """Opens one file of a .tar.gz as a stream, with its size; the archive is read once, up to there."""
    with tarfile.open(archive, "r|gz") as tar:
        for member in tar:
            if posixpath.normpath(member.name) == name and (file := tar.extractfile(member)) is not None:
                yield file, member.size
                return
    raise ValueError(f"{archive} holds no {name}")


def read_members(archive: str | os.PathLike, names: list[str]) -> dict[str, bytes]:
    """Reads small files of a .tar.gz, all in one pass over it."""
    found = {}
    with tarfile.open(archive, "r|gz") as tar:
        for member in tar:
            if (name := posixpath.normpath(member.name)) in names and (file := tar.extractfile(member)) is not None:
                found[name] = file.read()
            if len(found) == len(names):
                return found
    raise ValueError(f"{archive} holds no {', '.join(sorted(set(names) - set(found)))}")


def read_records(file: io.BufferedIOBase, size: int, record_size: int) -> Iterator[np.ndarray]:
    """Yields the consecutive records, uint8 [record_size], of a file of `size` bytes."""
    if size % record_size:
        raise ValueError(f"{size} bytes are not a whole number of records of {record_size}")
    for _ in range(size // record_size):
        record = file.read(record_size)
        if len(record) != record_size:
            raise EOFError("the archive ends within a record")
        yield np.frombuffer(record, np.uint8)
