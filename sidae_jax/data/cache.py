"""Decoded splits as uncompressed .npy files in the user's cache folder, with checksums.

Three files a split: `<stem>.images.npy`, `<stem>.labels.npy` and `<stem>.json`, which says what they
were made from and their SHA-256. The folder may be deleted at any time.
"""

import hashlib
import json
import os
import pathlib
import tempfile
from collections.abc import Callable

import numpy as np
from absl import logging
from jaxtyping import Int32, UInt8

Arrays = tuple[UInt8[np.ndarray, "n 32 32 3"], Int32[np.ndarray, " n"]]

_PARTS = {"images": np.uint8, "labels": np.int32}


def folder() -> pathlib.Path:
    """`$XDG_CACHE_HOME/sidae_jax`, or `~/.cache/sidae_jax`."""
    root = os.environ.get("XDG_CACHE_HOME") or os.path.join("~", ".cache")
    return pathlib.Path(root).expanduser() / "sidae_jax"


def load_or_build(name: str, made_from: dict, build: Callable[[], Arrays]) -> Arrays:
    """Reads the arrays made from `made_from`, memory-mapped, or builds and keeps them.

    A cached file whose SHA-256 is not the one written down is rebuilt, with a warning. Where the
    folder cannot be written, the arrays are built in memory, with a warning.

    Args:
      name: what the files are called, for people.
      made_from: everything the arrays depend on, as plain JSON values; a change of any means other files.
      build: makes (images uint8 [n, 32, 32, 3], labels int32 [n]).

    Returns:
      images and labels, both read-only.
    """
    digest = hashlib.sha256(json.dumps(made_from, sort_keys=True).encode()).hexdigest()
    stem = folder() / f"{name}-{digest[:16]}"
    try:
        return _read(stem, made_from)
    except FileNotFoundError:
        pass  # not built yet
    # A corrupt sidecar or header is a ValueError (JSON, UTF-8, npy) or lacks a key.
    except (OSError, ValueError, KeyError, TypeError) as error:
        logging.warning("The cached data %s.* is corrupt and is made again: %s", stem, error)
    images, labels = build()
    try:
        _write(stem, made_from, {"images": images, "labels": labels})
        return _map(stem)
    except (OSError, ValueError) as error:
        logging.warning(
            "The decoded data cannot be kept in %s (%s); it is decoded again at the next start."
            " Set XDG_CACHE_HOME to a folder that can be written.",
            stem.parent,
            error,
        )
    images.flags.writeable = labels.flags.writeable = False
    return images, labels


def _path(stem: pathlib.Path, part: str) -> pathlib.Path:
    return stem.with_name(f"{stem.name}.{part}")  # not with_suffix: a version has dots


def _read(stem: pathlib.Path, made_from: dict) -> Arrays:
    sidecar = json.loads(_path(stem, "json").read_text())
    if sidecar["made_from"] != made_from:
        raise ValueError("it was made from other files")
    for part in _PARTS:
        path = _path(stem, f"{part}.npy")
        found, wanted = _sha256(path), sidecar["sha256"][part]
        if found != wanted:
            raise ValueError(f"{path.name} has SHA-256 {found}, not {wanted}")
    return _map(stem)


def _map(stem: pathlib.Path) -> Arrays:
    images, labels = (np.load(_path(stem, f"{part}.npy"), mmap_mode="r", allow_pickle=False) for part in _PARTS)
    return images, labels


def _write(stem: pathlib.Path, made_from: dict, arrays: dict[str, np.ndarray]) -> None:
    stem.parent.mkdir(parents=True, exist_ok=True)
    sha256 = {}
    for part, dtype in _PARTS.items():
        assert arrays[part].dtype == dtype, (part, arrays[part].dtype)

        def save(file, array=arrays[part]):
            np.save(file, array, allow_pickle=False)

        sha256[part] = _write_file(_path(stem, f"{part}.npy"), save)
    # Last, because it vouches for the other two.
    text = json.dumps({"made_from": made_from, "sha256": sha256}, indent=2)
    _write_file(_path(stem, "json"), lambda file: file.write(text.encode()))


def _write_file(path: pathlib.Path, write: Callable) -> str:
    """Writes under a temporary name, then renames: readers see the old file or the whole new one."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f"{path.name}.tmp.")
    try:
        with os.fdopen(handle, "wb") as file:
            write(file)
        digest = _sha256(temporary)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
    return digest


def _sha256(path: str | os.PathLike) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
