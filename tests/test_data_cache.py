"""The cache of decoded images: made once, made again where it is corrupt, done without where it must be."""

import logging
import os
import pathlib
import shutil

import numpy as np
import pytest

from sidae_jax import array_cache
from sidae_jax.data import load, tfds_source

pytestmark = pytest.mark.usefixtures("cache_folder")


@pytest.fixture
def decodings(monkeypatch) -> list[str]:
    """The splits that are decoded, as they are."""
    seen, real = [], tfds_source.TfdsSource._decode

    def spy(self, split, start):
        seen.append(split)
        return real(self, split, start)

    monkeypatch.setattr(tfds_source.TfdsSource, "_decode", spy)
    return seen


def test_a_split_is_decoded_once(prepared_digits, decodings):
    first = load("digits", "test", str(prepared_digits))
    second = load("digits", "test[:50]", str(prepared_digits))
    assert decodings == ["test"]
    assert isinstance(second.images, np.memmap)
    np.testing.assert_array_equal(second.images, first.images[:50])


@pytest.mark.parametrize("corruption", ["bit of images", "bit of labels", "truncated", "sidecar", "empty sidecar"])
def test_a_corrupt_cache_is_made_again(prepared_digits, cache_folder, decodings, caplog, corruption):
    good = load("digits", "test", str(prepared_digits)).sha256()
    part = "json" if "sidecar" in corruption else "labels.npy" if "labels" in corruption else "images.npy"
    (path,) = cache_folder.glob(f"*.{part}")
    content = path.read_bytes()
    if corruption.startswith("bit"):
        path.write_bytes(content[:1000] + bytes([content[1000] ^ 4]) + content[1001:])
    else:
        path.write_bytes({"truncated": content[:-1], "sidecar": content[:20], "empty sidecar": b"{}"}[corruption])
    with caplog.at_level(logging.WARNING):
        assert load("digits", "test", str(prepared_digits)).sha256() == good
    assert decodings == ["test", "test"]
    assert "corrupt" in caplog.text
    assert path.read_bytes() == content
    assert sorted(p.suffix for p in cache_folder.iterdir()) == [".json", ".npy", ".npy"]
    load("digits", "test", str(prepared_digits))
    assert len(decodings) == 2


def test_other_record_files_make_another_cache(prepared_digits, tmp_path, decodings):
    folder = tmp_path / "tfds"
    shutil.copytree(prepared_digits, folder)
    load("digits", "test", str(folder))
    (record,) = folder.glob("digits/1.0.0/*test*")
    os.utime(record, ns=(0, record.stat().st_mtime_ns + 1))
    load("digits", "test", str(folder))
    assert decodings == ["test", "test"]


def test_a_cache_that_cannot_be_written_is_done_without(prepared_digits, tmp_path, monkeypatch, caplog):
    good = load("digits", "test", str(prepared_digits)).sha256()
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with caplog.at_level(logging.WARNING):
        loaded = load("digits", "test", str(prepared_digits))
    assert loaded.sha256() == good
    assert not loaded.images.flags.writeable
    assert "XDG_CACHE_HOME" in caplog.text


def test_the_cache_lies_in_the_home_folder(monkeypatch):
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/home/somebody")
    assert array_cache.user_folder() == pathlib.Path("/home/somebody/.cache/sidae_jax")
