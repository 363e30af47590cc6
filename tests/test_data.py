"""sidae_jax.data on scikit-learn's digits, prepared for real: pixels, slices, folders, errors."""

import hashlib
import io
import json
import shutil
import time

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from sidae_jax.data import DATASETS, builders, decode, digits, load
from sidae_jax.errors import UserError

pytestmark = pytest.mark.usefixtures("cache_folder")


def resize_reference(image: np.ndarray) -> np.ndarray:
    """Bilinear with antialias to 32x32, from its definition: a triangle as wide as the reduction.

    The shorter side becomes 32, and the middle of the other is kept.
    """
    matrices, short = [], min(image.shape[:2])
    for size in image.shape[:2]:
        scale = short / 32
        centers = (size - short) // 2 + (np.arange(32)[:, None] + 0.5) * scale
        weights = np.maximum(0, 1 - abs(np.arange(size) + 0.5 - centers) / max(scale, 1))
        matrices.append(weights / weights.sum(axis=1, keepdims=True))
    return np.einsum("ij,kl,jl...->ik...", *matrices, image.astype(float))


def encode(image: np.ndarray, **options) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("shape", [(96, 96, 3), (28, 28), (8, 8), (40, 20, 3), (33, 101)])
def test_images_are_resized_with_antialias(shape):
    image = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    decoded = decode.decode_image(encode(image, format="PNG"), 32)
    assert decoded.shape == (32, 32, 3)
    assert decoded.dtype == np.uint8
    expected = resize_reference(image)
    expected = expected if expected.ndim == 3 else np.stack([expected] * 3, axis=-1)
    assert abs(decoded - expected).max() <= 1.01  # PIL rounds to whole numbers after each of two passes


def test_images_of_the_right_size_are_untouched():
    image = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    np.testing.assert_array_equal(decode.decode_image(encode(image, format="PNG"), 32), image)
    jpeg = encode(image, format="JPEG", quality=75)
    with Image.open(io.BytesIO(jpeg)) as pil:
        np.testing.assert_array_equal(decode.decode_image(jpeg, 32), np.asarray(pil))


@pytest.mark.parametrize(("split", "count"), [("train", 1437), ("test", 360)])
def test_digits_are_scikit_learns(prepared_digits, split, count):
    loaded = load("digits", split, str(prepared_digits))
    values, labels = load_digits(return_X_y=True)
    here = (np.arange(1797) % 5 == 0) == (split == "test")
    expected = np.stack([resize_reference(np.round(v.reshape(8, 8) * 255 / 16)) for v in values[here]])
    assert loaded.images.shape == (count, 32, 32, 3)
    assert (loaded.images.dtype, loaded.labels.dtype, loaded.num_classes) == (np.uint8, np.int32, 10)
    gray = loaded.images[..., 0].reshape(count, -1).astype(float)
    np.testing.assert_array_equal(loaded.images, loaded.images[..., :1].repeat(3, axis=3))
    # TFDS shuffles the records once: find each image's original.
    flat = expected.reshape(count, -1)
    distance = (gray**2).sum(1)[:, None] + (flat**2).sum(1) - 2 * gray @ flat.T
    original = distance.argmin(axis=1)
    assert sorted(original) == list(range(count))
    assert abs(gray - flat[original]).max() <= 1.01
    np.testing.assert_array_equal(loaded.labels, labels[here][original])


def test_slices_are_tfds_slices(prepared_digits):
    train, test = (load("digits", split, str(prepared_digits)) for split in ("train", "test"))
    for split, images, labels in [
        ("train[:10%]", train.images[:144], train.labels[:144]),
        ("train[:7]", train.images[:7], train.labels[:7]),
        ("train[-5:]", train.images[-5:], train.labels[-5:]),
        (
            "train[1430:]+test[:3]",
            np.concatenate([train.images[1430:], test.images[:3]]),
            np.concatenate([train.labels[1430:], test.labels[:3]]),
        ),
    ]:
        part = load("digits", split, str(prepared_digits))
        np.testing.assert_array_equal(part.images, images)
        np.testing.assert_array_equal(part.labels, labels)
        assert part.num_classes == 10
        with pytest.raises(ValueError, match="read-only"):
            part.images[0] = 0
        with pytest.raises(ValueError, match="read-only"):
            part.labels[0] = 0


def test_sha256_is_of_exactly_the_slice(prepared_digits):
    part = load("digits", "train[:9]", str(prepared_digits))
    data = b"9,32,32,3\n" + part.images.tobytes() + part.labels.astype("<i4").tobytes()
    assert part.sha256() == hashlib.sha256(data).hexdigest()
    assert part.sha256() == load("digits", "train[:9]", str(prepared_digits)).sha256()
    assert part.sha256() != load("digits", "train[1:10]", str(prepared_digits)).sha256()


def test_a_prepared_folder_is_only_read(prepared_digits, tmp_path):
    folder = tmp_path / "tfds"
    shutil.copytree(prepared_digits, folder)
    paths = [folder, *folder.rglob("*")]
    for path in paths:
        path.chmod(0o555 if path.is_dir() else 0o444)
    before = {path: path.stat().st_mtime_ns for path in paths}
    try:
        assert len(load("digits", "train", str(folder)).images) == 1437
        assert {path: path.stat().st_mtime_ns for path in [folder, *folder.rglob("*")]} == before
    finally:
        for path in paths:  # so that pytest can delete it
            path.chmod(0o755)


def test_the_default_folder_is_tfds_own(tmp_path, monkeypatch):
    monkeypatch.setattr("tensorflow_datasets.core.constants.DATA_DIR", str(tmp_path / "default"))
    assert len(load("digits", "test").images) == 360
    assert (tmp_path / "default" / "digits" / "1.0.0" / "dataset_info.json").exists()


def test_another_process_may_finish_first(tmp_path, monkeypatch):
    class Overtaken(digits.Digits, skip_registration=True):
        name = "digits"

        def _split_generators(self, dl_manager):
            digits.Digits(data_dir=tmp_path).download_and_prepare(file_format="array_record")
            return super()._split_generators(dl_manager)

    monkeypatch.setitem(builders.BUILDERS, "digits", Overtaken)
    assert len(load("digits", "test", str(tmp_path)).images) == 360
    assert [path.name for path in (tmp_path / "digits").iterdir()] == ["1.0.0"]


def test_the_known_names():
    assert sorted(builders.BUILDERS) == sorted(DATASETS)


@pytest.mark.parametrize(
    ("dataset", "split", "words"),
    [
        ("digitz", "train", ["dataset='digitz'", "did you mean digits", "fashion_mnist"]),
        ("digits", "trian", ["no split 'trian' (train: 1437 images, test: 360 images): give", "did you mean train?"]),
        ("digits", "train[:0]", ["split 'train[:0]'", "no image", "train: 1437 images", "--config.test_split"]),
        ("digits", "train[9:5]", ["no image"]),
        ("digits", "train[:2000]", ["train[:2000]", "1437"]),
        ("digits", "train[", ["Unrecognized split format", "'train[:10%]'"]),
        ("digits", "", ["no split ''", "--config.train_split"]),
        ("digits", "train+validation", ["has no split 'validation'"]),
    ],
)
def test_a_wrong_name_is_told(prepared_digits, dataset, split, words):
    _assert_told(words, dataset, split, str(prepared_digits))


def _assert_told(words, *arguments):
    start = time.monotonic()
    with pytest.raises(UserError) as error:
        load(*arguments)
    assert time.monotonic() - start < 5
    for word in words:
        assert str(word) in str(error.value)
    assert "\n" not in str(error.value)
    assert not str(error.value).endswith(".")


def test_a_wrong_folder_is_told(tmp_path):
    (tmp_path / "file").touch()
    missing = str(tmp_path / "missing")
    _assert_told([f"--config.data_dir={missing}: ", "does not exist", "mkdir"], "digits", "train", missing)
    _assert_told(["--config.data_dir=", "file", "not a folder"], "digits", "train", str(tmp_path / "file"))
    _assert_told(["--config.data_dir=: "], "digits", "train", "")


def test_a_wrong_default_folder_is_told(tmp_path, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "missing"))
    _assert_told([f"TFDS_DATA_DIR={tmp_path}/missing", "does not exist", "mkdir", "unset it"], "digits", "train")


def test_a_default_folder_that_cannot_be_written_is_told(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setattr("tensorflow_datasets.core.constants.DATA_DIR", str(tmp_path / "file" / "tfds"))
    _assert_told(["'digits'", tmp_path / "file" / "tfds", "data_dir"], "digits", "train")


@pytest.mark.parametrize("name", sorted(set(DATASETS) - {"digits"}))
def test_no_data_and_no_network_is_told_at_once(tmp_path, monkeypatch, name):
    for variable in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(variable, "http://127.0.0.1:9")  # nothing listens: as good as no network
    for variable in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(variable, raising=False)
    words = [
        f"'{name}'",
        tmp_path / name,
        tmp_path / "downloads" / "manual",
        "'digits'",
        "data_dir",
        "TFDS_DATA_DIR",
        ".mat" if name == "svhn_cropped" else ".gz",
    ]
    _assert_told(words, name, "train", str(tmp_path))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("corruption", ["missing", "truncated", "flipped", "info", "tfrecord"])
def test_a_corrupt_folder_is_told(prepared_digits, tmp_path, corruption):
    folder = tmp_path / "tfds"
    shutil.copytree(prepared_digits, folder)
    (record,) = folder.glob("digits/1.0.0/*test*")
    info = record.with_name("dataset_info.json")
    content = record.read_bytes()
    if corruption == "missing":
        record.unlink()
    elif corruption == "truncated":
        record.write_bytes(content[: len(content) // 2])
    elif corruption == "flipped":
        record.write_bytes(content[:1000] + bytes([content[1000] ^ 1]) + content[1001:])
    elif corruption == "info":
        info.write_text("{")
    else:
        info.write_text(json.dumps(json.loads(info.read_text()) | {"fileFormat": "tfrecord"}))
    wanted = "array_record is wanted" if corruption == "tfrecord" else "prepare"
    _assert_told(["digits", folder, "data_dir", wanted], "digits", "test", str(folder))
