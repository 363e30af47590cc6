"""Arrays kept as uncompressed .npy files with checksums, for what takes long to compute.

An entry is a file `<name>-<digest>.<array>.npy` per array, and `<name>-<digest>.json`, which says what the arrays were
made from and holds their SHA-256. All of them may be deleted at any time.
"""

import hashlib
import json
import os
import pathlib
from collections.abc import Callable, Iterable, Sequence
from typing import IO, Any

import numpy as np
from absl import logging

from sidae_jax.files import atomic_write, open_regular, read_regular, write_text

Arrays = dict[str, np.ndarray]
Row = tuple[tuple[int, ...], type]  # shape and dtype


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
    entry = Entry(folder, name, made_from)
    if (found := entry.read(names)) is not None:
        return found[0]
    arrays = build()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        sha256 = {}
        for array_name, array in arrays.items():
            with atomic_write(entry.path(f"{array_name}.npy")) as file:
                save_npy(file, array)
                file.flush()
                sha256[array_name] = file_sha256(file.name)  # before another process can replace it
        entry.vouch(sha256)
        return entry.map(names)
    except (OSError, ValueError) as error:
        entry.warn_not_kept(error)
    return read_only(arrays)


def save_npy(file: IO[bytes], array: np.ndarray) -> None:
    """Writes what np.save does, whose OSError on a full disk does not say why."""
    array = np.ascontiguousarray(array)
    np.lib.format.write_array_header_1_0(file, np.lib.format.header_data_from_array_1_0(array))
    file.write(array.data)


class Entry:
    """The files of one entry of a cache, there or not."""

    def __init__(self, folder: pathlib.Path, name: str, made_from: dict):
        """Names the entry; see `load_or_build`."""
        self.stem = folder / f"{name}-{_digest(made_from)}"
        self.made_from = made_from

    def path(self, part: str) -> pathlib.Path:
        """Returns the path of a part, such as "images.npy"."""
        return self.stem.with_name(f"{self.stem.name}.{part}")  # not with_suffix: a version has dots

    def read(self, names: Iterable[str], rows: dict[str, Row] | None = None) -> tuple[Arrays, Any] | None:
        """Returns the arrays, memory-mapped, and the notes on them, or None if they are not there or corrupt.

        rows: shape and dtype of a row of each array, if they are known before.
        """
        try:
            sidecar = json.loads(read_regular(self.path("json")))
            if sidecar["made_from"] != self.made_from:
                raise ValueError("they were made from something else")
            for name in names:
                path, wanted = self.path(f"{name}.npy"), sidecar["sha256"][name]
                if (found := file_sha256(path)) != wanted:
                    raise ValueError(f"{path.name} has SHA-256 {found}, not {wanted}")
            arrays = self.map(names)
            for name, row in (rows or {}).items():
                if (arrays[name].ndim, arrays[name].shape[1:], arrays[name].dtype) != (1 + len(row[0]), *row):
                    raise ValueError(f"{name} has dtype {arrays[name].dtype} and shape {arrays[name].shape}")
            return arrays, sidecar.get("notes")
        except FileNotFoundError:
            return None  # not built yet
        # A corrupt sidecar or header is a ValueError (JSON, UTF-8, npy) or lacks a key.
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            logging.warning("The cached arrays %s.* are corrupt and are made again: %s", self.stem, error)
            return None

    def map(self, names: Iterable[str]) -> Arrays:
        """Returns the arrays, memory-mapped."""
        return {name: np.load(self.path(f"{name}.npy"), mmap_mode="r", allow_pickle=False) for name in names}

    def vouch(self, sha256: dict[str, str], notes: Any = None) -> None:
        """Writes the sidecar; last, because it vouches for the arrays."""
        content = {"made_from": self.made_from, "sha256": sha256} | ({} if notes is None else {"notes": notes})
        write_text(self.path("json"), json.dumps(content, indent=2))

    def warn_not_kept(self, error: Exception) -> None:
        """Says that the arrays stay in memory."""
        logging.warning(
            "The arrays %s.* cannot be kept (%s) and will be made again at the next start. "
            "Make room there, or their folder writable; that of data sets is moved by XDG_CACHE_HOME.",
            self.stem,
            error,
        )


def damaged(folder: pathlib.Path) -> list[str]:
    """Returns a sentence on each file in a folder of entries that is not as its entry's checksum says."""
    problems = []
    for path in sorted(folder.glob("*.json")):
        try:
            sidecar = json.loads(read_regular(path))
            if not path.name.endswith(f"-{_digest(sidecar['made_from'])}.json"):
                raise ValueError("what it was made from is not what its name says")
            sums = sidecar["sha256"]
            files = {path.with_name(f"{path.name.removesuffix('.json')}.{name}.npy"): sums[name] for name in sums}
            problems += [f"{file} does not have its SHA-256" for file in files if file_sha256(file) != files[file]]
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            problems.append(f"{path} is corrupt: {type(error).__name__}: {error}")
    return problems


def _digest(made_from: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(made_from, sort_keys=True).encode()).hexdigest()[:16]


def read_only(arrays: Arrays) -> Arrays:
    """Returns the arrays, which can no longer be written."""
    for array in arrays.values():
        array.flags.writeable = False
    return arrays


def file_sha256(path: str | os.PathLike) -> str:
    """Returns the SHA-256 (hexadecimal) of a file."""
    with open_regular(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]  # opened in binary mode
