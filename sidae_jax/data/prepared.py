"""The data sets that lie prepared in a TFDS folder, found without their classes."""

import os
import pathlib
import re
from collections.abc import Iterable, Iterator

from sidae_jax.errors import UserError, nearest
from sidae_jax.settings import FOLDER

_VERSION = re.compile(r"\d+\.\d+\.\d+")


def folder_of(dataset: str, data_dir: str | os.PathLike, known: Iterable[str]) -> pathlib.Path:
    """Returns the folder of a data set that lies prepared in `data_dir`.

    Args:
      dataset: NAME, or NAME/CONFIG if it has several configs; :VERSION behind it chooses another than the newest.
      data_dir: a TFDS folder.
      known: the names that need not be prepared, for the message.

    Raises:
      UserError: there is no such folder.
    """
    name, _, wanted = dataset.partition(":")
    folders = list(_folders(data_dir))
    there = sorted({other for other, _ in folders} - set(known))
    configs = [other for other in there if other.startswith(f"{name}/")]
    full_name = configs[0] if name not in there and len(configs) == 1 else name
    if found := [folder for other, folder in folders if other == full_name and wanted in ("", folder.name)]:
        return max(found, key=lambda folder: [int(part) for part in folder.name.split(".")])
    names = [*known, FOLDER, *there]
    near = configs[0] if configs else nearest(name, names)
    raise UserError(
        f"dataset={dataset!r} is unknown: give one of {', '.join([*known, FOLDER])} or one that lies prepared in "
        f"{data_dir} ({', '.join(there) or 'no other does'}){f'; did you mean {near}?' if near else ''}"
    )


def _folders(data_dir: str | os.PathLike) -> Iterator[tuple[str, pathlib.Path]]:
    """Yields the name of each prepared data set, such as "eurosat/rgb", with the folder of each of its versions."""
    for pattern in ("*/*/features.json", "*/*/*/features.json"):
        for path in pathlib.Path(data_dir).glob(pattern):
            if _VERSION.fullmatch(path.parent.name) and path.with_name("dataset_info.json").exists():
                yield path.parent.parent.relative_to(data_dir).as_posix(), path.parent
