"""What the command-line programs share: a config file as a flag, and one sentence for a user's mistake."""

import difflib
import os
import sys
from collections.abc import Callable, Sequence

from absl import app, flags, logging
from ml_collections import ConfigDict, config_flags

from sidae_jax.errors import UserError


def define_config(default: str | None) -> flags.FlagHolder:
    """The flag --config=FILE[:ARGUMENT] with a default file; --config.KEY=VALUE overrides its keys."""
    return config_flags.DEFINE_config_file("config", default, "Config file, FILE.py[:ARGUMENT].", lock_config=True)


def run(main: Callable[[], None]) -> None:
    """Parse the command line and call `main`; exit with code 2 and one sentence on a mistake of the user's."""

    def run_quietly(_):
        if not flags.FLAGS["verbosity"].present:  # orbax reports every file it writes at level INFO
            logging.set_verbosity(logging.WARNING)
        _exit_on_mistake(main)

    app.run(run_quietly, flags_parser=lambda argv: _exit_on_mistake(_parse, argv))


def _exit_on_mistake(function, *arguments):
    try:
        return function(*arguments)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)


def _parse(argv: Sequence[str]) -> list[str]:
    for argument in argv:  # ml_collections defers the error of a missing file until after many others
        name, equals, path = argument.lstrip("-").partition("=")
        if name == "config" and equals and not os.path.exists(path.partition(":")[0]):
            raise UserError(
                f"--config={path} names no file in {os.getcwd()}: give the path of a config, such as configs/cifar10.py"
            )
    try:
        rest = flags.FLAGS(argv)
    except AttributeError as error:
        raise UserError(_unknown_key(str(error).strip("\"'"), argv)) from error
    except (flags.Error, TypeError, ValueError) as error:
        raise UserError(" ".join(str(error).split())) from error
    if len(rest) > 1:
        raise UserError(f"{rest[1]!r} is not a flag: options are given as --NAME=VALUE")
    return rest


def _unknown_key(key, argv):
    given = next((a for a in argv if a.lstrip("-").startswith("config.") and key in a), f"--config.{key}")
    name = given.lstrip("-").partition("=")[0].removeprefix("config.")
    known = list(flags.FLAGS["config"].value.keys()) if _loaded() else []
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"; did you mean --config.{near[0]}?" if near else ""
    return f"--config.{name} is unknown to this config{hint} The keys are: {', '.join(known)}"


def _loaded():
    return isinstance(flags.FLAGS["config"].value, ConfigDict)
