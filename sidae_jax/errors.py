"""The exception for a mistake that the user can mend."""

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """A mistake in a config, a path or a file.

    The message is one sentence that names the key or file, the value seen, what was wanted and the way out. Programs
    print it without a traceback and exit with `exit_code`.
    """

    exit_code = 2


class Diverged(UserError):
    """The loss is no longer finite."""

    exit_code = 1


class DiskTrouble(UserError):
    """A file cannot be written any more: the disk is full, or has become read-only."""

    exit_code = 1


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Returns the one of `known` that a user who wrote `name` probably meant, or None."""
    return next(iter(difflib.get_close_matches(name, list(known), n=1)), None)


def one_line(error: BaseException) -> str:
    """Returns the message of an error for the middle of a sentence."""
    return " ".join(str(error).split()).rstrip(".")
