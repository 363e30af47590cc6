"""Deletes runs, after showing what that would delete."""

import contextlib
import fcntl
import os
import pathlib
import shutil
from collections.abc import Sequence

from sidae_jax.errors import UserError
from sidae_jax.runs import index
from sidae_jax.runs.overview import Overview
from sidae_jax.runs.values import printable


def remove(names: Sequence[str], *, yes: bool) -> bool:
    """Deletes the runs with these paths, or these names in runs/. Returns False if the user does not type yes.

    yes: whether to ask nothing. Links in a run are deleted, and what they lead to is not.

    Raises:
      UserError: one of them cannot be deleted; then none is.
    """
    with contextlib.ExitStack() as locks:
        folders: dict[pathlib.Path, pathlib.Path] = {}
        for name in names:
            folder = _checked(name)
            if folder.resolve() not in folders.values():
                locks.enter_context(_locked(folder, name))
                folders[folder] = folder.resolve()
        for folder in folders:
            files, size = _content(folder)
            print(f"{printable(str(folder))}: {files} files, {_size(size)}")
        if not yes and not _confirmed(len(folders)):
            print("nothing is deleted")
            return False
        for folder in folders.values():
            try:
                shutil.rmtree(folder)
            except OSError as error:
                raise UserError(
                    f"{error.filename or folder} cannot be deleted ({error.strerror}): the run is deleted in part; "
                    "give yourself the rights and delete the rest by the same command, or by hand"
                ) from error
            print(f"deleted {printable(str(folder))}")
    return True


def _checked(name: str) -> pathlib.Path:
    """Returns the folder of a run that may be deleted."""
    folder = index.existing(name)
    if folder.is_symlink():
        raise UserError(f"{name} is a link, which rm does not follow: give {folder.resolve()}, and delete the link")
    for part, is_there in (("config.json", pathlib.Path.is_file), ("checkpoints", pathlib.Path.is_dir)):
        if not is_there(folder / part):
            raise UserError(
                f"{name} has no {part}, so it is no run, or a damaged one: give a run, or delete a damaged one by hand"
            )
    others, unread = index.find(folder)
    others = [other for other in others if other != folder]
    if unread:
        raise UserError(f"{unread[0]}: give yourself the rights, or delete {name} by hand")
    if others:
        raise UserError(f"{name} holds other runs, such as {others[0]}: give those to delete, one by one")
    if Overview(folder, name).state == "running":
        raise UserError(f"{name} is running: stop it first")
    return folder


@contextlib.contextmanager
def _locked(folder: pathlib.Path, name: str):
    """Keeps others from training in the folder. Raises UserError if one does."""
    try:
        handle = os.open(folder / ".lock", os.O_RDONLY | os.O_NONBLOCK)
    except OSError:  # nobody has trained here, or one may not be able to delete it either
        yield
        return
    try:
        with contextlib.suppress(OSError):  # a file system without locks
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise UserError(f"{name} is running: stop it first") from error
        yield
    finally:
        os.close(handle)


def _content(folder: pathlib.Path) -> tuple[int, int]:
    """Returns the number of files in a folder and their bytes; a link counts as a file, and is not followed."""
    files = size = 0
    for path, folders, names in os.walk(folder):
        for name in (*names, *(name for name in folders if os.path.islink(os.path.join(path, name)))):
            with contextlib.suppress(OSError):  # it is gone
                size += os.lstat(os.path.join(path, name)).st_size
                files += 1
    return files, size


def _size(size: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} TB"


def _confirmed(number: int) -> bool:
    runs = "this run" if number == 1 else f"these {number} runs"
    try:
        return input(f"delete {runs} for good? type yes: ").strip() == "yes"
    except EOFError as error:
        raise UserError("rm needs an answer, and none can be typed here: give --yes to delete without one") from error
