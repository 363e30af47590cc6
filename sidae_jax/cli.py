"""Shared by the command-line programs: a config file with overrides, and one sentence for a user's mistake.

The programs do not use ml_collections.config_flags, because there a wrong key ends in a traceback, a missing config
file does too and only when the config is first read, and --help does not list the keys.
"""

import contextlib
import difflib
import os
import pathlib
import re
import shutil
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from absl import app, flags, logging
from ml_collections import ConfigDict

from sidae_jax import config_files, interrupt, key_help
from sidae_jax.config_values import flat
from sidae_jax.errors import UserError
from sidae_jax.runs.values import printable

_CONFIG = flags.DEFINE_string(
    "config", None, "Config, NAME[:ARGUMENT] or FILE.py[:ARGUMENT]. --config.KEY=VALUE sets one of its keys."
)
_MARK = "config."


def run(main: Callable[[Callable[[], ConfigDict]], None], default: Callable[[], ConfigDict] | None = None) -> None:
    """Parses the command line and calls `main` with a function that loads the config, by `default` if no file is given.

    A user's mistake ends the program with exit code 2 and one sentence.
    """
    overrides: list[tuple[str, str]] = []

    def parse(argv):
        rest, given = split(argv)
        overrides.extend(given)
        return _parse(rest, lambda: _print_keys(default), lambda: _keys(rest, default))

    def interruptible():
        ignored = signal.getsignal(signal.SIGINT) is signal.SIG_IGN  # by the shell that started this in the background
        with interrupt.heard([] if ignored else [signal.SIGINT], interrupt.end_at_once):
            main(lambda: config_files.load_config(_CONFIG.value, overrides, default))

    _run(interruptible, parse)


def run_without_config(main: Callable[[], None]) -> None:
    """Does the same as `run` for a program that takes no config."""

    def parse(argv):
        for argument in argv:
            if re.match(r"--?config\b", argument):
                raise UserError(f"{argument} is not an option of this program, which takes no config: see --help")
        return _parse(argv)

    _run(main, parse)


def _run(main, parse):
    def run_quietly(_):
        if not flags.FLAGS["verbosity"].present:  # orbax reports every file it writes at level INFO
            logging.set_verbosity(logging.WARNING)
        _exit_on_mistake(main)

    app.run(run_quietly, flags_parser=lambda argv: _exit_on_mistake(parse, argv))


def _print_keys(default):
    """Prints the keys of the config that the command line names."""
    if _CONFIG.value is None and default is None:
        print("With --config=NAME, --help also lists the keys of that config. The configs that come with the package:")
        print(f"  {', '.join(config_files.names('config'))}")
        return
    config = config_files.read_config(_CONFIG.value, default)
    print("Keys of this config, their values and what they mean; --config.KEY=VALUE sets one:")
    print(key_help.text(config, shutil.get_terminal_size((120, 24)).columns))


def _exit_on_mistake(function, *arguments):
    try:
        return function(*arguments)
    except UserError as error:
        print(f"error: {printable(str(error))}", file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)


def split(argv: Sequence[str]) -> tuple[list[str], list[tuple[str, str]]]:
    """Returns the arguments without --config.KEY=VALUE or --config.KEY VALUE, and these overrides as (key, value)."""
    rest, overrides, arguments = [], [], iter(argv)
    for argument in arguments:
        name, equals, text = argument.lstrip("-").partition("=")
        if not (argument.startswith("-") and name.startswith(_MARK)):
            rest.append(argument)
            continue
        value = text if equals else next(arguments, None)
        if value is None:
            raise UserError(f"{argument} has no value: give {argument}=VALUE")
        overrides.append((name.removeprefix(_MARK), value))
    return rest, overrides


def _keys(argv, default):
    """Returns the keys of the config that these arguments name; none if there is no such config."""
    path = re.search(r"\0--?config[=\0]([^\0]*)", "\0".join(argv))
    try:
        return list(flat(config_files.read_config(path and path[1], default)))
    except UserError:
        return []


def _parse(
    argv: Sequence[str], print_keys: Callable[[], None] | None = None, keys: Callable[[], list[str]] = list
) -> list[str]:
    """Parses the options, or prints the program's docstring and options if one asks for help; then, `print_keys`.

    A message on an unknown option suggests some of the config's `keys` too.
    """
    without_help = [argument for argument in argv if argument not in ("--help", "-h", "-help")]
    try:
        rest = flags.FLAGS(without_help)
    except flags.UnrecognizedFlagError as error:
        meant = difflib.get_close_matches(error.flagname, list(flags.FLAGS), n=1)
        meant += [f"config.{key}" for key in difflib.get_close_matches(error.flagname, keys(), n=2)]
        hint = f"did you mean --{' or --'.join(meant)}?" if meant else "--help lists the options"
        raise UserError(f"--{error.flagname} is not an option of this program: {hint}") from error
    except flags.IllegalFlagValueError as error:
        given = str(error).removeprefix("flag ").partition(": ")[0]
        name = given.removeprefix("--").partition("=")[0]
        parser = flags.FLAGS[name].parser
        wanted = parser.syntactic_help or " or ".join(getattr(parser, "enum_values", ("true", "false")))
        raise UserError(f"{given} is not {wanted}: give --{name}=VALUE with VALUE {wanted}") from error
    except (flags.Error, ValueError) as error:
        raise UserError(f"{' '.join(str(error).split())}: --help lists the options") from error
    if len(rest) > 1:
        raise UserError(f"{rest[1]!r} is not a flag: options are given as --NAME=VALUE")
    if len(without_help) < len(argv):
        with until_the_reader_leaves():
            app.usage(shorthelp=True, writeto_stdout=True)
            if print_keys is not None:
                print_keys()
        sys.exit(0)
    return rest


@contextlib.contextmanager
def until_the_reader_leaves() -> Iterator[None]:
    """Ends what is printed in it without an error once its reader has seen enough, as in `--help | head`."""
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def config_name() -> str:
    """Returns the name of the config file on the command line without its folder and .py."""
    return pathlib.Path(str(_CONFIG.value).partition(":")[0]).stem


def changes(config: ConfigDict) -> dict[str, Any]:
    """Returns the keys and values of the config that differ from the config file on the command line."""
    before = flat(config_files.read_config(_CONFIG.value, None))
    return {key: value for key, value in flat(config).items() if value != before[key]}
