"""Errors of orbax: only raised, and those of the disk as OSError.

Before orbax raises an error, its threads log it with its traceback. It then closes the event loop to which tensorstore
still reports its other reads and writes, and each of them ends in a traceback too: a page that says "Event loop is
closed" and nothing of the disk, or, if they failed before that, that their "exception was never retrieved".
"""

import contextlib
import logging
import os
import pathlib
import re
import sys
from collections.abc import Iterator

from sidae_jax.files import NotWritten, disk_errno


class _NoTracebacksOfOrbax(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        return not (record.exc_info and "orbax" in pathlib.PurePath(record.pathname).parts)


class _NoOtherErrorsOfTensorstore(logging.Filter):
    """For asyncio, which logs the errors of tasks that nobody waits for after the first one has failed."""

    def filter(self, record: logging.LogRecord) -> bool:
        error = str(record.exc_info[1]) if record.exc_info else ""
        return not ("never retrieved" in str(record.msg) and _OF_TENSORSTORE.search(error))


_OF_TENSORSTORE = re.compile(r"OCDBT|tensorstore|os_error_code")
_FILTERS = {"absl": _NoTracebacksOfOrbax(), "asyncio": _NoOtherErrorsOfTensorstore()}
_before = None


def only_raise() -> None:
    """Leaves out what orbax says about errors that it raises, from now on: it may come after the error."""
    global _before
    for name, its_filter in _FILTERS.items():
        logging.getLogger(name).addFilter(its_filter)  # once, however often it is called
    if sys.unraisablehook is not _unraisable:
        _before, sys.unraisablehook = sys.unraisablehook, _unraisable


def _unraisable(unraisable: "sys.UnraisableHookArgs") -> None:
    closed = isinstance(unraisable.exc_value, RuntimeError) and str(unraisable.exc_value) == "Event loop is closed"
    if not (closed and unraisable.object is None) and _before is not None:  # what tensorstore calls has no name here
        _before(unraisable)


@contextlib.contextmanager
def disk_errors(path: pathlib.Path) -> Iterator[None]:
    """Raises NotWritten, with this path, for what tensorstore and orbax raise if the disk is full or read-only."""
    try:
        yield
    except Exception as error:  # tensorstore has ValueError for all
        number = error.errno if isinstance(error, OSError) else disk_errno(str(error))
        if number is None:
            raise
        raise NotWritten(number, os.strerror(number), str(path)) from error
