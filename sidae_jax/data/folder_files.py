"""The files of a folder of images: found in a fixed order, put into splits and classes by their paths alone."""

import hashlib
import os
import stat
from collections.abc import Iterator, Sequence
from typing import NamedTuple

SPLITS = ("train", "test", "val", "valid", "validation")
_LIKE_SPLITS = {*SPLITS, "training", "testing", "dev", "eval", "evaluation"}  # in any case


class ImageFile(NamedTuple):
    """A file below the folder.

    name: its path from the folder, with "/" on all systems.
    size, mtime_ns: bytes, and nanoseconds of its last change.
    problem: why it cannot be used, such as "is a link out of the folder", or "".
    """

    name: str
    size: int
    mtime_ns: int
    problem: str = ""


class Split(NamedTuple):
    """The files of a split, and the class of each: its number in `Layout.class_names`, or -1 without classes."""

    files: list[ImageFile]
    labels: list[int]


class Layout(NamedTuple):
    """The splits of a folder, by name, and the names of the classes of all of them together, sorted."""

    splits: dict[str, Split]
    class_names: tuple[str, ...]


def find(root: str | os.PathLike) -> list[ImageFile]:
    """Returns all files below a folder, sorted by the bytes of their names.

    Names that begin with a dot are ignored, files and folders. Links to files in the folder are followed; links to
    folders and out of the folder, and what is neither file nor folder, are files with a problem.

    Raises:
      OSError: a folder cannot be read.
    """
    return sorted(_find(os.path.realpath(root)), key=lambda file: os.fsencode(file.name))


def _find(root: str) -> Iterator[ImageFile]:
    folders = [""]  # a list, as folders may be nested deeper than Python's calls
    while folders:
        inside = folders.pop()
        with os.scandir(os.path.join(root, inside)) as entries:
            for entry in entries:
                name = f"{inside}{entry.name}"
                if entry.name.startswith("."):
                    continue
                if entry.is_dir(follow_symlinks=False):
                    folders.append(f"{name}/")
                elif problem := _problem(root, entry):
                    yield ImageFile(name, 0, 0, problem)
                else:
                    status = entry.stat()
                    yield ImageFile(name, status.st_size, status.st_mtime_ns)


def _problem(root: str, entry: os.DirEntry) -> str:
    if entry.is_symlink():
        if not os.path.exists(entry.path):
            return "is a link to nothing"
        if os.path.commonpath([root, os.path.realpath(entry.path)]) != root:
            return "is a link out of the folder"
        if entry.is_dir():
            return "is a link to a folder"
    return "" if stat.S_ISREG(entry.stat().st_mode) else "is neither a file nor a folder"


def arrange(files: Sequence[ImageFile], test_share: float) -> Layout:
    """Puts files into splits and classes.

    A folder whose folders are all named as SPLITS has these splits, and files beside them belong to none. Any other
    folder is one split, "train". Without another split, the share `test_share` of "train" is "test", chosen by a hash
    of each file's name: a file stays in its split when others come and go.

    Below a split, the first folder of a name is its class. If there are such folders, a file beside them has a problem;
    if there are none, no file has a class.
    """
    tops = _tops(files)
    if tops and tops <= set(SPLITS):
        found = {
            f"{top}/": [file for file in files if file.name.startswith(f"{top}/")] for top in SPLITS if top in tops
        }
    else:
        found = {"": list(files)}
    classes = {name for top, members in found.items() for file in members if (name := _class_of(file, top))}
    class_names = tuple(sorted(classes, key=os.fsencode))
    numbers = {name: number for number, name in enumerate(class_names)}
    splits = {top.rstrip("/") or "train": _split(members, top, numbers) for top, members in found.items()}
    if list(splits) == ["train"]:
        (top,) = found
        splits = _held_out(splits["train"], top, test_share)
    return Layout(splits, class_names)


def unclear_splits(files: Sequence[ImageFile]) -> list[str]:
    """Returns the top folders, sorted, if two or more have names like splits and not all are SPLITS; else none.

    `arrange` would take all of them for classes, and train on the images of the test folder. A single one may be a
    class: "train", beside "bus".
    """
    tops = _tops(files)
    like = {top for top in tops if top.lower() in _LIKE_SPLITS}
    return sorted(tops) if len(like) > 1 and not tops <= set(SPLITS) else []


def _tops(files: Sequence[ImageFile]) -> set[str]:
    return {file.name.partition("/")[0] for file in files if "/" in file.name}


def _class_of(file: ImageFile, top: str) -> str:
    head, slash, _ = file.name.removeprefix(top).partition("/")
    return head if slash else ""


def _split(files: Sequence[ImageFile], top: str, numbers: dict[str, int]) -> Split:
    beside = "lies beside the folders of the classes and not in one"
    kept, labels = [], []
    for file in files:
        number = numbers.get(_class_of(file, top), -1)
        kept.append(file._replace(problem=file.problem or beside) if numbers and number < 0 else file)
        labels.append(number)
    return Split(kept, labels)


def _held_out(split: Split, top: str, test_share: float) -> dict[str, Split]:
    """Returns "train" and "test", without such as would be empty."""
    parts = {"train": Split([], []), "test": Split([], [])}
    for file, label in zip(*split, strict=True):
        digest = hashlib.sha256(os.fsencode(file.name.removeprefix(top))).digest()
        part = parts["test" if int.from_bytes(digest[:8], "big") < test_share * 2**64 else "train"]
        part.files.append(file)
        part.labels.append(label)
    return {name: part for name, part in parts.items() if part.files}
