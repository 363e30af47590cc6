"""The one exception that stands for a mistake the user can mend."""

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """A mistake in a config, a path or a file.

    The message is one sentence that names the key or file, the value seen, what was wanted and the
    way out. The command-line programs print it without a traceback and exit with `exit_code`.
    """

    exit_code = 2


class Diverged(UserError):
    """The loss is no longer finite."""

    exit_code = 1


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The one of `known` that a user who wrote `name` probably meant, if there is one."""
    return next(iter(difflib.get_close_matches(name, list(known), n=1)), None)
