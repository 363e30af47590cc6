"""Decoding in parallel, with a progress bar."""

import collections
import concurrent.futures
import contextlib
import os
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

import rich.console
import rich.progress
from absl import logging
from PIL import Image

from sidae_jax.growing_entry import Part

BLOCK = 64  # images that a thread decodes at a time: one by one, threads would be slower than none
_MOST_THREADS = 16
T = TypeVar("T")


def decode_blocks(make_part: Callable[[T], Part], blocks: Iterable[T]) -> Iterator[Part]:
    """Yields make_part(block) of each block, in order; threads compute them some blocks ahead.

    Threads and not processes: PIL releases the interpreter lock while it decodes and resizes.
    """
    threads = min(_MOST_THREADS, os.cpu_count() or 1)
    waiting: collections.deque[concurrent.futures.Future[Part]] = collections.deque()
    with contextlib.ExitStack() as stack:
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # decode_image makes it an error
        pool = stack.enter_context(concurrent.futures.ThreadPoolExecutor(threads))
        for block in blocks:
            waiting.append(pool.submit(make_part, block))
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
        task = progress.add_task(what, total=end, completed=start)
        for part in parts:
            yield part
            progress.update(task, completed=part.done)
