"""Small files are whole or not there: on the disk before their names are, by the calls that are made."""

import fcntl
import os
import time

import pytest

from sidae_jax import files
from sidae_jax.errors import UserError


def test_a_file_is_synced_before_it_is_renamed_and_its_folder_after(tmp_path, monkeypatch):
    calls, fsync, replace = [], os.fsync, os.replace
    path = tmp_path / "config.json"

    def synced(handle):
        target = os.readlink(f"/proc/self/fd/{handle}")
        calls.append(("sync", os.path.basename(target), os.stat(target).st_size if os.path.isfile(target) else None))
        return fsync(handle)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "replace", lambda *paths: calls.append(("rename", path.name)) or replace(*paths))
    files.write_text(path, "{}")
    kinds = [kind for kind, *_ in calls if kind != "rename"]
    assert kinds == ["sync", "sync"]
    assert calls[0][1].startswith(".config.json.")
    assert calls[0][2] == 2  # its content is there by then
    assert calls[-1][1] == tmp_path.name
    assert path.read_text() == "{}"
    assert [found.name for found in tmp_path.iterdir()] == ["config.json"]


def test_a_folder_that_cannot_be_written_is_told_by_the_flag_that_gave_it(tmp_path):
    (tmp_path / "report").touch()
    with pytest.raises(UserError, match=rf"^--out={tmp_path}/report cannot be written .*such as --out="):
        files.open_folder(tmp_path / "report", flag="--out")
    with pytest.raises(UserError, match=rf"^--workdir={tmp_path} cannot be written \(.*: {tmp_path}/report\)"):
        files.open_folder(tmp_path, "report")
    with pytest.raises(UserError, match=r"^--out=a\[b has \[ in its path"):
        files.open_folder("a[b", flag="--out")


def test_two_writers_with_one_process_id_do_not_meet(tmp_path, monkeypatch):
    """As in two containers that share a folder."""
    monkeypatch.setattr(os, "getpid", lambda: 1)
    path = tmp_path / "images.npy"
    with files.atomic_write(path) as first:
        first.write(b"first")
        with files.atomic_write(path) as second:
            second.write(b"2")
        first.write(b" whole")
        assert path.read_bytes() == b"2"
    assert path.read_bytes() == b"first whole"
    assert [found.name for found in tmp_path.iterdir()] == ["images.npy"]


def test_what_a_killed_writer_left_is_removed_by_the_next_one(tmp_path):
    """It may be as large as the file, and a run may be killed many times."""
    path, long_ago = tmp_path / "a[1].npy", time.time() - 100
    abandoned, held, new, other = (
        tmp_path / f".{name}.{number:016x}" for number, name in enumerate(["a[1].npy"] * 3 + ["b.npy"])
    )
    for left in (abandoned, held, new, other):
        left.write_bytes(b"half")
        os.utime(left, None if left == new else (long_ago, long_ago))
    with held.open("rb") as writer:
        fcntl.flock(writer, fcntl.LOCK_EX)
        files.write_text(path, "whole")
    assert {found.name for found in tmp_path.iterdir()} == {path.name, held.name, new.name, other.name}
    assert path.read_text() == "whole"
