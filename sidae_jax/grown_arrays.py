"""Entries of the cache that grow on disk part by part: for arrays that do not fit in memory and take hours to make."""

import os
import pathlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from sidae_jax.array_cache import Arrays, Entry, Row, read_only
from sidae_jax.growing_entry import GrowingEntry, Part, no_room, no_rows, row_bytes


def load_or_grow(
    folder: pathlib.Path,
    name: str,
    rows: dict[str, Row],
    made_from: dict,
    num_items: int,
    make: Callable[[int], Iterator[Part]],
) -> tuple[Arrays, list[Any]]:
    """Returns the arrays made from `made_from`, memory-mapped, and the notes on them, after making them if needed.

    If the folder cannot be written the arrays are made in memory, with a warning. Of several processes that need the
    same entry one makes it while the others wait.

    Args:
      folder: where the entry lies.
      name: the beginning of the files' names, for people.
      rows: shape and dtype of a row of each array.
      made_from: everything the arrays depend on, as plain JSON values; if any of it changes, so do the files.
      num_items: how many items there are. An item becomes a row of each array, or none.
      make: make(start) yields the parts from item `start` to the last one, in order.

    Raises:
      DiskTrouble: neither the folder nor the memory has room for the arrays.
    """
    entry = Entry(folder, name, made_from)
    while (found := entry.read(rows, rows)) is None:
        try:
            growing = GrowingEntry.opened(entry, rows, num_items)
        except OSError as error:
            return _in_memory(entry, rows, num_items, make, error)
        if growing is not None:  # else another process has finished meanwhile
            with growing:
                for part in make(growing.done):
                    growing.append(part)
                return growing.finish()
    return found[0], found[1] or []


def _in_memory(
    entry: Entry, rows: dict[str, Row], num_items: int, make: Callable[[int], Iterator[Part]], error: OSError
) -> tuple[Arrays, list[Any]]:
    needed = num_items * sum(map(row_bytes, rows.values()))
    if needed > os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 4:
        raise no_room(entry, needed, error) from error
    entry.warn_not_kept(error)
    parts = list(make(0))
    arrays = {name: np.concatenate([no_rows(row), *(p.arrays[name] for p in parts)]) for name, row in rows.items()}
    return read_only(arrays), [note for part in parts for note in part.notes]
