"""Folders that can be written, and files that are whole or absent, also after a power cut."""

import contextlib
import errno
import os
import pathlib
import secrets
import stat
import tempfile
from collections.abc import Iterator
from typing import IO, Any

from sidae_jax.errors import UserError, nearest


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
        raise UserError(
            f"{flag}={path} cannot be written ({error.strerror}: {error.filename or folder}): "
            f"give a folder of yours, such as {flag}=runs/cifar10"
        ) from error
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


@contextlib.contextmanager
def atomic_write(path: pathlib.Path) -> Iterator[IO[bytes]]:
    """Opens a binary file that appears at `path` whole when the block ends, or not at all if it raises.

    Renamed into place without fsync, a file can be empty after a power cut: the name may reach the disk before the
    content does.
    """
    # not the process id alone: processes in several containers may share it, and the folder
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        with temporary.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    handle = os.open(path.parent, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # some network file systems cannot; their server decides
            os.fsync(handle)  # brings the folder's names to the disk
    finally:
        os.close(handle)


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


def write_text(path: pathlib.Path, text: str) -> None:
    """Writes the file atomically."""
    with atomic_write(path) as file:
        file.write(text.encode())
