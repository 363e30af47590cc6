"""Finds the folders of runs, whole or damaged, and the one that a command names."""

import json
import os
import pathlib

from sidae_jax.errors import UserError, nearest
from sidae_jax.files import read_regular
from sidae_jax.runs import ROOT
from sidae_jax.runs.status import FILE as STATUS

_NEVER_RUNS = ("checkpoints", "eval", "report")  # the folders inside a run


def is_run(folder: pathlib.Path) -> bool:
    """Returns whether a folder is that of a run, which may be damaged. Raises OSError if it cannot be read."""
    names = set(os.listdir(folder))
    if any(name in names and not (folder / name).is_dir() for name in (STATUS, "metrics.jsonl")):
        return True
    if "checkpoints" in names and (folder / "checkpoints").is_dir():
        return True
    if "config.json" not in names:
        return False
    try:  # not that of an exported encoder, for instance
        return "method" in json.loads(read_regular(folder / "config.json"))["config"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return False


def find(folder: pathlib.Path) -> tuple[list[pathlib.Path], list[str]]:
    """Returns the runs in a folder, itself included, by name, and a sentence on each folder that cannot be read.

    Links to folders are followed, each folder being visited once.
    """
    found, problems, seen, waiting = [], [], set(), [folder]
    while waiting:  # no recursion: folders may be nested deeply
        path = waiting.pop()
        try:
            stat = path.stat()
            if (stat.st_dev, stat.st_ino) in seen:
                continue
            seen.add((stat.st_dev, stat.st_ino))
            if is_run(path):
                found.append(path)
            inside = sorted((entry.name for entry in os.scandir(path) if _is_folder(entry)), reverse=True)
        except OSError as error:
            problems.append(f"{path} cannot be read: {error.strerror}")
            continue
        waiting += [path / name for name in inside if name not in _NEVER_RUNS and not name.startswith(".")]
    return found, problems


def _is_folder(entry: os.DirEntry) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def one_run(text: str) -> pathlib.Path:
    """Returns the folder of the run that the command line names, by its path or its name in runs/.

    Raises:
      UserError: there is none.
    """
    folder = existing(text)
    try:
        if is_run(folder):
            return folder
    except OSError as error:
        raise UserError(f"{text} cannot be read ({error.strerror}): give the folder of a run") from error
    inside, _ = find(folder)
    one = f"give one of the {len(inside)} in it, such as"
    hint = f"{one} {inside[0]}" if inside else "python -m sidae_jax.runs DIR lists those of a folder"
    raise UserError(f"{text} is not the folder of a run: {hint}")


def existing(text: str) -> pathlib.Path:
    """Returns the folder of that path, or of that name in runs/. Raises UserError if there is neither."""
    if text:
        for path in (pathlib.Path(text).expanduser(), ROOT / text):
            if path.is_dir():
                return path
    near = nearest(text.removeprefix(f"{ROOT}/"), [path.name for path in ROOT.glob("*/")])
    hint = f"did you mean {ROOT / near}?" if near else "give the folder of a run, such as runs/cifar10-sidae"
    raise UserError(f"{text or repr(text)} does not exist or is no folder: {hint}")


def names(folders: list[pathlib.Path], below: pathlib.Path) -> list[str]:
    """Returns the names of runs: their paths below a folder, or for that folder itself its own name."""
    return [folder.resolve().name if folder == below else folder.relative_to(below).as_posix() for folder in folders]
