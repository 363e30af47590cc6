"""Errors of orbax: only raised.

Before orbax raises an error, its threads log it with its traceback. It then closes the event loop to which tensorstore
still reports its other reads and writes, and each of them ends in a traceback too: a page that says "Event loop is
closed".
"""

import logging
import pathlib
import sys


class _NoTracebacksOfOrbax(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        return not (record.exc_info and "orbax" in pathlib.PurePath(record.pathname).parts)


_FILTER = _NoTracebacksOfOrbax()
_before = None


def only_raise() -> None:
    """Leaves out what orbax says about errors that it raises, from now on: it may come after the error."""
    global _before
    logging.getLogger("absl").addFilter(_FILTER)  # once, however often it is called
    if sys.unraisablehook is not _unraisable:
        _before, sys.unraisablehook = sys.unraisablehook, _unraisable


def _unraisable(unraisable: "sys.UnraisableHookArgs") -> None:
    closed = isinstance(unraisable.exc_value, RuntimeError) and str(unraisable.exc_value) == "Event loop is closed"
    if not (closed and unraisable.object is None) and _before is not None:  # what tensorstore calls has no name here
        _before(unraisable)
