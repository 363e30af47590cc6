"""Files of older versions of this package: other names of keys, and keys that they did not have yet."""

from typing import Any

_NEW_NAMES = {
    "classes": "num_classes",
    "normalisation": "normalization",
    "labelled_rows_sha256": "labeled_rows_sha256",
}
# Of each kind of settings, a key that only this kind has, and what held before there was a key for it.
_BEFORE = {
    # the settings of a run
    "zero_init_residual": {
        "precision": "tensorfloat32",
        "native": "off",
        "size": 32,
        "store_size": None,
        "backbone": "resnet18",
        "accumulate": 1,
        "loggers": None,
        "peer_timeout": 100,
    },
    # the record of an evaluation
    "labeled_rows_sha256": {"precision": "tensorfloat32"},
}


def modern(value: Any) -> Any:
    """Returns a JSON value with today's names of keys and the keys that it lacks, at any depth of its objects."""
    if not isinstance(value, dict):
        return value
    value = {_NEW_NAMES.get(key, key): modern(inner) for key, inner in value.items()}
    for key in value.keys() & _BEFORE.keys():
        value = _BEFORE[key] | value
    return value
