"""The one exception that stands for a mistake the user can mend."""


class UserError(Exception):
    """A mistake in a config, a path or a file.

    The message is one sentence that names the key or file, the value seen, what was wanted and the
    way out. The command-line programs print it without a traceback and exit with `exit_code`.
    """

    exit_code = 2


class Diverged(UserError):
    """The loss is no longer finite."""

    exit_code = 1
