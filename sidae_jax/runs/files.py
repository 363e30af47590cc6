"""Folders that can be written, and files that are whole or not there, also after a power cut."""

import contextlib
import os
import pathlib
import tempfile
from collections.abc import Iterator

from sidae_jax.errors import UserError


def open_folder(path: str | os.PathLike) -> pathlib.Path:
    """The absolute path of --workdir, made if need be. Raises UserError where nothing can be written there."""
    folder = pathlib.Path(path).expanduser().absolute()
    if special := sorted(set("[]*?") & set(str(folder))):
        # orbax looks for the parts of a checkpoint by a pattern that has the path in it, and would save none of them
        raise UserError(f"--workdir={path} has {' '.join(special)} in its path: give a folder without [ ] * ?")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise UserError(
            f"--workdir={path} cannot be written ({error.strerror}: {error.filename or folder}): "
            "give a folder of yours, such as --workdir=runs/cifar10"
        ) from error
    return folder


@contextlib.contextmanager
def opened(path: str | os.PathLike) -> Iterator[pathlib.Path]:
    """As `open_folder`; where a UserError leaves it empty, a folder that was made for it is taken away again."""
    made = not pathlib.Path(path).expanduser().exists()
    folder = open_folder(path)
    try:
        yield folder
    except UserError:
        if made:
            with contextlib.suppress(OSError):  # not empty
                folder.rmdir()
        raise


def write_text(path: pathlib.Path, text: str) -> None:
    """Write the file whole or not at all; returns when it is on the disk."""
    write_bytes(path, text.encode())


def write_bytes(path: pathlib.Path, content: bytes | memoryview) -> None:
    """Write the file whole or not at all; returns when it is on the disk.

    Renamed into place without fsync, a file can be empty after a power cut: the name may reach the disk before the
    content does.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with temporary.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    sync_folder(path.parent)


def sync_folder(folder: pathlib.Path) -> None:
    """Bring the folder's names to the disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # some network file systems cannot; their server decides
            os.fsync(handle)
    finally:
        os.close(handle)
