"""The builders without TensorFlow, on small archives in the real formats, held against the stock code."""

import gzip
import io

import numpy as np
import pytest
import tensorflow_datasets as tfds
from dataset_archives import MNIST_FILES, WRITERS, Folder, stock_examples, write_mnist
from PIL import Image

from sidae_jax.data import builders


@pytest.mark.parametrize("name", sorted(WRITERS))
def test_builders_are_the_stock_ones(name, tmp_path):
    ours, stock = builders.BUILDERS[name](data_dir=tmp_path), tfds.builder(name, data_dir=tmp_path)
    assert tfds.builder_cls(name) is type(stock)  # ours are not registered in its place
    assert type(stock) in type(ours).__mro__
    assert ours.data_dir == stock.data_dir
    assert ours.url_infos == stock.url_infos != {}
    assert ours.info.features.to_json() == stock.info.features.to_json()


@pytest.mark.parametrize("name", sorted(WRITERS))
def test_examples_are_the_stock_ones(name, tmp_path, monkeypatch):
    WRITERS[name](tmp_path)
    expected, names = stock_examples(name, tmp_path, monkeypatch)
    builder = builders.BUILDERS[name](data_dir=tmp_path / "nothing")
    splits = builder._split_generators(Folder(tmp_path, tmp_path / "unpacked"))
    assert list(splits) == list(expected)
    assert builder.info.features["label"].names == names
    for split, examples in splits.items():
        examples = list(examples)
        assert [key for key, _ in examples] == [key for key, _ in expected[split]]
        for (_, example), (_, wanted) in zip(examples, expected[split], strict=True):
            assert example.keys() == wanted.keys()
            assert example["label"] == np.squeeze(wanted["label"])
            assert example.get("id") == wanted.get("id")
            assert example.get("coarse_label") == wanted.get("coarse_label")
            with Image.open(io.BytesIO(example["image"])) as image:
                np.testing.assert_array_equal(np.asarray(image), np.squeeze(wanted["image"]))


def test_idx_headers_are_checked(tmp_path):
    write_mnist(tmp_path)
    assert builders.read_idx(tmp_path / MNIST_FILES[0], ndim=3).shape == (12, 28, 28)
    with pytest.raises(ValueError, match="no IDX file"):
        builders.read_idx(tmp_path / MNIST_FILES[0], ndim=1)
    content = gzip.decompress((tmp_path / MNIST_FILES[1]).read_bytes())
    for wrong in (content[:-1], content + b"x", b"", b"\0" * 8):
        (tmp_path / "wrong.gz").write_bytes(gzip.compress(wrong))
        with pytest.raises(ValueError, match="no IDX file"):
            builders.read_idx(tmp_path / "wrong.gz", ndim=1)
