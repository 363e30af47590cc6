"""Folders that can be written, and files that are whole or absent, also after a power cut."""

import contextlib
import errno
import fcntl
import glob
import os
import pathlib
import secrets
import stat
import tempfile
import time
from collections.abc import Iterator
from typing import IO, Any

from sidae_jax.errors import DiskTrouble, UserError, nearest

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_WAYS_OUT = {
    errno.ENOSPC: "make room there",
    errno.EDQUOT: "make room there",
    errno.EFBIG: "allow larger files (ulimit -f)",
    errno.EROFS: "make it writable",
    errno.EACCES: "make it writable",
    errno.EPERM: "make it writable",
    errno.EIO: "see what is wrong with that disk",
}

_ABANDONED = 60.0  # seconds: a file that is being written is locked at once, where the file system has locks


class NotWritten(OSError):
    """An error of a file that was being written."""


def open_folder(path: str | os.PathLike, inside: str = "", *, flag: str = "--workdir") -> pathlib.Path:
    """Returns the absolute path of the folder, or of `inside` in it, created if needed.

    Raises UserError, naming the flag that gave `path`, if nothing can be written there.
    """
    folder = pathlib.Path(path, inside).expanduser().absolute()
    if special := sorted(set("[]*?") & set(str(folder))):
        # orbax finds the parts of a checkpoint by a glob that includes the path, and would save none of them
        raise UserError(f"{flag}={path} has {' '.join(special)} in its path: give a folder without [ ] * ?")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        if error.errno in FULL:
            raise disk_trouble(f"{flag}={path}", error.errno, "start again") from error
        where = folder if folder.is_dir() else error.filename or folder  # not the temporary file in it
        way_out = "make it writable" if inside else f"give a folder of yours, such as {flag}=runs/cifar10"
        raise UserError(f"{flag}={path} cannot be written ({error.strerror}: {where}): {way_out}") from error
    return folder


def existing_folder(path: str | os.PathLike, name: str = "--workdir") -> pathlib.Path:
    """Returns the absolute path of a folder. Raises UserError, which calls it `name`, if there is none."""
    folder = pathlib.Path(path).expanduser().absolute()
    if not folder.is_dir():
        beside = {other.name: other for other in pathlib.Path(path).expanduser().parent.glob("*/")}
        near = nearest(folder.name, beside)
        hint = f"did you mean {beside[near]}?" if near else "give the folder of a run of sidae_jax.main"
        raise UserError(f"{name}={path} does not exist or is no folder: {hint}")
    return folder


@contextlib.contextmanager
def opened(path: str | os.PathLike) -> Iterator[pathlib.Path]:
    """Opens a folder as `open_folder` does, and removes one that it created if a UserError leaves it empty."""
    made = not pathlib.Path(path).expanduser().exists()
    folder = open_folder(path)
    try:
        yield folder
    except UserError:
        if made:
            with contextlib.suppress(OSError):  # not empty
                folder.rmdir()
        raise


def disk_errno(text: str) -> int | None:
    """Returns the error of the disk that a message is about; None if it is about none."""
    return next((number for number in _WAYS_OUT if os.strerror(number) in text), None)


def disk_trouble(place: str | os.PathLike, number: int, then: str) -> DiskTrouble:
    """Returns the error for an errno of the disk: `place`, why nothing can be written there, what to do, and `then`."""
    return DiskTrouble(f"{place} cannot be written ({os.strerror(number)}): {_WAYS_OUT[number]} and {then}")


@contextlib.contextmanager
def disk_trouble_told(place: str | os.PathLike, then: str) -> Iterator[None]:
    """Raises DiskTrouble for an OSError that says that nothing can be written: `place` (reason): what to do, `then`.

    The OSError's own file comes in place of `place`, if it has one.
    """
    try:
        yield
    except OSError as error:
        # the others may be of a file that is read
        told = _WAYS_OUT if isinstance(error, NotWritten) else (*FULL, errno.EROFS)
        if error.errno is None or error.errno not in told:
            raise
        where = place if error.filename is None else os.fsdecode(error.filename)
        raise disk_trouble(where, error.errno, then) from error


@contextlib.contextmanager
def naming(path: pathlib.Path, temporary: pathlib.Path | None = None) -> Iterator[None]:
    """Raises NotWritten, naming the file, for an OSError without a name, as of a write, or of the temporary file."""
    try:
        yield
    except OSError as error:
        if error.errno is None or error.filename not in (None, str(temporary)):
            raise
        raise NotWritten(error.errno, os.strerror(error.errno), str(path)) from error


@contextlib.contextmanager
def atomic_write(path: pathlib.Path) -> Iterator[IO[bytes]]:
    """Opens a binary file that appears at `path` whole when the block ends, or not at all if it raises.

    Renamed into place without fsync, a file can be empty after a power cut: the name may reach the disk before the
    content does. What a writer of `path` left that was killed is removed: it may be as large as the file itself.
    """
    _remove_abandoned(path)
    # not the process id alone: processes in several containers may share it, and the folder
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        with naming(path, temporary), temporary.open("xb") as file:
            with contextlib.suppress(OSError):  # a file system without locks
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield file
            file.flush()
            os.fsync(file.fileno())
            temporary.replace(path)  # while it is locked: unlocked, another writer might take it for abandoned
    except BaseException:
        with contextlib.suppress(OSError):  # the disk may have become read-only
            temporary.unlink()
        raise
    handle = os.open(path.parent, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # some network file systems cannot; their server decides
            os.fsync(handle)  # brings the folder's names to the disk
    finally:
        os.close(handle)


def _remove_abandoned(path: pathlib.Path) -> None:
    """Removes the temporary files of `path` that no process holds any more."""
    for left in path.parent.glob(f".{glob.escape(path.name)}.{'[0-9a-f]' * 16}"):
        with contextlib.suppress(OSError), open_regular(left) as file:  # held by its writer, or gone
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if time.time() > os.fstat(file.fileno()).st_mtime + _ABANDONED:
                left.unlink()


def open_regular(path: str | os.PathLike) -> IO[Any]:
    """Opens a file to read it. Raises OSError, also if it is a pipe or a device, which might never end."""
    return _opened(path, "rb", os.O_NONBLOCK)


def read_regular(path: str | os.PathLike) -> bytes:
    """Returns the content of a file; see `open_regular`."""
    with open_regular(path) as file:
        return file.read()


def open_here(path: str | os.PathLike, mode: str) -> IO[Any]:
    """Opens a file to write it in place. Raises OSError, also if it is a link, which may lead out of its folder."""
    if os.path.islink(path):
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))
    return _opened(path, mode, os.O_NONBLOCK | os.O_NOFOLLOW)  # if it becomes one meanwhile


def _opened(path: str | os.PathLike, mode: str, more: int) -> IO[Any]:
    file = open(path, mode, opener=lambda name, flags: os.open(name, flags | more, 0o666))  # noqa: SIM115 (returned)
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise OSError(errno.EINVAL, "it is no regular file", str(path))
    return file


def keep_aside(aside: pathlib.Path, content: bytes) -> pathlib.Path:
    """Writes what a damaged file held to `aside`, or to that name with -1, -2, ... where another one is there already.

    Returns the file that has this content.
    """
    for i in range(1000):
        path = aside.with_name(f"{aside.name}-{i}") if i else aside
        if not path.exists():
            with atomic_write(path) as file:
                file.write(content)
            return path
        if path.is_file() and path.read_bytes() == content:
            return path
    raise UserError(f"{aside} and 999 others are there: move those that you do not need away")


def write_text(path: pathlib.Path, text: str) -> None:
    """Writes the file atomically."""
    with atomic_write(path) as file:
        file.write(text.encode())
