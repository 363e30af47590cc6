"""The options --config.KEY=VALUE: their texts become values of the keys' types."""

import ast
from collections.abc import Callable
from typing import Any

from ml_collections import ConfigDict

from sidae_jax.config_values import flat
from sidae_jax.errors import UserError, nearest
from sidae_jax.settings import FOLDER_KEYS, METHOD_SETTINGS, method_keys


def override(config: ConfigDict, name: str, text: str) -> None:
    """Sets the key `name`, such as "views.hue", to the text parsed as the key's type.

    Raises:
      UserError: there is no such key, or the text has no value of its type or names no run.
    """
    given, known = f"--config.{name}={text}", list(flat(config))
    if name not in known:
        if "method" in config and (having := [m for m in METHOD_SETTINGS if name in method_keys(m)]):
            raise UserError(
                f"{given} is a key of other methods ({', '.join(having)}) than this config's, {config.method}: leave "
                "it out, or give another method"
            )
        if "method" in config and name in FOLDER_KEYS:
            raise UserError(
                f"{given} is a key of folders of images, and this config is on {config.dataset}: give "
                f"--config=folder:{config.method}, or leave it out"
            )
        near = nearest(name, known)
        hint = f"did you mean --config.{near}?" if near else f"give one of {', '.join(known)}"
        raise UserError(f"{given} is not a key of this config: {hint}")
    if name == "init_from" and not text:  # as by an empty variable of a shell: a start from nothing has to be asked for
        raise UserError(f"{given} names no run: give the folder of one, or None to start from initial values")
    *folders, key = name.split(".")
    for folder in folders:
        config = config[folder]
    parse, wanted = _KINDS[config.get_type(key)]
    try:
        config[key] = parse(text)
    # literal_eval has more for texts such as "((((...": its own help lists them
    except (ValueError, SyntaxError, TypeError, OverflowError, MemoryError, RecursionError) as error:
        raise UserError(
            f"{given} is not {wanted}: give --config.{name}=VALUE with VALUE {wanted}, such as {config[key]}"
        ) from error


def _bool(text: str) -> bool:
    if text not in ("True", "true", "False", "false"):
        raise ValueError(text)
    return text in ("True", "true")


def _numbers(text: str) -> tuple[float, ...]:
    values = ast.literal_eval(text.strip())
    if not isinstance(values, tuple | list) or any(type(value) not in (int, float) for value in values):
        raise ValueError(text)
    return tuple(float(value) for value in values)


# How the values of each type are parsed, and what a message calls them.
_KINDS: dict[type, tuple[Callable[[str], Any], str]] = {
    int: (int, "an integer"),
    float: (float, "a number"),
    bool: (_bool, "True or False"),
    tuple: (_numbers, "two numbers in parentheses"),
    str: (lambda text: None if text in ("", "None") else text, "a text"),
}
