"""Folders that can be written, and files that are whole or absent, also after a power cut."""

import contextlib
import os
import pathlib
import secrets
import tempfile
from collections.abc import Iterator
from typing import IO

from sidae_jax.errors import UserError


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


def write_text(path: pathlib.Path, text: str) -> None:
    """Writes the file atomically."""
    with atomic_write(path) as file:
        file.write(text.encode())
