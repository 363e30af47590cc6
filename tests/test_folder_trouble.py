"""A folder of images that changes, cannot be read, or has names that are not clear."""

import os
import sys

import numpy as np
import pytest
from image_folders import write_digits

from sidae_jax.data import Images, decoding, load
from sidae_jax.errors import UserError
from sidae_jax.evaluation import results
from sidae_jax.settings import FolderSettings

pytestmark = pytest.mark.usefixtures("cache_folder")


def images_of(root, split="train", *, encoded=False, **changes) -> Images:
    return load("folder", split, folder=FolderSettings(images=str(root), **changes), encoded=encoded)


def test_a_file_that_changes_while_it_is_read_is_told(tmp_path, monkeypatch):
    paths = write_digits(tmp_path / "digits", 20)
    real = decoding.in_threads

    def late(*arguments):
        os.utime(paths[7], ns=(0, 1))
        return real(*arguments)

    monkeypatch.setattr(decoding, "in_threads", late)
    with pytest.raises(UserError, match=rf"{paths[7].name} changes while it is read: start again"):
        images_of(tmp_path / "digits", test_share=0.0)


def test_a_file_that_cannot_be_read_is_no_damage_that_the_cache_keeps(tmp_path, monkeypatch):
    paths = write_digits(tmp_path / "digits", 20)
    away, real = tmp_path / "away", decoding.in_threads

    def late(*arguments):
        paths[7].rename(away)
        return real(*arguments)

    with monkeypatch.context() as patched:
        patched.setattr(decoding, "in_threads", late)
        with pytest.raises(UserError, match=rf"{paths[7].name} cannot be read \(No such file .*\): make it readable"):
            images_of(tmp_path / "digits", test_share=0.0, on_damage="skip")
    away.rename(paths[7])  # with its size and time
    assert len(images_of(tmp_path / "digits", test_share=0.0, on_damage="skip").images) == 20


def test_a_file_that_goes_away_later_is_told_where_images_stay_encoded(tmp_path):
    paths = write_digits(tmp_path / "digits", 20)
    loaded = images_of(tmp_path / "digits", test_share=0.0, encoded=True)
    paths[7].unlink()
    with pytest.raises(UserError, match=rf"{paths[7].name} cannot be read"):
        loaded.images[np.arange(20)]


def test_names_of_classes_can_be_printed(tmp_path):
    write_digits(tmp_path / "digits", 20)
    (tmp_path / "digits/1").rename(tmp_path / "digits" / os.fsdecode(b"caf\xe9"))
    names = images_of(tmp_path / "digits", "train+test").class_names
    assert "\n".join(names).encode()
    assert names[-1] == r"'caf\udce9'"


def test_splits_beside_other_folders_are_refused(tmp_path):
    for name in ("train", "test", "extra"):
        write_digits(tmp_path / "digits" / name, 5)
    with pytest.raises(UserError, match="has the folders extra, test, train, which are neither all splits nor all cla"):
        images_of(tmp_path / "digits")


def test_names_with_brackets_are_no_markup(tmp_path, monkeypatch, capsys):
    root = tmp_path / "[old] a[" / "b]"
    write_digits(root, 20)
    controller, terminal = os.openpty()
    with open(terminal, "w") as stderr, monkeypatch.context() as patched:
        patched.setattr(sys, "stderr", stderr)
        assert len(images_of(root, test_share=0.0).images) == 20  # "[/b]" would end a style that never began
    os.close(controller)
    results.print_table("linear probe, classes [red] cat", [{"step": 1, "epoch": 1, "accuracy": 0.5, "seconds": 1.0}])
    assert "classes [red] cat" in capsys.readouterr().out
