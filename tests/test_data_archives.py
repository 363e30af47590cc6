"""Data sets downloaded or put by hand as archives, prepared and loaded; wrong and corrupt archives."""

import functools
import hashlib
import http.server
import pathlib
import shutil
import tarfile
import threading
import types

import numpy as np
import pytest
import tensorflow_datasets as tfds
from dataset_archives import NAMES, WRITERS, stock_examples, write_tar
from PIL import Image

from sidae_jax.data import builders, load
from sidae_jax.errors import UserError


@pytest.fixture(autouse=True)
def no_user_folders(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for variable in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(variable, raising=False)


def with_checksums_of(name: str, folder: pathlib.Path, **attributes):
    """Our builder of `name` whose registered checksums are those of the small archives in `folder`."""
    ours = builders.BUILDERS[name]
    url_infos = {}
    for url, info in ours.url_infos.items():
        content = (folder / info.filename).read_bytes()
        url = url.replace(getattr(ours, "URL", "none"), attributes.get("URL", "none"))
        url_infos[url] = tfds.download.checksums.UrlInfo(
            size=tfds.core.utils.Size(len(content)),
            checksum=hashlib.sha256(content).hexdigest(),
            filename=info.filename,
        )
    body = {"name": name, "url_infos": url_infos, **attributes}
    small = types.new_class(ours.__name__, (ours,), {"skip_registration": True}, lambda ns: ns.update(body))
    small.__module__ = ours.__module__
    return small


@pytest.fixture
def server(tmp_path):
    """The folder of archives, served over HTTP on the loopback; yields its URL."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    handler = functools.partial(Quiet, directory=tmp_path / "archives")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}/"
        running.shutdown()
        thread.join()


def archives(name: str, tmp_path: pathlib.Path) -> pathlib.Path:
    (tmp_path / "archives").mkdir()
    WRITERS[name](tmp_path / "archives")
    return tmp_path / "archives"


def by_hand(tmp_path: pathlib.Path) -> pathlib.Path:
    """The TFDS folder where the archives were put by hand, as the offline error proposes."""
    manual = tmp_path / "tfds" / "downloads" / "manual"
    manual.parent.mkdir(parents=True)
    (tmp_path / "archives").rename(manual)
    return tmp_path / "tfds"


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist"])
def test_downloaded_and_prepared_and_loaded(name, tmp_path, monkeypatch, server):
    folder = archives(name, tmp_path)
    expected, _ = stock_examples(name, folder, monkeypatch)
    monkeypatch.setitem(builders.BUILDERS, name, with_checksums_of(name, folder, URL=server))
    (tmp_path / "tfds").mkdir()
    for split, count in (("train", 12), ("test", 5)):
        loaded = load(name, split, str(tmp_path / "tfds"))
        assert loaded.images.shape == (count, 32, 32, 3)
        wanted = {}
        for _, example in expected[split]:
            image = Image.fromarray(np.squeeze(example["image"])).resize((32, 32), Image.Resampling.BILINEAR)
            wanted[np.asarray(image).tobytes()] = example["label"]
        for image, label in zip(loaded.images, loaded.labels, strict=True):
            assert wanted.pop(image[..., 1].tobytes()) == label
    assert [path.name for path in (tmp_path / "tfds" / name).iterdir()] == ["3.0.1"]


def test_cifar10_from_an_archive_put_by_hand(tmp_path, monkeypatch):
    folder = archives("cifar10", tmp_path)
    expected, _ = stock_examples("cifar10", folder, monkeypatch)
    small = with_checksums_of("cifar10", folder)
    monkeypatch.setitem(builders.BUILDERS, "cifar10", small)
    data_dir = by_hand(tmp_path)
    loaded = load("cifar10", "train+test", str(data_dir))
    builder = small(data_dir=data_dir)
    assert builder.info.features["label"].names == NAMES
    wanted = {example["id"]: example for split in expected.values() for _, example in split}
    records = [record for split in ("train", "test") for record in builder.as_data_source(split)]
    assert len(records) == len(wanted) == len(loaded.images) == 18
    for record, image, label in zip(records, loaded.images, loaded.labels, strict=True):
        example = wanted[record["id"].decode()]
        assert label == example["label"]
        np.testing.assert_array_equal(image, example["image"])


@pytest.mark.parametrize(
    ("name", "counts", "num_classes"),
    [("cifar100", {"train": 15, "test": 4}, 100), ("svhn_cropped", {"train": 12, "test": 10, "extra": 3}, 10)],
)
def test_cifar100_and_svhn_from_archives_put_by_hand(tmp_path, monkeypatch, name, counts, num_classes):
    folder = archives(name, tmp_path)
    expected, names = stock_examples(name, folder, monkeypatch)
    monkeypatch.setitem(builders.BUILDERS, name, with_checksums_of(name, folder))
    data_dir = by_hand(tmp_path)
    for split, count in counts.items():
        loaded = load(name, split, str(data_dir))
        assert (len(loaded.images), loaded.class_names) == (count, tuple(names))
        assert loaded.num_classes == num_classes
        wanted = {example["image"].tobytes(): int(example["label"]) for _, example in expected[split]}
        assert [wanted[image.tobytes()] for image in loaded.images] == list(loaded.labels)


def test_stl10_from_an_archive_put_by_hand(tmp_path, monkeypatch):
    folder = archives("stl10", tmp_path)
    expected, _ = stock_examples("stl10", folder, monkeypatch)
    monkeypatch.setitem(builders.BUILDERS, "stl10", with_checksums_of("stl10", folder))
    data_dir = by_hand(tmp_path)
    for split, count in (("train", 10), ("test", 4), ("unlabelled", 5)):
        loaded = load("stl10", split, str(data_dir))
        assert loaded.images.shape == (count, 32, 32, 3)
        assert loaded.num_classes == 10
        assert sorted(loaded.labels) == sorted(int(example["label"]) for _, example in expected[split])
        wanted = {}
        for _, example in expected[split]:
            image = Image.fromarray(example["image"]).resize((32, 32), Image.Resampling.BILINEAR)
            wanted[np.asarray(image).tobytes()] = example["label"]
        assert [wanted[image.tobytes()] for image in loaded.images] == list(loaded.labels)
    assert set(loaded.labels) == {-1}


def test_more_than_fits_in_memory_is_shuffled_on_disk(tmp_path, monkeypatch):
    folder = archives("stl10", tmp_path)
    monkeypatch.setitem(builders.BUILDERS, "stl10", with_checksums_of("stl10", folder))
    data_dir = by_hand(tmp_path)
    in_memory = load("stl10", "train+unlabelled", str(data_dir))
    shutil.rmtree(data_dir / "stl10")
    # TFDS's own limit is 1 GB, which STL-10's unlabelled images exceed; a test image has 27 kB.
    monkeypatch.setattr("tensorflow_datasets.core.shuffle.MAX_MEM_BUFFER_SIZE", 60_000)
    on_disk = load("stl10", "train+unlabelled", str(data_dir))
    np.testing.assert_array_equal(on_disk.images, in_memory.images)
    np.testing.assert_array_equal(on_disk.labels, in_memory.labels)
    assert [path.name for path in (data_dir / "stl10").iterdir()] == ["1.0.0"]
    assert not list(data_dir.rglob("*.tmp"))


def test_a_wrong_archive_is_told(tmp_path, monkeypatch):
    folder = archives("cifar10", tmp_path)
    monkeypatch.setitem(builders.BUILDERS, "cifar10", with_checksums_of("cifar10", folder))
    data_dir = by_hand(tmp_path)
    archive = data_dir / "downloads" / "manual" / "cifar-10-binary.tar.gz"
    archive.write_bytes(archive.read_bytes()[:-1])
    with pytest.raises(UserError, match=r"'cifar10' could not be prepared .*wrong checksum.*delete.*downloads"):
        load("cifar10", "train", str(data_dir))
    assert not list((data_dir / "cifar10").iterdir())


@pytest.mark.parametrize("corruption", ["truncated", "no member", "odd size"])
def test_a_corrupt_archive_is_told(tmp_path, monkeypatch, corruption):
    folder = archives("cifar10", tmp_path)
    archive = folder / "cifar-10-binary.tar.gz"
    if corruption == "truncated":
        archive.write_bytes(archive.read_bytes()[:-5000])
    else:
        with tarfile.open(archive) as tar:
            files = {member.name: tar.extractfile(member).read() for member in tar}
        if corruption == "no member":
            del files["cifar-10-batches-bin/test_batch.bin"]
        else:
            files["cifar-10-batches-bin/test_batch.bin"] += b"x"
        write_tar(archive, files)
    # As if the disk had failed after the check.
    monkeypatch.setitem(builders.BUILDERS, "cifar10", with_checksums_of("cifar10", folder))
    data_dir = by_hand(tmp_path)
    with pytest.raises(UserError, match="'cifar10' could not be prepared"):
        load("cifar10", "train", str(data_dir))
    assert not list((data_dir / "cifar10").iterdir())


def test_an_archive_that_is_gone_from_its_server_is_told(tmp_path, monkeypatch, server):
    folder = archives("mnist", tmp_path)
    monkeypatch.setitem(builders.BUILDERS, "mnist", with_checksums_of("mnist", folder, URL=server))
    for file in folder.iterdir():
        file.unlink()
    (tmp_path / "tfds").mkdir()
    with pytest.raises(UserError, match="HTTP status 404"):
        load("mnist", "train", str(tmp_path / "tfds"))


def test_a_folder_of_the_name_is_no_file_of_the_archive(tmp_path):
    with tarfile.open(tmp_path / "a.tar.gz", "w:gz") as tar:
        folder = tarfile.TarInfo("batch.bin")
        folder.type = tarfile.DIRTYPE
        tar.addfile(folder)
    with (
        pytest.raises(ValueError, match=r"a\.tar\.gz holds no batch\.bin"),
        builders.open_member(tmp_path / "a.tar.gz", "batch.bin"),
    ):
        pass
    with pytest.raises(ValueError, match=r"a\.tar\.gz holds no batch\.bin"):
        builders.read_members(tmp_path / "a.tar.gz", ["batch.bin"])
