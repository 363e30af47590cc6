"""A disk that takes no more, by a limit on the size of files: one sentence, and nothing of what others print of it."""

import asyncio
import contextlib
import gc
import io
import resource
import time

import numpy as np
import pytest

from sidae_jax import array_cache
from sidae_jax.config import pretraining
from sidae_jax.data import prepare
from sidae_jax.errors import DiskTrouble
from sidae_jax.exports.out_path import write_errors
from sidae_jax.files import atomic_write, disk_trouble_told, write_text
from sidae_jax.runs.checkpoint import Checkpoints
from sidae_jax.runs.workdir import Workdir
from sidae_jax.training import console


@contextlib.contextmanager
def files_up_to(size: int):
    """No file of this process may grow beyond these bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def told(error) -> str:
    assert error.value.exit_code == 1
    return str(error.value)


def test_a_checkpoint_is_told_by_its_path_and_orbax_says_nothing(tmp_path, capfd, caplog):
    rng = np.random.default_rng(0)
    arrays = {f"array {i}": rng.normal(size=(50 + i, 70)).astype(np.float32) for i in range(40)}
    with Checkpoints(tmp_path, read_only=False) as checkpoints:
        checkpoints.save(1, arrays, {"step": 1}, scheduled=True)
        with files_up_to(3_000), pytest.raises(DiskTrouble) as error, disk_trouble_told(tmp_path, "start again"):
            checkpoints.save(2, arrays, {"step": 2}, scheduled=True)
        assert told(error) == (
            f"{tmp_path}/checkpoints/2 cannot be written (File too large): allow larger files (ulimit -f) "
            "and start again"
        )
        assert checkpoints.steps() == [1]
        assert checkpoints.check(1) == 40
    gc.collect()
    time.sleep(0.2)  # tensorstore's other writes come to their ends
    assert capfd.readouterr() == ("", "")
    assert not caplog.records


@pytest.mark.parametrize(
    ("what", "is_told"),
    [("File too large [os_error_code='27']", False), ("DATA_LOSS: ... in OCDBT database", False), ("a bug", True)],
)
def test_tasks_that_nobody_waits_for_say_nothing_of_the_disk(tmp_path, caplog, what, is_told):
    async def write():
        raise ValueError(what)

    with Checkpoints(tmp_path, read_only=False):
        loop = asyncio.new_event_loop()
        task = loop.create_task(write())
        loop.run_until_complete(asyncio.wait([task]))
        loop.close()
        del task
        gc.collect()
    assert ("exception was never retrieved" in caplog.text) == is_told


def test_the_lock_of_a_workdir_names_itself(tmp_path):
    config = pretraining("simsiam", "digits")
    with files_up_to(0), pytest.raises(OSError, match="File too large") as error:
        Workdir(tmp_path, config, lock=True)
    assert error.value.filename == str(tmp_path / ".lock")
    gc.collect()  # and no buffer is written once more


def test_a_file_that_is_cut_short_is_named_and_leaves_nothing(tmp_path):
    with files_up_to(10), pytest.raises(OSError, match="File too large") as error:
        write_text(tmp_path / "file", "more than ten bytes")
    assert error.value.filename == str(tmp_path / "file")
    assert not list(tmp_path.iterdir())


def test_an_export_without_room_is_no_mistake_of_the_user(tmp_path):
    out = tmp_path / "encoder.safetensors"
    problem = pytest.raises(DiskTrouble, match=r"--out=.*\(File too large\)")
    with files_up_to(10), problem as error, write_errors(out), atomic_write(out) as file:
        file.write(bytes(100))
    told(error)


def test_cached_arrays_say_why_they_are_not_kept(tmp_path, caplog):
    wanted = np.arange(1000.0)
    with files_up_to(1000):
        found = array_cache.load_or_build(tmp_path, "x", ("a",), {}, lambda: {"a": wanted.copy()})
    np.testing.assert_array_equal(found["a"], wanted)
    assert "File too large" in caplog.text
    assert "Make room there" in caplog.text


@pytest.mark.parametrize("array", [np.arange(6).reshape(2, 3), np.zeros((0, 3), np.uint8), np.float32(3), np.eye(3).T])
def test_arrays_are_written_as_numpy_writes_them(tmp_path, array):
    with (tmp_path / "file").open("wb") as file:
        array_cache.save_npy(file, np.asarray(array))
    numpys = io.BytesIO()
    np.save(numpys, np.ascontiguousarray(array))
    assert (tmp_path / "file").read_bytes() == numpys.getvalue()


def test_a_data_set_that_finds_no_room_while_it_is_prepared(tmp_path):
    with files_up_to(50_000), pytest.raises(DiskTrouble, match=r"the data set 'digits' in .*File too large") as error:
        prepare.prepared_builder("digits", str(tmp_path))
    told(error)


def test_a_save_that_takes_long_is_told_while_it_lasts(monkeypatch, capsys):
    monkeypatch.setattr(console, "LONG", 0.2)
    with console.TrainingConsole(0, 10, 5, quiet=False) as shown:
        with shown.told_if_long("saving step 5"):
            time.sleep(0.5)
            assert capsys.readouterr().out.startswith("saving step 5 takes long: 0 s so far\nsaving step 5 takes long")
        with shown.told_if_long("saving step 10"):
            pass
        time.sleep(0.3)
    assert capsys.readouterr().out == ""
