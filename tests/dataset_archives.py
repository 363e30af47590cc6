"""Small archives in the data sets' real formats, and the examples that TFDS's own code makes of them."""

import gzip
import importlib
import io
import pathlib
import struct
import tarfile
import types

import numpy as np
import scipy.io
import tensorflow_datasets as tfds

NAMES = [f"class {index}" for index in range(10)]
MNIST_FILES = [f"{a}-{b}-ubyte.gz" for a in ("train", "t10k") for b in ("images-idx3", "labels-idx1")]


def write_tar(path: pathlib.Path, files: dict[str, bytes]) -> None:
    with tarfile.open(path, "w:gz") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))


def write_cifar10(folder: pathlib.Path) -> None:
    rng = np.random.default_rng(0)
    labels = iter(rng.permutation(np.arange(18) % 10).astype(np.uint8))

    def batch() -> bytes:
        return b"".join(bytes([next(labels)]) + rng.bytes(3072) for _ in range(3))

    # The order in the real archive: neither sorted nor the one of the ids.
    order = ["data_batch_1", "batches.meta.txt", "data_batch_3", "data_batch_4", "test_batch", "readme.html"]
    files = {}
    for name in [*order, "data_batch_5", "data_batch_2"]:
        if "batch_" in name or "_batch" in name:
            files[f"cifar-10-batches-bin/{name}.bin"] = batch()
        else:
            text = "\n".join(NAMES) + "\n\n" if "meta" in name else "<html>"
            files[f"cifar-10-batches-bin/{name}"] = text.encode()
    write_tar(folder / "cifar-10-binary.tar.gz", files)


def write_cifar100(folder: pathlib.Path) -> None:
    """Synthetic, in the format of the real archive: a coarse and a fine label before each image."""
    rng = np.random.default_rng(0)
    files = {}
    for name, count in (("test", 4), ("train", 15)):
        for _ in range(count):
            labels = bytes([rng.integers(20), rng.integers(100)])
            member = f"cifar-100-binary/{name}.bin"
            files[member] = files.get(member, b"") + labels + rng.bytes(3072)
    for kind, count in (("coarse", 20), ("fine", 100)):
        lines = "".join(f"{kind} {index}\n" for index in range(count))
        files[f"cifar-100-binary/{kind}_label_names.txt"] = lines.encode()
    write_tar(folder / "cifar-100-binary.tar.gz", files)


def write_svhn(folder: pathlib.Path) -> None:
    """Synthetic, in the format of the real files: MATLAB arrays with the images last, and 10 for the digit 0."""
    rng = np.random.default_rng(0)
    for split, count in (("train", 12), ("test", 10), ("extra", 3)):
        images = rng.integers(0, 256, (32, 32, 3, count), np.uint8)
        labels = (1 + rng.permutation(count) % 10).astype(np.uint8)[:, None]
        scipy.io.savemat(folder / f"{split}_32x32.mat", {"X": images, "y": labels}, do_compression=True)


def write_stl10(folder: pathlib.Path) -> None:
    rng = np.random.default_rng(0)
    files = {}
    for split, count in (("test", 4), ("train", 10), ("unlabeled", 5)):
        files[f"stl10_binary/{split}_X.bin"] = rng.bytes(count * 3 * 96 * 96)
        if split != "unlabeled":
            files[f"stl10_binary/{split}_y.bin"] = bytes(rng.permutation(10)[:count].astype(np.uint8) + 1)
    files["stl10_binary/class_names.txt"] = ("\n".join(NAMES) + "\n").encode()
    files["stl10_binary/fold_indices.txt"] = b"0 1 2\n"
    write_tar(folder / "stl10_binary.tar.gz", files)


def write_mnist(folder: pathlib.Path) -> None:
    rng = np.random.default_rng(0)
    for split, count in (("train", 12), ("t10k", 5)):
        images = struct.pack(">4I", 2051, count, 28, 28) + rng.bytes(count * 28 * 28)
        labels = struct.pack(">2I", 2049, count) + bytes(rng.integers(0, 10, count, np.uint8))
        (folder / f"{split}-images-idx3-ubyte.gz").write_bytes(gzip.compress(images))
        (folder / f"{split}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(labels))


WRITERS = {
    "cifar10": write_cifar10,
    "cifar100": write_cifar100,
    "svhn_cropped": write_svhn,
    "mnist": write_mnist,
    "fashion_mnist": write_mnist,
    "stl10": write_stl10,
}


class Folder:
    """What the generators take of a download manager, over a folder of archives."""

    def __init__(self, folder: pathlib.Path, unpacked: pathlib.Path):
        self.folder, self.unpacked = folder, unpacked

    def download(self, urls):
        return self._each(urls, lambda name: self.folder / name)

    def download_and_extract(self, urls):
        return self._each(urls, self._extract)

    def _each(self, urls, make):
        if isinstance(urls, str):
            return make(urls.rsplit("/", 1)[1])
        return {key: self._each(url, make) for key, url in urls.items()}

    def _extract(self, name):
        target = self.unpacked / name
        if name.endswith(".tar.gz"):
            with tarfile.open(self.folder / name) as tar:
                tar.extractall(target, filter="data")
        else:
            target.write_bytes(gzip.decompress((self.folder / name).read_bytes()))
        return str(target)


def stock_examples(name: str, folder: pathlib.Path, monkeypatch) -> tuple[dict, list[str]]:
    """{split: [(key, example), ...]} and label names by TFDS's own code, TensorFlow's file API replaced."""
    cls = tfds.builder_cls(name)
    module = importlib.import_module(cls.__module__)
    gfile = types.SimpleNamespace(GFile=open)
    monkeypatch.setattr(module, "tf", types.SimpleNamespace(io=types.SimpleNamespace(gfile=gfile)))
    if "mnist" in name:
        monkeypatch.setattr(module, "_TRAIN_EXAMPLES", 12)
        monkeypatch.setattr(module, "_TEST_EXAMPLES", 5)
    (folder / "unpacked").mkdir()
    builder = cls(data_dir=folder / "nothing")
    splits = builder._split_generators(Folder(folder, folder / "unpacked"))
    if not isinstance(splits, dict):
        splits = {str(split.name): builder._generate_examples(**split.gen_kwargs) for split in splits}
    return {str(split): list(examples) for split, examples in splits.items()}, builder.info.features["label"].names
