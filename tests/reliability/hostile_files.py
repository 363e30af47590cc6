"""Files that somebody made to do harm, each put in the place of one of a world's; see `programs`.

`harm(world, outside)` makes it; `outside` is a folder that nothing may change. What would run, had it been unpickled,
writes there.
"""

import hashlib
import io
import json
import os
import pathlib
import struct
import zipfile
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from sidae_jax.runs import sums

Harm = Callable[[pathlib.Path, pathlib.Path], None]
NAME = "<script>alert(1)</script> $\\frac$ \x1b[2J\u202e[red]x[/red] ../../x"
_DEEP = "[" * 100_000
_LONG = "9" * 5_000_000


class Hostile(NamedTuple):
    what: str
    programs: tuple[str, ...]
    harm: Harm


class _Runs:
    """Unpickled, it would write a file."""

    def __init__(self, outside: pathlib.Path):
        self._path = str(outside / "executed")

    def __reduce__(self) -> Any:
        return os.mkdir, (self._path,)


def _pickled(outside: pathlib.Path) -> bytes:
    import pickle

    return pickle.dumps(_Runs(outside))


def _objects(outside: pathlib.Path) -> bytes:
    """An .npy file of an array of objects, whose pickle would run."""
    file, array = io.BytesIO(), np.empty(1, object)
    array[0] = _Runs(outside)
    np.save(file, array, allow_pickle=True)
    return file.getvalue()


def _npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def _npy_header(shape: tuple[int, ...], descr: str = "|u1") -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": descr, "fortran_order": False, "shape": shape})
    return file.getvalue() + bytes(64)


def _first(world: pathlib.Path, pattern: str) -> pathlib.Path:
    return sorted(world.glob(pattern))[0]


def put(pattern: str, content: Any) -> Harm:
    """Puts content (bytes, text, or a function of `outside`) in a file's place."""

    def harm(world: pathlib.Path, outside: pathlib.Path) -> None:
        made = content(outside) if callable(content) else content
        _first(world, pattern).write_bytes(made if isinstance(made, bytes) else made.encode())

    return harm


def vouched(pattern: str, content: Any) -> Harm:
    """Does the same with an array of a cache, whose sidecar then has its checksum."""

    def harm(world: pathlib.Path, outside: pathlib.Path) -> None:
        put(pattern, content)(world, outside)
        path = _first(world, pattern)
        stem, name, _ = path.name.rsplit(".", 2)
        sidecar = path.with_name(f"{stem}.json")
        said = json.loads(sidecar.read_text())
        said["sha256"][name] = hashlib.sha256(path.read_bytes()).hexdigest()
        sidecar.write_text(json.dumps(said))

    return harm


def edited(pattern: str, change: Callable[[dict], Any], key: str = "sha256") -> Harm:
    """Changes an object of JSON, with the right checksum of its own."""

    def harm(world: pathlib.Path, outside: pathlib.Path) -> None:
        path = _first(world, pattern)
        content = {name: value for name, value in json.loads(path.read_text()).items() if name != key}
        change(content)
        path.write_text(json.dumps(sums.sealed(content, key)))

    return harm


def pipe(pattern: str) -> Harm:
    def harm(world: pathlib.Path, outside: pathlib.Path) -> None:
        path = _first(world, pattern)
        path.unlink()
        os.mkfifo(path)

    return harm


def linked(pattern: str, target: str | None = None) -> Harm:
    """Puts a link in the place of a file, to a device or to a copy of the file outside."""

    def harm(world: pathlib.Path, outside: pathlib.Path) -> None:
        path = _first(world, pattern)
        there = outside / path.name
        if target is None:
            there.write_bytes(path.read_bytes())
        path.unlink()
        path.symlink_to(target or there)

    return harm


def new_link(name: str) -> Harm:
    """Makes a link to a file outside that is there."""

    def harm(world: pathlib.Path, outside: pathlib.Path) -> None:
        (world / name).unlink(missing_ok=True)
        (outside / "kept").write_text("kept")
        (world / name).symlink_to(outside / "kept")

    return harm


def safetensors(header: dict | str | None = None, length: int | None = None, data: bytes = bytes(64)) -> Harm:
    text = (header if isinstance(header, str) else json.dumps(header or {})).encode()
    return put("encoder.safetensors", struct.pack("<Q", len(text) if length is None else length) + text + data)


def said(**changes: str) -> Harm:
    """Changes what an export says of itself, with the right checksum."""

    def harm(world: pathlib.Path, outside: pathlib.Path) -> None:
        path = world / "encoder.safetensors"
        content = path.read_bytes()
        end = 8 + int.from_bytes(content[:8], "little")
        header = json.loads(content[8:end])
        kept = {k: v for k, v in header["__metadata__"].items() if k != sums.OF_METADATA} | changes
        header["__metadata__"] = sums.sealed(kept, sums.OF_METADATA)
        text = json.dumps(header).encode()
        path.write_bytes(len(text).to_bytes(8, "little") + text + content[end:])

    return harm


def zip_bomb(world: pathlib.Path, outside: pathlib.Path) -> None:
    path = world / "whole/eval/pictures.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("images.npy", "w") as member:
        member.write(_npy_header((1 << 30,)))
        for _ in range(1 << 10):
            member.write(bytes(1 << 20))


def pictures(**changes: Any) -> Harm:
    def harm(world: pathlib.Path, outside: pathlib.Path) -> None:
        path = world / "whole/eval/pictures.npz"
        with np.load(path) as found:
            arrays = dict(found)
        np.savez(
            path, allow_pickle=True, **{**arrays, **{k: v(outside) if callable(v) else v for k, v in changes.items()}}
        )

    return harm


def object_array(outside: pathlib.Path) -> np.ndarray:
    array = np.empty(1, object)
    array[0] = _Runs(outside)
    return array
