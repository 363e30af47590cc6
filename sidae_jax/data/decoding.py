"""Decoding in parallel, with a progress bar."""

import collections
import concurrent.futures
import contextlib
import os
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple, TypeVar

import numpy as np
import rich.console
import rich.markup
import rich.progress
from absl import logging
from jaxtyping import UInt8, UInt64
from PIL import Image

from sidae_jax.growing_entry import Part, Row

BLOCK = 64  # images that a thread decodes at a time: one by one, threads would be slower than none
_MOST_THREADS = 16
T = TypeVar("T")
R = TypeVar("R")


class Kept(NamedTuple):
    """What is kept of each image when a data set is decoded: the array's name, its row, and the row of an image."""

    name: str
    row: Row
    of: Callable[[UInt8[np.ndarray, "size size 3"]], np.ndarray]


def pixels(size: int) -> Kept:
    """Returns that all pixels are kept."""
    return Kept("images", ((size, size, 3), np.uint8), lambda image: image)


def _sums(image: UInt8[np.ndarray, "size size 3"]) -> UInt64[np.ndarray, "2 3"]:
    wide = image.astype(np.uint64)
    return np.stack([wide.sum((0, 1)), (wide * wide).sum((0, 1))])


SUMS = Kept("sums", ((2, 3), np.uint64), _sums)  # of pixels and their squares


def in_threads(function: Callable[[T], R], blocks: Iterable[T]) -> Iterator[R]:
    """Yields function(block) of each block, in order; threads compute them some blocks ahead.

    Threads and not processes: PIL releases the interpreter lock while it decodes and resizes.
    """
    threads = min(_MOST_THREADS, os.cpu_count() or 1)
    waiting: collections.deque[concurrent.futures.Future] = collections.deque()
    with contextlib.ExitStack() as stack:
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # decode_image makes it an error
        pool = stack.enter_context(concurrent.futures.ThreadPoolExecutor(threads))
        for block in blocks:
            waiting.append(pool.submit(function, block))
            if len(waiting) > 2 * threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def with_progress(parts: Iterable[Part], start: int, end: int, what: str) -> Iterator[Part]:
    """Yields the parts from item `start` to `end`, with a bar on a terminal and one log line elsewhere."""
    what = f"Decoding {end - start} images of {what}"
    if not sys.stderr.isatty():
        logging.info("%s, once; the cache keeps them.", what)
        yield from parts
        return
    columns = (*rich.progress.Progress.get_default_columns(), rich.progress.MofNCompleteColumn())
    with rich.progress.Progress(*columns, console=rich.console.Console(stderr=True), transient=True) as progress:
        task = progress.add_task(rich.markup.escape(what), total=end, completed=start)
        for part in parts:
            yield part
            progress.update(task, completed=part.done)
