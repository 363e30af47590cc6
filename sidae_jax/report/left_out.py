"""What a report leaves out, for its readers, who do not see what the program said when it was made."""

import contextlib
import contextvars
import pathlib
from collections.abc import Iterator

from absl import logging

from sidae_jax.runs.values import printable

_MOST = 100  # messages shown: a file may have any number of corrupt lines
_messages: contextvars.ContextVar[list[str] | None] = contextvars.ContextVar("messages", default=None)


def warn(message: str, *arguments: object) -> None:
    """Logs the warning, and notes it for the report whose files are being read."""
    logging.warning(message, *arguments)
    if (messages := _messages.get()) is not None:
        messages.append(message % arguments)


@contextlib.contextmanager
def noted() -> Iterator[list[str]]:
    """Notes the warnings in the meantime, whether or not the program shows them, in the list that it gives."""
    messages: list[str] = []
    token = _messages.set(messages)
    try:
        yield messages
    finally:
        _messages.reset(token)


def shown(messages: list[str], folder: pathlib.Path) -> list[str]:
    """Returns each of the messages once, the first hundred, with the paths from the folder on."""
    found = list(dict.fromkeys(printable(message.replace(f"{folder}/", "")) for message in messages))
    return found[:_MOST] + ([f"... and {len(found) - _MOST} more"] if len(found) > _MOST else [])
