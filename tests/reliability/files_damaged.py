"""The ways in which a file is damaged."""

import pathlib
import random
import shutil
from collections.abc import Callable

_BLOCK = 512  # bytes that a disk writes as one


def _flipped(content: bytes, rng: random.Random) -> bytes:
    changed = bytearray(content)
    changed[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _cut(content: bytes, rng: random.Random) -> bytes:
    return content[: rng.randrange(len(content))]


def _zeroed(content: bytes, rng: random.Random) -> bytes:
    start = rng.randrange(0, len(content), _BLOCK)
    return content[:start] + bytes(len(content[start : start + _BLOCK])) + content[start + _BLOCK :]


def _rewritten(change: Callable[[bytes, random.Random], bytes]) -> Callable[[pathlib.Path, random.Random], None]:
    def damage(path: pathlib.Path, rng: random.Random) -> None:
        path.write_bytes(change(path.read_bytes(), rng))

    return damage


def _into_a_folder(path: pathlib.Path, _: random.Random) -> None:
    path.unlink()
    path.mkdir()


DELETED, FLIPPED = "deleted", "a flipped bit"
DAMAGES: dict[str, Callable[[pathlib.Path, random.Random], None]] = {
    FLIPPED: _rewritten(_flipped),
    "cut short": _rewritten(_cut),
    "a zeroed block": _rewritten(_zeroed),
    "emptied": _rewritten(lambda *_: b""),
    DELETED: lambda path, _: path.unlink(),
    "a folder in its place": _into_a_folder,
}


def copied(source: pathlib.Path, target: pathlib.Path) -> None:
    """Puts a copy in the place of a folder; times of files are kept, by which caches know them."""
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source, target)
