"""The values of any config, of a pre-training or an evaluation: by full keys, as JSON, and the checks of them."""

import json
from collections.abc import Collection
from typing import Any

from ml_collections import ConfigDict

from sidae_jax.errors import UserError, nearest


def check(config: ConfigDict, key: str, good: bool, wanted: str) -> None:
    """Raises UserError naming the key, its value and what is wanted, unless `good`."""
    if not good:
        seen = flat(config)[key]
        raise UserError(f"config.{key}={seen} is out of range: give --config.{key}=VALUE with VALUE {wanted}")


def check_keys(config: ConfigDict, wanted: ConfigDict, what: str, example: str) -> None:
    """Raises UserError if a key is in only one of the two configs, naming it and an example of a config for `what`."""
    found, types = flat(config), _types(wanted)
    for key in sorted(found.keys() ^ types.keys()):
        problem = "is not a key of" if key in found else "is missing for"
        raise UserError(f"config.{key} {problem} {what}: give a config such as --config={example}")
    for key, value in found.items():  # a config of the user's own may have been made with any types
        kinds, may_be_none = types[key]
        of_type = isinstance(value, kinds) and (kinds == (bool,) or not isinstance(value, bool))
        numbers = not isinstance(value, tuple) or all(
            isinstance(each, int | float) and not isinstance(each, bool) for each in value
        )
        if not ((of_type and numbers) or (value is None and may_be_none)):
            names = " or ".join("tuple of numbers" if kind is tuple else kind.__name__ for kind in kinds)
            raise UserError(f"config.{key}={value!r:.80} is a {type(value).__name__}: give {names}")


def _types(config: ConfigDict, prefix: str = "") -> dict[str, tuple[tuple[type, ...], bool]]:
    """Returns the types that the values of a config may have by their full keys, and whether they may be None."""
    types: dict[str, tuple[tuple[type, ...], bool]] = {}
    for key in config:
        if isinstance(config[key], ConfigDict):
            types |= _types(config[key], f"{prefix}{key}.")
        else:
            kind = config.get_type(key)
            types[prefix + key] = (int, float) if kind is float else (kind,), config[key] is None
    return types


def one_of(key: str, value: Any, names: Collection[str]) -> str:
    """Returns `value`, or raises UserError listing `names` and suggesting the nearest of them."""
    if isinstance(value, str) and value in names:
        return value
    near = nearest(str(value), names)
    hint = f"; did you mean {near}?" if near else ""
    raise UserError(f"{key}={value!r} is unknown: give one of {', '.join(names)}{hint}")


def plain(config: ConfigDict) -> dict[str, Any]:
    """Returns the config as it comes back from JSON: its tuples are lists."""
    values: dict[str, Any] = json.loads(json.dumps(config.to_dict()))
    return values


def flat(config: ConfigDict | dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Returns the values of a config by their full keys, such as "views.hue".

    Not flax.traverse_util.flatten_dict, since reading a config must not import JAX.
    """
    values: dict[str, Any] = {}
    for key, value in config.items():
        values |= flat(value, f"{prefix}{key}.") if isinstance(value, dict | ConfigDict) else {prefix + key: value}
    return values
