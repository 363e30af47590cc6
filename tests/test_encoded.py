"""Images that are decoded when they are read: the rows, sums, checksums and batches of decoded ones, to the bit."""

import jax
import numpy as np
import pytest
from image_folders import TEXT, write_digits
from jax.sharding import Mesh

from sidae_jax import mesh
from sidae_jax.data import decode, load, normalization
from sidae_jax.data.encoded import EncodedImages
from sidae_jax.errors import UserError
from sidae_jax.settings import FolderSettings
from sidae_jax.training import input_pipeline


@pytest.fixture(params=["folder", "digits"])
def both(request, tmp_path, cache_folder, prepared_digits):
    """Loads a split, decoded and encoded."""
    if request.param == "folder":
        write_digits(tmp_path / "images", 200, damaged={7: TEXT, 150: TEXT})
    folder = FolderSettings(f"{tmp_path}/images", on_damage="skip") if request.param == "folder" else None

    def load_both(split, size=32, kinds=(False, True)):
        return [
            load(request.param, split, str(prepared_digits), folder=folder, size=size, encoded=encoded)
            for encoded in kinds
        ]

    return load_both


@pytest.mark.parametrize(("split", "size"), [("train", 32), ("test[:50%]", 48), ("train[3:20]", 32)])
def test_they_are_the_decoded_images(both, split, size):
    decoded, encoded = both(split, size)
    assert isinstance(encoded.images, EncodedImages)
    assert (len(encoded.images), encoded.images.shape) == (len(decoded.images), decoded.images.shape)
    assert encoded.images.nbytes == decoded.images.nbytes
    np.testing.assert_array_equal(encoded.labels, decoded.labels)
    rows = np.array([2, 0, 7, 7, len(decoded.images) - 1])
    np.testing.assert_array_equal(encoded.images[rows], decoded.images[rows])
    np.testing.assert_array_equal(encoded.images[2:9][np.arange(7)], decoded.images[2:9])
    assert normalization.measure(encoded.images) == normalization.measure(decoded.images)
    assert encoded.sha256() == decoded.sha256()


def test_nothing_is_stored_decoded_and_the_second_start_decodes_nothing(both, cache_folder, monkeypatch):
    (first,) = both("train", kinds=[True])
    sha256 = first.sha256()
    assert sum(path.stat().st_size for path in cache_folder.iterdir()) < first.images.nbytes / 10
    monkeypatch.setattr(decode, "decode_image", None)
    (second,) = both("train", kinds=[True])
    assert second.sha256() == sha256


def test_the_batches_are_the_same_to_the_bit(both):
    everything = Mesh(np.array(jax.devices()), (mesh.AXIS,))
    order = input_pipeline.batch_order(100, 16, seed=3)
    decoded, encoded = (
        list(input_pipeline.stream_batches(images, order, 16, everything, start=5, end=14)) for images in both("train")
    )
    assert len(decoded) == len(encoded) == 9
    for (_, one), (_, other) in zip(decoded, encoded, strict=True):
        np.testing.assert_array_equal(one.images, other.images)
        np.testing.assert_array_equal(one.labels, other.labels)


def test_a_sum_of_splits_is_told(both):
    with pytest.raises(UserError, match=r"config.input=decode cannot read a sum of splits, such as 'train\+test'"):
        both("train+test")


def test_a_file_that_changes_while_a_run_reads_it_ends_the_run_with_a_sentence(tmp_path, cache_folder):
    paths = write_digits(tmp_path / "images", 64)
    images = load("folder", "train", folder=FolderSettings(f"{tmp_path}/images", test_share=0.0), encoded=True)
    paths[10].write_bytes(b"other")
    everything = Mesh(np.array(jax.devices()), (mesh.AXIS,))
    order = input_pipeline.batch_order(64, 16, seed=0)
    with pytest.raises(UserError, match=rf"{paths[10].name} changes while it is read"):
        list(input_pipeline.stream_batches(images, order, 16, everything, start=0, end=4))
