"""The file status.json, as a process that trains writes it."""

import time

import pytest

from sidae_jax.config import pretraining
from sidae_jax.errors import UserError
from sidae_jax.runs import status
from sidae_jax.runs.workdir import Workdir


def leave(workdir, error):
    with workdir:
        assert status.read(workdir.folder)["state"] == "running"
        workdir.status.step = 3
        raise error


def test_a_start_that_is_refused_leaves_the_status_as_it_was(tmp_path):
    config = pretraining("sidae", "digits")
    with pytest.raises(UserError):
        leave(Workdir(tmp_path, config, lock=True), UserError("other images"))
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "status.json").write_text("as it was")
    with pytest.raises(UserError):
        leave(Workdir(tmp_path, config, lock=True), UserError("other images"))
    assert (tmp_path / "status.json").read_text() == "as it was"
    with pytest.raises(ZeroDivisionError):
        leave(Workdir(tmp_path, config, lock=True), ZeroDivisionError("a fault"))
    content = status.read(tmp_path)
    assert (content["state"], content["message"], content["step"]) == ("failed", "ZeroDivisionError: a fault", 3)


def test_the_heart_beats_while_the_main_thread_is_busy_and_a_full_disk_stops_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(status, "_EVERY", 0.02)
    folder = tmp_path / "run"
    folder.mkdir()
    with Workdir(folder, pretraining("sidae", "digits"), lock=True):
        first = status.read(folder)["time"]
        end = time.monotonic() + 0.3
        while time.monotonic() < end:
            sum(range(1000))
        assert status.read(folder)["time"] > first
        folder.rename(tmp_path / "elsewhere")  # nothing can be written any more
        time.sleep(0.1)
    assert not folder.exists()
