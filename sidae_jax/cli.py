"""What the command-line programs share: a config file with overrides, and one sentence for a user's mistake."""

import ast
import inspect
import os
import pathlib
import re
import runpy
import sys
from collections.abc import Callable, Sequence
from typing import Any

from absl import app, flags, logging
from ml_collections import ConfigDict

from sidae_jax.config import flat
from sidae_jax.errors import UserError, nearest

_CONFIG = flags.DEFINE_string(
    "config", None, "Config file, FILE.py[:ARGUMENT]. --config.KEY=VALUE sets one of its keys."
)
_MARK = "config."


def run(main: Callable[[ConfigDict], None], default: Callable[[], ConfigDict] | None = None) -> None:
    """Parse the command line and call `main` with the config; exit with code 2 and one sentence on a user's mistake.

    `default` makes the config where the command line names no file.
    """
    run_loading(lambda load: main(load()), default)


def run_loading(
    main: Callable[[Callable[[], ConfigDict]], None], default: Callable[[], ConfigDict] | None = None
) -> None:
    """As `run`, for a `main` that calls a function to get the config, when it is time."""
    overrides: list[tuple[str, str]] = []

    def parse(argv):
        rest, given = split(argv)
        rest, help_wanted = _without_help(rest)
        parsed = _parse(rest)
        if help_wanted:
            _help(default)
            sys.exit(0)
        overrides.extend(given)
        return parsed

    _run(lambda: main(lambda: load_config(_CONFIG.value, overrides, default)), parse)


def run_without_config(main: Callable[[], None]) -> None:
    """As `run`, for a program that takes no config."""

    def parse(argv):
        rest, help_wanted = _without_help(argv)
        if help_wanted:
            app.usage(shorthelp=True, writeto_stdout=True)
            sys.exit(0)
        for argument in rest:
            if re.match(r"--?config\b", argument):
                raise UserError(f"{argument} is no option of this program, which takes no config: see --help")
        return _parse(rest, takes_config=False)

    _run(main, parse)


def _run(main, parse):
    def run_quietly(_):
        if not flags.FLAGS["verbosity"].present:  # orbax reports every file it writes at level INFO
            logging.set_verbosity(logging.WARNING)
        _exit_on_mistake(main)

    app.run(run_quietly, flags_parser=lambda argv: _exit_on_mistake(parse, argv))


def _without_help(argv):
    """The other arguments, and whether one asks for help."""
    rest = [argument for argument in argv if argument not in ("--help", "-h", "-help")]
    return rest, len(rest) < len(argv)


def _help(default):
    """The program's docstring and options, and the keys of the config that the command line names."""
    app.usage(shorthelp=True, writeto_stdout=True)
    if _CONFIG.value is None and default is None:
        print("With --config=FILE.py --help lists the keys of that config too.")
        return
    config = _load(_CONFIG.value, default)
    print("Keys of the config and their values here; --config.KEY=VALUE sets one:")
    for name, value in flat(config).items():
        print(f"  {name} = {value}")


def _exit_on_mistake(function, *arguments):
    try:
        return function(*arguments)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)


def split(argv: Sequence[str]) -> tuple[list[str], list[tuple[str, str]]]:
    """The arguments without --config.KEY=VALUE or --config.KEY VALUE, and these as (key, value)."""
    rest, overrides, arguments = [], [], iter(argv)
    for argument in arguments:
        name, equals, text = argument.lstrip("-").partition("=")
        if not (argument.startswith("-") and name.startswith(_MARK)):
            rest.append(argument)
            continue
        if not equals and (text := next(arguments, None)) is None:
            raise UserError(f"{argument} has no value: give {argument}=VALUE")
        overrides.append((name.removeprefix(_MARK), text))
    return rest, overrides


def _parse(argv: Sequence[str], takes_config: bool = True) -> list[str]:
    try:
        rest = flags.FLAGS(argv)
    except flags.UnrecognizedFlagError as error:
        near = nearest(error.flagname, flags.FLAGS)
        hint = f"did you mean --{near}?" if near else "--help lists the options"
        if takes_config:
            hint += f" (a key of the config is set by --config.{error.flagname}=VALUE)"
        raise UserError(f"--{error.flagname} is no option of this program: {hint}") from error
    except flags.IllegalFlagValueError as error:
        given = str(error).removeprefix("flag ").partition(": ")[0]
        name = given.removeprefix("--").partition("=")[0]
        wanted = flags.FLAGS[name].parser.syntactic_help or "true or false"
        raise UserError(f"{given} is not {wanted}: give --{name}=VALUE with VALUE {wanted}") from error
    except (flags.Error, ValueError) as error:
        raise UserError(f"{' '.join(str(error).split())}: --help lists the options") from error
    if len(rest) > 1:
        raise UserError(f"{rest[1]!r} is not a flag: options are given as --NAME=VALUE")
    return rest


def load_config(
    path_and_argument: str | None,
    overrides: Sequence[tuple[str, str]],
    default: Callable[[], ConfigDict] | None = None,
) -> ConfigDict:
    """The config of FILE.py[:ARGUMENT], or the default, with the texts in `overrides` as values of their keys.

    Raises UserError.
    """
    config = _load(path_and_argument, default)
    for name, text in overrides:
        _override(config, name, text)
    return config


def _load(path_and_argument, default):
    """What get_config of the file returns, called with what stands behind the colon."""
    if path_and_argument is None:
        if default is None:
            raise UserError("--config is missing: give a config file, such as --config=configs/cifar10.py")
        return default()
    path, colon, argument = path_and_argument.partition(":")
    get_config = load_function("config", path, "get_config", "configs/cifar10.py")
    arguments = [argument] if colon else []
    try:
        inspect.signature(get_config).bind(*arguments)
    except TypeError as error:
        fix = f"--config={path}" if colon else f"--config={path}:ARGUMENT"
        raise UserError(f"get_config of --config={path_and_argument} has another signature: give {fix}") from error
    return get_config(*arguments).lock()


def config_name() -> str:
    """The name of the config file that the command line gives, without its folder and .py."""
    return pathlib.Path(_CONFIG.value.partition(":")[0]).stem


def changes(config: ConfigDict) -> dict[str, Any]:
    """The keys of the config whose values are not those of the config file that the command line gives."""
    before = flat(_load(_CONFIG.value, None))
    return {key: value for key, value in flat(config).items() if value != before[key]}


def load_function(flag: str, path: str, name: str, example: str) -> Callable[..., Any]:
    """The function `name` of the Python file that was given as --flag=path. Raises UserError, which names `example`."""
    if not os.path.isfile(path):
        raise UserError(f"--{flag}={path} names no file in {os.getcwd()}: give the path of one such as {example}")
    if not path.endswith(".py") or name not in (module := runpy.run_path(path)):
        raise UserError(f"--{flag}={path} defines no {name}: give a file such as {example}")
    return module[name]


def _override(config: ConfigDict, name: str, text: str) -> None:
    """Set the key `name`, such as "views.hue", to what `text` is as a value of the key's type."""
    given, known = f"--config.{name}={text}", list(flat(config))
    if name not in known:
        near = nearest(name, known)
        hint = f"did you mean --config.{near}?" if near else f"give one of {', '.join(known)}"
        raise UserError(f"{given} is not a key of this config: {hint}")
    *folders, key = name.split(".")
    for folder in folders:
        config = config[folder]
    parse, wanted = _VALUES[config.get_type(key)]
    try:
        config[key] = parse(text)
    except (ValueError, SyntaxError, TypeError) as error:
        raise UserError(
            f"{given} is not {wanted}: give --config.{name}=VALUE with VALUE {wanted}, such as {config[key]}"
        ) from error


def _text(text: str) -> str | None:
    return None if text in ("", "None") else text


def _truth(text: str) -> bool:
    if text not in ("True", "true", "False", "false"):
        raise ValueError(text)
    return text in ("True", "true")


def _numbers(text: str) -> tuple[float, ...]:
    values = ast.literal_eval(text.strip())
    if not isinstance(values, tuple | list) or any(type(value) not in (int, float) for value in values):
        raise ValueError(text)
    return tuple(float(value) for value in values)


_VALUES: dict[type, tuple[Callable[[str], Any], str]] = {
    int: (int, "an integer"),
    float: (float, "a number"),
    bool: (_truth, "True or False"),
    tuple: (_numbers, "two numbers in brackets"),
    str: (_text, "a text"),
}
