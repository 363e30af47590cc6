"""A folder of images as a data set: its pixels and labels, damaged files, the cache, and what is never written."""

import dataclasses
import logging
import os
import pathlib
import re
import shutil

import numpy as np
import pytest
from image_folders import BOMB, CUT, EMPTY, TEXT, ZEROS, write_digits
from PIL import Image, ImageOps

from sidae_jax.data import folder_source, load
from sidae_jax.errors import UserError
from sidae_jax.settings import FolderSettings

pytestmark = pytest.mark.usefixtures("cache_folder")
DAMAGED = {3: TEXT, 11: EMPTY, 12: CUT, 40: BOMB, 77: ZEROS}


def settings(root, **changes):
    return FolderSettings(images=str(root), **changes)


def images_of(root, split="train", size=32, **changes):
    return load("folder", split, folder=settings(root, **changes), size=size)


@pytest.fixture
def decoded(monkeypatch) -> list[str]:
    """The names of the files that are decoded, as they are."""
    names, real = [], folder_source.FolderSource._read

    def spy(self, file):
        names.append(file.name)
        return real(self, file)

    monkeypatch.setattr(folder_source.FolderSource, "_read", spy)
    return names


def by_pil(path, size):
    """By PIL alone, the whole image resized and then cropped."""
    with Image.open(path) as image:
        upright = ImageOps.exif_transpose(image).convert("RGB")
    return np.asarray(upright.resize((size, size), Image.Resampling.BILINEAR))


@pytest.mark.parametrize("size", [32, 64])
def test_the_images_and_labels_of_a_folder(tmp_path, size):
    paths = write_digits(tmp_path / "digits", 150)
    loaded = images_of(tmp_path / "digits", "train+test", size)
    assert (loaded.images.dtype, loaded.labels.dtype) == (np.uint8, np.int32)
    assert loaded.class_names == tuple("0123456789")
    expected = {by_pil(path, size).tobytes(): int(path.parent.name) for path in paths}
    assert len(expected) == len(loaded.images) == 150
    assert [expected[image.tobytes()] for image in loaded.images] == list(loaded.labels)


def test_the_order_is_that_of_the_paths_and_slices_are_tfds_slices(tmp_path):
    paths = sorted(write_digits(tmp_path / "digits", 100))
    loaded = images_of(tmp_path / "digits", test_share=0.0)
    np.testing.assert_array_equal(loaded.images, [by_pil(path, 32) for path in paths])
    assert isinstance(loaded.images, np.memmap)
    part = images_of(tmp_path / "digits", "train[10%:20]", test_share=0.0)
    np.testing.assert_array_equal(part.images, loaded.images[10:20])
    np.testing.assert_array_equal(part.labels, loaded.labels[10:20])
    for array in (loaded.images, loaded.labels):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0


def test_test_is_the_validation_folder_where_there_is_no_other(tmp_path):
    write_digits(tmp_path / "digits/train", 40)
    write_digits(tmp_path / "digits/val", 20)
    for split in ("test", "val"):
        np.testing.assert_array_equal(
            images_of(tmp_path / "digits", split).images, images_of(tmp_path / "digits/val", test_share=0.0).images
        )
    with pytest.raises(UserError, match=r"has no split 'tests' \(train: 40 images, val: 20 images\).*--config.test_sp"):
        images_of(tmp_path / "digits", "tests")


def test_a_flat_folder_has_no_labels(tmp_path):
    for path in write_digits(tmp_path / "digits", 30):
        (tmp_path / "flat").mkdir(exist_ok=True)
        path.rename(tmp_path / "flat" / path.name)
    loaded = images_of(tmp_path / "flat", "train+test")
    assert (len(loaded.images), set(loaded.labels), loaded.class_names) == (30, {-1}, ())


def test_damaged_files_are_refused_by_name_or_skipped(tmp_path, cache_folder, caplog, decoded):
    root = tmp_path / "digits"
    paths = write_digits(root, 100, damaged=DAMAGED)
    (root / "0/link.jpg").symlink_to(root / "1")
    with pytest.raises(UserError, match=r"1 of the 101 files .* \(0/link.jpg: is a link to a folder\)"):
        images_of(root, test_share=0.0)
    assert not decoded  # the links are known before
    (root / "0/link.jpg").unlink()

    with pytest.raises(UserError) as refused:
        images_of(root, test_share=0.0)
    assert re.fullmatch(
        r"5 of the 100 files of the folder config.images=\S+, split train, cannot be used \(.*; .*; .*; ...\), all "
        r"listed in \S+.damaged.txt: mend or remove them, or give --config.on_damage=skip to do without them",
        str(refused.value),
    )
    assert len(decoded) == 100
    with caplog.at_level(logging.WARNING):
        loaded = images_of(root, test_share=0.0, on_damage="skip")
    assert len(decoded) == 100  # none again
    assert "5 of the 100 files" in caplog.text
    intact = sorted(path for index, path in enumerate(paths) if index not in DAMAGED)
    np.testing.assert_array_equal(loaded.images, [by_pil(path, 32) for path in intact])
    assert [str(label) for label in loaded.labels] == [path.parent.name for path in intact]
    listed = pathlib.Path(re.search(r"listed in (\S+):", str(refused.value))[1])
    assert listed.parent == cache_folder
    lines = dict(line.split(": ", 1) for line in listed.read_text().splitlines())
    assert sorted(lines) == sorted(str(paths[index].relative_to(root)) for index in DAMAGED)
    wanted = {TEXT: "is no image", EMPTY: "is empty", CUT: "truncated|Truncated", BOMB: "more pixels", ZEROS: "is no"}
    for index, kind in DAMAGED.items():
        assert re.search(wanted[kind], lines[str(paths[index].relative_to(root))])
    with pytest.raises(UserError, match="5 of the 100 files"):  # the cache does not make them good
        images_of(root, test_share=0.0)


def test_a_folder_without_an_intact_image_is_told(tmp_path):
    write_digits(tmp_path / "digits", 3, damaged=dict.fromkeys(range(3), EMPTY))
    with pytest.raises(UserError, match=r"'train' of the folder .* holds no image \(train: 0 images\)"):
        images_of(tmp_path / "digits", test_share=0.0, on_damage="skip")


def test_a_file_of_absurd_size_is_not_read(tmp_path):
    write_digits(tmp_path / "digits", 3)
    with open(tmp_path / "digits/large.jpg", "wb") as file:
        file.truncate(1 << 30)  # takes no room
    (tmp_path / "digits/large.jpg").rename(tmp_path / "digits/0/large.jpg")
    with pytest.raises(UserError, match=r"0/large.jpg: has 1073741824 bytes, more than 536870912"):
        images_of(tmp_path / "digits", test_share=0.0)


def test_the_folder_is_only_read(tmp_path):
    root = tmp_path / "digits"
    write_digits(root, 40, damaged=DAMAGED)
    paths = [root, *root.rglob("*")]
    for path in paths:
        path.chmod(0o555 if path.is_dir() else 0o444)
    before = {path: path.stat().st_mtime_ns for path in paths}
    try:
        images_of(root, "train+test", on_damage="skip")
        assert {path: path.stat().st_mtime_ns for path in [root, *root.rglob("*")]} == before
    finally:
        for path in paths:  # so that pytest can delete it
            path.chmod(0o755)


def test_a_changed_folder_is_not_served_from_the_old_cache(tmp_path, decoded):
    root = tmp_path / "digits"
    paths = write_digits(root, 20)

    def number_decoded(**changes):
        decoded.clear()
        images_of(root, test_share=0.0, on_damage="skip", **changes)
        return len(decoded)

    assert [number_decoded(), number_decoded()] == [20, 0]
    assert [number_decoded(size=64), number_decoded(size=64)] == [20, 0]
    os.utime(paths[0], ns=(0, paths[0].stat().st_mtime_ns + 1))
    assert number_decoded() == 20
    status = paths[1].stat()
    paths[1].write_bytes(paths[1].read_bytes() + b"\0")
    os.utime(paths[1], ns=(0, status.st_mtime_ns))
    assert number_decoded() == 20
    paths[2].rename(paths[2].with_name("other.jpg"))
    assert number_decoded() == 20
    paths[3].unlink()
    assert number_decoded() == 19
    shutil.copytree(root, tmp_path / "copy")
    decoded.clear()
    images_of(tmp_path / "copy", test_share=0.0)
    assert len(decoded) == 19


def test_classes_of_another_split_do_not_decode_this_one_again(tmp_path, decoded):
    write_digits(tmp_path / "digits/train", 20)
    write_digits(tmp_path / "digits/test", 5)
    before = images_of(tmp_path / "digits")
    (tmp_path / "digits/test/00").mkdir()
    shutil.copy(next((tmp_path / "digits/test/1").iterdir()), tmp_path / "digits/test/00/1.jpg")
    decoded.clear()
    after = images_of(tmp_path / "digits")
    assert not decoded
    assert after.class_names == ("0", "00", *"123456789")
    names = [[loaded.class_names[label] for label in loaded.labels] for loaded in (before, after)]
    assert names[0] == names[1]


@pytest.mark.parametrize(
    ("images", "says"),
    [
        ("{tmp}/missing", "config.images={tmp}/missing does not exist: give the folder of your images"),
        ("{tmp}/file", "config.images={tmp}/file is not a folder: give"),
        ("{tmp}/empty", "config.images={tmp}/empty holds no file: give"),
        ("", "config.images= does not exist: give"),
        (None, "config.images=None does not exist: give"),
    ],
)
def test_a_wrong_folder_is_told(tmp_path, images, says):
    (tmp_path / "file").touch()
    (tmp_path / "empty").mkdir()
    folder = dataclasses.replace(FolderSettings(), images=images and images.format(tmp=tmp_path))
    with pytest.raises(UserError, match=re.escape(says.format(tmp=tmp_path))):
        load("folder", "train", folder=folder)
