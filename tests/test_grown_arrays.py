"""Arrays that grow on disk: a kill loses only the last seconds, two processes share the work, a full disk is told."""

import concurrent.futures
import errno
import os
import pathlib
import signal
import subprocess
import sys
import textwrap
import threading
import types

import numpy as np
import pytest

from sidae_jax import growing_entry, grown_arrays
from sidae_jax.errors import UserError
from sidae_jax.growing_entry import Part

ROWS = {"squares": ((2, 3), np.uint16), "numbers": ((), np.int32)}
ITEMS = 20


def part(first, stop):
    """Items from first to stop: their squares, but for those that end in 7."""
    kept = [i for i in range(first, stop) if i % 10 != 7]
    squares = np.array([np.full((2, 3), i * i) for i in kept], np.uint16).reshape(-1, 2, 3)
    notes = [[i] for i in range(first, stop) if i % 10 == 7]
    return Part(stop, {"squares": squares, "numbers": np.array(kept, np.int32)}, notes)


def make(start, step=3):
    for first in range(start, ITEMS, step):
        yield part(first, min(first + step, ITEMS))


def grow(folder, maker=make):
    return grown_arrays.load_or_grow(folder, "x", ROWS, {"of": "squares"}, ITEMS, maker)


def assert_good(arrays, notes):
    kept = [i for i in range(ITEMS) if i % 10 != 7]
    np.testing.assert_array_equal(arrays["numbers"], kept)
    np.testing.assert_array_equal(arrays["squares"], [np.full((2, 3), i * i) for i in kept])
    assert notes == [[7], [17]]


def never(start):
    raise AssertionError("made again")


def test_they_are_made_once_and_memory_mapped(tmp_path):
    first = grow(tmp_path)
    assert_good(*first)
    again = grow(tmp_path, never)
    assert_good(*again)
    assert isinstance(again[0]["squares"], np.memmap)
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".json", ".npy", ".npy"]
    (path,) = tmp_path.glob("*.squares.npy")
    np.testing.assert_array_equal(np.load(path), first[0]["squares"])


KILLED = """
    import os, signal, sys, pathlib
    sys.path.insert(0, {tests!r})
    import test_grown_arrays as t
    t.growing_entry._SAFE_EVERY = {every}
    def make(start):
        for number, part in enumerate(t.make(start)):
            if number == {parts}:
                os.kill(os.getpid(), signal.SIGKILL)
            yield part
    t.grow(pathlib.Path({folder!r}), make)
"""


def killed(folder, parts, every=0.0):
    tests = str(pathlib.Path(__file__).parent)
    code = textwrap.dedent(KILLED).format(tests=tests, folder=str(folder), parts=parts, every=every)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr


def test_a_kill_keeps_the_finished_parts(tmp_path):
    killed(tmp_path, 3)
    killed(tmp_path, 2)  # two parts more
    starts = []

    def resumed(start):
        starts.append(start)
        return make(start)

    assert_good(*grow(tmp_path, resumed))
    assert starts == [15]


def test_what_is_not_safe_yet_is_made_again(tmp_path, monkeypatch):
    killed(tmp_path, 3, every=1e9)
    starts = []

    def resumed(start):
        starts.append(start)
        return make(start)

    assert_good(*grow(tmp_path, resumed))
    assert starts == [0]


@pytest.mark.parametrize("harm", ["cut line", "cut rows", "no rows", "no journal", "nonsense"])
def test_harmed_parts_are_made_again(tmp_path, harm):
    killed(tmp_path, 3)
    (journal,) = tmp_path.glob("*.parts.jsonl")
    (rows,) = tmp_path.glob("*.squares.npy.part")
    if harm == "cut line":
        journal.write_bytes(journal.read_bytes()[:-4])
        killed(tmp_path, 1)  # goes on from the line before, and its own lines can be read
    elif harm == "cut rows":
        rows.write_bytes(rows.read_bytes()[:-1])
    elif harm == "no rows":
        rows.unlink()
    elif harm == "no journal":
        journal.unlink()
    else:
        journal.write_text("nonsense\n")
    starts = []

    def resumed(start):
        starts.append(start)
        return make(start)

    assert_good(*grow(tmp_path, resumed))
    assert starts == [9 if harm == "cut line" else 0]


def test_two_at_once_make_them_once(tmp_path, capfd):
    """Two threads: the lock is of the open file, so they exclude each other as processes do."""
    started, go_on = threading.Event(), threading.Event()

    def slow(start):
        started.set()
        assert go_on.wait(30)
        return make(start)

    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        first = pool.submit(grow, tmp_path, slow)
        assert started.wait(30)
        second = pool.submit(grow, tmp_path, never)
        with pytest.raises(TimeoutError):
            second.result(0.3)  # it waits
        go_on.set()
        for each in (first, second):
            assert_good(*each.result(30))
    assert "another process makes" in capfd.readouterr().err


def test_nothing_at_all_is_an_empty_array(tmp_path):
    def nothing(start):
        yield Part(ITEMS, {"squares": np.empty((0, 2, 3), np.uint16), "numbers": np.empty(0, np.int32)}, [["none"]])

    arrays, notes = grow(tmp_path, nothing)
    assert (arrays["squares"].shape, arrays["numbers"].shape, notes) == ((0, 2, 3), (0,), [["none"]])


def test_a_folder_that_cannot_be_written_is_done_without(tmp_path, caplog):
    (tmp_path / "file").touch()
    arrays, notes = grow(tmp_path / "file" / "cache")
    assert_good(arrays, notes)
    assert not arrays["squares"].flags.writeable
    assert "XDG_CACHE_HOME" in caplog.text


def test_a_disk_without_room_is_told_before_and_on_the_way(tmp_path, monkeypatch):
    usage = types.SimpleNamespace(free=10)
    monkeypatch.setattr(growing_entry.shutil, "disk_usage", lambda _: usage)
    assert_good(*grow(tmp_path))  # little enough for the memory
    monkeypatch.setattr(grown_arrays.os, "sysconf", lambda _: 1)
    with pytest.raises(UserError, match=r"cannot hold the 0 MB of x-\w+ \(No space left on device\): make"):
        grow(tmp_path)
    usage.free = 10**9

    def full(start):
        yield part(0, 3)
        raise_on_write(monkeypatch)
        yield part(3, 6)

    with pytest.raises(UserError, match="No space left on device"):
        grow(tmp_path, full)


def raise_on_write(monkeypatch):
    def fail(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(growing_entry, "_SAFE_EVERY", 0)
    monkeypatch.setattr(growing_entry, "_flush", fail)
