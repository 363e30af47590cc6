"""Any data set that lies prepared in a TFDS folder, without a class of ours: synthetic ones, written by TFDS."""

import json

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

from sidae_jax import data
from sidae_jax.data import load, prepared
from sidae_jax.data.png import encode_png
from sidae_jax.errors import UserError

pytestmark = pytest.mark.usefixtures("cache_folder")
NAMES = ["cat", "dog", "emu"]
SHAPES = [(40, 60, 3), (32, 32, 3), (7, 9, 3), (64, 64, 3)]


def images(split):
    rng = np.random.default_rng(len(split))
    return [rng.integers(0, 256, SHAPES[i % 4], np.uint8) for i in range({"train": 100}.get(split, 8))]


def prepare(folder, name, splits=("train", "validation"), *, config=None, version="1.0.0", label=True, image=True):
    """Writes a data set as TFDS does, with random access."""
    features = {"number": tfds.features.Scalar(np.int64)}
    if image:
        features |= {"image": tfds.features.Image(shape=(None, None, 3)), "mask": tfds.features.Image(shape=(2, 2, 1))}
    if label:
        features |= {"label": tfds.features.ClassLabel(names=NAMES)}

    class Pets(tfds.core.GeneratorBasedBuilder, skip_registration=True):
        VERSION = tfds.core.Version(version)
        BUILDER_CONFIGS = [tfds.core.BuilderConfig(name=config)] if config else []

        def _info(self):
            return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

        def _split_generators(self, dl_manager):
            return {split: self._generate_examples(split) for split in splits}

        def _generate_examples(self, split):
            for number, pixels in enumerate(images(split)):
                example = {"number": number}
                if image:
                    example |= {"image": encode_png(pixels), "mask": encode_png(pixels[:2, :2, 0])}
                if label:
                    example |= {"label": number % 3}
                yield number, example

    Pets.name = name
    Pets(data_dir=folder).download_and_prepare(file_format="array_record")
    return folder


def square(pixels, size):
    """Shorter side to `size` by PIL on the whole image, then the middle."""
    height, width = pixels.shape[:2]
    short = min(height, width)
    left, top = (width - short) // 2, (height - short) // 2
    box = (left, top, left + short, top + short)
    return np.asarray(Image.fromarray(pixels).resize((size, size), Image.Resampling.BILINEAR, box))


@pytest.mark.parametrize("size", [32, 64])
def test_images_and_labels_of_a_data_set_without_a_class_of_ours(tmp_path, size):
    prepare(tmp_path, "pets")
    loaded = load("pets", "train", str(tmp_path), size=size)
    assert loaded.images.shape == (100, size, size, 3)
    assert loaded.class_names == tuple(NAMES)
    wanted = {square(pixels, size).tobytes(): number % 3 for number, pixels in enumerate(images("train"))}
    assert [wanted[image.tobytes()] for image in loaded.images] == list(loaded.labels)
    part = load("pets", "train[:1%]+train[5%:7%]", str(tmp_path), size=size)
    np.testing.assert_array_equal(part.images, loaded.images[[0, 5, 6]])
    test, validation = (load("pets", split, str(tmp_path), size=size) for split in ("test", "validation"))
    np.testing.assert_array_equal(test.images, validation.images)
    assert len(test.images) == 8


def test_a_data_set_without_labels(tmp_path):
    prepare(tmp_path, "pets", ["train"], label=False)
    loaded = load("pets", "train", str(tmp_path))
    assert (set(loaded.labels), loaded.class_names) == ({-1}, ())
    with pytest.raises(UserError, match=r"dataset 'pets' has no split 'test' \(train: 100 images\)"):
        load("pets", "test", str(tmp_path))


def test_configs_and_versions(tmp_path):
    prepare(tmp_path, "pets", ["train"], config="small", version="1.9.0")
    prepare(tmp_path, "pets", ["train", "test"], config="small", version="1.10.0")
    for name in ("pets/small", "pets", "pets/small:1.10.0"):
        assert len(load(name, "test", str(tmp_path)).images) == 8
    with pytest.raises(UserError, match="has no split 'test'"):
        load("pets/small:1.9.0", "test", str(tmp_path))
    prepare(tmp_path, "pets", ["train"], config="large")
    with pytest.raises(UserError, match=r"dataset='pets' is unknown: .*\(pets/large, pets/small\); did you mean pets/"):
        load("pets", "train", str(tmp_path))


@pytest.mark.parametrize("name", ["pest", "../pets", "pets:2.0.0", "/", "", "pets/1.0.0"])
def test_a_name_that_is_neither_known_nor_prepared_is_refused(tmp_path, name):
    prepare(tmp_path, "pets", ["train"])
    with pytest.raises(UserError, match=r"is unknown: give one of cifar10, .*, digits, folder or one .*there|\(pets\)"):
        load(name, "train", str(tmp_path))
    with pytest.raises(UserError, match=r"lies prepared in .* \(no other does\)"):
        load("pest", "train", str(tmp_path / "pets"))


def test_a_name_is_checked_without_reading_the_data(tmp_path, monkeypatch):
    prepare(tmp_path, "pets", ["train"])
    for name in ("cifar10", "folder", "pets"):
        data.check_name(name, str(tmp_path))
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    data.check_name("pets", None)
    with pytest.raises(UserError, match=r"'pest' is unknown: .*; did you mean pets\?"):
        data.check_name("pest", None)


def test_a_data_set_that_has_no_images_is_told(tmp_path):
    prepare(tmp_path, "words", ["train"], image=False)
    with pytest.raises(UserError, match=r"'words' lies prepared in \S+ but has no feature `image` .*label, number"):
        load("words", "train", str(tmp_path))


def test_a_data_set_without_random_access_is_told(tmp_path):
    info = prepare(tmp_path, "pets", ["train"]) / "pets/1.0.0/dataset_info.json"
    info.write_text(json.dumps(json.loads(info.read_text()) | {"fileFormat": "tfrecord"}))
    with pytest.raises(UserError, match=r"'pets' lies prepared in \S+ as tfrecord, but array_record is wanted"):
        load("pets", "train", str(tmp_path))
    info.write_text("{")
    with pytest.raises(UserError, match="cannot read its folder pets"):
        load("pets", "train", str(tmp_path))


def test_what_is_no_data_set_is_not_found(tmp_path):
    (tmp_path / "pets/1.0.0").mkdir(parents=True)
    (tmp_path / "downloads/extracted").mkdir(parents=True)
    with pytest.raises(UserError, match="no other does"):
        prepared.folder_of("pets", tmp_path, ["digits"])
