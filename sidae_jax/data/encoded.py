"""Images that stay encoded on disk and are decoded when they are read: decoded, they may not fit there."""

import hashlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from jaxtyping import Int, Int32, UInt8, UInt64

from sidae_jax import array_cache
from sidae_jax.data import decode, decoding


class EncodedImages:
    """An array uint8 [n, size, size, 3] of which rows can be read, but which is nowhere as a whole.

    Attributes:
      shape: that of the array.
      sums: uint64 [n, 2, 3], of each image the sums of its pixels and of their squares, by channel.
    """

    def __init__(
        self,
        read: Callable[[int], bytes],
        items: Int[np.ndarray, " n"],
        sums: UInt64[np.ndarray, "n 2 3"],
        size: int,
        made_from: dict,
    ):
        """Takes what it is made of.

        read: returns the encoded image of an item, in any thread; items: that of each row; made_from: everything that
        the items depend on, as plain JSON values.
        """
        self._read, self._items, self._size, self._made_from = read, items, size, made_from
        self.sums = sums
        self.shape = (len(items), size, size, 3)

    @property
    def nbytes(self) -> int:
        """The bytes of the whole array."""
        return int(np.prod(self.shape, dtype=np.int64))

    def __len__(self) -> int:
        return len(self._items)

    def __getitem__(self, rows: slice | Int[np.ndarray, " m"]) -> Any:
        """Returns the images of a slice, still encoded, or those of some rows, decoded."""
        items = self._items[rows]
        if isinstance(rows, slice):
            return EncodedImages(self._read, items, self.sums[rows], self._size, self._made_from)
        return self._decode(items)

    def _decode(self, items: Int[np.ndarray, " m"]) -> UInt8[np.ndarray, "m size size 3"]:
        return np.stack([decode.decode_image(self._read(int(item)), self._size) for item in items])

    def blocks(self) -> Iterator[UInt8[np.ndarray, "m size size 3"]]:
        """Yields all rows in order, decoded by threads, some at a time."""
        starts = range(0, len(self), decoding.BLOCK)
        yield from decoding.in_threads(self._decode, (self._items[at : at + decoding.BLOCK] for at in starts))

    def cached_sha256(self, labels: Int32[np.ndarray, " n"], compute: Callable[[], str]) -> str:
        """Returns the SHA-256 of images and labels that `compute` finds by decoding all of them, once."""
        of_arrays = [hashlib.sha256(array.astype("<i8").tobytes()).hexdigest() for array in (self._items, labels)]
        made_from = {**self._made_from, "items and labels": of_arrays}

        def build() -> array_cache.Arrays:
            return {"sha256": np.frombuffer(bytes.fromhex(compute()), np.uint8).copy()}

        folder = array_cache.user_folder()
        found = array_cache.load_or_build(folder, "sha256-of-images", ("sha256",), made_from, build)
        return found["sha256"].tobytes().hex()
