"""TFDS's shuffling of more than 1 GB (STL-10's unlabelled images) without TensorFlow."""

import contextlib
import os
import types
from collections.abc import Iterator

from tensorflow_datasets.core import shuffle

_PENDING = 1 << 16  # bytes; for 1,000 buckets together 64 MB


class _Bucket:
    """A file that is written in pieces and never stays open.

    TFDS keeps its 1,000 buckets open, and 1,024 files a process is a usual limit.
    """

    def __init__(self, path: str | os.PathLike):
        self._path = path
        self._pending: list[bytes] = []
        self._size = 0

    def write(self, data: bytes) -> None:
        self._pending.append(data)
        self._size += len(data)
        if self._size > _PENDING:
            self.flush()

    def flush(self) -> None:
        if self._pending:
            with open(self._path, "ab") as file:
                file.writelines(self._pending)
        self._pending, self._size = [], 0

    def close(self) -> None:
        self.flush()


@contextlib.contextmanager
def without_tensorflow() -> Iterator[None]:
    """While active, TFDS's shuffler opens its temporary files with Python instead of TensorFlow.

    Up to 1 GB a split the shuffler works in memory; above, it imports TensorFlow for plain file access
    only (TFDS 4.9.10, core/shuffle.py). The order of the records stays TFDS's.
    """

    def open_file(path, mode):
        return _Bucket(path) if mode == "wb" else open(path, mode)

    gfile = types.SimpleNamespace(GFile=open_file, exists=os.path.exists, remove=os.remove)
    stand_in = types.SimpleNamespace(
        io=types.SimpleNamespace(gfile=gfile),
        errors=types.SimpleNamespace(ResourceExhaustedError=()),  # `except ():` catches nothing
    )
    lazy_tensorflow = shuffle.tf
    shuffle.tf = stand_in
    try:
        yield
    finally:
        shuffle.tf = lazy_tensorflow
