"""Arrays kept as uncompressed .npy files with checksums, for what takes long to compute.

An entry is a file `<name>-<digest>.<array>.npy` per array, and `<name>-<digest>.json`, which says what the arrays were
made from and holds their SHA-256. All of them may be deleted at any time.
"""

import hashlib
import json
import os
import pathlib
from collections.abc import Callable, Sequence

import numpy as np
from absl import logging

from sidae_jax.files import atomic_write, write_text

Arrays = dict[str, np.ndarray]


def user_folder() -> pathlib.Path:
    """Returns the user's cache folder: `$XDG_CACHE_HOME/sidae_jax`, or `~/.cache/sidae_jax`."""
    root = os.environ.get("XDG_CACHE_HOME") or os.path.join("~", ".cache")
    return pathlib.Path(root).expanduser() / "sidae_jax"


def load_or_build(
    folder: pathlib.Path, name: str, names: Sequence[str], made_from: dict, build: Callable[[], Arrays]
) -> Arrays:
    """Returns the arrays made from `made_from`, memory-mapped, after building and keeping them if needed.

    An entry whose SHA-256 does not match is built again, with a warning. If the folder cannot be written, the arrays
    stay in memory, with a warning.

    Args:
      folder: where the entry lies.
      name: the beginning of the files' names, for people.
      names: the arrays.
      made_from: everything the arrays depend on, as plain JSON values; if any of it changes, so do the files.
      build: computes the arrays, by name.

    Returns:
      The arrays of `build` by name, read-only.
    """
    digest = hashlib.sha256(json.dumps(made_from, sort_keys=True).encode()).hexdigest()
    stem = folder / f"{name}-{digest[:16]}"
    try:
        return _read(stem, made_from, names)
    except FileNotFoundError:
        pass  # not built yet
    # A corrupt sidecar or header is a ValueError (JSON, UTF-8, npy) or lacks a key.
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        logging.warning("The cached arrays %s.* are corrupt and are made again: %s", stem, error)
    arrays = build()
    try:
        _write(stem, made_from, arrays)
        return _map(stem, names)
    except (OSError, ValueError) as error:
        logging.warning(
            "The arrays %s.* cannot be kept (%s) and will be made again at the next start. "
            "Make their folder writable; that of data sets is moved by XDG_CACHE_HOME.",
            stem,
            error,
        )
    for array in arrays.values():
        array.flags.writeable = False
    return arrays


def _path(stem: pathlib.Path, part: str) -> pathlib.Path:
    return stem.with_name(f"{stem.name}.{part}")  # not with_suffix: a version has dots


def _read(stem: pathlib.Path, made_from: dict, names: Sequence[str]) -> Arrays:
    sidecar = json.loads(_path(stem, "json").read_text())
    if sidecar["made_from"] != made_from:
        raise ValueError("they were made from something else")
    for name in names:
        path, wanted = _path(stem, f"{name}.npy"), sidecar["sha256"][name]
        if (found := _sha256(path)) != wanted:
            raise ValueError(f"{path.name} has SHA-256 {found}, not {wanted}")
    return _map(stem, names)


def _map(stem: pathlib.Path, names: Sequence[str]) -> Arrays:
    return {name: np.load(_path(stem, f"{name}.npy"), mmap_mode="r", allow_pickle=False) for name in names}


def _write(stem: pathlib.Path, made_from: dict, arrays: Arrays) -> None:
    stem.parent.mkdir(parents=True, exist_ok=True)
    sha256 = {}
    for name, array in arrays.items():
        with atomic_write(_path(stem, f"{name}.npy")) as file:
            np.save(file, array, allow_pickle=False)
            file.flush()
            sha256[name] = _sha256(file.name)  # of what was written here, before another process can replace it
    # Last, because it vouches for the others.
    write_text(_path(stem, "json"), json.dumps({"made_from": made_from, "sha256": sha256}, indent=2))


def _sha256(path: str | os.PathLike) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
