"""The files of an entry of the cache that is being made: rows are appended, and a kill loses only the last seconds.

Rows go to `<entry>.<array>.npy.part`, and every few seconds a line of `<entry>.parts.jsonl` says how many are safe. The
files are written, not memory-mapped: a full disk is then an error and not a SIGBUS.
"""

import contextlib
import errno
import fcntl
import io
import json
import os
import pathlib
import shutil
import sys
import time
from collections.abc import Iterator
from typing import IO, Any, NamedTuple

import numpy as np

from sidae_jax.array_cache import Arrays, Entry, Row, file_sha256, read_only
from sidae_jax.errors import DiskTrouble, UserError
from sidae_jax.files import FULL, open_here

_SAFE_EVERY = 5.0  # seconds of work that a kill may lose


class Part(NamedTuple):
    """The rows made of the items up to `done`, and notes on items, as plain JSON values."""

    done: int
    arrays: Arrays
    notes: list[Any]


class GrowingEntry:
    """The files of an entry that is being made, open and locked; a context manager that closes them.

    Attributes:
      done: how many items are finished.
    """

    def __init__(self, entry: Entry, rows: dict[str, Row], num_items: int, journal: IO[bytes]):
        self.done, self._num_rows = 0, 0
        self._needed = num_items * sum(map(row_bytes, rows.values()))
        self._notes: list[Any] = []
        self._entry, self._rows, self._journal = entry, rows, journal
        self._files: dict[str, IO[bytes]] = {}
        self._new_notes: list[Any] = []
        self._safe_at = time.monotonic()

    @classmethod
    def opened(cls, entry: Entry, rows: dict[str, Row], num_items: int) -> "GrowingEntry | None":
        """Opens and locks the files, or returns None after another process has finished. Raises OSError."""
        folder, path = entry.stem.parent, entry.path("parts.jsonl")
        folder.mkdir(parents=True, exist_ok=True)
        growing = cls(entry, rows, num_items, open_here(path, "a+b"))
        try:
            if not _lock(growing._journal, path):
                growing._close()
                return None
            growing._open_files()
            missing = growing._needed - sum(map(_size, growing._files.values()))
            if missing > shutil.disk_usage(folder).free:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return growing
        except BaseException:
            growing._close()
            raise

    def _open_files(self) -> None:
        """Opens the arrays' files behind the rows that the journal calls safe, or anew."""
        for name in self._rows:
            self._files[name] = open_here(self._part(name), "r+b" if self._part(name).exists() else "w+b")
        self._read_journal()
        if any(_size(file) < self._end(name) for name, file in self._files.items()):
            self.done, self._num_rows, self._notes = 0, 0, []
            self._journal.truncate(0)
        for name, file in self._files.items():
            file.write(_header(self._rows[name], 0))
            file.truncate(self._end(name))
            file.seek(self._end(name))

    def _read_journal(self) -> None:
        self._journal.seek(0)
        good = 0
        for line in self._journal:
            try:
                state = json.loads(line)
                self.done, self._num_rows = int(state["done"]), int(state["rows"])
                self._notes += state["notes"]
            except (ValueError, KeyError, TypeError):
                break  # a line cut short when the process was killed
            good += len(line)
        self._journal.truncate(good)

    def _end(self, name: str) -> int:
        """Returns where the rows of an array's file end."""
        return len(_header(self._rows[name], self._num_rows)) + self._num_rows * row_bytes(self._rows[name])

    def __enter__(self) -> "GrowingEntry":
        return self

    def __exit__(self, *_: Any) -> None:
        self._close()

    def _close(self) -> None:
        for file in (*self._files.values(), self._journal):
            with contextlib.suppress(OSError):  # a full disk, which `append` has told already
                file.close()  # which unlocks

    def append(self, part: Part) -> None:
        """Writes a part. Raises DiskTrouble if the disk is full."""
        with self._full_disk():
            for name, file in self._files.items():
                file.write(np.ascontiguousarray(part.arrays[name], self._rows[name][1]).tobytes())
            self._num_rows += len(next(iter(part.arrays.values())))
            self.done = part.done
            self._new_notes += part.notes
            if time.monotonic() - self._safe_at >= _SAFE_EVERY:
                self._make_safe()

    def finish(self) -> tuple[Arrays, list[Any]]:
        """Turns the files into the entry, and returns its arrays and notes."""
        with self._full_disk():
            self._make_safe()
        if self._num_rows == 0:  # no file of nothing can be memory-mapped
            return read_only({name: no_rows(row) for name, row in self._rows.items()}), self._notes
        sha256 = {}
        for name, file in self._files.items():
            file.seek(0)
            file.write(_header(self._rows[name], self._num_rows))
            _flush(file)
            sha256[name] = file_sha256(self._part(name))
        for name in self._files:
            path = self._entry.path(f"{name}.npy")
            try:
                self._part(name).replace(path)
            except OSError as error:  # as when a folder lies there
                raise UserError(
                    f"{path} cannot be written ({error.strerror}): move away what lies there, and start again"
                ) from error
        self._entry.vouch(sha256, self._notes)
        self._entry.path("parts.jsonl").unlink()
        return self._entry.map(self._rows), self._notes

    def _make_safe(self) -> None:
        for file in self._files.values():
            _flush(file)
        line = {"done": self.done, "rows": self._num_rows, "notes": self._new_notes}
        self._journal.write(json.dumps(line).encode() + b"\n")
        _flush(self._journal)
        self._notes += self._new_notes
        self._new_notes = []
        self._safe_at = time.monotonic()

    def _part(self, name: str) -> pathlib.Path:
        return self._entry.path(f"{name}.npy.part")

    @contextlib.contextmanager
    def _full_disk(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if error.errno not in FULL:
                raise
            raise no_room(self._entry, self._needed, error) from error


def row_bytes(row: Row) -> int:
    """Returns the size of a row in bytes."""
    return int(np.prod(row[0], dtype=np.int64)) * np.dtype(row[1]).itemsize


def no_rows(row: Row) -> np.ndarray:
    """Returns an array without rows."""
    return np.empty((0, *row[0]), row[1])


def no_room(entry: Entry, needed: int, error: OSError) -> DiskTrouble:
    """Returns the error for an entry of so many bytes that has no room."""
    return DiskTrouble(
        f"{entry.stem.parent} cannot hold the {needed / 1e6:,.0f} MB of {entry.stem.name} ({error.strerror}): make "
        "room there, or let XDG_CACHE_HOME name a folder on a larger disk; what is finished stays, and the same "
        "command goes on"
    )


def _lock(journal: IO[bytes], path: pathlib.Path) -> bool:
    """Locks the journal, waiting for another process, and returns whether it is still the file at `path`."""
    try:
        fcntl.flock(journal, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        print(f"another process makes {path.with_suffix('').stem}; waiting for it", file=sys.stderr, flush=True)
        fcntl.flock(journal, fcntl.LOCK_EX)
    except OSError:
        pass  # a file system without locks; two processes would write the same bytes
    try:
        return os.path.samestat(os.fstat(journal.fileno()), os.stat(path))
    except FileNotFoundError:
        return False


def _header(row: Row, num_rows: int) -> bytes:
    """Returns the header of an .npy file, of the same length for all numbers of rows.

    NumPy pads it for a first axis that grows.
    """
    buffer = io.BytesIO()
    descr = np.lib.format.dtype_to_descr(np.dtype(row[1]))
    header = {"descr": descr, "fortran_order": False, "shape": (num_rows, *row[0])}
    np.lib.format.write_array_header_1_0(buffer, header)
    return buffer.getvalue()


def _flush(file: IO[bytes]) -> None:
    file.flush()
    os.fsync(file.fileno())


def _size(file: IO[bytes]) -> int:
    file.flush()
    return os.fstat(file.fileno()).st_size
