"""Files that were made to do harm: each had an effect before, or was a traceback or no end."""

import json
import os
import shutil
import threading

import numpy as np
import pytest
from saved_runs import PRETRAINING, state_arrays
from test_prepared import prepare

from sidae_jax import array_cache, cli, growing_entry
from sidae_jax.data import load
from sidae_jax.data import prepare as data_prepare
from sidae_jax.errors import UserError
from sidae_jax.evaluation import picture_file, results
from sidae_jax.exports import encoder
from sidae_jax.runs import status, weights_file
from sidae_jax.runs.checkpoint import Checkpoints, CorruptCheckpoint
from sidae_jax.runs.workdir import Workdir


@pytest.fixture
def kept(tmp_path):
    path = tmp_path / "kept"
    path.write_text("kept")
    yield path
    assert path.read_text() == "kept"


def test_a_lock_that_is_a_link_is_refused(tmp_path, kept):
    run = tmp_path / "run"
    run.mkdir()
    (run / ".lock").symlink_to(kept)
    with pytest.raises(UserError, match=r"\.lock cannot be written"):
        Workdir(run, PRETRAINING, lock=True)
    with pytest.raises(UserError, match=r"\.lock is no regular file"):
        results.add(run / "linear.jsonl", {"step": 0})


def test_parts_of_a_cache_are_not_written_through_a_link(tmp_path, kept):
    entry = array_cache.Entry(tmp_path, "some", {"of": "one"})
    entry.path("images.npy.part").symlink_to(kept)
    with pytest.raises(OSError, match="symbolic link"):
        growing_entry.GrowingEntry.opened(entry, {"images": ((2,), np.uint8)}, 3)


@pytest.mark.parametrize("item", ["metadata/metadata", "state/_METADATA"])
@pytest.mark.parametrize("make", [os.mkfifo, lambda path: os.symlink("/dev/zero", path)], ids=["pipe", "device"])
def test_a_pipe_or_a_device_in_a_checkpoint_is_not_read(tmp_path, item, make):
    with Checkpoints(tmp_path, read_only=False) as checkpoints:
        checkpoints.save(1, {"a": np.ones(3, np.float32)}, {"step": 1}, scheduled=True)
        path = tmp_path / "checkpoints/1" / item
        path.unlink()
        make(path)
        with pytest.raises(CorruptCheckpoint, match=f"{item} is no regular file"):
            checkpoints.check(1)


@pytest.mark.parametrize(
    "changes", [{"width": 10**9}, {"d_hid": 10**12}, {"size": 10**9}, {"width": -1}, {"width": "x"}]
)
def test_a_network_that_the_arrays_cannot_be_is_not_made(tmp_path, changes):
    metadata = {"step": 1, "epoch": 1.0, "config": PRETRAINING.to_dict() | changes, "normalization": {}}
    with Checkpoints(tmp_path, read_only=False) as checkpoints:
        checkpoints.save(1, state_arrays(), metadata, scheduled=True)
        with pytest.raises(CorruptCheckpoint, match=r"its metadata do not fit its arrays"):
            checkpoints.metadata(1)


@pytest.mark.usefixtures("cache_folder")
@pytest.mark.parametrize("name", ["antigravity.Image", "os.path"])
def test_a_data_set_of_another_modules_class_is_refused(tmp_path, name):
    path = prepare(tmp_path, "pets", ["train"]) / "pets/1.0.0/features.json"
    path.write_text(path.read_text().replace("tensorflow_datasets.core.features.image_feature.Image", name))
    with pytest.raises(UserError, match=rf"features.json names the class '{name}', whose module would be run"):
        load("pets", "train", str(tmp_path))


@pytest.mark.usefixtures("cache_folder")
@pytest.mark.parametrize("file", ["features.json", "dataset_info.json", "pets-train.array_record-00000-of-00001"])
def test_a_pipe_in_a_data_set_is_refused(tmp_path, file):
    path = prepare(tmp_path, "pets", ["train"]) / "pets/1.0.0" / file
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(UserError, match=f"{file} is no regular file"):
        load("pets", "train", str(tmp_path))


@pytest.mark.usefixtures("cache_folder")
def test_a_pipe_behind_a_link_is_refused(tmp_path):
    folder = prepare(tmp_path, "pets", ["train"]) / "pets"
    (folder / "1.0.0").rename(tmp_path / "elsewhere")
    (folder / "1.0.0").symlink_to(tmp_path / "elsewhere")
    (folder / "1.0.0" / "up").symlink_to(folder)  # without end
    load("pets", "train", str(tmp_path))
    os.mkfifo(tmp_path / "elsewhere" / "pipe")
    with pytest.raises(UserError, match=r"pets/1.0.0/pipe is no regular file"):
        data_prepare._check_files(folder)


def test_a_data_set_that_another_process_prepares_is_no_harm(tmp_path):
    """TFDS writes into a folder beside it, and renames that: what was listed there is gone a moment later."""
    folder, over = tmp_path / "digits", threading.Event()

    def prepare_again_and_again():
        while not over.is_set():
            made = folder / "1.0.0.incompleteABC"
            made.mkdir(parents=True)
            for i in range(20):
                (made / f"x-{i}").touch()
            made.rename(folder / "1.0.0")
            shutil.rmtree(folder / "1.0.0")

    thread = threading.Thread(target=prepare_again_and_again)
    thread.start()
    try:
        for _ in range(300):
            data_prepare._check_files(folder)
    finally:
        over.set()
        thread.join()


def test_pictures_that_unpack_to_gigabytes_are_not_unpacked(tmp_path, monkeypatch):
    path = tmp_path / "pictures.npz"
    np.savez_compressed(path, images=np.zeros(1 << 20, np.uint8))
    monkeypatch.setattr(picture_file, "_MOST_BYTES", 1 << 19)
    with pytest.raises(ValueError, match="would unpack to"):
        picture_file.read(path)
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(OSError, match="no regular file"):
        picture_file.read(path)


@pytest.mark.parametrize("mean", ["[" * 100_000, "[0.5, 0.5]", "[0.5, 0.5, NaN]", "3", json.dumps([0.5] * 4)])
def test_an_export_whose_mean_is_none_is_refused(tmp_path, mean):
    said = {"sidae_jax": "0", "part": "encoder", "backbone": "resnet18", "stem": "imagenet", "precision": "float32"}
    said |= {"size": "32", "width": "4", "std": "[1, 1, 1]", "mean": mean}
    weights_file.write(tmp_path / "a.safetensors", {"conv1.weight": np.ones((4, 3, 7, 7), np.float32)}, said)
    with pytest.raises(UserError, match="does not say what encoder it holds"):
        encoder.load(tmp_path / "a.safetensors")


def test_a_pipe_as_an_export_is_refused(tmp_path):
    os.mkfifo(tmp_path / "a.safetensors")
    with pytest.raises(UserError, match="cannot be read as safetensors"):
        weights_file.read(tmp_path / "a.safetensors", "it")


def test_a_pipe_as_a_status_is_replaced(tmp_path):
    os.mkfifo(tmp_path / "status.json")
    with status.StatusFile(tmp_path):
        pass
    assert status.read(tmp_path)["state"] == "finished"


def test_a_message_has_no_control_characters(capsys):
    def main():
        raise UserError("a \x1b[2J\u202e name")

    with pytest.raises(SystemExit):
        cli._exit_on_mistake(main)
    assert capsys.readouterr().err == "error: a \\x1b[2J\\u202e name\n"
