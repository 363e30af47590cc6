"""What a report leaves out, for its readers, who do not see what the program said when it was made."""

import contextlib
import logging
import pathlib
from collections.abc import Iterator

from absl import logging as absl_logging

from sidae_jax.runs.values import printable

_MOST = 100  # messages shown: a file may have any number of corrupt lines


class _Collector(logging.Handler):
    def __init__(self, folder: pathlib.Path):
        super().__init__(logging.WARNING)
        self._folder = folder
        self._found: dict[str, None] = {}  # in order, each once

    def emit(self, record: logging.LogRecord) -> None:
        self._found[printable(record.getMessage().replace(f"{self._folder}/", ""))] = None

    def texts(self) -> list[str]:
        found = list(self._found)
        return found[:_MOST] + ([f"... and {len(found) - _MOST} more"] if len(found) > _MOST else [])


@contextlib.contextmanager
def collected(folder: pathlib.Path) -> Iterator[_Collector]:
    """Collects the warnings that are logged in the meantime; texts() has them with the paths in the folder."""
    collector = _Collector(folder)
    logger = absl_logging.get_absl_logger()
    logger.addHandler(collector)
    try:
        yield collector
    finally:
        logger.removeHandler(collector)
