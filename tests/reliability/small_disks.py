"""Small file systems in memory, where this process may mount them."""

import contextlib
import functools
import os
import pathlib
import subprocess
import tempfile
from collections.abc import Iterator

PAGE = os.sysconf("SC_PAGE_SIZE")  # tmpfs counts a file in pages


def _mount(*arguments: object) -> bool:
    return subprocess.run(["mount", *map(str, arguments)], capture_output=True).returncode == 0


@functools.cache
def can_mount() -> bool:
    """Whether this process may mount a tmpfs: as root, outside of most containers."""
    with tempfile.TemporaryDirectory() as folder:
        if not _mount("-t", "tmpfs", "-o", "size=16k", "tmpfs", folder):
            return False
        return subprocess.run(["umount", folder], capture_output=True).returncode == 0


@contextlib.contextmanager
def small_disk(folder: pathlib.Path, pages: int) -> Iterator[pathlib.Path]:
    """Mounts a tmpfs of so many pages at the folder, which is made."""
    folder.mkdir(parents=True, exist_ok=True)
    assert _mount("-t", "tmpfs", "-o", f"size={pages * PAGE}", "tmpfs", folder)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def make_room(folder: pathlib.Path) -> None:
    """Makes the disk of a folder a large one."""
    assert _mount("-o", f"remount,size={64 << 20}", folder)


def fill(folder: pathlib.Path) -> pathlib.Path:
    """Writes a file until the disk is full, and returns it."""
    path = folder / "filler"
    with contextlib.suppress(OSError), path.open("ab", buffering=0) as file:
        while True:
            file.write(bytes(PAGE))
    return path


@contextlib.contextmanager
def read_only(folder: pathlib.Path) -> Iterator[None]:
    """Lays the folder over itself, read-only: files that are open can be written further, all others cannot."""
    assert _mount("--bind", folder, folder)
    assert _mount("-o", "remount,bind,ro", folder)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def pages(folder: pathlib.Path) -> int:
    """Returns the pages that the files in a folder take on a tmpfs."""
    return sum(-(-path.stat().st_size // PAGE) for path in folder.rglob("*") if path.is_file())
