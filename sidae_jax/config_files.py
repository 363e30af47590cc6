"""Config and experiment files: those that come with the package by their names, others by their paths."""

import inspect
import os
import pathlib
import runpy
import traceback
from collections.abc import Callable, Sequence
from typing import Any

from ml_collections import ConfigDict

from sidae_jax.errors import UserError, nearest, one_line
from sidae_jax.overrides import override

# In a checkout sidae_jax/configs is a link to the folder at the top; resolved, a sweep's commands have one path by
# whichever of the two they are reached. In a wheel it is a folder.
PACKAGED = (pathlib.Path(__file__).parent / "configs").resolve()
_FOLDERS = {"config": PACKAGED, "experiment": PACKAGED / "experiments"}


def names(flag: str) -> list[str]:
    """Returns the names that come with the package, sorted; `flag` is "config" or "experiment"."""
    return sorted(path.stem for path in _FOLDERS[flag].glob("*.py"))


def find(flag: str, path: str) -> str:
    """Returns the path of the file given as --flag=path: a file, or else the packaged one of that name.

    Raises:
      UserError: there is neither.
    """
    if os.path.isfile(path):
        return path
    if path in names(flag):
        return str(_FOLDERS[flag] / f"{path}.py")
    folder, file = os.path.split(path)
    beside = os.listdir(folder or ".") if path.endswith(".py") and os.path.isdir(folder or ".") else []
    near = nearest(file, beside)
    meant = os.path.join(folder, near) if near else nearest(file.removesuffix(".py"), names(flag))
    hint = f"did you mean {meant}?" if meant else f"give the path of one, or a name: {', '.join(names(flag))}"
    raise UserError(f"--{flag}={path} is not a file in {os.getcwd()}: {hint}")


def load_function(flag: str, path: str, name: str, example: str) -> Callable[..., Any]:
    """Returns the function `name` of the file given as --flag=path, or raises UserError, naming `example`."""
    file = find(flag, path)
    if not file.endswith(".py") or name not in (module := _run(f"--{flag}={path}", file, lambda: runpy.run_path(file))):
        raise UserError(f"--{flag}={path} defines no {name}: give a file such as {example}")
    function: Callable[..., Any] = module[name]
    return function


def _run(given: str, file: str, action: Callable[[], Any]) -> Any:
    """Returns action(), which runs code of the file. Raises UserError with the line of the file at which it fails."""
    try:
        return action()
    except UserError:
        raise
    except Exception as error:
        lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
        line = error.lineno if isinstance(error, SyntaxError) else next(iter(reversed(lines)), "unknown")
        raise UserError(
            f"{given} cannot be read (line {line}: {type(error).__name__}: {one_line(error)}): mend the file, or give "
            "another"
        ) from error


def load_config(
    path_and_argument: str | None,
    overrides: Sequence[tuple[str, str]],
    default: Callable[[], ConfigDict] | None = None,
) -> ConfigDict:
    """Returns the config of FILE.py[:ARGUMENT] or NAME[:ARGUMENT], or else the default, with the overrides parsed.

    Args:
      path_and_argument: the config, whose get_config is called with the argument, if there is one; None: the default.
      overrides: pairs of a key, such as "views.hue", and the text of its value.
      default: makes the config where none is given.

    Raises:
      UserError: the file, a key or a value is wrong.
    """
    config = read_config(path_and_argument, default)
    for name, text in overrides:
        override(config, name, text)
    return config


def read_config(path_and_argument: str | None, default: Callable[[], ConfigDict] | None = None) -> ConfigDict:
    """Returns the same without overrides: the config of the file, locked. Raises UserError."""
    if path_and_argument is None:
        if default is None:
            raise UserError(f"--config is missing: give one of {', '.join(names('config'))}, or a config file")
        return default()
    path, colon, argument = path_and_argument.partition(":")
    get_config = load_function(
        "config", path, "get_config", "configs/linear_eval.py" if default else "configs/cifar10.py"
    )
    arguments = [argument] if colon else []
    try:
        inspect.signature(get_config).bind(*arguments)
    except TypeError as error:
        fix = f"--config={path}" if colon else f"--config={path}:ARGUMENT"
        raise UserError(f"get_config of --config={path_and_argument} has another signature: give {fix}") from error
    config = _run(f"--config={path_and_argument}", find("config", path), lambda: get_config(*arguments))
    if not isinstance(config, ConfigDict):
        raise UserError(
            f"get_config of --config={path_and_argument} returns {config!r:.80}, and a ConfigDict is wanted: change "
            'and return what sidae_jax.config.pretraining(method, "cifar10") gives, as configs/cifar10.py does'
        )
    return config.lock()
